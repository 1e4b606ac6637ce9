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


MAX_DELAY_SECONDS = 999_999_999
"""No delay has more digits."""


def windows(
    bodies: Body | Iterable[Body], fields: bytes = b"", *, counted: bool = False
) -> Iterator[tuple[int, bytes]]:
    """The commands that publish this body or these, as many at a time as one window holds, and how many these are.

    fields: what stands behind the length of each, from :func:`encode_fields`; with any, all are counted.
    counted: all are counted anyway. A counted message that breaks off is not published, a line is.

    Raises TypeError for a body that is no bytes.
    """
    window: list[bytes] = []
    size = 0
    if not isinstance(bodies, Iterable) or isinstance(bodies, (*BODY_TYPES, str)):
        bodies = (_as_bytes(bodies),)
    for each in bodies:
        body = each if type(each) is bytes else _as_bytes(each)
        if window and (len(window) == WINDOW_MESSAGES or size + len(body) > WINDOW_BYTES):
            yield len(window), _encode(window, fields, counted)
            window = []
            size = 0
        window.append(body)
        size += len(body) + 2
    if window:
        yield len(window), _encode(window, fields, counted)


def encode_fields(key: bytes | str | None, delay_seconds: float, id: bytes | str | None) -> bytes:
    """The fields of a ``P`` line; none (b"") for a message that has nothing but its body.

    Raises ValueError for a delay that is negative, not finite or too long, for an empty id, and for text that is no
    text; TypeError for a key or an id that is neither bytes nor str.
    """
    if not delay_seconds <= MAX_DELAY_SECONDS:
        encode_seconds(delay_seconds)
        raise ValueError(f"a delay is up to {MAX_DELAY_SECONDS} seconds, not {delay_seconds!r}")
    if id is not None and not id and isinstance(id, (bytes, str)):
        raise ValueError("an id is 1 to 255 bytes: leave it out, or give it some")
    delay = encode_seconds(delay_seconds)
    fields = b""
    if key is not None:
        fields += b" key=" + _quote("a key", key)
    if delay_seconds:
        fields += b" delay=" + delay
    if id is not None:
        fields += b" id=" + _quote("an id", id)
    return fields


def encode_seconds(seconds: float) -> bytes:
    """Seconds to the millisecond; what is not nothing does not become nothing.

    Raises ValueError for what is negative or not finite.
    """
    if not (isfinite(seconds) and seconds >= 0):
        raise ValueError(f"seconds are 0 or more, not {seconds!r}")
    milliseconds = round(seconds * 1000) or (1 if seconds else 0)
    return b"%d.%03d" % divmod(milliseconds, 1000)


def _encode(window: list[bytes], fields: bytes, counted: bool) -> bytes:
    if not (fields or counted):
        lines = b"p%b\n" % b"\np".join(window)
        if lines.count(b"\n") == len(window) and b"\r\n" not in lines:
            return lines
    return b"".join(
        b"P%d%b\n%b\n" % (len(body), fields, body)
        if fields or counted or b"\n" in body or body.endswith(b"\r")
        else b"p%b\n" % body
        for body in window
    )


def _as_bytes(body: object) -> bytes:
    if isinstance(body, BODY_TYPES):
        return bytes(body)
    if isinstance(body, str):
        raise TypeError("a message is bytes, not str: encode it, as in text.encode()")
    raise TypeError(f"a message is bytes, not {type(body).__name__}")


def _quote(what: str, value: bytes | str) -> bytes:
    if isinstance(value, str):
        try:
            # What came from the command line is what it was there: bytes.
            value = value.encode(errors="surrogateescape")
        except UnicodeEncodeError:
            raise ValueError(f"{what} has a lone surrogate: {value!r} is no text; give bytes") from None
    elif not isinstance(value, bytes):
        raise TypeError(f"{what} is bytes or str, not {type(value).__name__}: give str({value!r})")
    return quote_from_bytes(value, safe="").encode()
