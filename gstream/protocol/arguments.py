"""What stands behind a command's letter: names, seconds, numbers, places and fields, each from its bytes.

Each ``decode_x`` raises ValueError for what is none; which command that was is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from gstream.errors import UnknownNameError
from gstream.protocol.commands import Limit
from gstream.protocol.ids import decode_id

__all__ = [
    "decode_count",
    "decode_fields",
    "decode_name",
    "decode_place",
    "decode_seconds",
    "decode_topic_name",
    "decode_topic_settings",
    "decode_waiting",
]

MAX_KEY_BYTES: Final = 1024
MAX_ID_BYTES: Final = 255
MAX_PARTITIONS: Final = 1024
MAX_SIZE_BYTES: Final = 1 << 50

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
_SIZE = re.compile(rb"(\d{1,16})([A-Za-z]{0,3})")
_UNITS = {b"": 1, b"b": 1, b"kb": 10**3, b"mb": 10**6, b"gb": 10**9, b"kib": 1 << 10, b"mib": 1 << 20, b"gib": 1 << 30}
_SETTING = re.compile(rb"(partitions|retain-bytes|retain-seconds)=(\S+)")

Fields: TypeAlias = "tuple[bytes | None, float, bytes | None]"
TopicSettings: TypeAlias = "tuple[int | None, Limit, Limit]"
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
    fields = {name: unquote_to_bytes(value) for name, value in _split_fields(_FIELD, text).items()}
    key, id = fields.get(b"key"), fields.get(b"id")
    if key is not None and len(key) > MAX_KEY_BYTES:
        raise ValueError("a key that is too long")
    if id is not None and not 0 < len(id) <= MAX_ID_BYTES:
        raise ValueError("an id that is empty or too long")
    return key, decode_seconds(fields.get(b"delay", b"0")), id


def decode_topic_settings(text: bytes) -> TopicSettings:
    """``partitions=..``, ``retain-bytes=..`` and ``retain-seconds=..``, each at most once, in any order."""
    fields = _split_fields(_SETTING, text)
    partitions = decode_count(fields[b"partitions"]) if b"partitions" in fields else None
    if partitions is not None and not 0 < partitions <= MAX_PARTITIONS:
        raise ValueError("no number of partitions")
    return (
        partitions,
        _decode_limit(_decode_size, fields.get(b"retain-bytes")),
        _decode_limit(decode_seconds, fields.get(b"retain-seconds")),
    )


def _decode_limit(decode: Callable[[bytes], float], text: bytes | None) -> Limit:
    if text is None:
        return None
    return "default" if text == b"default" else decode(text)


def _decode_size(text: bytes) -> int:
    """Bytes, as the server's options have them: ``65536``, ``64KiB``."""
    match = _SIZE.fullmatch(text)
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError("no size")
    size = int(match[1]) * _UNITS[match[2].lower()]
    if size > MAX_SIZE_BYTES:
        raise ValueError("a size that is too large")
    return size


def _split_fields(pattern: re.Pattern[bytes], text: bytes) -> dict[bytes, bytes]:
    """``name=value`` fields with a space between them, each of which matches, by name."""
    fields: dict[bytes, bytes] = {}
    for field in text.split(b" "):
        match = pattern.fullmatch(field)
        if match is None:
            raise ValueError("no field")
        if match[1] in fields:
            raise ValueError("a field is given once")
        fields[match[1]] = match[2]
    return fields
