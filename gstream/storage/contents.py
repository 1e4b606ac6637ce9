"""Whether a frame's data are the messages that its header tells of.

A right checksum says that the data are what was written, and not that this made sense. Reads the layouts of
docs/format.md by itself, and does not ask those who wrote them; makes no object for a message, since a log is verified
as fast as it is read.

Knows no file. Kafka's records are taken for what they are.
"""

from __future__ import annotations

import re
from struct import Struct, error
from typing import Final

from gstream.storage.frame import COUNTED, LINES, Frame

__all__ = ["contradiction"]

_NO_LINE: Final = re.compile(rb"\n[^p]")
"""What packed lines do not hold. Found three times as fast as the pairs of LF and ``p`` are counted."""

_SIZES: Final = Struct(">IhI")
_KEY_SIZE: Final = Struct(">I")
_HEADER_SIZES: Final = Struct(">HI")
_NO_KEY: Final = -1
_LONG_KEY: Final = -2
_MAX_SHORT_KEY: Final = (1 << 15) - 1


def contradiction(frame: Frame) -> str:
    """What is wrong with a frame whose checksum is right, in a few words; nothing if it is as it should be."""
    magic, count = frame.header.magic, frame.header.records
    if magic == LINES:
        sound = _are_lines(frame.data, count)
    elif magic == COUNTED:
        try:
            sound = _are_counted(frame.data, count)
        except (error, UnicodeDecodeError):
            sound = False
    else:
        return ""
    return "" if sound else "its messages do not fill it"


def _are_lines(data: bytes, count: int) -> bool:
    return data[:1] == b"p" and data[-1:] == b"\n" and data.count(b"\n") == count and _NO_LINE.search(data) is None


def _are_counted(data: bytes, count: int) -> bool:
    """Raises struct.error if the data end too early, UnicodeDecodeError at the name of a header."""
    position = 0
    unpack, sizes_bytes = _SIZES.unpack_from, _SIZES.size
    for _ in range(count):
        body_bytes, key_bytes, headers_bytes = unpack(data, position)
        position += sizes_bytes
        if key_bytes > 0:
            position += key_bytes
        elif key_bytes == _LONG_KEY:
            (key_bytes,) = _KEY_SIZE.unpack_from(data, position)
            if key_bytes <= _MAX_SHORT_KEY:
                return False
            position += _KEY_SIZE.size + key_bytes
        elif key_bytes < _NO_KEY:
            return False
        if headers_bytes:
            if not _are_headers(data, position, position + headers_bytes):
                return False
            position += headers_bytes
        position += body_bytes
    return position == len(data)


def _are_headers(data: bytes, position: int, end: int) -> bool:
    while position < end:
        name_bytes, value_bytes = _HEADER_SIZES.unpack_from(data, position)
        position += _HEADER_SIZES.size
        data[position : position + name_bytes].decode()
        position += name_bytes + value_bytes
    return position == end
