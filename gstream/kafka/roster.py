"""A roster: who is in a group, who leads it, and in which ways they can all share the work.

Knows no states, no generations and no time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from gevent.event import AsyncResult

from gstream.agenda import Entry
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.member import MEMBER_BYTES, Joined, Joining, Listed, Member, Protocols, Synced

__all__ = ["Roster"]


class Roster:
    """The members of a group.

    weigh: told by how many bytes they take more, or less.
    """

    def __init__(self, weigh: Callable[[int], None] = lambda _more: None) -> None:
        self._weigh = weigh
        self._members: dict[str, Member] = {}
        self._static: dict[str, Member] = {}
        self._supports: Counter[str] = Counter()  # so many members could share the work in that way
        self.pending: dict[str, Entry] = {}
        """Ids that were given to those who have still to join with them, and when that is too late."""
        self.leader: str | None = None
        self.joining_count = 0
        """So many of the members wait to be told the next generation."""

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __contains__(self, id: object) -> bool:
        return id in self._members

    @property
    def all_join(self) -> bool:
        """Whether nobody has to be waited for."""
        return self.joining_count == len(self._members) and not self.pending

    @property
    def rebalance_seconds(self) -> float:
        """How long those who have to join again may take."""
        return max((member.rebalance_seconds for member in self), default=0.0)

    def find(self, id: str, instance_id: str | None) -> Member:
        """The member. Raises KafkaError: FENCED_INSTANCE_ID, when another one took its place, or UNKNOWN_MEMBER_ID."""
        if instance_id is not None:
            static = self._static.get(instance_id)
            if static is None:
                raise KafkaError(Code.UNKNOWN_MEMBER_ID)
            if static.id != id:
                raise KafkaError(Code.FENCED_INSTANCE_ID)
        member = self._members.get(id)
        if member is None:
            raise KafkaError(Code.UNKNOWN_MEMBER_ID)
        return member

    def find_static(self, instance_id: str | None) -> Member | None:
        """The member that is this instance."""
        return None if instance_id is None else self._static.get(instance_id)

    def needs_room(self, joining: Joining) -> bool:
        """Whether who joins so is new, or says more than before."""
        member = self._members.get(joining.member_id) or self.find_static(joining.instance_id)
        return member is None or member.grows(joining)

    # --- coming and going

    def add(self, member: Member) -> None:
        """The first one leads."""
        self.forget_pending(member.id)
        self._members[member.id] = member
        if member.instance_id is not None:
            self._static[member.instance_id] = member
        self._count(member.protocols, 1)
        self._weigh(member.size)
        if self.leader is None:
            self.leader = member.id

    def remove(self, member: Member) -> None:
        """It is in the group no more; whoever waits for an answer to it is told so."""
        self.answer_join(member, Joined(Code.UNKNOWN_MEMBER_ID, member.id))
        member.answer_sync(Synced(Code.UNKNOWN_MEMBER_ID))
        member.forget_time()
        del self._members[member.id]
        if member.instance_id is not None:
            del self._static[member.instance_id]
        self._count(member.protocols, -1)
        self._weigh(-member.size)
        if self.leader == member.id:
            self.leader = next(iter(self._members), None)

    def update(self, member: Member, joining: Joining) -> None:
        """It has joined again."""
        self._weigh(-member.size)
        self._count(member.protocols, -1)
        member.update(joining)
        self._count(member.protocols, 1)
        self._weigh(member.size)

    def replace(self, old: Member, id: str) -> None:
        """A static member has come back, without its id: it gets a new one, and whoever has the old one is fenced."""
        self.answer_join(old, Joined(Code.FENCED_INSTANCE_ID, old.id))
        old.answer_sync(Synced(Code.FENCED_INSTANCE_ID))
        del self._members[old.id]
        if self.leader == old.id:
            self.leader = id
        self._weigh(-old.size)
        old.id = id
        self._weigh(old.size)
        self._members[id] = old

    def assign(self, member: Member, assignment: bytes) -> None:
        """Give it its part of the work."""
        self._weigh(len(assignment) - len(member.assignment))
        member.assignment = assignment

    def expect(self, id: str, entry: Entry) -> None:
        """Somebody was given this id, and is to join with it. entry: when that is too late."""
        self.pending[id] = entry
        self._weigh(MEMBER_BYTES + len(id))

    def forget_pending(self, id: str) -> bool:
        """Expect it no more; says whether it was."""
        entry = self.pending.pop(id, None)
        if entry is None:
            return False
        entry.cancel()
        self._weigh(-MEMBER_BYTES - len(id))
        return True

    def clear(self) -> None:
        """Everybody goes."""
        for id in list(self.pending):
            self.forget_pending(id)
        for member in list(self):
            self.remove(member)

    def elect(self) -> bool:
        """See that one leads that is here to do it; says whether there is one."""
        leader = None if self.leader is None else self._members[self.leader]
        if leader is None or leader.joins is None:
            leader = next((member for member in self if member.joins is not None), None)
            if leader is None:
                return False
            self.leader = leader.id
        return True

    # --- who waits to be told the next generation

    def await_join(self, member: Member, answer: AsyncResult[Joined]) -> None:
        """It waits; if it has asked before, it asks no more."""
        self.answer_join(member, Joined(Code.REBALANCE_IN_PROGRESS, member.id))
        member.joins = answer
        self.joining_count += 1

    def answer_join(self, member: Member, joined: Joined) -> None:
        """Tell it, if it waits."""
        answer, member.joins = member.joins, None
        if answer is not None:
            self.joining_count -= 1
            answer.set(joined)

    # --- what they have in common

    def supports(self, protocols: Protocols) -> bool:
        """Whether all members could share the work in one of these ways."""
        count = len(self._members)
        return any(self._supports[name] == count for name, _ in protocols)

    def select(self) -> str | None:
        """The protocol that most members like best, of those that all could use."""
        count = len(self._members)
        votes: Counter[str] = Counter()
        for member in self:
            choice = next((name for name, _ in member.protocols if self._supports[name] == count), None)
            if choice is not None:
                votes[choice] += 1
        return votes.most_common(1)[0][0] if votes else None

    def listed(self, protocol: str | None) -> list[Listed]:
        """All members, as the leader is told of them."""
        return [Listed(member.id, member.instance_id, member.metadata(protocol)) for member in self]

    def _count(self, protocols: Protocols, more: int) -> None:
        for name in {name for name, _ in protocols}:
            self._supports[name] += more
            if not self._supports[name]:
                del self._supports[name]
