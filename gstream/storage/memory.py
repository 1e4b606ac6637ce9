"""The memory engine: logs held in memory, together bounded by one budget.

A log is a chain of pieces. Each group reads with a cursor of its own, so a further group costs no copy. What lies
before the slowest cursor has been taken by every group: the newest ``retain_bytes`` of it are kept for replay, as long
as the room is not needed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gstream.batch import Batch
from gstream.storage.budget import Budget
from gstream.storage.chain import Chain, Cursor

__all__ = ["Memory", "MemoryLog"]

DROPPED_AT_ONCE = 1000
LOOKED_AT_ONCE = 16
"""Pieces, and logs, so that nobody waits for more than a millisecond."""


class Memory(Budget):
    """The budget that all logs of a server share.

    max_bytes: how many bytes of messages may be stored.
    retain_bytes: how much of what all groups have taken each log keeps; about, whole pieces are dropped.
    clock: seconds since 1970.
    """

    name = "memory"
    promise = "messages are lost when the server stops"
    keeps = False
    file_count = 0
    state = None
    """Nothing is kept of groups."""
    topic_names = ()
    """Nothing is there when it is opened."""

    def __init__(self, max_bytes: int, retain_bytes: int = 0, clock: Callable[[], float] = time.time) -> None:
        super().__init__(max_bytes)
        self.retain_bytes = retain_bytes
        self.clock = clock
        self.stored_bytes = 0
        """Of all messages in logs: used, and retained."""
        self.reclaimable: dict[MemoryLog, None] = {}
        """Logs that retain whole pieces."""
        self._logs: deque[MemoryLog] = deque()

    def open_log(self, topic: str = "", partition: int = 0) -> MemoryLog:  # noqa: ARG002  # names are for files
        """A new, empty log within this budget, for the partition of that number."""
        log = MemoryLog(self, partition)
        self._logs.append(log)
        return log

    def set_limits(self, topic: str, limit_bytes: int | None, limit_seconds: float | None) -> None:
        """What this topic may keep; None: what the server's settings say. Not asked for: this engine has no limits."""

    def remove_topic(self, name: str, logs: Iterable[Any]) -> None:  # noqa: ARG002  # names are for files
        """Keep nothing of these logs, which are all of the topic; nobody reads or writes them any more."""
        for log in logs:
            self.used_bytes -= log.end_place - log.low_place
            self.stored_bytes -= log.kept_bytes
            self.reclaimable.pop(log, None)
            self._logs.remove(log)

    def rows(self) -> Iterator[tuple[str, object]]:
        """What there is to tell of it: names and values."""
        yield "memory.used", self.used_bytes
        yield "memory.held", self.held_bytes
        yield "memory.retained", self.stored_bytes - self.used_bytes

    def start(self) -> None:
        """There is nothing to do."""

    def close(self) -> None:
        """There is nothing to do."""

    def make_room(self, size: int) -> None:
        """Drop what is only retained until so many bytes fit in, as far as that is possible."""
        while self.reclaimable and self.stored_bytes + self.held_bytes + size > self.max_bytes:
            log = next(iter(self.reclaimable))
            if not log.drop_oldest():
                del self.reclaimable[log]
        if self.stored_bytes > self.used_bytes and self.stored_bytes + self.held_bytes + size > self.max_bytes:
            for _ in range(min(LOOKED_AT_ONCE, len(self._logs))):  # a piece that grows, and was taken whole
                self._logs.rotate(-1)
                self._logs[0].drop_oldest()


class MemoryLog(Chain):
    """An append-only sequence of messages with consecutive offsets."""

    budget: Memory

    def __init__(self, memory: Memory, partition: int) -> None:
        super().__init__(memory, partition)
        self.low_place = 0
        """Of the slowest cursor; of the oldest message, as long as there is no cursor."""

    @property
    def oldest_offset(self) -> int:
        """The offset of the oldest message that is kept; the end's if there is none."""
        return self.first_offset

    @property
    def next_offset(self) -> int:
        """What the next message that is appended gets."""
        return self.end_offset

    def append(self, data: bytes, count: int, kind: type[Batch] = Batch, *, always: bool = False) -> int:
        """Store messages, given as a batch of that kind keeps them, as many of them as there is room for.

        always: store all of them; they were counted against the budget before.

        Returns how many messages were stored: ``count``, or fewer when the budget does not last; what is stored
        are always the first ones.
        """
        memory = self.budget
        if kind is not self._last.kind:
            data, kind = self.recounted(data, count, kind)
        size = len(data)
        if memory.stored_bytes + memory.held_bytes + size > memory.max_bytes:
            memory.make_room(size)
            room = memory.room_bytes
            if size > room and not always:
                count, size = kind.find_fitting(data, 0, max(0, room))
                if size > room:
                    return 0
                data = data[:size]
        memory.used_bytes += size
        memory.stored_bytes += size
        self.add(data, count, kind, int(memory.clock() * 1000))
        return count

    def open_cursor(self) -> Cursor:
        """A new cursor, at the oldest message that is kept."""
        cursor = Cursor(self, self._pieces[self._first])
        self.cursors.append(cursor)
        self.alone = len(self.cursors) == 1
        self.settle()
        return cursor

    def close_cursor(self, cursor: Cursor) -> None:
        """Keep nothing for it any more."""
        self.cursors.remove(cursor)
        self.alone = len(self.cursors) == 1
        self.settle()

    def peek(self, offset: int, max_messages: int, max_bytes: int) -> list[Batch]:
        """Messages from this offset on: at most so many, and about so many bytes of them."""
        return self.read_on(offset, max_messages, max_bytes)

    # --- what is kept

    def settle(self) -> None:
        """The slowest cursor has moved."""
        cursors = self.cursors
        if len(cursors) == 1:
            low = cursors[0].place
        elif cursors:
            low = min([cursor.place for cursor in cursors])
        else:  # what was taken when the last group was forgotten stays taken, until a new one comes
            low = self.low_place
        self.budget.used_bytes -= low - self.low_place
        self.low_place = low
        if low >= self.first_end:
            for _ in range(DROPPED_AT_ONCE):
                if low - self.budget.retain_bytes < self.first_end:
                    break
                self._drop_first()
            if low >= self.first_end:
                self.budget.reclaimable[self] = None

    def drop_oldest(self) -> bool:
        """Drop the oldest piece, if every group has taken all of it; says whether that was so."""
        only = self.piece_count == 1
        everything = only and self.low_place == self._end_place and self._last.count
        if everything or self.low_place >= self.first_end:
            self._drop_first()
            return True
        return False

    def _drop_first(self) -> None:
        dropped = self.drop_first()
        self.budget.stored_bytes -= len(dropped.data)
        dropped.data = b""  # a cursor may rest at its end
