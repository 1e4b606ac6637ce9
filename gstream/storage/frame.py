"""A frame: a batch as it lies on disk, in the layout of docs/format.md.

Its header is that of Kafka's record batches, version 2, for all kinds of batches, so that one scanner, one index and
one recovery serve them all. Packed lines and counted messages become batches again; Kafka's records stay what they
are, and are handed out as they are stored.

The checksum does not cover a frame's first 21 bytes. So the kind is repeated within what it covers, and an offset is
right only if it is the one that was due: that is for those to check who know what came before.

Knows no file.
"""

from __future__ import annotations

from typing import Final

from crc32c import crc32c

from gstream.batch import Batch
from gstream.counted import KINDS, CountedBatch
from gstream.header import BEFORE, CHECKED, CHECKED_FROM, HEADER_BYTES, LENGTH_FROM, MIN_LENGTH, Header, unpack_header

__all__ = [
    "COUNTED",
    "LINES",
    "RECORDS",
    "Frame",
    "FrameError",
    "check_crc",
    "decode_frame",
    "decode_header",
    "encode_frame",
    "is_records",
]

RECORDS: Final = 2
"""The magic of Kafka's records."""
LINES: Final = Batch.magic
"""The magic of packed lines: ``gstream.batch.Batch.data``."""
COUNTED: Final = CountedBatch.magic
"""The magic of counted messages: ``gstream.counted.CountedBatch.data``."""


_LEADER_EPOCH: Final = 0
_FEW_BYTES: Final = 2048
_RECORDS_ATTRIBUTES: Final = 0x7F
"""The bits of a record batch's attributes that Kafka 4 uses."""


class FrameError(ValueError):
    """These bytes are no frame; the text says why."""


class Frame:
    """A whole frame whose checksum is right.

    header: what its header says. position: where it begins in its file, in bytes.
    """

    __slots__ = ("_buffer", "_start", "header", "position")

    def __init__(self, header: Header, buffer: bytes, start: int, position: int = 0) -> None:
        self.header = header
        self.position = position
        self._buffer = buffer
        self._start = start

    def __repr__(self) -> str:
        return f"<Frame {self.offset}+{self.next_offset - self.offset}, magic {self.header.magic}, {self.size} bytes>"

    @property
    def offset(self) -> int:
        """Of its first message."""
        return self.header.base_offset

    @property
    def next_offset(self) -> int:
        """Of the message that follows it."""
        return self.header.next_offset

    @property
    def size(self) -> int:
        """In bytes, with its header."""
        return self.header.size

    @property
    def end(self) -> int:
        """Where it ends in its file."""
        return self.position + self.header.size

    @property
    def data(self) -> bytes:
        """What follows the header."""
        return self._buffer[self._start + HEADER_BYTES : self._start + self.size]

    @property
    def stored(self) -> bytes:
        """All of it, as it lies on disk."""
        return self._buffer[self._start : self._start + self.size]

    @property
    def view(self) -> memoryview:
        """The same, not copied."""
        return self.through(self)

    @property
    def is_records(self) -> bool:
        """Whether it holds Kafka's records, which :meth:`batch` does not take apart."""
        return self.header.magic == RECORDS

    def batch(self, partition: int = 0, offset: int = 0) -> Batch:
        """Its messages; from this offset on, if that lies within them.

        Raises ValueError for Kafka's records.
        """
        header = self.header
        kind = KINDS.get(header.magic)
        if kind is None:
            raise ValueError("Kafka's records are for those who know Kafka")
        batch = kind(header.base_offset, header.records, self.data, header.base_ms, partition)
        first = offset - header.base_offset
        return batch.part(first, header.records - first) if first > 0 else batch

    def follows(self, other: Frame) -> bool:
        """Whether it lies right behind another one in the same buffer."""
        return self._buffer is other._buffer and self._start == other._start + other.header.size

    def through(self, last: Frame) -> memoryview:
        """All of it and of those that follow it in its buffer, up to this one, as they lie on disk."""
        return memoryview(self._buffer)[self._start : last._start + last.header.size]


def encode_frame(batch: Batch) -> tuple[bytes, bytes]:
    """A batch's header and data. All its messages must have been published at one time."""
    assert isinstance(batch.times, int), "a frame has one time"
    magic = batch.magic
    data = batch.data
    checked = CHECKED.pack(magic, batch.count - 1, batch.times, batch.times, -1, -1, -1, batch.count)
    before = BEFORE.pack(batch.offset, MIN_LENGTH + len(data), _LEADER_EPOCH, magic, crc32c(data, crc32c(checked)))
    return before + checked, data


def decode_header(buffer: bytes, start: int = 0, offset: int | None = None) -> Header:
    """The header that begins at ``start``, which must be that of the frame with this offset, if one is given.

    Raises FrameError if it can be none. That its checksum is right is not checked.
    """
    header = unpack_header(buffer, start)
    if header is None:
        raise FrameError(f"cut off: {len(buffer) - start} bytes are no header")
    base_offset, length, _, magic, _, attributes, last_delta, _, _, _, _, _, records = header
    if magic in KINDS:
        sound = attributes == magic and last_delta == records - 1 >= 0
    elif magic == RECORDS:
        sound = is_records(magic, attributes, last_delta, records)
    else:
        raise FrameError("no frame begins here")
    if length < MIN_LENGTH or base_offset < 0 or not sound:
        raise FrameError("a header that contradicts itself")
    if offset is not None and base_offset != offset:
        raise FrameError(f"offset {base_offset} where {offset} was due")
    return header


def is_records(magic: int, attributes: int, last_delta: int, records: int) -> bool:
    """Whether these fields are those of a batch of Kafka's records."""
    return magic == RECORDS and not attributes & ~_RECORDS_ATTRIBUTES and 0 < records <= last_delta + 1


def check_crc(header: Header, buffer: bytes, start: int) -> None:
    """Raise FrameError unless the frame that begins at ``start``, with this header, has the right checksum."""
    size = header.length + LENGTH_FROM
    # Copying a few bytes takes less than a view of them.
    checked = buffer if size < _FEW_BYTES else memoryview(buffer)
    if crc32c(checked[start + CHECKED_FROM : start + size]) != header.crc:
        raise FrameError("the checksum is wrong")


def decode_frame(buffer: bytes, start: int = 0) -> Frame:
    """The frame that begins at ``start``: how Kafka's records are taken in. Raises FrameError."""
    header = decode_header(buffer, start)
    if len(buffer) - start < header.size:
        raise FrameError(f"cut off: {len(buffer) - start} of {header.size} bytes")
    check_crc(header, buffer, start)
    return Frame(header, buffer, start)
