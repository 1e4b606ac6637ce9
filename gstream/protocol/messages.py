"""Typed messages to bytes: ``= id n body``, and ``$ id n len`` where the body is counted.

Strategy: the replies for a whole batch are made at once. Lines of consecutive offsets differ in their last digits and
their bodies only, so they are a ready template of a thousand lines, cut to the batch, and filled by one ``%``: 0.10 us
a message of 17 bytes, where a format each takes 0.30.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final
from urllib.parse import quote

from gstream.batch import Batch, Message

__all__ = ["encode_messages"]

_CR, _NUL = b"\r\0"  # as numbers: looking for one takes a seventh of what looking for bytes takes
_COUNTED = re.compile(rb"[\r\n\0]")
_WITH_FIELDS: Final = 2
_FEW: Final = 4
"""So many lines are formatted one by one."""


def encode_messages(batch: Batch, prefix: bytes, eol: bytes, mode: int) -> tuple[bytes, Sequence[int] | None]:
    """The typed replies for a batch, and where each message's reply ends in them.

    None in place of the ends says that each reply is exactly one line that ends in LF, so that counting these finds
    them.

    prefix: what stands before an offset in an id: the partition and a colon, or nothing.
    mode: 0: a body is counted where it holds CR, LF or NUL, which readers of lines would trip over. 1: every one is.
    2: every one is, with all that is known of the message.
    """
    data = batch.data
    if mode == 0 and batch.is_lines and _CR not in data and _NUL not in data:
        if batch.count == 1:
            return b"= %b%d %d %b%b" % (prefix, batch.offset, batch.attempt, data[1:-1], eol), None
        return _encode_lines(batch, prefix, eol), None
    attempt = b" %d " % batch.attempt

    def encode_counted(offset: int, body: bytes, fields: bytes = b"") -> bytes:
        return b"$ %b%d%b%d%b%b%b%b" % (prefix, offset, attempt, len(body), fields, eol, body, eol)

    if mode == _WITH_FIELDS:
        replies = [encode_counted(each.offset, each.body, _encode_fields(each)) for each in batch.messages()]
    elif mode == 1:
        replies = [encode_counted(offset, body) for offset, body in enumerate(batch.bodies(), batch.offset)]
    else:
        replies = [
            encode_counted(offset, body)
            if _COUNTED.search(body)
            else b"= %b%d%b%b%b" % (prefix, offset, attempt, body, eol)
            for offset, body in enumerate(batch.bodies(), batch.offset)
        ]
    return b"".join(replies), list(accumulate(map(len, replies)))


def _encode_fields(message: Message) -> bytes:
    fields = [f" time={message.time_ms}"]
    if message.key is not None:
        fields.append(f" key={quote(message.key, safe='')}")
    fields += (f" h.{quote(name, safe='')}={quote(value, safe='')}" for name, value in message.headers)
    return "".join(fields).encode()


def _encode_lines(batch: Batch, prefix: bytes, eol: bytes) -> bytes:
    """A line each: bodies that hold none of what would have to be counted."""
    count, attempt = batch.count, batch.attempt
    bodies = batch.bodies()
    if count <= _FEW:
        lines = [
            b"= %b%d %d %b%b" % (prefix, offset, attempt, body, eol) for offset, body in enumerate(bodies, batch.offset)
        ]
        return b"".join(lines)
    replies = []
    done = 0
    while done < count:
        offset = batch.offset + done
        digits = min(3, len(str(offset)))
        higher, first = divmod(offset, 10**digits)
        stop = min(10**digits, first + count - done)
        template, line_bytes = _template(digits, attempt, eol)
        template = template[first * line_bytes : stop * line_bytes]
        template = template.replace(b"@", b"%b%d" % (prefix, higher) if higher else prefix)
        replies.append(template % tuple(bodies[done : done + stop - first]))
        done += stop - first
    return b"".join(replies)


@lru_cache(maxsize=32)
def _template(digits: int, attempt: int, eol: bytes) -> tuple[bytes, int]:
    """Lines for all offsets of so many digits; ``@`` stands for what is before these, ``%b`` for the body.

    And how long each of them is.
    """
    lines = [b"= @%0*d %d %%b%b" % (digits, last, attempt, eol) for last in range(10**digits)]
    return b"".join(lines), len(lines[0])
