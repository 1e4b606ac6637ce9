r"""A message as a client gets it, and how it is decoded.

A reply of thousands of messages is decoded a run of lines at a time: two regular expressions find the run's end and
take it apart (0.2 us a body, 1.0 us a Message). Counted messages, ``$``, are decoded one by one (1.0 and 2.1 us; with
details 6.0 us). That is why a client does not ask for them unless it wants the details.

Takes bytes and gives objects: knows no socket, and no reply that is not a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

__all__ = ["MAX_BODY_BYTES", "Decode", "Decoded", "Message", "decode_bodies", "decode_messages"]

T = TypeVar("T")

MAX_BODY_BYTES = 1 << 30
"""A longer body is taken for garbage: nobody should be made to collect it."""

_LINES = re.compile(rb"(?:= [0-9:]{1,21} [0-9]{1,18} [^\n]*+\n)*+")
_LINE = re.compile(rb"= ([0-9:]{1,21}) ([0-9]{1,18}) ([^\n]*)\n")
_LINE_BODY = re.compile(rb"= [0-9:]{1,21} [0-9]{1,18} ([^\n]*)\n")
_COUNTED = re.compile(rb"\$ ([0-9:]{1,21}) ([0-9]{1,18}) ([0-9]{1,18})(?: ([^\n]*))?\n")
_LF = ord("\n")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(rb"[0-9]{1,14}")


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``bytes(message)`` is its body.

    id: its place in its topic: ``"7"``, or ``"1:7"`` in a topic with several partitions.
    attempt: how often it was delivered to this group, this time included; from 1.
    time: when it was published; key: which it was published with; headers: names and values, in order. These three
    are known to a ``Client(details=True)`` only; to others they are None, None and ().
    """

    id: str
    attempt: int
    body: bytes
    time: datetime | None = None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()

    def __bytes__(self) -> bytes:
        return self.body


class Decoded(NamedTuple):
    """How far a decoder came.

    used: so many bytes are decoded. needed: so many must be there, counted from the same start, before it is worth
    another try; 0 when what follows is no counted message.
    """

    used: int
    needed: int


Decode: TypeAlias = Callable[[bytes, MutableSequence[T]], Decoded]
"""Appends every whole message at the start of the bytes to the sequence; ValueError for one that is not to be had."""


def decode_bodies(data: bytes, bodies: MutableSequence[bytes]) -> Decoded:
    """The bodies of all messages that ``data`` starts with; raises ValueError for a counted one without an end."""
    return _decode(
        data,
        lambda at, end: bodies.extend(_LINE_BODY.findall(data, at, end)),
        lambda _header, body: bodies.append(body),
    )


def decode_messages(data: bytes, messages: MutableSequence[Message]) -> Decoded:
    """All messages that ``data`` starts with; raises ValueError for a counted one without an end."""
    return _decode(
        data,
        lambda at, end: messages.extend(
            [Message(id.decode(), int(attempt), body) for id, attempt, body in _LINE.findall(data, at, end)]
        ),
        lambda header, body: messages.append(_message(header, body)),
    )


def _decode(
    data: bytes, take_lines: Callable[[int, int], None], take_counted: Callable[[re.Match[bytes], bytes], None]
) -> Decoded:
    at = 0
    while True:
        run = _LINES.match(data, at)
        assert run is not None, "it matches nothing, too"
        if run.end() > at:
            take_lines(at, run.end())
            at = run.end()
        header = _COUNTED.match(data, at)
        if header is None:
            return Decoded(at, 0)
        start, size = header.end(), int(header[3])
        if size > MAX_BODY_BYTES:
            raise ValueError(f"a body of {size} bytes")
        if len(data) <= start + size:
            return Decoded(at, start + size + 1)
        if data[start + size] != _LF:
            raise ValueError("a body without a line ending")
        take_counted(header, data[start : start + size])
        at = start + size + 1


def _message(header: re.Match[bytes], body: bytes) -> Message:
    id, attempt, _, fields = header.groups()
    if not fields:
        return Message(id.decode(), int(attempt), body)
    time: datetime | None = None
    key: bytes | None = None
    headers: list[tuple[str, bytes]] = []
    for field in fields.split(b" "):
        name, _, quoted = field.partition(b"=")
        value = unquote_to_bytes(quoted)
        if name == b"time" and _TIME.fullmatch(value):
            time = _EPOCH + timedelta(milliseconds=int(value))
        elif name == b"key":
            key = value
        elif name.startswith(b"h."):
            headers.append((unquote_to_bytes(name[2:]).decode(errors="replace"), value))
    return Message(id.decode(), int(attempt), body, time, key, tuple(headers))
