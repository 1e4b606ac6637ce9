"""Rows of requests and of replies: there may be so many that others have to get turns in between.

Knows no API.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import gevent

from gstream.kafka.encoding import INT32, encode_unsigned

__all__ = ["PAUSE_SECONDS", "encode_rows", "in_turns"]

T = TypeVar("T")

TURN_SECONDS = 0.005

PAUSE_SECONDS = 0.001
"""Not 0: gevent looks for input only after some fifty of those. libuv's timers know no less, and gevent warns of it."""

ROWS_AT_ONCE = 20
"""So many are encoded before it is looked whether others should get a turn."""


def in_turns(rows: Iterable[T]) -> Iterator[T]:
    """These; what is done with one of them is done at once, and others may get a turn before the next one."""
    ends = time.perf_counter() + TURN_SECONDS
    for row in rows:
        if time.perf_counter() > ends:
            gevent.sleep(PAUSE_SECONDS)
            ends = time.perf_counter() + TURN_SECONDS
        yield row


def encode_rows(response: Any, version: int, name: str, rows: Iterable[Any], **fields: Any) -> list[bytes]:
    """The body of a reply, of which these rows are the last field, encoded in turns.

    response: its class. name: of that field. fields: the others. rows: few of them are there at once.
    """

    def encode(some: Sequence[Any]) -> bytes:
        encoded: bytes = response(**fields, **{name: some}).encode(version=version)
        return encoded

    is_flexible = response.flexible_version_q(version)
    count_size, tail = (1, b"\0") if is_flexible else (INT32.size, b"")  # of no more than ROWS_AT_ONCE
    empty = encode([])
    head = empty[: len(empty) - len(tail) - count_size]
    parts, count = [], 0
    each = in_turns(rows)
    while some := list(islice(each, ROWS_AT_ONCE)):
        count += len(some)
        encoded = encode(some)
        parts.append(encoded[len(empty) - len(tail) : len(encoded) - len(tail)])
    return [head, encode_unsigned(count + 1) if is_flexible else INT32.pack(count), *parts, tail]
