"""A segment's index: where some of its frames begin, so that a reader need not scan from its start.

Sparse: one entry for so many bytes of frames. It says nothing that the segment does not say itself, so it can always
be made again; it is written once, when its segment grows no more, and read back only if its own checksum is right.
Even then it is a hint: whoever follows it checks that a frame begins there.

Knows the layout of the index file (docs/format.md), and no file.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from struct import Struct
from typing import Final

from crc32c import crc32c

from gstream.header import Header

__all__ = ["ENTRY_BYTES", "INDEX_HEADER_BYTES", "INTERVAL_BYTES", "Index", "IndexFileError"]

INTERVAL_BYTES: Final = 16 * 1024
"""Of frames between two entries: the most that a reader scans, and 0.1 % of the segment."""

NEVER: Final = -(1 << 63)
"""Before every time."""

_MAGIC: Final = b"gsix"
_START: Final = Struct(">4sI")
_REST: Final = Struct(">qqqqq")
_ENTRY: Final = Struct(">IIq")
INDEX_HEADER_BYTES: Final = _START.size + _REST.size
ENTRY_BYTES: Final = _ENTRY.size


class IndexFileError(ValueError):
    """An index file that cannot be used; the text says why."""


class Index:
    """The index of one segment, growing with it.

    base_offset: the segment's. interval_bytes: between entries.

    One thread adds, others may look meanwhile: an entry is seen when its offset is there, which comes last.
    """

    __slots__ = (
        "_before",
        "_next_entry",
        "_offsets",
        "_positions",
        "base_offset",
        "end",
        "end_offset",
        "first_ms",
        "interval_bytes",
        "is_built",
        "last_ms",
    )

    def __init__(self, base_offset: int, interval_bytes: int = INTERVAL_BYTES) -> None:
        self.base_offset = base_offset
        self.interval_bytes = interval_bytes
        self.end_offset = base_offset
        """Of the message that would follow the last one."""
        self.end = 0
        """How many bytes of the segment it is about."""
        self.first_ms = NEVER
        """The first frame's time, in milliseconds since 1970."""
        self.last_ms = NEVER
        """The newest time, in milliseconds since 1970."""
        self.is_built = True
        """Whether it was made from the segment itself, and not read from a file."""
        self._offsets = array("q")
        self._positions = array("q")
        self._before = array("q")  # the newest time of all that lies before
        self._next_entry = 0

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Each entry's offset and position."""
        return zip(self._offsets, self._positions, strict=True)

    def add(self, header: Header, position: int) -> None:
        """A frame with this header begins at this position."""
        if position >= self._next_entry:
            self._before.append(self.last_ms)
            self._positions.append(position)
            self._offsets.append(header.base_offset)
            self._next_entry = position + self.interval_bytes
        if self.first_ms == NEVER:
            self.first_ms = header.base_ms
        self.last_ms = max(self.last_ms, header.max_ms)
        self.end_offset = header.next_offset
        self.end = position + header.size

    def find(self, offset: int) -> tuple[int, int]:
        """Where to begin to look for this offset: a position, and the offset of the frame there."""
        at = bisect_right(self._offsets, offset) - 1
        return (self._positions[at], self._offsets[at]) if at >= 0 else (0, self.base_offset)

    def find_time(self, time_ms: int) -> tuple[int, int]:
        """Where to begin to look for the first frame of this time or later."""
        at = bisect_left(self._before, time_ms, hi=len(self._offsets)) - 1
        return (self._positions[at], self._offsets[at]) if at >= 0 else (0, self.base_offset)

    def after(self, position: int) -> Iterator[tuple[int, int]]:
        """The entries for frames behind this position: their positions and offsets."""
        for at in range(bisect_right(self._positions, position, hi=len(self._offsets)), len(self._offsets)):
            yield self._positions[at], self._offsets[at]

    # --- its file

    def encode(self) -> bytes:
        """The bytes of its file."""
        entries = b"".join(
            _ENTRY.pack(offset - self.base_offset, position, before)
            for offset, position, before in zip(self._offsets, self._positions, self._before, strict=True)
        )
        checked = _REST.pack(self.base_offset, self.end_offset, self.end, self.first_ms, self.last_ms) + entries
        return _START.pack(_MAGIC, crc32c(checked)) + checked

    @classmethod
    def decode(cls, data: bytes, base_offset: int, interval_bytes: int = INTERVAL_BYTES) -> Index:
        """The index of the segment with this base offset. Raises IndexFileError."""
        if len(data) < INDEX_HEADER_BYTES or (len(data) - INDEX_HEADER_BYTES) % ENTRY_BYTES:
            raise IndexFileError(f"{len(data)} bytes are no index")
        magic, crc = _START.unpack_from(data)
        if magic != _MAGIC:
            raise IndexFileError("it does not begin as an index does")
        if crc32c(memoryview(data)[_START.size :]) != crc:
            raise IndexFileError("the checksum is wrong")
        index = cls(base_offset, interval_bytes)
        base, index.end_offset, index.end, index.first_ms, index.last_ms = _REST.unpack_from(data, _START.size)
        if base != base_offset:
            raise IndexFileError(f"it is the index of another segment, {base}")
        for delta, position, before in _ENTRY.iter_unpack(data[INDEX_HEADER_BYTES:]):
            index._offsets.append(base + delta)
            index._positions.append(position)
            index._before.append(before)
        index.is_built = False
        return index
