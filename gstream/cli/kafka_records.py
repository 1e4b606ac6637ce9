"""Kafka's records out of a frame that holds them, for people to look at: as they are, or compressed with gzip.

The layout: https://kafka.apache.org/documentation/#record. Knows nothing of how they are shown.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gstream.storage.frame import Frame

__all__ = ["MAX_UNPACKED_BYTES", "KafkaRecord", "NotDecodedError", "decode_records"]

MAX_UNPACKED_BYTES = 64 << 20
"""A batch that becomes larger when it is unpacked is left alone."""

COMPRESSIONS = {0: "nothing", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_COMPRESSION_BITS = 7
_APPEND_TIME_BIT = 8
_GZIP_WINDOW_BITS = 31
_MAX_SHIFT = 63
_OUT_OF_PLACE = "they are not laid out as records are"


class NotDecodedError(ValueError):
    """Records that are not shown; the text says why."""


@dataclass(frozen=True, slots=True)
class KafkaRecord:
    """One record. time_ms: milliseconds since 1970. Its body, and the values of its headers, may be missing."""

    offset: int
    body: bytes | None
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    time_ms: int


def decode_records(frame: Frame) -> Iterator[KafkaRecord]:
    """The records of a frame, in order; raises NotDecodedError, perhaps behind some of them."""
    header = frame.header
    data = _unpack(frame.data, header.attributes & _COMPRESSION_BITS)
    fields = _Fields(data)
    for _ in range(header.records):
        end = fields.number() + fields.position
        fields.skip(1)  # attributes: none is in use
        time_ms = header.base_ms + fields.number()
        offset = header.base_offset + fields.number()
        key, body = fields.value(), fields.value()
        headers = tuple((_text(fields.value()), fields.value()) for _ in range(fields.number()))
        if fields.position != end:
            raise NotDecodedError(_OUT_OF_PLACE)
        yield KafkaRecord(
            offset, body, key, headers, header.max_ms if header.attributes & _APPEND_TIME_BIT else time_ms
        )


def _unpack(data: bytes, compression: int) -> bytes:
    name = COMPRESSIONS.get(compression, f"method {compression}")
    if compression == 0:
        return data
    if name != "gzip":
        raise NotDecodedError(f"they are compressed with {name}")
    unpacking = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        unpacked = unpacking.decompress(data, MAX_UNPACKED_BYTES)
    except zlib.error:
        raise NotDecodedError("they cannot be unpacked") from None
    if not unpacking.eof:
        raise NotDecodedError(f"they become larger than {MAX_UNPACKED_BYTES >> 20} MiB, or are cut off")
    return unpacked


def _text(name: bytes | None) -> str:
    return (name or b"").decode(errors="backslashreplace")


class _Fields:
    """Reads one field behind the other; raises NotDecodedError where there is none."""

    def __init__(self, data: bytes) -> None:
        self.position = 0
        self._data = data

    def number(self) -> int:
        """A number in as many bytes as it needs, seven bits each; the lowest bit is the sign (zigzag)."""
        value = 0
        for shift in range(0, _MAX_SHIFT + 1, 7):
            self.skip(1)
            byte = self._data[self.position - 1]
            value |= (byte & 0x7F) << shift
            if byte < 1 << 7:
                return value >> 1 ^ -(value & 1)
        raise NotDecodedError(_OUT_OF_PLACE)

    def value(self) -> bytes | None:
        """A value behind its size; None if that is negative."""
        size = self.number()
        if size < 0:
            return None
        self.skip(size)
        return self._data[self.position - size : self.position]

    def skip(self, size: int) -> None:
        """Go on behind so many bytes."""
        self.position += size
        if self.position > len(self._data):
            raise NotDecodedError(_OUT_OF_PLACE)
