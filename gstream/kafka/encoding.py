"""Kafka's primitive types, for the requests and replies that are read and written by hand because they are many.

Layout: https://kafka.apache.org/protocol#protocol_types. A compact length is one more than what it counts, 0 stands for
null. Knows no API.
"""

from __future__ import annotations

from struct import Struct

__all__ = [
    "INT16",
    "INT32",
    "MalformedError",
    "encode_compact_string",
    "encode_string",
    "encode_unsigned",
    "read_compact_bytes",
    "read_compact_string",
    "read_string",
    "read_unsigned",
    "skip_tags",
]

INT16 = Struct(">h")
INT32 = Struct(">i")

CONTINUED = 0x80
"""A byte of a varint that is not its last has this bit."""

MAX_UNSIGNED_BYTES = 5
"""A length has at most 32 bits, 7 in each byte."""


class MalformedError(ValueError):
    """Bytes that are no such request."""


_SMALL = [bytes((value,)) for value in range(CONTINUED)]


# --- reading: each takes where it begins, and gives where what follows does


def read_unsigned(buffer: memoryview, position: int) -> tuple[int, int]:
    """An unsigned varint."""
    value = buffer[position]
    position += 1
    if value < CONTINUED:  # as nearly all are
        return value, position
    value &= CONTINUED - 1
    for shift in range(7, 7 * MAX_UNSIGNED_BYTES, 7):
        byte = buffer[position]
        position += 1
        value |= (byte & CONTINUED - 1) << shift
        if byte < CONTINUED:
            return value, position
    raise MalformedError("a varint of more than five bytes")


def read_string(buffer: memoryview, position: int) -> tuple[str | None, int]:
    """A string, or null, after a length of two bytes."""
    (size,) = INT16.unpack_from(buffer, position)
    position += 2
    return (None, position) if size < 0 else _text(buffer, position, size)


def read_compact_string(buffer: memoryview, position: int) -> tuple[str | None, int]:
    """A string, or null, after a compact length."""
    size, position = read_unsigned(buffer, position)
    return _text(buffer, position, size - 1) if size else (None, position)


def read_compact_bytes(buffer: memoryview, position: int) -> tuple[memoryview | None, int]:
    """Bytes, or null, after a compact length; they are not copied."""
    size, position = read_unsigned(buffer, position)
    if not size:
        return None, position
    end = position + size - 1
    if end > len(buffer):
        raise MalformedError("a field goes on behind the end")
    return buffer[position:end], end


def skip_tags(buffer: memoryview, position: int) -> int:
    """Where what follows tagged fields begins: none of them is known here."""
    if not buffer[position]:  # as nearly all are
        return position + 1
    count, position = read_unsigned(buffer, position)
    for _ in range(count):
        _, position = read_unsigned(buffer, position)
        size, position = read_unsigned(buffer, position)
        position += size
        if position > len(buffer):
            raise MalformedError("a tagged field goes on behind the end")
    return position


def _text(buffer: memoryview, position: int, size: int) -> tuple[str, int]:
    end = position + size
    if end > len(buffer):
        raise MalformedError("a string goes on behind the end")
    return str(buffer[position:end], "utf-8"), end


# --- writing


def encode_unsigned(value: int) -> bytes:
    """An unsigned varint."""
    if value < CONTINUED:
        return _SMALL[value]
    encoded = bytearray()
    while value >= CONTINUED:
        encoded.append(value & CONTINUED - 1 | CONTINUED)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_string(text: str | None) -> bytes:
    """A string, or null, after a length of two bytes."""
    if text is None:
        return b"\xff\xff"
    encoded = text.encode()
    return INT16.pack(len(encoded)) + encoded


def encode_compact_string(text: str | None) -> bytes:
    """A string, or null, after a compact length."""
    if text is None:
        return b"\0"
    encoded = text.encode()
    return encode_unsigned(len(encoded) + 1) + encoded
