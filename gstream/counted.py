"""A batch of messages that lines cannot carry: bodies with LF, keys, headers.

Each message is preceded by its sizes, so its bytes mean the same wherever they lie, and parts of a batch can be cut
out and put together as those of packed lines are.

Knows no socket, no group and no storage.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Final

from gstream.batch import Batch, Message, pack

__all__ = ["KINDS", "CountedBatch", "pack_bodies", "pack_counted"]

_SIZES = struct.Struct(">IhI")
"""Of the body, the key (-1: there is none) and the headers, all of which follow in the order key, headers, body."""
_KEY_SIZE = struct.Struct(">I")
"""Of a key that is longer than the field above can say: it follows the sizes, and -2 stands in the field."""
_NO_KEY = -1
_LONG_KEY = -2
_MAX_SHORT_KEY = (1 << 15) - 1
_HEADER_SIZES = struct.Struct(">HI")
"""Of a header's name (UTF-8) and value."""
_SIZES_BYTES = _SIZES.size


def pack_counted(body: bytes, key: bytes | None = None, headers: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """One message's bytes. A header's name may have up to 65,535 bytes."""
    packed = _pack_headers(headers) if headers else b""
    if key is None:
        return _SIZES.pack(len(body), _NO_KEY, len(packed)) + packed + body
    if len(key) > _MAX_SHORT_KEY:
        return _SIZES.pack(len(body), _LONG_KEY, len(packed)) + _KEY_SIZE.pack(len(key)) + key + packed + body
    return _SIZES.pack(len(body), len(key), len(packed)) + key + packed + body


class CountedBatch(Batch):
    """Consecutive messages, each preceded by its sizes."""

    __slots__ = ()

    magic: ClassVar[int] = ord("P")
    is_lines: ClassVar[bool] = False

    def bodies(self) -> list[bytes]:
        """The messages' bodies, in order."""
        return [body for body, _, _ in self.contents()]

    def messages(self) -> Iterator[Message]:
        """The messages with all that is known of them, in order."""
        for offset, (body, key, headers) in enumerate(self.contents(), self.offset):
            yield Message(offset, body, key, headers, self.time_ms(offset))

    def contents(self) -> Iterator[tuple[bytes, bytes | None, tuple[tuple[str, bytes], ...]]]:
        """Each message's body, key and headers, in order."""
        data = self.data
        position = 0
        for _ in range(self.count):
            body_bytes, key_bytes, headers_bytes = _SIZES.unpack_from(data, position)
            position += _SIZES_BYTES
            key = None
            if key_bytes != _NO_KEY:
                if key_bytes == _LONG_KEY:
                    (key_bytes,) = _KEY_SIZE.unpack_from(data, position)
                    position += _KEY_SIZE.size
                key = data[position : position + key_bytes]
                position += key_bytes
            headers: tuple[tuple[str, bytes], ...] = ()
            if headers_bytes:
                headers = tuple(_unpack_headers(data, position, position + headers_bytes))
                position += headers_bytes
            body = data[position : position + body_bytes]
            position += body_bytes
            yield body, key, headers

    @staticmethod
    def find_end(data: bytes | bytearray, start: int, stop: int, count: int, available: int) -> int:
        """The position behind the ``count``-th message of ``data[start:stop]``, which has ``available`` of them."""
        if count == available:
            return stop
        for _ in range(count):
            start = _end(data, start)
        return start

    @staticmethod
    def find_fitting(data: bytes | bytearray, start: int, max_bytes: int) -> tuple[int, int]:
        """How many messages from ``start`` on take at most ``max_bytes``, but always one, and where they end."""
        limit = min(start + max_bytes, len(data))
        end = _end(data, start)
        count = 1
        while end < limit and (following := _end(data, end)) <= limit:
            end = following
            count += 1
        return count, end


KINDS: Final[dict[int, type[Batch]]] = {kind.magic: kind for kind in (Batch, CountedBatch)}
"""The kinds of batches, by what tells them apart."""


def pack_bodies(bodies: Sequence[bytes], key: bytes | None = None) -> tuple[bytes, type[Batch]]:
    """Messages as a batch keeps them, and of which kind it is: packed lines, where that is possible."""
    if key is None:
        lines = pack(*bodies)
        if lines.count(b"\n") == len(bodies):
            return lines, Batch
    return b"".join([pack_counted(body, key) for body in bodies]), CountedBatch


def _end(data: bytes | bytearray, start: int) -> int:
    body_bytes, key_bytes, headers_bytes = _SIZES.unpack_from(data, start)
    end: int = start + _SIZES_BYTES + body_bytes + headers_bytes
    if key_bytes > 0:
        return end + int(key_bytes)
    if key_bytes == _LONG_KEY:
        (key_bytes,) = _KEY_SIZE.unpack_from(data, start + _SIZES_BYTES)
        return end + _KEY_SIZE.size + int(key_bytes)
    return end


def _pack_headers(headers: Iterable[tuple[str, bytes]]) -> bytes:
    parts: list[bytes] = []  # put together at once: there may be thousands
    for each, value in headers:
        name = each.encode()
        parts += (_HEADER_SIZES.pack(len(name), len(value)), name, value)
    return b"".join(parts)


def _unpack_headers(data: bytes, position: int, end: int) -> Iterator[tuple[str, bytes]]:
    while position < end:
        name_bytes, value_bytes = _HEADER_SIZES.unpack_from(data, position)
        position += _HEADER_SIZES.size
        name = data[position : position + name_bytes].decode()
        position += name_bytes
        yield name, data[position : position + value_bytes]
        position += value_bytes
