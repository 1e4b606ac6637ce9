"""What the client's calls are given: checked before anything is sent, and as it stands in a command.

What cannot be meant raises TypeError or ValueError with what to do instead; whether a name is a good one, the server
says. Knows no connection.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar

from gstream.client.window import encode_seconds

__all__ = [
    "MAX_COUNT",
    "Bytes",
    "Seconds",
    "check_address",
    "check_count",
    "encode_name",
    "encode_place",
    "encode_settings",
    "read_wait",
]

T = TypeVar("T", int, float)
Bytes: TypeAlias = int | Literal["default"] | None
Seconds: TypeAlias = float | Literal["default"] | None
"""What is said of a topic's limit: a number (0: there is none), that it is the server's, or (None) nothing."""

MAX_COUNT = 999_999_999
"""No command takes a larger number."""

MAX_PORT = 65_535

_DEFAULT = "default"

_PLACES = {"^": b"^", "oldest": b"^", "$": b"$", "end": b"$"}
_ID = re.compile(r"(?:[0-9]{1,5}:)?[0-9]{1,15}")


def check_address(host: str, port: int) -> None:
    """Raises TypeError for a port that is no int, ValueError for one out of range or within the host."""
    if not isinstance(port, int):
        raise TypeError(f"a port is an int, not {type(port).__name__}: give int({port!r})")
    if not 0 < port <= MAX_PORT:
        raise ValueError(f"a port is 1 to {MAX_PORT}, not {port}")
    name, colon, number = host.partition(":")
    if colon and number.isdecimal():
        raise ValueError(f"host and port are two arguments: {name!r}, {number}, not {host!r}")


def check_count(count: int) -> None:
    """Raises ValueError for what is no number of messages."""
    if not 0 < count <= MAX_COUNT:
        raise ValueError(f"a count is 1 to {MAX_COUNT}, not {count!r}")


def read_wait(wait_seconds: float | None) -> float:
    """How long to wait; infinite for None. Raises ValueError for what is negative or no number."""
    if wait_seconds is None or wait_seconds == math.inf:
        return math.inf
    encode_seconds(wait_seconds)
    return wait_seconds


def encode_name(name: str) -> bytes:
    """A name as it stands in a command. Raises TypeError for what is no str, ValueError for what is no line."""
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {type(name).__name__}: decode it, as in name.decode()")
    if not name or "\n" in name or "\r" in name:
        raise ValueError(f"a name is 1 to 249 letters, digits, '.', '_' or '-', not {name!r}")
    return name.encode(errors="replace")


def encode_place(where: int | str | datetime) -> bytes:
    """A place as it stands behind ``f``. Raises ValueError or TypeError for what is none."""
    if isinstance(where, int):
        return b"%d" % where
    if isinstance(where, datetime):
        if where.tzinfo is None:
            raise ValueError("seek takes a datetime with a time zone, as in datetime.now(UTC)")
        return b"@%.6f" % max(0.0, where.timestamp())
    if not isinstance(where, str):
        raise TypeError(
            f"seek takes an id (a str), a number (an int), a datetime, 'oldest' or 'end', not {type(where).__name__}"
        )
    if where in _PLACES:
        return _PLACES[where]
    if _ID.fullmatch(where):
        return where.encode()
    raise ValueError(f"seek takes an id, a number, a datetime, 'oldest' or 'end', not {where!r}")


def encode_settings(partitions: int | None, retain_bytes: Bytes, retain_seconds: Seconds) -> bytes:
    """What is said of a topic, as it stands behind its name in ``m``. Raises ValueError for what cannot be meant."""
    fields = b""
    if partitions is not None:
        if partitions < 1:
            raise ValueError(f"a topic has 1 partition or more, not {partitions!r}")
        fields += b" partitions=%d" % partitions
    if retain_bytes is not None:
        fields += b" retain-bytes=" + _encode_limit(retain_bytes, _encode_bytes)
    if retain_seconds is not None:
        fields += b" retain-seconds=" + _encode_limit(retain_seconds, encode_seconds)
    return fields


def _encode_limit(value: T | Literal["default"], encode: Callable[[T], bytes]) -> bytes:
    if isinstance(value, str):
        if value != _DEFAULT:
            raise ValueError(f"a limit is a number, or {_DEFAULT!r} for the server's own, not {value!r}")
        return _DEFAULT.encode()
    return encode(value)


def _encode_bytes(size: int) -> bytes:
    if size < 0:
        raise ValueError(f"a size is 0 bytes or more, not {size!r}")
    return b"%d" % size
