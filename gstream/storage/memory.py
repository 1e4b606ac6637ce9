"""The memory engine: logs held in memory, together bounded by one budget.

A log is a list of segments. Large batches become a segment as they are, without a copy; small ones are gathered in
an open segment, so that messages published one at a time cost no more memory than those published in bursts. Each
group reads with a cursor of its own, so a further group costs no copy. What lies before the slowest cursor has been
taken by every group: the newest ``retain_bytes`` of it are kept for replay, as long as the room is not needed.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable

from gstream.batch import LF, Batch, Times
from gstream.counted import CountedBatch, pack_counted

__all__ = ["Cursor", "Memory", "MemoryLog"]

OPEN_SEGMENT_BYTES = 64 * 1024
"""An open segment is closed at this size: small enough that a consumed one is soon freed."""

LARGE_BATCH_BYTES = 16 * 1024
"""A batch from this size on is kept as it came; copying it would cost more than its own segment's 200 bytes."""


SMALL_BATCH_BYTES = 1024
"""Lines up to this size are counted where counted messages came before them: a segment for each costs 200 bytes."""

DROPPED_AT_ONCE = 1000
LOOKED_AT_ONCE = 16
"""Segments, and logs, so that nobody waits for more than a millisecond."""

_NEVER = 1 << 62


class Memory:
    """The budget that all logs of a server share.

    max_bytes: how many bytes of messages may be stored. A message costs its body and PACKING_BYTES; what Python itself
    adds is a few percent.
    retain_bytes: how much of what all groups have taken each log keeps; about, whole segments are dropped.
    clock: seconds since 1970.
    """

    name = "memory"
    promise = "messages are lost when the server stops"

    def __init__(self, max_bytes: int, retain_bytes: int = 0, clock: Callable[[], float] = time.time) -> None:
        self.max_bytes = max_bytes
        self.retain_bytes = retain_bytes
        self.clock = clock
        self.used_bytes = 0
        """Of messages in logs that a group has still to take."""
        self.held_bytes = 0
        """Of what is kept outside of logs: leased and returned messages, delayed ones, ids."""
        self.stored_bytes = 0
        """Of all messages in logs: used, and retained."""
        self.reclaimable: dict[MemoryLog, None] = {}
        """Logs that retain whole segments."""
        self._logs: deque[MemoryLog] = deque()

    @property
    def room_bytes(self) -> int:
        """How much may still be stored, if everything that is only retained goes."""
        return self.max_bytes - self.used_bytes - self.held_bytes

    def open_log(self, partition: int = 0) -> MemoryLog:
        """A new, empty log within this budget, for the partition of that number."""
        log = MemoryLog(self, partition)
        self._logs.append(log)
        return log

    def make_room(self, size: int) -> None:
        """Drop what is only retained until so many bytes fit in, as far as that is possible."""
        while self.reclaimable and self.stored_bytes + self.held_bytes + size > self.max_bytes:
            log = next(iter(self.reclaimable))
            if not log.drop_oldest():
                del self.reclaimable[log]
        if self.stored_bytes > self.used_bytes and self.stored_bytes + self.held_bytes + size > self.max_bytes:
            for _ in range(min(LOOKED_AT_ONCE, len(self._logs))):  # a segment that grows, and was taken whole
                self._logs.rotate(-1)
                self._logs[0].drop_oldest()


class _Segment:
    """A part of a log: messages of one kind with consecutive offsets, growing while ``data`` is a bytearray.

    place: where it begins, in bytes since the log's beginning. times: as in Batch, growing with it.
    """

    __slots__ = ("count", "data", "following", "kind", "offset", "place", "times")

    def __init__(
        self, offset: int, place: int, count: int, data: bytes | bytearray, kind: type[Batch], time_ms: int
    ) -> None:
        self.offset = offset
        self.place = place
        self.count = count
        self.data = data
        self.kind = kind
        self.times: int | tuple[array[int], array[int]] = time_ms
        self.following: _Segment | None = None

    @property
    def grows(self) -> bool:
        """Whether there is room for more messages in it."""
        return type(self.data) is bytearray and len(self.data) < OPEN_SEGMENT_BYTES

    def note_time(self, offset: int, time_ms: int) -> None:
        """From this offset on, messages were published at another time."""
        if not self.count:
            self.times = time_ms
            return
        if isinstance(self.times, int):
            self.times = (array("q", (self.offset,)), array("q", (self.times,)))
        self.times[0].append(offset)
        self.times[1].append(time_ms)

    def find_time(self, time_ms: int) -> int | None:
        """The offset of its first message published then or later."""
        if isinstance(self.times, int):
            return self.offset if self.times >= time_ms else None
        offsets, times = self.times
        at = bisect_left(times, time_ms)
        return offsets[at] if at < len(offsets) else None


class MemoryLog:
    """An append-only sequence of messages with consecutive offsets."""

    def __init__(self, memory: Memory, partition: int) -> None:
        self.memory = memory
        self.partition = partition
        self._last = _Segment(0, 0, 0, bytearray(), Batch, 0)
        self._segments = [self._last]  # those before the first are dropped already
        self._first = 0
        self._last_ms = 0
        self._cursors: list[Cursor] = []
        self.low_place = 0
        """Of the slowest cursor; of the oldest message, as long as there is no cursor."""
        self.first_end = _NEVER
        """Where the first segment ends, if it grows no more."""
        self.alone = False
        """Whether there is one cursor."""
        self._end_place = 0
        self.end_offset = 0
        """The offset of the next message."""

    @property
    def oldest_offset(self) -> int:
        """The offset of the oldest message that is kept; the end's if there is none."""
        return self._segments[self._first].offset

    @property
    def kept_bytes(self) -> int:
        """Of all messages that are kept."""
        return self._end_place - self._segments[self._first].place

    def append(self, data: bytes, count: int, kind: type[Batch] = Batch, *, always: bool = False) -> int:
        """Store messages, given as a batch of that kind keeps them, as many of them as there is room for.

        always: store all of them; they were counted against the budget before.

        Returns how many messages were stored: ``count``, or fewer when the budget does not last; what is stored
        are always the first ones.
        """
        memory = self.memory
        size = len(data)
        last = self._last
        if kind is not last.kind and size < SMALL_BATCH_BYTES and last.kind is CountedBatch and last.grows:
            data, kind = b"".join(map(pack_counted, kind(0, count, data).bodies())), CountedBatch
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
        time_ms = int(memory.clock() * 1000)
        if time_ms < self._last_ms:  # noqa: PLR1730  # max() takes as long as all of this
            time_ms = self._last_ms  # the clock was set back; times in a log never go back
        if size >= LARGE_BATCH_BYTES:
            self._start_segment(data, count, kind, time_ms)
        else:
            if last.kind is not kind or type(last.data) is bytes or len(last.data) >= OPEN_SEGMENT_BYTES:
                last = self._start_segment(bytearray(), 0, kind, time_ms)
            elif time_ms != self._last_ms:
                last.note_time(self.end_offset, time_ms)
            last.data += data
            last.count += count
        self._last_ms = time_ms
        self._end_place += size
        self.end_offset += count
        return count

    def _start_segment(self, data: bytes | bytearray, count: int, kind: type[Batch], time_ms: int) -> _Segment:
        last = self._last
        if type(last.data) is bytearray:
            last.data = bytes(last.data)  # exactly as large as its content: a bytearray keeps room to grow
        segment = _Segment(self.end_offset, self._end_place, count, data, kind, time_ms)
        last.following = segment
        self._last = segment
        if not self._segments[-1].count:  # the log's first, or the one after all were dropped
            self._segments.pop()
        self._segments.append(segment)
        self._note_first()
        return segment

    # --- reading

    def open_cursor(self) -> Cursor:
        """A new cursor, at the oldest message that is kept."""
        cursor = Cursor(self, self._segments[self._first])
        self._cursors.append(cursor)
        self.alone = len(self._cursors) == 1
        self.settle()
        return cursor

    def close_cursor(self, cursor: Cursor) -> None:
        """Keep nothing for it any more."""
        self._cursors.remove(cursor)
        self.alone = len(self._cursors) == 1
        self.settle()

    def peek(self, offset: int, max_messages: int, max_bytes: int) -> list[Batch]:
        """Messages from this offset on: at most so many, and about so many bytes of them."""
        segment, position, offset = self._find(offset)
        cursor = Cursor(self, segment)
        cursor.move(segment, position, offset)
        cursor.place = -_NEVER  # nowhere: it is none of those for which messages are kept
        found = []
        while max_messages > 0 and max_bytes > 0 and (batch := cursor.read(max_messages, max_bytes)):
            found.append(batch)
            max_messages -= batch.count
            max_bytes -= len(batch.data)
        return found

    def find_time(self, time_ms: int) -> int:
        """The offset of the first message that is kept and was published then or later; the end, if there is none."""
        at = bisect_left(self._segments, time_ms, lo=self._first, key=_first_ms)
        for segment in self._segments[max(self._first, at - 1) :]:
            if segment.count and (offset := segment.find_time(time_ms)) is not None:
                return offset
        return self.end_offset

    def _find(self, offset: int) -> tuple[_Segment, int, int]:
        """The segment of the message at this offset, where in it that begins, and the offset, which is made fit."""
        offset = min(max(offset, self.oldest_offset), self.end_offset)
        at = bisect_right(self._segments, offset, lo=self._first, key=lambda each: each.offset)
        segment = self._segments[at - 1]
        before = offset - segment.offset
        data = segment.data
        return segment, segment.kind.find_end(data, 0, len(data), before, segment.count) if before else 0, offset

    # --- what is kept

    def settle(self) -> None:
        """Called by cursors: the slowest one has moved."""
        cursors = self._cursors
        if len(cursors) == 1:
            low = cursors[0].place
        elif cursors:
            low = min([cursor.place for cursor in cursors])
        else:  # what was taken when the last group was forgotten stays taken, until a new one comes
            low = self.low_place
        self.memory.used_bytes -= low - self.low_place
        self.low_place = low
        if low >= self.first_end:
            for _ in range(DROPPED_AT_ONCE):
                if low - self.memory.retain_bytes < self.first_end:
                    break
                self._drop_first()
            if low >= self.first_end:
                self.memory.reclaimable[self] = None

    def drop_oldest(self) -> bool:
        """Drop the oldest segment, if every group has taken all of it; says whether that was so."""
        only = len(self._segments) - self._first == 1
        everything = only and self.low_place == self._end_place and self._last.count
        if everything or self.low_place >= self.first_end:
            self._drop_first()
            return True
        return False

    def _drop_first(self) -> None:
        if len(self._segments) - self._first == 1:
            self._start_segment(bytearray(), 0, Batch, self._last_ms)
        dropped = self._segments[self._first]
        self.memory.stored_bytes -= len(dropped.data)
        dropped.data = b""  # a cursor may rest at its end
        self._first += 1
        if self._first > len(self._segments) // 2:  # half of a list is moved for each half that is dropped
            del self._segments[: self._first]
            self._first = 0
        self._note_first()

    def _note_first(self) -> None:
        first = self._segments[self._first]
        grows = first is self._last and type(first.data) is bytearray
        self.first_end = _NEVER if grows else first.place + len(first.data)


def _first_ms(segment: _Segment) -> int:
    """When its first message was published."""
    return segment.times if isinstance(segment.times, int) else segment.times[1][0]


class Cursor:
    """A reader's place in a log. What lies behind all of a log's cursors is not kept for long."""

    __slots__ = ("_log", "_position", "_segment", "_time_end", "_time_ms", "offset", "place")

    def __init__(self, log: MemoryLog, segment: _Segment) -> None:
        self._log = log
        self._segment = segment
        self._position = 0
        self._time_ms = 0
        self._time_end = 0  # up to this offset, messages were published at _time_ms
        self.offset = segment.offset
        """Of the next message."""
        self.place = segment.place
        """Where that begins, in bytes since the log's beginning."""

    def read(self, max_messages: int, max_bytes: int) -> Batch | None:
        """The next messages: at most ``max_messages``, and at most ``max_bytes`` of them but always one.

        None at the end of the log. May return fewer than there are: what lies together in one segment.
        """
        segment = self._segment
        offset = self.offset
        available = segment.offset + segment.count - offset
        while not available:
            if segment.following is None:
                return None
            segment = self._segment = segment.following
            self._position = 0
            available = segment.count
        data = segment.data
        start = self._position
        count = min(max_messages, available)
        kind = segment.kind
        if count == 1 and kind is Batch:
            end = data.find(LF, start) + 1
        else:
            end = kind.find_end(data, start, len(data), count, available)
            if end - start > max_bytes and count > 1:
                count, end = kind.find_fitting(data, start, max_bytes)
        times = self._time_ms if offset + count <= self._time_end else self._times(segment, offset, count)
        log = self._log
        place = self.place
        self._position = end
        self.place = place + end - start
        self.offset = offset + count
        if place == log.low_place:
            if log.alone and self.place < log.first_end:  # what settle would do, for nearly every message
                log.low_place = self.place
                log.memory.used_bytes -= end - start
            else:
                log.settle()
        return kind(offset, count, bytes(data[start:end]), times, log.partition)

    def seek(self, offset: int) -> None:
        """Go to this offset, or to the nearest that is kept."""
        self.move(*self._log._find(offset))
        self._log.settle()

    def move(self, segment: _Segment, position: int, offset: int) -> None:
        """Called by the log and by :meth:`seek`: go to where this message lies."""
        self._segment, self._position, self.offset = segment, position, offset
        self.place = segment.place + position
        self._time_end = 0

    @property
    def lag(self) -> int:
        """How many messages lie between here and the end."""
        return self._log.end_offset - self.offset

    def _times(self, segment: _Segment, offset: int, count: int) -> Times:
        """When these messages were published; no more than has to be remembered for them."""
        self._time_end = segment.offset + segment.count
        if isinstance(segment.times, int):
            self._time_ms = segment.times
            return self._time_ms
        offsets, times = segment.times
        first = bisect_right(offsets, offset) - 1
        following = bisect_left(offsets, offset + count, first + 1)
        if following > first + 1:
            self._time_end = offset
            return offsets[first:following], times[first:following]
        if following < len(offsets):
            self._time_end = offsets[following]
        self._time_ms = times[first]
        return self._time_ms
