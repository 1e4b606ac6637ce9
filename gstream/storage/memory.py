"""The memory engine: logs held in memory, together bounded by one budget.

A log is a chain of segments. Large batches become a segment as they are, without a copy; small ones are gathered in
an open segment, so that messages published one at a time cost no more memory than those published in bursts. Readers
hold a cursor into the chain; what lies before the last cursor is referenced by nobody and is freed by Python itself.
"""

from __future__ import annotations

from gstream.batch import LF, Batch, lines_end

__all__ = ["Cursor", "Memory", "MemoryLog"]

OPEN_SEGMENT_BYTES = 64 * 1024
"""An open segment is closed at this size: small enough that a consumed one is soon freed."""

LARGE_BATCH_BYTES = 16 * 1024
"""A batch from this size on is kept as it came; copying it would cost more than its own segment's 150 bytes."""


class Memory:
    """The budget that all logs of a server share.

    max_bytes: how many bytes of packed lines may be stored. A message costs its body and PACKING_BYTES; what
    Python itself adds is a few percent.
    """

    name = "memory"
    promise = "messages are lost when the server stops"

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0

    def open_log(self) -> MemoryLog:
        """A new, empty log within this budget."""
        return MemoryLog(self)


class _Segment:
    """A part of a log: packed lines with consecutive offsets, growing while ``data`` is a bytearray."""

    __slots__ = ("count", "data", "following", "offset")

    def __init__(self, offset: int, count: int, data: bytes | bytearray) -> None:
        self.offset = offset
        self.count = count
        self.data = data
        self.following: _Segment | None = None


class MemoryLog:
    """An append-only sequence of messages with consecutive offsets."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._last = _Segment(0, 0, bytearray())
        self.end_offset = 0
        """The offset of the next message."""

    def append(self, data: bytes, count: int) -> int:
        """Store packed lines, as many of them as there is room for.

        Returns how many messages were stored: ``count``, or fewer when the budget does not last; what is stored
        are always the first ones.
        """
        memory = self.memory
        room = memory.max_bytes - memory.used_bytes
        if len(data) > room:
            data = data[: data.rfind(LF, 0, max(0, room)) + 1]
            count = data.count(LF)
            if not count:
                return 0
        memory.used_bytes += len(data)
        last = self._last
        if len(data) >= LARGE_BATCH_BYTES:
            self._start_segment(data, count)
        else:
            if len(last.data) >= OPEN_SEGMENT_BYTES or type(last.data) is bytes:
                last = self._start_segment(bytearray(), 0)
            last.data += data
            last.count += count
        self.end_offset += count
        return count

    def _start_segment(self, data: bytes | bytearray, count: int) -> _Segment:
        last = self._last
        if type(last.data) is bytearray:
            last.data = bytes(last.data)  # exactly as large as its content: a bytearray keeps room to grow
        segment = _Segment(self.end_offset, count, data)
        last.following = segment
        self._last = segment
        return segment

    def cursor(self) -> Cursor:
        """A cursor at the end of the log."""
        return Cursor(self, self._last)


class Cursor:
    """A reader's place in a log; reading moves it on and gives what was read back to the budget."""

    __slots__ = ("_log", "_memory", "_position", "_segment", "offset")

    def __init__(self, log: MemoryLog, segment: _Segment) -> None:
        self._log = log
        self._memory = log.memory
        self._segment = segment
        self._position = len(segment.data)
        self.offset = log.end_offset

    def read(self, max_messages: int, max_bytes: int) -> Batch | None:
        """The next messages: at most ``max_messages``, and at most ``max_bytes`` of packed lines but always one.

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
        end = data.find(LF, start) + 1 if count == 1 else lines_end(data, start, len(data), count, available)
        if end - start > max_bytes:
            end = data.rfind(LF, start, start + max_bytes) + 1 or data.find(LF, start) + 1
            count = data.count(LF, start, end)
        self._position = end
        self.offset = offset + count
        self._memory.used_bytes -= end - start
        return Batch(offset, count, bytes(data[start:end]))

    @property
    def lag(self) -> int:
        """How many messages lie between here and the end."""
        return self._log.end_offset - self.offset
