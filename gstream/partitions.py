"""Partitions: a topic's logs, and what is told when something new lies in them.

Knows no socket and no wire format, and of groups only that they wait. Nothing here blocks or switches greenlets, so
every method is atomic.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from gstream.batch import Batch
from gstream.commit import Commit
from gstream.errors import FullError
from gstream.group import Group
from gstream.header import Header
from gstream.murmur import murmur2
from gstream.record import CONTROL
from gstream.share import AnyLog
from gstream.storage.placed import Placed

if TYPE_CHECKING:
    from gstream.storage.disk import Disk
    from gstream.storage.memory import Memory

__all__ = ["AnyEngine", "Partitions"]

log = logging.getLogger(__name__)

AnyEngine: TypeAlias = "Memory | Disk"

TOLD_SECONDS = 60.0
"""That records are refused is logged no more often."""


class Partitions:
    """The logs of a topic, and those who wait for what is stored in them.

    count: how many there are.
    """

    def __init__(self, name: str, engine: AnyEngine, count: int) -> None:
        self.name = name
        self._engine = engine
        self._state = engine.state
        self.partitions: list[AnyLog] = [engine.open_log(name, number) for number in range(count)]
        self.several = count > 1
        """Whether there are several partitions, so that ids name them."""
        self.groups: dict[str, Group] = {}
        self.watchers: dict[Callable[[], object], None] = {}
        """Each is called, in the hub, whenever there is more to read than there was, and when the topic is removed; it
        must not block."""
        self.commit: Commit | None = None
        """When what was published last is stored; None: it is."""
        self.published_count = 0
        self._turn = -1
        self._told_full = -math.inf
        if self._state is not None:
            for each in self.partitions:
                each.on_stored = self._stored  # type: ignore[union-attr]

    def append_records(self, partition: int, data: bytes | memoryview, header: Header) -> Placed:
        """Store a whole record batch that was checked, as it is but for its offset; where it lies, and when.

        data: nobody changes it any more. Raises FullError, and ProducerError if it is not the one that is due from
        its producer; then nothing is stored.
        """
        placed = self.partitions[partition].append_records(data, header)
        if placed is None:
            raise self._refuse_records()
        if self._state is None and not placed.is_duplicate:
            self._stored(0 if header.attributes & CONTROL else header.records)
        return placed

    def _refuse_records(self) -> FullError:
        """What to tell their producer, who tries again and keeps it to itself; so the log tells it, too."""
        engine = self._engine
        cure = (
            "set a limit for the topic (retention.bytes, retention.ms), consume by lines, or raise it"
            if self._state is None
            else "so much waits to be written; send again"
        )
        error = FullError(f"no room within {engine.max_bytes} bytes, the server's --max-memory; {cure}")
        now = engine.clock()
        if not self._told_full <= now < self._told_full + TOLD_SECONDS:
            self._told_full = now
            log.warning("records are refused: %s", error, extra={"topic": self.name})
        return error

    def full_error(self) -> FullError:
        """What to tell the producer of a message that was not stored."""
        return FullError(
            f"no room within {self._engine.max_bytes} bytes, the server's --max-memory; consume, or raise it"
        )

    def _append(self, partition: int, data: bytes, count: int, kind: type[Batch], *, always: bool = False) -> int:
        each = self.partitions[partition]
        stored = each.append(data, count, kind, always=always)
        if self._state is None:
            self._stored(stored)
        else:
            self.commit = each.commit  # type: ignore[union-attr]
        return stored

    def _stored(self, count: int) -> None:
        """So many more messages can be taken."""
        self.published_count += count
        for group in self.groups.values():
            if group.waiting:
                group.wake()
        if self.watchers:
            self._tell_watchers()

    def _tell_watchers(self) -> None:
        for watcher in list(self.watchers):  # each may go meanwhile
            watcher()

    def _choose_partition(self, key: bytes | None) -> int:
        if not self.several:
            return 0
        if key is None:
            return self._next_partition()
        return (murmur2(key) & 0x7FFFFFFF) % len(self.partitions)  # Kafka's own choice, for any client's key

    def _next_partition(self) -> int:
        self._turn = (self._turn + 1) % len(self.partitions)
        return self._turn

    # --- what is there

    @property
    def message_count(self) -> int:
        """How many messages are kept."""
        return sum(each.end_offset - each.oldest_offset for each in self.partitions)

    @property
    def kept_bytes(self) -> int:
        """What they take."""
        return sum(each.kept_bytes for each in self.partitions)
