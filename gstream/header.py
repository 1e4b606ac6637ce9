"""The header of a record batch, version 2, which frames of every kind have.

Layout: https://kafka.apache.org/documentation/#recordbatch. The checksum covers what follows its first 21 bytes. Knows
no file and no message.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "BEFORE",
    "CHECKED",
    "CHECKED_FROM",
    "HEADER_BYTES",
    "LENGTH_FROM",
    "MIN_LENGTH",
    "BytesLike",
    "Header",
    "placed",
    "unpack_header",
]

BytesLike: TypeAlias = "bytes | bytearray | memoryview"
"""What a batch may lie in; a view is one of bytes."""

_HEADER: Final = Struct(">qiibIhiqqqhii")
CHECKED: Final = Struct(">hiqqqhii")
"""The part of the header that the checksum covers."""
BEFORE: Final = Struct(">qiibI")
"""The part before it."""
HEADER_BYTES: Final = _HEADER.size
CHECKED_FROM: Final = BEFORE.size
"""The checksum covers a batch from here on."""
LENGTH_FROM: Final = 12
"""A length counts from here."""
MIN_LENGTH: Final = HEADER_BYTES - LENGTH_FROM
"""Of a batch without anything behind its header."""
_PLACE: Final = Struct(">q4si")
"""The part that says where a batch lies: whoever stores it writes that, and leaves its length as it is."""
_LEADER_EPOCH: Final = 0


class Header(NamedTuple):
    """A frame's header, field by field as Kafka names them. Times are milliseconds since 1970."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_ms: int
    max_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: int

    @property
    def size(self) -> int:
        """Of the whole frame, in bytes."""
        return self.length + LENGTH_FROM

    @property
    def next_offset(self) -> int:
        """The offset of the message that follows."""
        return self.base_offset + self.last_offset_delta + 1


def unpack_header(buffer: BytesLike, start: int = 0) -> Header | None:
    """What stands where a header's fields would be, whatever that is; None if there are too few bytes."""
    if len(buffer) - start < HEADER_BYTES:
        return None
    return tuple.__new__(Header, _HEADER.unpack_from(buffer, start))  # a third of what _make takes


def placed(batch: BytesLike, offset: int) -> tuple[bytes, memoryview]:
    """A batch's bytes for a log in which its first message gets this offset: what is new of them, and all others."""
    view = memoryview(batch)
    return _PLACE.pack(offset, bytes(view[8:12]), _LEADER_EPOCH), view[_PLACE.size :]
