"""A topic: partitions with messages in them, and the groups that consume them.

Knows no socket and no wire format. Nothing here blocks or switches greenlets, so every method is atomic.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count as counting
from typing import Literal, TypeAlias

from gstream.agenda import Agenda, Entry
from gstream.batch import PARTITION_SHIFT, Batch, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.errors import BusyError, FullError, UnknownNameError
from gstream.group import Group
from gstream.murmur import murmur2
from gstream.recent import RecentIds
from gstream.share import peek_in_turn
from gstream.storage.memory import Memory

__all__ = ["DEAD_LETTERS", "DEFAULT_GROUP", "PEEK_MESSAGES", "Limit", "Topic", "TopicSettings"]

log = logging.getLogger(__name__)

DEFAULT_GROUP = "default"
"""The tutorial's consumers: what a connection consumes as that names no group."""

DEAD_LETTERS = ".dlq"
"""What the name of a topic's dead letters ends in."""

PEEK_MESSAGES = 1000
PEEK_BYTES = 1 << 20
"""More is not looked at at once."""

TELL_SECONDS = 1.0
"""How often the log tells of dead letters, of which there may be a million at once."""

DELAYED_BYTES = 200
"""What a delayed message costs beyond its own bytes."""


Limit: TypeAlias = "float | Literal['default'] | None"
"""What is said of a limit: a number (0: there is none), that it is the server's, or (None) nothing."""


@dataclass(frozen=True)
class TopicSettings:
    """What a topic is made with; those of the server are every topic's, but for what is said when one is made.

    partitions: how many it has. lease_seconds, max_attempts: see Group.
    """

    partitions: int = 1
    lease_seconds: float = 30.0
    max_attempts: int = 5


@dataclass(frozen=True, slots=True)
class _Delayed:
    """A message that is published later. id: under which it was published."""

    data: bytes
    kind: type[Batch]
    partition: int
    id: bytes | None


class Topic:
    """A named sequence of messages, in partitions, and the groups that consume them.

    dead_letters: gives the topic of the dead letters of this one.
    check_groups: raises FullError when no further group may be made.
    """

    def __init__(
        self,
        name: str,
        memory: Memory,
        agenda: Agenda,
        settings: TopicSettings,
        dead_letters: Callable[[], Topic],
        check_groups: Callable[[], None],
    ) -> None:
        self.name = name
        self._memory = memory
        self._agenda = agenda
        self.settings = settings
        self._dead_letters = dead_letters
        self._check_groups = check_groups
        self.partitions = [memory.open_log(name, number) for number in range(settings.partitions)]
        self.several = settings.partitions > 1
        """Whether there are several partitions, so that ids name them."""
        self.retain_bytes: int | None = None
        self.retain_seconds: float | None = None
        """How much, and how old messages, the engine keeps, taken or not; 0: no limit; None: as all topics."""
        self.removed = False
        self._turn = -1
        self.groups: dict[str, Group] = {}
        self.published_count = 0
        self._recent = RecentIds(memory, agenda.clock)
        self._forgetting: Entry | None = None
        self._delayed: list[tuple[float, int, _Delayed]] = []  # a heap by time
        self._next: Entry | None = None
        self._numbers = counting()
        self._dead_count = 0  # of which nothing was logged yet
        self._dead_reason = ""
        self._telling = False

    # --- publishing

    def publish(self, data: bytes, count: int) -> int:
        """Store ``count`` messages given as packed lines, and wake the consumers that wait.

        Returns how many were stored: all, or the first ones when there is no room for more.
        """
        return self._append(self._next_partition() if self.several else 0, data, count, Batch)

    def publish_bodies(self, bodies: Sequence[bytes], key: bytes | None = None) -> tuple[int, int]:
        """Store messages of any bytes.

        Returns how many were stored, which are the first ones, and the id of the first; the ids of the others follow.
        """
        partition = self._choose_partition(key)
        offset = self.partitions[partition].end_offset
        data, kind = _pack(bodies, key)
        return self._append(partition, data, len(bodies), kind), partition << PARTITION_SHIFT | offset

    def publish_once(self, body: bytes, key: bytes | None, delay_seconds: float, id: bytes | None) -> int | None:
        """Store one message, now or later; if it was published under this id before, do nothing.

        Returns the id of the message; None while it is delayed. Raises FullError.
        """
        if id is not None:
            self._recent.forget_old()
            if id in self._recent:
                return self._recent.find(id)
        if delay_seconds:
            self._delay(body, key, delay_seconds, id)
            message_id = None
        else:
            stored, message_id = self.publish_bodies([body], key)
            if not stored:
                raise self.full_error()
        if id is not None:
            self._remember(id, message_id)
        return message_id

    def full_error(self) -> FullError:
        """What to tell the producer of a message that was not stored."""
        return FullError(
            f"no room within {self._memory.max_bytes} bytes, the server's --max-memory; consume, or raise it"
        )

    def _append(self, partition: int, data: bytes, count: int, kind: type[Batch], *, always: bool = False) -> int:
        stored = self.partitions[partition].append(data, count, kind, always=always)
        self.published_count += stored
        for group in self.groups.values():
            if group.waiting:
                group.wake()
        return stored

    def _choose_partition(self, key: bytes | None) -> int:
        if not self.several:
            return 0
        if key is None:
            return self._next_partition()
        return (murmur2(key) & 0x7FFFFFFF) % len(self.partitions)  # Kafka's own choice, for any client's key

    def _next_partition(self) -> int:
        self._turn = (self._turn + 1) % len(self.partitions)
        return self._turn

    def _delay(self, body: bytes, key: bytes | None, seconds: float, id: bytes | None) -> None:
        data, kind = _pack([body], key)
        size = len(data) + DELAYED_BYTES
        self._memory.make_room(size)
        if size > self._memory.room_bytes:
            raise self.full_error()
        self._memory.held_bytes += size
        when = self._agenda.clock() + seconds
        delayed = _Delayed(data, kind, self._choose_partition(key), id)
        heapq.heappush(self._delayed, (when, next(self._numbers), delayed))
        if self._next is None or when < self._next.when:
            if self._next is not None:
                self._next.cancel()
            self._next = self._agenda.at(when, self._publish_delayed)

    def _publish_delayed(self) -> None:
        self._next = None
        now = self._agenda.clock()
        budget = 1000
        while self._delayed and self._delayed[0][0] <= now and budget:
            budget -= 1
            delayed = heapq.heappop(self._delayed)[2]
            self._memory.held_bytes -= len(delayed.data) + DELAYED_BYTES
            message_id = delayed.partition << PARTITION_SHIFT | self.partitions[delayed.partition].end_offset
            self._append(delayed.partition, delayed.data, 1, delayed.kind, always=True)
            if delayed.id is not None and delayed.id in self._recent:
                self._recent.remember(delayed.id, message_id)
        if self._delayed:
            self._next = self._agenda.at(self._delayed[0][0], self._publish_delayed)

    def _remember(self, id: bytes, message_id: int | None) -> None:
        self._recent.remember(id, message_id)
        if self._forgetting is None:
            self._forget_ids()

    def _forget_ids(self) -> None:
        when = self._recent.forget_old()
        self._forgetting = None if when is None else self._agenda.at(when, self._forget_ids)

    # --- groups

    def group(self, name: str = DEFAULT_GROUP) -> Group:
        """The group of that name, made on first use. Raises FullError when there are too many."""
        group = self.groups.get(name)
        if group is None:
            self._check_groups()
            group = self.groups[name] = Group(
                name,
                self.partitions,
                self._agenda,
                lease_seconds=self.settings.lease_seconds,
                max_attempts=0 if self.is_dead_letters else self.settings.max_attempts,
                bury=self._bury,
            )
        return group

    def forget_group(self, name: str) -> None:
        """Remove a group. Raises UnknownNameError and BusyError."""
        group = self.groups.get(name)
        if group is None:
            raise UnknownNameError("no such group")
        if group.busy:
            raise BusyError("the group has consumers")
        del self.groups[name]
        group.close()

    @property
    def is_dead_letters(self) -> bool:
        """Whether these are dead letters, which do not become dead letters again."""
        return self.name.endswith(DEAD_LETTERS)

    def _bury(self, group: Group, batch: Batch, reason: str) -> None:
        """These messages of a group are dead letters now."""
        topic = self._dead_letters()
        prefix = f"{batch.partition}:" if self.several else ""
        for message in batch.messages():
            headers = (
                *((name, value) for name, value in message.headers if not name.startswith("dead.")),
                ("dead.reason", reason.encode()),
                ("dead.topic", self.name.encode()),
                ("dead.id", f"{prefix}{message.offset}".encode()),
                ("dead.group", group.name.encode()),
                ("dead.attempts", b"%d" % batch.attempt),
            )
            topic.take_in(pack_counted(message.body, message.key, headers), message.key)
        self._dead_count += batch.count
        self._dead_reason = reason
        if not self._telling:
            self._tell_dead()

    def _tell_dead(self) -> None:
        """Log how many died since the last time, at once for the first, and then once in a while."""
        self._telling = self._dead_count > 0
        if self._telling:
            facts = {"topic": self.name, "messages": self._dead_count, "last_reason": self._dead_reason}
            log.warning("dead letters", extra=facts)
            self._dead_count = 0
            self._agenda.at(self._agenda.clock() + TELL_SECONDS, self._tell_dead)

    def take_in(self, data: bytes, key: bytes | None) -> None:
        """Store a counted message that another topic gives up; it is not lost for want of room."""
        self._append(self._choose_partition(key), data, 1, CountedBatch, always=True)

    # --- what is set for it, and its end

    def change(self, retain_bytes: Limit = None, retain_seconds: Limit = None) -> None:
        """Set its limits, as far as something is said of them; only where the engine has some."""
        if retain_bytes is None and retain_seconds is None:
            return
        if retain_bytes is not None:
            self.retain_bytes = None if isinstance(retain_bytes, str) else int(retain_bytes)
        if retain_seconds is not None:
            self.retain_seconds = None if isinstance(retain_seconds, str) else retain_seconds
        self._memory.set_limits(self.name, self.retain_bytes, self.retain_seconds)

    def close(self) -> None:
        """Forget everything but the logs, which are the engine's: the topic is removed. Raises BusyError."""
        if any(group.busy for group in self.groups.values()):
            raise BusyError("the topic has consumers")
        self.removed = True
        for group in self.groups.values():
            group.close()
        self.groups.clear()
        for entry in (self._next, self._forgetting):
            if entry is not None:
                entry.cancel()
        for _, _, delayed in self._delayed:
            self._memory.held_bytes -= len(delayed.data) + DELAYED_BYTES
        self._delayed.clear()
        self._recent.clear()

    # --- what is there

    def peek(self, group_name: str, max_messages: int, max_bytes: int = PEEK_BYTES) -> list[Batch]:
        """The next messages that this group would get, or would if it existed; see Group.peek."""
        group = self.groups.get(group_name)
        if group is not None:
            return group.peek(max_messages, max_bytes)
        peeks = [partial(log.peek, log.oldest_offset) for log in self.partitions]
        return peek_in_turn(peeks, max_messages, max_bytes)

    @property
    def message_count(self) -> int:
        """How many messages are kept."""
        return sum(log.end_offset - log.oldest_offset for log in self.partitions)

    @property
    def unfinished_count(self) -> int:
        """How many messages somebody has still to take or to acknowledge."""
        lags = [group.lag for group in self.groups.values()] or [self.message_count]
        return max(lags) + self.delayed_count

    @property
    def kept_bytes(self) -> int:
        """What they take."""
        return sum(log.kept_bytes for log in self.partitions)

    @property
    def delayed_count(self) -> int:
        """How many are published later."""
        return len(self._delayed)


def _pack(bodies: Sequence[bytes], key: bytes | None) -> tuple[bytes, type[Batch]]:
    """Messages as a batch keeps them: as packed lines, where that is possible."""
    if key is None:
        lines = pack(*bodies)
        if lines.count(b"\n") == len(bodies):
            return lines, Batch
    return b"".join([pack_counted(body, key) for body in bodies]), CountedBatch
