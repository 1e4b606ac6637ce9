"""A group of Kafka's clients: its members, its generations, and how it comes from one to the next.

The classic protocol, as Kafka's own coordinator has it. A group is *Empty*, until somebody joins. Then it is
*PreparingRebalance*: all who are in it have to join (again), and are told the next generation together. It is
*CompletingRebalance* until the leader, who alone has been told who the others are, says which part of the work each is
to have; then it is *Stable*, until somebody comes, goes, or says something else than before.

Knows no wire format and no file. Nothing here blocks or switches greenlets; who has to wait gets an AsyncResult.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import partial

from gevent.event import AsyncResult

from gstream.agenda import Agenda, Entry
from gstream.commit import Commit, after
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.committed import Offsets
from gstream.kafka.member import Joined, Joining, Member, Synced
from gstream.kafka.roster import Roster

__all__ = ["Group", "State"]

MAX_MEMBERS = 10_000
"""More are not let in. Kafka calls it group.max.size."""

MAX_PREFIX_CHARACTERS = 1000
"""Of a member's id: what its client calls itself."""

MAX_GENERATION = (1 << 31) - 1


class State(StrEnum):
    """What a group is doing, in the words of Kafka's tools."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


class Group:
    """One group.

    offsets: what it has committed.
    delay_seconds: so long a group that was empty waits for further members.
    keep: keeps the group as it is; says when that is done (None: nothing is kept).
    weigh: told by how many bytes it takes more, or less.
    """

    def __init__(
        self,
        name: str,
        agenda: Agenda,
        offsets: Offsets,
        *,
        delay_seconds: float = 0.0,
        keep: Callable[[Group], Commit | None] = lambda _group: None,
        weigh: Callable[[int], None] = lambda _more: None,
    ) -> None:
        self.name = name
        self.offsets = offsets
        self.state = State.EMPTY
        self.generation = 0
        self.protocol_type: str | None = None
        """What its members call what they do; None: it has had none, and only keeps offsets."""
        self.protocol: str | None = None
        self.roster = Roster(weigh)
        self.unsynced: set[str] = set()
        """Members that have still to ask for their part of the work."""
        self._agenda = agenda
        self._delay_seconds = delay_seconds
        self._keep = keep
        self._timer: Entry | None = None  # whoever has not come by then is not waited for
        self._is_first = False  # the group was empty before this rebalance
        self._has_new = False

    # --- joining

    def join(self, joining: Joining) -> AsyncResult[Joined]:
        """Join, or join again; the answer comes when all are there. Raises KafkaError."""
        self._check_protocols(joining)
        answer: AsyncResult[Joined] = AsyncResult()
        if not joining.member_id:
            self._join_new(joining, answer)
        elif joining.member_id in self.roster.pending and joining.instance_id is None:
            self._add(joining.member_id, joining, answer)
        else:
            self._join_again(self.roster.find(joining.member_id, joining.instance_id), joining, answer)
        return answer

    def _check_protocols(self, joining: Joining) -> None:
        if len(self.roster):
            fits = joining.protocol_type == self.protocol_type and self.roster.supports(joining.protocols)
        else:
            fits = bool(joining.protocol_type and joining.protocols)
        if not fits:
            raise KafkaError(Code.INCONSISTENT_GROUP_PROTOCOL)

    def _join_new(self, joining: Joining, answer: AsyncResult[Joined]) -> None:
        id = f"{(joining.instance_id or joining.client_id)[:MAX_PREFIX_CHARACTERS]}-{uuid.uuid4()}"
        static = self.roster.find_static(joining.instance_id)
        if static is not None:
            self._replace(static, id, joining, answer)
            return
        if len(self.roster) + len(self.roster.pending) >= MAX_MEMBERS:
            raise KafkaError(Code.GROUP_MAX_SIZE_REACHED)
        if joining.needs_id and joining.instance_id is None:
            when = self._agenda.clock() + joining.session_seconds
            self.roster.expect(id, self._agenda.at(when, partial(self._forget_pending, id)))
            answer.set(Joined(Code.MEMBER_ID_REQUIRED, id))
        else:
            self._add(id, joining, answer)

    def _add(self, id: str, joining: Joining, answer: AsyncResult[Joined]) -> None:
        member = Member(id, joining)
        if not len(self.roster):
            self.protocol_type = joining.protocol_type
        self.roster.add(member)
        self.roster.await_join(member, answer)
        self._has_new = True
        self._lives(member)
        self._rebalance()

    def _join_again(self, member: Member, joining: Joining, answer: AsyncResult[Joined]) -> None:
        is_same = member.protocols == joining.protocols
        leads = self.roster.leader == member.id
        if is_same and (self.state is State.COMPLETING or (self.state is State.STABLE and not leads)):
            self._lives(member)
            answer.set(self._joined(member))  # it has not got the answer before
            return
        self.roster.update(member, joining)
        self.roster.await_join(member, answer)
        self._lives(member)
        self._rebalance()

    def _replace(self, member: Member, id: str, joining: Joining, answer: AsyncResult[Joined]) -> None:
        """A static member has come back. If nothing has changed by that, the others need not know."""
        leader = self.roster.leader
        if member.id in self.unsynced:
            self.unsynced.add(id)
            self.unsynced.discard(member.id)
        self.roster.replace(member, id)
        self.roster.update(member, joining)
        self._lives(member)
        if self.state is State.STABLE and self.roster.select() == self.protocol:
            joined = self._joined(member)
            if joining.can_skip:
                joined = joined._replace(skips_assignment=self.roster.leader == id)
            else:  # it would share the work out anew, and so it is told that its old id leads
                joined = joined._replace(leader=leader or "", members=())
            after(self._keep(self), partial(answer.set, joined))  # a restart would fence it if the new id were lost
            return
        self.roster.await_join(member, answer)
        self._rebalance()

    def _joined(self, member: Member) -> Joined:
        """What this member is told of the generation there is."""
        leader = self.roster.leader or ""
        members = self.roster.listed(self.protocol) if member.id == leader else ()
        return Joined(Code.NONE, member.id, self.generation, self.protocol_type, self.protocol, leader, members)

    # --- from one generation to the next

    def _rebalance(self) -> None:
        """Have all join again, unless they are doing that already; go on if they have."""
        if self.state is not State.PREPARING:
            self._prepare()
        if self.state is State.PREPARING and not self._is_first and self.roster.all_join:
            self._complete()

    def _prepare(self) -> None:
        if self.state is State.COMPLETING:
            for member in self.roster:
                self.roster.assign(member, b"")
                member.answer_sync(Synced(Code.REBALANCE_IN_PROGRESS))
        self.unsynced.clear()
        was_empty = self.state is State.EMPTY
        self.state = State.PREPARING
        self._is_first = was_empty and self._delay_seconds > 0
        if self._is_first:
            self._wait_for_more(self._agenda.clock() + self.roster.rebalance_seconds)
        elif was_empty:
            self._complete()  # who was given an id meanwhile is not waited for
        else:
            self._set_timer(self.roster.rebalance_seconds, self._complete)

    def _wait_for_more(self, latest: float) -> None:
        """Give further members some time; as long as some come, some more."""
        self._has_new = False

        def look() -> None:
            if self._has_new and self._agenda.clock() < latest:
                self._wait_for_more(latest)
            else:
                self._complete()

        self._set_timer(min(self._delay_seconds, latest - self._agenda.clock()), look)

    def _complete(self) -> None:
        """The next generation begins, with all who are here; static members may come later."""
        self._stop_timer()
        for member in [each for each in self.roster if each.joins is None and each.instance_id is None]:
            self.roster.remove(member)
        if len(self.roster) and not self.roster.elect():
            self._set_timer(self.roster.rebalance_seconds, self._complete)
            return
        self._is_first = False
        self.generation = self.generation % MAX_GENERATION + 1
        if not len(self.roster):
            self.state, self.protocol = State.EMPTY, None
            self._keep(self)
            return
        self.protocol = self.roster.select()
        self.state = State.COMPLETING
        self.unsynced = {member.id for member in self.roster}
        for member in self.roster:
            if member.joins is not None:
                self.roster.answer_join(member, self._joined(member))
            self._lives(member)
        self._set_timer(self.roster.rebalance_seconds, self._expire_unsynced)

    def _expire_unsynced(self) -> None:
        """Some have joined, and did not ask for their part of the work."""
        self._timer = None
        if self.unsynced:
            for member in [each for each in self.roster if each.id in self.unsynced]:
                self.roster.remove(member)
            self._rebalance()

    def sync(
        self,
        generation: int,
        member_id: str,
        instance_id: str | None,
        assignments: Iterable[tuple[str, bytes]],
        protocol_type: str | None = None,
        protocol: str | None = None,
    ) -> AsyncResult[Synced]:
        """Ask for one's part of the work; the answer comes when the leader has shared it out. Raises KafkaError.

        assignments: from the leader, each with the id of the member whose it is.
        """
        member = self.roster.find(member_id, instance_id)
        self._check_generation(generation)
        for said, is_so in ((protocol_type, self.protocol_type), (protocol, self.protocol)):
            if said is not None and said != is_so:
                raise KafkaError(Code.INCONSISTENT_GROUP_PROTOCOL)
        if self.state is State.PREPARING:
            raise KafkaError(Code.REBALANCE_IN_PROGRESS)
        answer: AsyncResult[Synced] = AsyncResult()
        self.unsynced.discard(member.id)
        self._lives(member)
        if self.state is State.STABLE:
            answer.set(self._synced(member))
            return answer
        member.answer_sync(Synced(Code.REBALANCE_IN_PROGRESS))
        member.syncs = answer
        if self.roster.leader == member.id:
            self._assign(dict(assignments))
        return answer

    def _assign(self, assignments: Mapping[str, bytes]) -> None:
        """The leader has shared the work out: as soon as that is kept, each is told."""
        for member in self.roster:
            self.roster.assign(member, assignments.get(member.id, b""))
        after(self._keep(self), partial(self._settle, self.generation))

    def _settle(self, generation: int) -> None:
        if self.state is State.COMPLETING and self.generation == generation:
            self.state = State.STABLE
            for member in self.roster:
                if member.syncs is not None:
                    self._lives(member)
                    member.answer_sync(self._synced(member))

    def _synced(self, member: Member) -> Synced:
        return Synced(Code.NONE, member.assignment, self.protocol_type, self.protocol)

    # --- living and going

    def heartbeat(self, generation: int, member_id: str, instance_id: str | None) -> None:
        """A member lives. Raises KafkaError, also to have it join again."""
        member = self.roster.find(member_id, instance_id)
        self._check_generation(generation)
        self._lives(member)
        if self.state is State.PREPARING:
            raise KafkaError(Code.REBALANCE_IN_PROGRESS)

    def leave(self, member_id: str, instance_id: str | None) -> None:
        """A member goes. Raises KafkaError.

        instance_id: alone, it is enough: somebody else says that a static member does not come back.
        """
        if not member_id:
            static = self.roster.find_static(instance_id)
            if static is None:
                raise KafkaError(Code.UNKNOWN_MEMBER_ID)
            member_id = static.id
        if member_id in self.roster.pending:
            self._forget_pending(member_id)
        else:
            self._remove(self.roster.find(member_id, instance_id))

    def check_commit(
        self, generation: int, member_id: str, instance_id: str | None, *, in_transaction: bool = False
    ) -> None:
        """Whether somebody may commit offsets now. Raises KafkaError.

        Who says no generation is in no group, and commits in the name of one that has no members.
        """
        if generation < 0 and self.state is State.EMPTY:
            return
        if generation >= 0 or member_id or instance_id is not None:
            member = self.roster.find(member_id, instance_id)
            self._check_generation(generation)
            self._lives(member)
        elif not in_transaction:
            raise KafkaError(Code.UNKNOWN_MEMBER_ID)
        if self.state is State.COMPLETING and not in_transaction:
            raise KafkaError(Code.REBALANCE_IN_PROGRESS)

    def close(self) -> None:
        """The group is removed."""
        self._stop_timer()
        self.roster.clear()
        self.state = State.DEAD

    def stop(self, code: Code) -> None:
        """The server stops: tell all who wait. They stay members, and nobody is missed any more."""
        self._stop_timer()
        for id in list(self.roster.pending):
            self.roster.forget_pending(id)
        for member in self.roster:
            member.forget_time()
            self.roster.answer_join(member, Joined(code, member.id))
            member.answer_sync(Synced(code))

    def restore(self, members: Iterable[Member], leader: str | None) -> None:
        """It has these members since before the server was started; they have some time to come back."""
        for member in members:
            self.roster.add(member)
            self._lives(member)
        if leader in self.roster:
            self.roster.leader = leader
        self.state = State.STABLE if len(self.roster) else State.EMPTY

    def _check_generation(self, generation: int) -> None:
        if generation != self.generation:
            raise KafkaError(Code.ILLEGAL_GENERATION)

    def _remove(self, member: Member) -> None:
        self.unsynced.discard(member.id)
        self.roster.remove(member)
        self._rebalance()

    def _forget_pending(self, id: str) -> None:
        if self.roster.forget_pending(id) and self.state is State.PREPARING:
            self._rebalance()

    def _lives(self, member: Member) -> None:
        """It has been heard of: the entry of the agenda stays, and looks at the time when it comes."""
        member.deadline = self._agenda.clock() + member.session_seconds
        if member.entry is None or member.entry.when > member.deadline:
            member.forget_time()
            member.entry = self._agenda.at(member.deadline, partial(self._look_after, member))

    def _look_after(self, member: Member) -> None:
        """Whether this member lives."""
        member.entry = None
        if member.waits:
            self._lives(member)
        elif self._agenda.clock() < member.deadline:
            member.entry = self._agenda.at(member.deadline, partial(self._look_after, member))
        else:
            self._remove(member)

    def _set_timer(self, seconds: float, action: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._agenda.at(self._agenda.clock() + max(0.0, seconds), action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
