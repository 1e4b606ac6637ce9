"""A topic: partitions with messages in them, and the groups that consume them.

What is published may have to be stored before it is known to be: then ``commit`` says when it is, and nobody is given
it before.

Knows no socket and no wire format. Nothing but :meth:`Topic.peek` blocks or switches greenlets, so every other method
is atomic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from gstream.agenda import Agenda, Entry
from gstream.batch import OFFSET_BITS, PARTITION_SHIFT, Batch
from gstream.commit import Commit, after, together
from gstream.counted import CountedBatch, pack_bodies, pack_counted
from gstream.delays import Delayed, Delays
from gstream.errors import BusyError, UnknownNameError
from gstream.group import Group
from gstream.obituaries import Obituaries
from gstream.partitions import AnyEngine, Partitions
from gstream.recent import RecentIds
from gstream.share import AnyLog, peek_in_turn
from gstream.storage.changes import TopicRow
from gstream.topic_options import TopicOptions

if TYPE_CHECKING:
    from gstream.progress import Progress
    from gstream.storage.disk import Disk
    from gstream.storage.disklog import DiskLog

__all__ = ["DEAD_LETTERS", "DEFAULT_GROUP", "PEEK_MESSAGES", "AnyEngine", "Limit", "Topic", "TopicSettings"]

DEFAULT_GROUP = "default"
"""The tutorial's consumers: what a connection consumes as that names no group."""

DEAD_LETTERS = ".dlq"
"""What the name of a topic's dead letters ends in."""

PEEK_MESSAGES = 1000
PEEK_BYTES = 1 << 20
"""More is not looked at at once."""

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


class Topic(Partitions):
    """A named sequence of messages, in partitions, and the groups that consume them.

    dead_letters: gives the topic of the dead letters of this one.
    check_group: is called with the name of a further group; raises FullError or BusyError when it may not be made.
    grow: is called with how many partitions more there are to be; raises FullError when they may not be made.
    """

    def __init__(
        self,
        name: str,
        engine: AnyEngine,
        agenda: Agenda,
        settings: TopicSettings,
        dead_letters: Callable[[], Topic],
        check_group: Callable[[Topic, str], None],
        grow: Callable[[Topic, int], None],
    ) -> None:
        super().__init__(name, engine, settings.partitions)
        self._agenda = agenda
        self.settings = settings
        self._dead_letters = dead_letters
        self._check_group = check_group
        self._grow = grow
        self.retain_bytes: int | None = None
        self.retain_seconds: float | None = None
        """How much, and how old messages, the engine keeps, taken or not; 0: no limit; None: as all topics."""
        self.options: TopicOptions = engine.terms.options(name)
        """What Kafka's clients have set for it."""
        self._log_commit: Commit | None = None
        self.removed = False
        self._recent = RecentIds(engine, agenda.clock, self._keep_id if self._state is not None else None)
        self._forgetting: Entry | None = None
        self._delays = Delays(name, engine, agenda, self._publish_delayed, self._state, engine.clock)
        self._obituaries = Obituaries(name, agenda)
        if self._state is not None:
            self._restore()

    def _restore(self) -> None:
        """Be as the engine has kept it."""
        engine, state = cast("Disk", self._engine), self._state
        assert state is not None
        self.retain_bytes, self.retain_seconds = engine.terms.own_limits(self.name)
        self._keep_settings()
        saved = engine.take_saved(self.name)
        ends = [log.end_offset for log in self.partitions]
        recent: dict[bytes, tuple[int | None, float]] = {}
        for id, (message_id, when_ms) in saved.recent.items():
            if message_id is None or message_id & OFFSET_BITS < ends[message_id >> PARTITION_SHIFT]:
                recent[id] = message_id, engine.clock() - when_ms / 1000
            else:  # the message was lost with the power; another one will have its place
                state.changes.recent[self.name, id] = None
        self._recent.restore(recent)
        self._delays.restore(saved.delayed, len(self.partitions))
        for group in saved.groups:
            self._make_group(group)
        if len(self._recent):
            self._forget_ids()

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
        offset = self.partitions[partition].next_offset
        data, kind = pack_bodies(bodies, key)
        return self._append(partition, data, len(bodies), kind), partition << PARTITION_SHIFT | offset

    def publish_once(self, body: bytes, key: bytes | None, delay_seconds: float, id: bytes | None) -> int | None:
        """Store one message, now or later; if it was published under this id before, do nothing.

        Returns the id of the message; None while it is delayed. Raises FullError, and DiskError while what has to be
        kept for it cannot be.
        """
        if id is not None:
            self._recent.forget_old()
            if id in self._recent:
                self.commit = self._recent.commit(id)
                return self._recent.find(id)
        if self._state is not None:
            self._state.check()
        message_id: int | None
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

    def _delay(self, body: bytes, key: bytes | None, seconds: float, id: bytes | None) -> None:
        data, kind = pack_bodies([body], key)
        self._engine.make_room(len(data))
        if len(data) > self._delays.room_bytes:
            raise self.full_error()
        self.commit = self._delays.add(Delayed(data, kind, self._choose_partition(key), id), seconds)

    def _publish_delayed(self, delayed: Delayed) -> Commit | None:
        message_id = delayed.partition << PARTITION_SHIFT | self.partitions[delayed.partition].next_offset
        self._append(delayed.partition, delayed.data, 1, delayed.kind, always=True)
        commit = self.commit
        if delayed.id is not None:
            after(commit, partial(self._note_id, delayed.id, message_id, commit))
        return commit

    def _note_id(self, id: bytes, message_id: int, commit: Commit | None) -> None:
        """The delayed message that was published under this id is stored, or is tried again."""
        if (commit is None or commit.error is None) and id in self._recent:
            self._recent.remember(id, message_id)

    def _remember(self, id: bytes, message_id: int | None) -> None:
        if self.commit is None or self._state is None:
            self._recent.remember(id, message_id)
        elif message_id is None:
            self._recent.remember_with(id, None, self.commit)  # in one transaction
        else:
            self.commit = self._recent.remember_after(id, message_id, self.commit, self._state.commit)
        if self._forgetting is None:
            self._forget_ids()

    def _keep_id(self, id: bytes, answer: tuple[int | None, float] | None) -> None:
        assert self._state is not None
        kept = None if answer is None else (answer[0], int((self._engine.clock() - answer[1]) * 1000))
        self._state.changes.recent[self.name, id] = kept
        self._state.note()

    def _forget_ids(self) -> None:
        when = self._recent.forget_old()
        self._forgetting = None if when is None else self._agenda.at(when, self._forget_ids)

    # --- groups

    def group(self, name: str = DEFAULT_GROUP) -> Group:
        """The group of that name, made on first use. Raises FullError when there are too many, and BusyError."""
        group = self.groups.get(name)
        if group is None:
            self._check_group(self, name)
            if self._state is not None:
                self._state.changes.groups.append((self.name, name))
                self._state.note()
            group = self._make_group(name)
        return group

    def _make_group(self, name: str) -> Group:
        group = self.groups[name] = Group(
            name,
            self.partitions,
            self._agenda,
            lease_seconds=self.settings.lease_seconds,
            max_attempts=0 if self.is_dead_letters else self.settings.max_attempts,
            bury=self._bury,
            progress=None if self._state is None else partial(self._progress, name),
        )
        return group

    def _progress(self, group: str, log: AnyLog) -> Progress:
        return cast("Disk", self._engine).progress(cast("DiskLog", log), group)

    def forget_group(self, name: str) -> None:
        """Remove a group. Raises UnknownNameError and BusyError."""
        group = self.groups.get(name)
        if group is None:
            raise UnknownNameError("no such group")
        if group.busy:
            raise BusyError("the group has consumers")
        del self.groups[name]
        group.close()
        if self._state is not None:
            self._state.changes.remove_group(self.name, name)
            self._state.note()

    @property
    def is_dead_letters(self) -> bool:
        """Whether these are dead letters, which do not become dead letters again."""
        return self.name.endswith(DEAD_LETTERS)

    def _bury(self, group: Group, batch: Batch, reason: str) -> Commit | None:
        """These messages of a group are dead letters now; when that is stored (None: it is)."""
        topic = self._dead_letters()
        commits: dict[Commit | None, None] = {}
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
            commits[topic.take_in(pack_counted(message.body, message.key, headers), message.key)] = None
        self._obituaries.note(batch.count, reason)
        return together(commits)

    def take_in(self, data: bytes, key: bytes | None) -> Commit | None:
        """Store a counted message that another topic gives up; it is not lost for want of room. When it is stored."""
        self._append(self._choose_partition(key), data, 1, CountedBatch, always=True)
        return self.commit

    # --- what is set for it, and its end

    def change(self, retain_bytes: Limit = None, retain_seconds: Limit = None) -> None:
        """Set its limits, as far as something is said of them."""
        if retain_bytes is None and retain_seconds is None:
            return
        if retain_bytes is not None:
            self.retain_bytes = None if isinstance(retain_bytes, str) else int(retain_bytes)
        if retain_seconds is not None:
            self.retain_seconds = None if isinstance(retain_seconds, str) else retain_seconds
        self._engine.set_limits(self.name, self.retain_bytes, self.retain_seconds)
        self._keep_settings()

    def set_options(self, options: TopicOptions) -> None:
        """Have these, which are kept."""
        if options != self.options:
            self.options = options
            self._engine.set_options(self.name, options, self.partitions)  # type: ignore[arg-type]  # they are its own

    def make_log(self) -> Commit | None:
        """From now on what groups have taken is kept, too: others read it who are no groups of this topic.

        When that is on disk, so that it holds after a crash as well (None: it is).
        """
        if not self.options.is_log:
            self.set_options(replace(self.options, is_log=True))
            self._log_commit = self.keep()
        elif self._log_commit is not None and self._log_commit.is_done:
            self._log_commit = None if self._log_commit.error is None else self.keep()
        return self._log_commit

    def add_partitions(self, count: int) -> None:
        """Have so many partitions more, of which each group has its share. Raises FullError when they are too many."""
        self._grow(self, count)
        before = len(self.partitions)
        for number in range(before, before + count):
            log = self._engine.open_log(self.name, number)
            if self._state is not None:
                log.on_stored = self._stored  # type: ignore[union-attr]
            self.partitions.append(log)
            for group in self.groups.values():
                group.add_log(log)
        self.several = len(self.partitions) > 1
        self.settings = replace(self.settings, partitions=len(self.partitions))
        self._keep_settings()

    def _keep_settings(self) -> None:
        if self._state is not None:
            row = TopicRow(self.settings.partitions, self.retain_bytes, self.retain_seconds)
            self._state.changes.topics[self.name] = row
            self._state.note()

    def keep(self) -> Commit | None:
        """Keep what is set for it at once; when that is done (None: nothing is kept)."""
        return None if self._state is None else self._state.commit()

    def close(self) -> None:
        """Forget everything but the logs, which are the engine's: the topic is removed. Raises BusyError."""
        if any(group.busy for group in self.groups.values()):
            raise BusyError("the topic has consumers")
        self.removed = True
        for group in self.groups.values():
            group.close()
        self.groups.clear()
        self._tell_watchers()
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._delays.clear()
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
    def unfinished_count(self) -> int:
        """How many messages somebody has still to take or to acknowledge."""
        lags = [group.lag for group in self.groups.values()] or [self.message_count]
        return max(lags) + self.delayed_count

    @property
    def delayed_count(self) -> int:
        """How many are published later."""
        return len(self._delays)
