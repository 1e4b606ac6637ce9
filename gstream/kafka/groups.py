"""The groups of Kafka's clients, by name; what they have committed, and what is kept of them.

A name belongs to groups of one kind: one that consumers of the line protocol use, in whatever topic, is refused to
Kafka's clients, and the other way round. A line group is a group of one topic; a group of Kafka's clients has many, and
tells them itself what each gets.

A group is a fact, ``group/<name>``, with its members, so that they go on after a restart as if nothing had been. Knows
no wire format. Nothing here blocks or switches greenlets.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from gstream.commit import Commit
from gstream.errors import BusyError
from gstream.kafka import committed, kept_group, line_groups
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.committed import Committed, Offsets, Place
from gstream.kafka.group import Group, State
from gstream.kafka.pending_offsets import PendingOffsets
from gstream.storage.facts import MAX_BYTES as MAX_FACTS_BYTES

if TYPE_CHECKING:
    from gstream.kafka.node import Node

__all__ = ["Groups"]

log = logging.getLogger(__name__)

PREFIX = "group/"

KEPT_SECONDS = 7 * 24 * 3600.0
"""A group without members is forgotten after so long. Kafka calls it offsets.retention.minutes."""

LOOK_SECONDS = 3600.0
"""So often is looked for those."""

LOOK_AGAIN_SECONDS = 1.0
"""When there are too many groups: so long nobody looks again for some that are not used."""

TELL_AGAIN_SECONDS = 60.0

LOOKED_AT_ONCE = 1000

MAX_NAME_CHARACTERS = 1000

MAX_BYTES = 256 << 20
"""What the members of all groups may take together: clients say how much that is."""


class Groups:
    """All of them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._broker = node.broker
        self._agenda = node.agenda
        self._facts = node.facts
        self._groups: dict[str, Group] = {}
        self._emptied_ms: dict[str, int] = {}
        self._pending = PendingOffsets(node.facts)
        self.held_bytes = 0
        """What the members take, about."""
        self._look_again_at = self._tell_again_at = 0.0
        self._restore()
        self._warn_of_both_kinds()
        self._broker.group_guard = self._guard
        node.stopping.rawlink(lambda _event: self._stop())
        self._look_later()

    def __iter__(self) -> Iterator[Group]:
        return iter(list(self._groups.values()))

    def __len__(self) -> int:
        return len(self._groups)

    # --- by name

    def check(self) -> None:
        """Raises KafkaError when the server stops: clients then look for another coordinator, and come again."""
        if self._node.stopping.is_set():
            raise KafkaError(Code.COORDINATOR_NOT_AVAILABLE)

    def find(self, name: str) -> Group | None:
        """The group of that name; None: there is none."""
        return self._groups.get(name)

    def find_or_make(self, name: str) -> Group:
        """The group of that name, made if there is none.

        Raises KafkaError: INCONSISTENT_GROUP_PROTOCOL when line groups have that name, GROUP_MAX_SIZE_REACHED when
        there are too many groups, or their members take too much.
        """
        group = self._groups.get(name)
        if group is None:
            self.check_name(name)
            if len(self._groups) >= self._node.config.max_groups:
                self._forget_unused()
            if len(self._groups) >= self._node.config.max_groups:
                self._tell_full("groups", f"there are {len(self)}; raise --max-groups, or delete some")
                raise KafkaError(Code.GROUP_MAX_SIZE_REACHED, "there are as many groups as --max-groups says")
            group = self._make(name)
        return group

    def check_name(self, name: str) -> None:
        """Raise KafkaError when line groups have this name, or none can have it."""
        if len(name) > MAX_NAME_CHARACTERS:
            raise KafkaError(Code.INVALID_GROUP_ID, f"a group's name has {MAX_NAME_CHARACTERS} characters at most")
        if line_groups.exists(self._broker, name):
            raise KafkaError(
                Code.INCONSISTENT_GROUP_PROTOCOL, "consumers of the line protocol have a group of this name"
            )

    def check_room(self) -> None:
        """Raise KafkaError when the members of all groups take as much as they may."""
        if self.held_bytes > MAX_BYTES:
            raise KafkaError(Code.GROUP_MAX_SIZE_REACHED, f"the members of all groups take more than {MAX_BYTES} bytes")

    def _check_facts(self, group: Group, offsets: Mapping[Place, Committed]) -> None:
        """Raise KafkaError when there is no room to keep offsets where the group had none."""
        if self._facts.is_full and any(place not in group.offsets for place in offsets):
            self.drop_unused(group)
            self._tell_full("offsets", f"all that is kept takes more than {MAX_FACTS_BYTES} bytes; delete groups")
            raise KafkaError(Code.GROUP_MAX_SIZE_REACHED, "there is no room to keep further offsets")

    def drop_unused(self, group: Group) -> None:
        """Forget a group that was made for somebody who then did not get in."""
        if self._is_unused(group) and group.protocol_type is None and self._groups.get(group.name) is group:
            self._forget(group)

    def remove(self, name: str) -> Commit | None:
        """Remove a group, and what it has committed; when that is kept (None: it is). Raises KafkaError."""
        group = self._groups.get(name)
        if group is None:
            raise KafkaError(Code.GROUP_ID_NOT_FOUND)
        if group.state is not State.EMPTY:
            raise KafkaError(Code.NON_EMPTY_GROUP)
        self._forget(group)
        return self._facts.commit()

    def _make(self, name: str) -> Group:
        self._emptied_ms[name] = self._now_ms()
        self._look_again_at = 0.0
        group = self._groups[name] = Group(
            name,
            self._agenda,
            Offsets(self._facts, name),
            delay_seconds=self._node.config.kafka_group_delay_seconds,
            keep=self._keep,
            weigh=self._weigh,
        )
        return group

    def _guard(self, name: str) -> None:
        """Called before a line group is made."""
        group = self._groups.get(name)
        if group is not None:
            if self._is_unused(group):
                self._forget(group)
            else:
                raise BusyError("the group belongs to Kafka clients")

    # --- what they commit

    def check_commit(self, name: str, generation: int, member_id: str, instance_id: str | None) -> None:
        """Whether somebody may commit offsets in the name of this group. Raises KafkaError."""
        self._check_commit(name, generation, member_id, instance_id, in_transaction=False)

    def check_txn_commit(self, name: str, member_id: str, instance_id: str | None, generation: int) -> None:
        """The same for offsets that a transaction commits."""
        self._check_commit(name, generation, member_id, instance_id, in_transaction=True)

    def _check_commit(
        self, name: str, generation: int, member_id: str, instance_id: str | None, *, in_transaction: bool
    ) -> None:
        self.check()
        group = self._groups.get(name)
        if group is not None:
            group.check_commit(generation, member_id, instance_id, in_transaction=in_transaction)
        elif generation >= 0:
            self.check_name(name)
            raise KafkaError(Code.ILLEGAL_GENERATION)
        else:
            self.drop_unused(self.find_or_make(name))  # whether it could be made

    def commit_offsets(self, name: str, offsets: Mapping[Place, Committed]) -> Commit | None:
        """The group has come so far; when that is kept (None: it is). Raises KafkaError as find_or_make does."""
        group = self.find_or_make(name)
        self._check_facts(group, offsets)
        now_ms = self._now_ms()
        for place, each in offsets.items():
            group.offsets.put(place, each if each.time_ms else each._replace(time_ms=now_ms))
        return self._facts.commit() if offsets else None

    def add_pending(self, name: str, producer_id: int, offsets: Mapping[Place, Committed]) -> Commit | None:
        """The group has come so far if this producer's transaction commits; when that is kept (None: it is).

        Raises KafkaError as find_or_make does.
        """
        self._check_facts(self.find_or_make(name), offsets)
        if offsets:
            ids = {topic: self._topic_id(topic) for topic in {topic for topic, _ in offsets}}
            of_these = {place: each._replace(topic_id=ids[place[0]]) for place, each in offsets.items()}
            self._pending.add(name, producer_id, of_these)
        return self._facts.commit() if offsets else None

    def end_pending(self, name: str, producer_id: int, commits: bool) -> Commit | None:
        """The producer's transaction ends: take what waits for that, or forget it; when that is kept (None: it is).

        There may be nothing.
        """
        offsets = self._pending.take(name, producer_id)
        if not offsets:
            return None
        group = self._groups.get(name)
        if commits and group is not None:
            now_ms = self._now_ms()
            for (topic, partition), each in offsets.items():
                if each.topic_id and self._topic_id(topic) == each.topic_id:  # else it is another one
                    group.offsets.put((topic, partition), each._replace(time_ms=now_ms))
        return self._facts.commit()

    def drop_pending(self, known: Collection[tuple[str, int]]) -> None:
        """Forget what waits, but for these groups and producers: nothing is known of a transaction that it waits for.

        Nobody would end it, and those who read no offset that may change would wait for ever.
        """
        for name, producer_id in self._pending.producers:
            if (name, producer_id) not in known:
                log.warning("group %r: offsets of a transaction that nothing is kept of are forgotten", name)
                self._pending.take(name, producer_id)

    def _topic_id(self, name: str) -> str:
        """Which topic has this name now; "": none."""
        topic = self._broker.topics.get(name)
        return "" if topic is None else self._node.topic_id(topic).hex

    def is_pending(self, name: str, place: Place) -> bool:
        """Whether a transaction that has not ended yet may commit another offset there."""
        return self._pending.waits(name, place)

    def commit(self) -> Commit | None:
        """What says when all that was changed until now is kept; None: it is."""
        return self._facts.commit()

    # --- what is kept, and for how long

    def _restore(self) -> None:
        for fact, value in self._facts.under("topic/").items():
            found = committed.parse_name(fact)
            if found is not None:
                try:
                    offset = committed.decode(value)
                except ValueError as error:
                    log.warning("the fact %s is no offset, and is left out: %s", fact, error)
                else:
                    name, place = found
                    self._make_again(name).offsets.restore(place, offset)
        for name in self._pending.groups:
            self._make_again(name)
        for fact, value in self._facts.under(PREFIX).items():
            name = unquote(fact.removeprefix(PREFIX))
            group = self._make_again(name)
            try:
                self._emptied_ms[name] = kept_group.restore(group, value)
            except (ValueError, KeyError, TypeError) as error:
                log.warning("the fact %s is no group, and is left out: %r", fact, error)

    def _warn_of_both_kinds(self) -> None:
        """Without ``--kafka`` nobody keeps line groups from having such a name."""
        both = self._groups.keys() & {name for topic in self._broker.topics.values() for name in topic.groups}
        for name in sorted(both):
            log.warning("group %r is one of Kafka's clients and one of the line protocol: delete one of them", name)

    def _make_again(self, name: str) -> Group:
        """A group of which something was found. Unless there is more, only what it has committed tells its age."""
        group = self._groups.get(name)
        if group is None:
            group = self._make(name)
            self._emptied_ms[name] = 0
        return group

    def _keep(self, group: Group) -> Commit | None:
        if group.state is State.EMPTY:
            self._emptied_ms[group.name] = self._now_ms()
        self._facts.put(_fact(group), kept_group.encode(group, self._emptied_ms[group.name]))
        return self._facts.commit()

    def _weigh(self, more: int) -> None:
        self.held_bytes += more

    def _now_ms(self) -> int:
        return int(self._node.engine.clock() * 1000)

    def _is_unused(self, group: Group) -> bool:
        """Whether nothing would be lost with it."""
        if group.state is not State.EMPTY or group.roster.pending or group.name in self._pending:
            return False
        return not group.offsets

    def _forget(self, group: Group) -> None:
        del self._groups[group.name]
        del self._emptied_ms[group.name]
        group.close()
        group.offsets.clear()
        self._pending.remove(group.name)
        self._facts.put(_fact(group), None)

    def _tell_full(self, what: str, why: str) -> None:
        """Clients are told a code only, which says something else."""
        now = self._agenda.clock()
        if now >= self._tell_again_at:
            self._tell_again_at = now + TELL_AGAIN_SECONDS
            log.warning("further %s are refused: %s", what, why)

    def _forget_unused(self) -> None:
        """Forget groups of which nothing would be lost; not again for a moment, for there may be many to look at."""
        if self._agenda.clock() < self._look_again_at:
            return
        self._look_again_at = self._agenda.clock() + LOOK_AGAIN_SECONDS
        for group in self:
            if self._is_unused(group):
                self._forget(group)

    def _look_later(self) -> None:
        self._agenda.at(self._agenda.clock() + LOOK_SECONDS, lambda: self._look(iter(self)))

    def _look(self, groups: Iterator[Group]) -> None:
        """Forget some of the groups that have been without members for long, and then the others."""
        before_ms = self._now_ms() - int(KEPT_SECONDS * 1000)
        some = list(islice(groups, LOOKED_AT_ONCE))
        for group in some:
            if group.state is not State.EMPTY or group.roster.pending or group.name in self._pending:
                continue
            is_old = max(self._emptied_ms[group.name], group.offsets.latest_ms) < before_ms
            if is_old or not group.offsets:
                self._forget(group)
        if some:
            self._agenda.at(self._agenda.clock(), partial(self._look, groups))
        else:
            self._look_later()

    def _stop(self) -> None:
        for group in self:
            group.stop(Code.COORDINATOR_NOT_AVAILABLE)


def _fact(group: Group) -> str:
    return PREFIX + quote(group.name, safe="")
