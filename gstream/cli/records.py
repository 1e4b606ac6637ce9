"""Messages as JSON, one object a line: what ``--json`` prints and reads.

A body, a key or a header that is UTF-8 is a string. One that is not is its base64, under ``body_base64`` and
``key_base64``, and as ``{"base64": ...}`` in ``headers``: what is printed can be told from what it looks like.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gstream.client.message import Message

__all__ = ["Record", "decode_record", "encode_message", "text_or_base64", "value_field"]

LONGEST_DELAY_SECONDS = 100_000_000
FIELDS = ("body", "body_base64", "key", "key_base64", "delay", "id")


@dataclass(frozen=True)
class Record:
    """A message to be published: body, key, delay in seconds, and id."""

    body: bytes
    key: bytes | None = None
    delay_seconds: float | None = None
    id: str | None = None


def encode_message(message: Message, topic: str) -> bytes:
    """A line for a message of this topic: id, attempt, topic, time, key, headers, body."""
    row: dict[str, Any] = {"id": message.id, "attempt": message.attempt, "topic": topic}
    if message.time is not None:
        row["time"] = message.time.isoformat(timespec="milliseconds")
    if message.key is not None:
        row.update(value_field("key", message.key))
    if message.headers:
        row["headers"] = {name: text_or_base64(value) for name, value in message.headers}
    row.update(value_field("body", message.body))
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def decode_record(line: bytes) -> Record:
    """What a line says; raises ValueError, which tells what is wrong with it."""
    try:
        row = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None
    if not isinstance(row, dict):
        raise ValueError("it is no object")
    if unknown := sorted(set(row) - set(FIELDS)):
        raise ValueError(f"unknown field {unknown[0]!r}; known are {', '.join(FIELDS)}")
    body = _read_bytes(row, "body")
    if body is None:
        raise ValueError("it has neither body nor body_base64")
    return Record(body, _read_bytes(row, "key"), _read_delay(row.get("delay")), _read_id(row.get("id")))


def value_field(name: str, value: bytes) -> dict[str, str]:
    """A body or a key, as a field of an object."""
    shown = text_or_base64(value)
    return {name: shown} if isinstance(shown, str) else {f"{name}_base64": shown["base64"]}


def text_or_base64(value: bytes) -> str | dict[str, str]:
    """What stands for bytes where there is no name to say what they are."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _read_bytes(row: dict[str, Any], name: str) -> bytes | None:
    text, coded = row.get(name), row.get(f"{name}_base64")
    if text is not None and coded is not None:
        raise ValueError(f"it has both {name} and {name}_base64")
    value = text if coded is None else coded
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{name} is no string")
    if coded is None:
        return value.encode()  # a lone surrogate is a ValueError, too
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise ValueError(f"{name}_base64: {error}") from None


def _read_delay(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_DELAY_SECONDS:
        raise ValueError(f"delay is no number of seconds from 0 to {LONGEST_DELAY_SECONDS:,}")
    return float(value)


def _read_id(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise ValueError("id is no string, or empty")
