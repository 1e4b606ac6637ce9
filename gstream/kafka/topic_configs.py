"""What is set for a topic by Kafka's clients: checked as a whole, set, kept, and shown.

What it does lives in the topic itself (its limits and options, which the line protocol may change, too); the texts, and
what only is to be shown, are kept as a fact of the topic.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from gstream.config import Config
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.configs import LARGEST_INT, LARGEST_LONG, Entry, Source, Synonym
from gstream.kafka.topic_keys import CREATE_TIME, LOG_APPEND_TIME, TOPIC_KEYS
from gstream.kafka.validation import max_batch_bytes

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.topic import Topic

__all__ = ["DEFAULTS", "check_values", "describe_topic", "own_values", "server_value", "set_values"]

T = TypeVar("T")

UNLIMITED = "-1"

MAX_VALUE_BYTES = 32_000
"""More is not possible in all replies; and every topic has values of its own."""

DEFAULTS = Config()
"""A server to which nothing was said."""

LONGEST_SECONDS = 1e9
"""As of --retain-seconds: 31 years; longer is without a limit."""


def server_value(config: Config, name: str) -> str:
    """What a key of a topic is as long as the topic has no value of its own."""
    match name:
        case "max.message.bytes":
            return str(max_batch_bytes(config.max_message_bytes))
        case "retention.bytes":
            return _show_bytes(config.limit_bytes)
        case "retention.ms":
            return _show_ms(config.limit_seconds)
        case "segment.bytes":
            return str(min(config.segment_bytes, LARGEST_INT))
        case "segment.ms":
            return _show_ms(config.segment_seconds)
    default = TOPIC_KEYS[name].default
    assert default is not None
    return default


def check_values(config: Config, values: Mapping[str, str | None]) -> dict[str, str]:
    """These values as they are set. Raises KafkaError for what is unknown or cannot be had; then nothing is."""
    checked = {}
    for name, value in values.items():
        key = TOPIC_KEYS.get(name)
        if key is None:
            near = difflib.get_close_matches(name, TOPIC_KEYS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise KafkaError(Code.INVALID_CONFIG, f"Unknown topic config name: {name}{hint}")
        if value is None:
            raise KafkaError(Code.INVALID_CONFIG, f"Null value not supported for topic configs: {name}")
        if len(value.encode()) > MAX_VALUE_BYTES:
            raise _invalid(name, value[:20] + "…", f"at most {MAX_VALUE_BYTES} bytes")
        try:
            checked[name] = key.check(value.strip())
        except ValueError as error:
            raise _invalid(name, value, str(error)) from None
    _check_flushing(config, checked)
    return checked


def _check_flushing(config: Config, values: Mapping[str, str]) -> None:
    """Nothing is promised that --sync does not keep; what is in memory is not synced."""
    seconds = config.sync_seconds
    if config.data_dir is None or not seconds:
        return
    why = "the server's --sync does it less often"
    wanted = int(values.get("flush.ms", LARGEST_LONG))
    if wanted < LARGEST_LONG and (math.isinf(seconds) or wanted < seconds * 1000):
        least = LARGEST_LONG if math.isinf(seconds) else math.ceil(seconds * 1000)
        raise _invalid("flush.ms", values["flush.ms"], f"{least} or more: {why}")
    if int(values.get("flush.messages", LARGEST_LONG)) < LARGEST_LONG:
        raise _invalid("flush.messages", values["flush.messages"], f"{LARGEST_LONG}: {why}")


def _invalid(name: str, value: str, possible: str) -> KafkaError:
    return KafkaError(Code.INVALID_CONFIG, f"Invalid value {value} for configuration {name}: possible is {possible}")


def own_values(node: Node, topic: Topic) -> dict[str, str]:
    """What is set for this topic itself, by whom ever."""
    values = _kept(node, topic)
    options = topic.options
    _see(values, "max.message.bytes", options.max_message_bytes, int, str)
    _see(values, "retention.bytes", topic.retain_bytes, _read_bytes, _show_bytes)
    _see(values, "retention.ms", topic.retain_seconds, _read_ms, _show_ms)
    _see(values, "segment.bytes", options.segment_bytes, int, str)
    append_time = options.append_time if options.append_time or "message.timestamp.type" in values else None
    _see(values, "message.timestamp.type", append_time, LOG_APPEND_TIME.__eq__, _show_time)
    return values


def _kept(node: Node, topic: Topic) -> dict[str, str]:
    kept = node.facts.get(_fact(topic))
    values: dict[str, str] = {} if kept is None else json.loads(kept)
    return values


def _fact(topic: Topic) -> str:
    return f"topic/{topic.name}/configs"


def _see(
    values: dict[str, str], name: str, in_force: T | None, read: Callable[[str], T], show: Callable[[T], str]
) -> None:
    """Have the text as it was given, as long as it says what is in force: others can change that."""
    if in_force is None:
        values.pop(name, None)
    elif name not in values or read(values[name]) != in_force:
        values[name] = show(in_force)


def set_values(node: Node, topic: Topic, values: Mapping[str, str]) -> None:
    """Have these, which were checked, as all that is set for this topic itself; Topic.keep says when that is kept."""
    if values == own_values(node, topic):
        return
    size, ms = values.get("retention.bytes"), values.get("retention.ms")
    topic.change(
        retain_bytes="default" if size is None else _read_bytes(size),
        retain_seconds="default" if ms is None else _read_ms(ms),
    )
    options = replace(
        topic.options,
        max_message_bytes=_read_own(values.get("max.message.bytes")),
        segment_bytes=_read_own(values.get("segment.bytes")),
        append_time=values.get("message.timestamp.type") == LOG_APPEND_TIME,
    )
    topic.set_options(options)
    node.facts.put(_fact(topic), json.dumps(values).encode() if values else None)


def describe_topic(config: Config, values: Mapping[str, str]) -> list[Entry]:
    """All keys of a topic for which these values are set, in order."""
    return [_entry(config, name, values.get(name)) for name in TOPIC_KEYS]


def _entry(config: Config, name: str, own: str | None) -> Entry:
    key = TOPIC_KEYS[name]
    common, default = server_value(config, name), server_value(DEFAULTS, name)
    synonyms = [Synonym(key.broker_name, default, Source.DEFAULT)]
    if common != default:
        synonyms.insert(0, Synonym(key.broker_name, common, Source.SERVER))
    if own is not None:
        synonyms.insert(0, Synonym(name, own, Source.TOPIC))
    strongest = synonyms[0]
    return Entry(name, strongest.value, key.type, strongest.source, key.documentation, synonyms=tuple(synonyms))


def _read_own(value: str | None) -> int | None:
    return None if value is None else int(value)


def _read_bytes(value: str) -> int:
    return 0 if value == UNLIMITED else int(value)


def _show_bytes(size: int) -> str:
    return str(size) if size else UNLIMITED


def _read_ms(value: str) -> float:
    seconds = int(value) / 1000
    return 0.0 if value == UNLIMITED or seconds >= LONGEST_SECONDS else seconds


def _show_ms(seconds: float) -> str:
    return str(max(1, round(seconds * 1000))) if seconds else UNLIMITED


def _show_time(is_append_time: bool) -> str:
    return LOG_APPEND_TIME if is_append_time else CREATE_TIME
