"""What stands behind a command's letter: names, seconds, numbers, places and fields, each from its bytes.

Each ``decode_x`` raises ValueError for what is none; which command that was is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from gstream.errors import UnknownNameError
from gstream.protocol.ids import decode_id

__all__ = [
    "decode_count",
    "decode_fields",
    "decode_name",
    "decode_place",
    "decode_seconds",
    "decode_topic_name",
    "decode_waiting",
]

MAX_KEY_BYTES: Final = 1024
MAX_ID_BYTES: Final = 255

_SECONDS = r"\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}"
_JUST_SECONDS = re.compile(_SECONDS.encode())
_WAITING = re.compile(rf"({_SECONDS})?(?: (\d{{1,9}}))?".encode())
_COUNT = re.compile(rb"\d{1,9}")
# Whoever means milliseconds gives 13 digits and is told so, instead of being sent to the year 57,000.
_SINCE_1970 = re.compile(rb"\d{1,12}(?:\.\d{0,9})?")
_BEFORE_END = re.compile(rb"\d{1,15}")
_NAME = re.compile(rb"(?!\.\.?\Z)[A-Za-z0-9._-]{1,249}")
_TOPIC_NAME = re.compile(rb"(?!\.\.?\Z)[A-Za-z0-9._-]{1,249}(?:\.dlq)?")
_FIELD = re.compile(rb"(key|delay|id)=((?:[^%\r]|%[0-9A-Fa-f]{2})*)")

Fields: TypeAlias = "tuple[bytes | None, float, bytes | None]"
Place: TypeAlias = "tuple[str, int | float]"


def decode_name(text: bytes) -> str:
    """A group's name. Raises UnknownNameError."""
    return _matching_name(_NAME, text)


def decode_topic_name(text: bytes) -> str:
    """A topic's name, which may be another's with ``.dlq``. Raises UnknownNameError."""
    return _matching_name(_TOPIC_NAME, text)


def _matching_name(pattern: re.Pattern[bytes], text: bytes) -> str:
    if pattern.fullmatch(text) is None:
        raise UnknownNameError("a name is 1 to 249 letters, digits, '.', '_' or '-'")
    return text.decode()


def decode_seconds(text: bytes) -> float:
    """Seconds, fractions allowed: at most nine digits on each side of the point."""
    if _JUST_SECONDS.fullmatch(text) is None:
        raise ValueError("no seconds")
    return float(text)


def decode_count(text: bytes) -> int:
    """A number of at most nine digits."""
    if _COUNT.fullmatch(text) is None:
        raise ValueError("no number")
    return int(text)


def decode_waiting(text: bytes) -> tuple[float | None, int | None]:
    """``[seconds[ n]]``: how long to wait, and for how many messages, from 1 on; None is what was not said."""
    match = _WAITING.fullmatch(text)
    if match is None:
        raise ValueError("neither seconds nor a number")
    seconds, count = match.groups()
    if count is not None and (seconds is None or int(count) == 0):
        raise ValueError("no number without seconds, and none of 0")
    return None if seconds is None else float(seconds), None if count is None else int(count)


def decode_place(text: bytes) -> Place:
    """A place in a topic, as :class:`~gstream.protocol.commands.Seek` has it."""
    kind, rest = text[:1], text[1:]
    if kind == b"@":
        return _decode_time(rest)
    if kind == b"-" and _BEFORE_END.fullmatch(rest):
        return "before-end", int(rest)
    if text == b"^":
        return "oldest", 0
    if text == b"$":
        return "end", 0
    return "id", decode_id(text)


def _decode_time(text: bytes) -> Place:
    if text.startswith(b"-"):
        return "ago", decode_seconds(text[1:])
    if _SINCE_1970.fullmatch(text):
        return "time", float(text)
    time = datetime.fromisoformat(text.decode("ascii"))
    return "time", (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def decode_fields(text: bytes) -> Fields:
    """``key=..``, ``delay=..`` and ``id=..``, each at most once, in any order: the key, seconds, the id."""
    fields: dict[bytes, bytes] = {}
    for name, value in _split_fields(text):
        if name in fields:
            raise ValueError("a field is given once")
        fields[name] = value
    key, id = fields.get(b"key"), fields.get(b"id")
    if key is not None and len(key) > MAX_KEY_BYTES:
        raise ValueError("a key that is too long")
    if id is not None and not 0 < len(id) <= MAX_ID_BYTES:
        raise ValueError("an id that is empty or too long")
    return key, decode_seconds(fields.get(b"delay", b"0")), id


def _split_fields(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    for field in text.split(b" "):
        match = _FIELD.fullmatch(field)
        if match is None:
            raise ValueError("no field")
        yield match[1], unquote_to_bytes(match[2])
