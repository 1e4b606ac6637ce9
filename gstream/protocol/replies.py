"""Replies to bytes."""

from __future__ import annotations

import re
from typing import Final

from gstream.batch import LF, unpack
from gstream.errors import ReplyError
from gstream.protocol.commands import COMMANDS

__all__ = [
    "encode_done",
    "encode_end",
    "encode_failure",
    "encode_help",
    "encode_http_refusal",
    "encode_lines",
    "encode_message",
    "encode_notice",
    "encode_oks",
]

_READY_OKS: Final = 16384
_OKS: Final = b"ok\r\n" * _READY_OKS
_COUNTED = re.compile(rb"[\r\n\0]")


def encode_oks(count: int) -> bytes:
    """The replies to ``count`` published messages. They always end in CRLF."""
    if count <= _READY_OKS:
        return _OKS[: 4 * count]
    return b"ok\r\n" * count


def encode_lines(data: bytes, eol: bytes) -> bytes:
    """The replies to ``c``: packed lines without their packing, each ending the way the command did."""
    lines = unpack(data)
    return lines if eol == LF else lines.replace(LF, eol)


def encode_message(offset: int, attempt: int, body: bytes, eol: bytes) -> bytes:
    """A typed message; counted where a body holds CR, LF or NUL, which readers of lines would trip over."""
    if _COUNTED.search(body):
        return b"$ %d %d %d%b%b%b" % (offset, attempt, len(body), eol, body, eol)
    return b"= %d %d %b%b" % (offset, attempt, body, eol)


def encode_done(text: bytes, eol: bytes) -> bytes:
    """``+ text``: done."""
    return b"+ %b%b" % (text, eol)


def encode_end(eol: bytes) -> bytes:
    """``.``: nothing there, timed out, or the end of a list."""
    return b"." + eol


def encode_failure(error: ReplyError, eol: bytes) -> bytes:
    """``- code text``."""
    return b"- %b %b%b" % (error.code.encode(), str(error).encode(), eol)


def encode_notice(text: str, eol: bytes) -> bytes:
    """``# text``: may come at any time; clients skip it."""
    return b"# %b%b" % (text.encode(), eol)


def encode_help(eol: bytes) -> bytes:
    """Every command, one a line, and ``.``."""
    return b"".join(b"%b -> %b%b" % (r.usage.encode(), r.summary.encode(), eol) for r in COMMANDS.values()) + b"." + eol


def encode_http_refusal() -> bytes:
    """The whole response to somebody who sent an HTTP request here."""
    text = (
        b"This is a gstream server: it speaks a line protocol, not HTTP.\n"
        b"Try: printf 'pHello\\nc\\nq\\n' | nc HOST PORT\n"
    )
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % len(text) + text
