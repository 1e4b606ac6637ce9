"""Replies to bytes; those that are messages are made by :mod:`~gstream.protocol.messages`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from gstream.batch import LF, PARTITION_SHIFT, unpack
from gstream.errors import GoneError, ReplyError
from gstream.protocol.ids import encode_id
from gstream.protocol.table import COMMANDS

__all__ = [
    "encode_bodies",
    "encode_done",
    "encode_done_ids",
    "encode_end",
    "encode_failure",
    "encode_help",
    "encode_http_refusal",
    "encode_ids_gone",
    "encode_lines",
    "encode_notice",
    "encode_oks",
    "encode_rows",
]

_READY_OKS: Final = 16384
_OKS: Final = b"ok\r\n" * _READY_OKS


def encode_oks(count: int) -> bytes:
    """The replies to ``count`` published messages. They always end in CRLF."""
    if count <= _READY_OKS:
        return _OKS[: 4 * count]
    return b"ok\r\n" * count


def encode_lines(data: bytes, eol: bytes) -> bytes:
    """The replies to ``c``: packed lines without their packing, each ending the way the command did."""
    lines = unpack(data)
    return lines if eol == LF else lines.replace(LF, eol)


def encode_bodies(bodies: Iterable[bytes], eol: bytes) -> bytes:
    """The replies to ``c`` for bodies that are no packed lines: they may hold LF, so their ends cannot be told."""
    return eol.join([*bodies, b""])


def encode_done(text: bytes, eol: bytes) -> bytes:
    """``+ text``: done."""
    return b"+ %b%b" % (text, eol)


def encode_done_ids(ids: Sequence[int], several: bool, eol: bytes) -> bytes:
    """``+ id`` for each of these messages: the replies to a run of ``P``."""
    if several or ids[-1] >> PARTITION_SHIFT:
        return b"".join([encode_done(encode_id(id, several), eol) for id in ids])
    return (b"+ %d" + eol) * len(ids) % tuple(ids)


def encode_end(eol: bytes) -> bytes:
    """``.``: nothing there, timed out, or the end of a list."""
    return b"." + eol


def encode_failure(error: ReplyError, eol: bytes) -> bytes:
    """``- code text``."""
    return b"- %b %b%b" % (error.code.encode(), str(error).encode(), eol)


def encode_ids_gone(ids: Iterable[int], several: bool, eol: bytes) -> bytes:
    """``- gone id id``: what could not be acknowledged. ``several``: the topic has several partitions."""
    return encode_failure(GoneError(b" ".join(encode_id(id, several) for id in ids).decode()), eol)


def encode_notice(text: str, eol: bytes) -> bytes:
    """``# text``: may come at any time; clients skip it."""
    return b"# %b%b" % (text.encode(), eol)


def encode_rows(rows: Iterable[tuple[str, object]], eol: bytes) -> bytes:
    """``name value``, one a line, and ``.``."""
    return b"".join(b"%b %b%b" % (name.encode(), str(value).encode(), eol) for name, value in rows) + encode_end(eol)


def encode_help(eol: bytes) -> bytes:
    """Every command, one a line, and ``.``."""
    return b"".join(
        b"%b -> %b%b" % (r.usage.encode(), r.summary.encode(), eol) for r in COMMANDS.values()
    ) + encode_end(eol)


def encode_http_refusal() -> bytes:
    """The whole response to somebody who sent an HTTP request here."""
    text = (
        b"This is a gstream server: it speaks a line protocol, not HTTP.\n"
        b"Try: printf 'pHello\\nc\\nq\\n' | nc HOST PORT\n"
    )
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % len(text) + text
