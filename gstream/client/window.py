r"""What is sent at once to publish: a window of messages, as lines where lines can carry them, else counted.

A window is joined whole, and one look over the result tells whether all its messages may stay lines: 0.15 us a message.

Takes messages and gives bytes: knows no socket, and no reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite
from typing import TypeAlias
from urllib.parse import quote_from_bytes

__all__ = ["BODY_TYPES", "WINDOW_BYTES", "WINDOW_MESSAGES", "Body", "encode_fields", "encode_seconds", "windows"]

Body: TypeAlias = bytes | bytearray | memoryview
BODY_TYPES = (bytes, bytearray, memoryview)
"""What a message may be given as."""

WINDOW_MESSAGES = 1000
WINDOW_BYTES = 256 * 1024
"""So much is sent before its replies are read. The replies to a window fit into any socket buffer, so that neither
side can wait for the other to read."""


def windows(bodies: Body | Iterable[Body], fields: bytes = b"") -> Iterator[tuple[int, bytes]]:
    """The commands that publish this body or these, as many at a time as one window holds, and how many these are.

    fields: what stands behind the length of each, from :func:`encode_fields`; with any, all are counted.

    Raises TypeError for a body that is no bytes.
    """
    window: list[bytes] = []
    size = 0
    if not isinstance(bodies, Iterable) or isinstance(bodies, (*BODY_TYPES, str)):
        bodies = (_as_bytes(bodies),)
    for each in bodies:
        body = each if type(each) is bytes else _as_bytes(each)
        if window and (len(window) == WINDOW_MESSAGES or size + len(body) > WINDOW_BYTES):
            yield len(window), _encode(window, fields)
            window = []
            size = 0
        window.append(body)
        size += len(body) + 2
    if window:
        yield len(window), _encode(window, fields)


def encode_fields(key: bytes | str | None, delay_seconds: float, id: bytes | str | None) -> bytes:
    """The fields of a ``P`` line; none (b"") for a message that has nothing but its body.

    Raises ValueError for a delay that is negative or not finite.
    """
    delay = encode_seconds(delay_seconds)
    fields = b""
    if key is not None:
        fields += b" key=" + _quote(key)
    if delay_seconds:
        fields += b" delay=" + delay
    if id is not None:
        fields += b" id=" + _quote(id)
    return fields


def encode_seconds(seconds: float) -> bytes:
    """Seconds to the millisecond; what is not nothing does not become nothing.

    Raises ValueError for what is negative or not finite.
    """
    if not (isfinite(seconds) and seconds >= 0):
        raise ValueError(f"seconds are 0 or more, not {seconds!r}")
    milliseconds = round(seconds * 1000) or (1 if seconds else 0)
    return b"%d.%03d" % divmod(milliseconds, 1000)


def _encode(window: list[bytes], fields: bytes) -> bytes:
    if not fields:
        lines = b"p%b\n" % b"\np".join(window)
        if lines.count(b"\n") == len(window) and b"\r\n" not in lines:
            return lines
    return b"".join(
        b"P%d%b\n%b\n" % (len(body), fields, body)
        if fields or b"\n" in body or body.endswith(b"\r")
        else b"p%b\n" % body
        for body in window
    )


def _as_bytes(body: object) -> bytes:
    if isinstance(body, BODY_TYPES):
        return bytes(body)
    if isinstance(body, str):
        raise TypeError("a message is bytes, not str: encode it, as in text.encode()")
    raise TypeError(f"a message is bytes, not {type(body).__name__}")


def _quote(value: bytes | str) -> bytes:
    return quote_from_bytes(value.encode() if isinstance(value, str) else value, safe="").encode()
