"""What is to be stored of groups and topics, and what is found of it: plain tables by name.

Changes are collected while things happen, and written together. Those that could not be written go under the next
ones. Knows no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

__all__ = [
    "CHUNK_MESSAGES",
    "DONE",
    "Changes",
    "DelayedMessage",
    "GroupKey",
    "KeptMessage",
    "Saved",
    "ShareKey",
    "TopicRow",
]

CHUNK_MESSAGES: Final = 1024
"""So many states are in a chunk."""

DONE: Final = 255
"""The state of a message that is done."""

GroupKey: TypeAlias = tuple[str, str]
"""Topic and group."""
ShareKey: TypeAlias = tuple[str, str, int]
"""Topic, group and partition."""

_Key = TypeVar("_Key", bound=tuple[Any, ...])
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class TopicRow:
    """A topic's settings. retain_bytes, retain_seconds: its own limits; None: the server's."""

    partitions: int
    retain_bytes: int | None = None
    retain_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """A message that a group keeps outside of the log.

    attempt: how often it was delivered. due_ms, time_ms: when it is due again, and when it was published, in
    milliseconds since 1970. kind: how ``data`` is written, as in a frame's magic.
    """

    attempt: int
    due_ms: int
    time_ms: int
    kind: int
    data: bytes


@dataclass(frozen=True, slots=True)
class DelayedMessage:
    """A message that is to be published later.

    due_ms: when, in milliseconds since 1970. id: under which it is published once, if it has one. kind: how ``data``
    is written, as in a frame's magic.
    """

    partition: int
    due_ms: int
    id: bytes | None
    kind: int
    data: bytes


@dataclass(slots=True)
class Changes:
    """What has changed since the last write, in the order in which it is applied.

    removed_topics: everything of them goes. topics: made or changed; nothing else is accepted for a topic that is not.
    removed_groups: topic and group; everything of them goes. groups: made; what tells of a group makes it, too.
    lows: by topic, group and partition, the offset before which all is done.
    chunks: by topic, group, partition and number, the states of messages. kept: by topic, group, partition and offset.
    delayed: by topic and number. recent: by topic and id, the message's id (None: it is delayed) and when it was
    published, in milliseconds since 1970. facts: by name. In these, None removes.
    """

    removed_topics: list[str] = field(default_factory=list)
    topics: dict[str, TopicRow] = field(default_factory=dict)
    removed_groups: list[GroupKey] = field(default_factory=list)
    groups: list[GroupKey] = field(default_factory=list)
    lows: dict[ShareKey, int] = field(default_factory=dict)
    chunks: dict[tuple[str, str, int, int], bytes | None] = field(default_factory=dict)
    kept: dict[tuple[str, str, int, int], KeptMessage | None] = field(default_factory=dict)
    delayed: dict[tuple[str, int], DelayedMessage | None] = field(default_factory=dict)
    recent: dict[tuple[str, bytes], tuple[int | None, int] | None] = field(default_factory=dict)
    facts: dict[str, bytes | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(
            self.removed_topics
            or self.topics
            or self.removed_groups
            or self.groups
            or self.lows
            or self.chunks
            or self.kept
            or self.delayed
            or self.recent
            or self.facts
        )

    def remove_delayed(self, topic: str, number: int) -> None:
        """Of this message nothing is to be stored any more: nothing at all, if it was not stored yet."""
        if self.delayed.pop((topic, number), None) is None:  # no number is given twice
            self.delayed[topic, number] = None

    def remove_group(self, topic: str, group: str) -> None:
        """Of this group nothing is to be stored any more, nor what these changes have of it."""
        self._forget(lambda key: key[:2] == (topic, group))
        self.removed_groups.append((topic, group))

    def remove_topic(self, topic: str) -> None:
        """Of this topic nothing is to be stored any more, nor what these changes have of it."""
        self._forget(lambda key: key[0] == topic)
        self.topics.pop(topic, None)
        self.removed_groups = [key for key in self.removed_groups if key[0] != topic]
        self.delayed = {key: value for key, value in self.delayed.items() if key[0] != topic}
        self.recent = {key: value for key, value in self.recent.items() if key[0] != topic}
        self.removed_topics.append(topic)

    def _forget(self, goes: Callable[[tuple[Any, ...]], bool]) -> None:
        self.groups = [key for key in self.groups if not goes(key)]
        self.lows = {key: low for key, low in self.lows.items() if not goes(key)}
        self.chunks = {key: states for key, states in self.chunks.items() if not goes(key)}
        self.kept = {key: kept for key, kept in self.kept.items() if not goes(key)}

    def merge_older(self, older: Changes) -> None:
        """Put under these what was to be written before them, and was not: writing this writes both.

        What these remove takes with it what the older ones have of it. What the older ones remove is still removed
        first, so that a name that was removed and made again begins anew.
        """
        topics = set(self.removed_topics)
        groups = set(self.removed_groups)

        def stays(key: tuple[Any, ...]) -> bool:
            return key[0] not in topics and key[:2] not in groups

        # What the older ones tell of a group makes it, even if it is removed by these.
        told = ((topic, group) for topic, group, _ in older.share_keys())
        made = [key for key in (*older.groups, *told) if stays(key)]
        self.groups = list(dict.fromkeys((*made, *self.groups)))
        self.removed_topics = list(dict.fromkeys((*older.removed_topics, *self.removed_topics)))
        self.removed_groups = list(dict.fromkeys((*older.removed_groups, *self.removed_groups)))
        for name, row in older.topics.items():
            if name not in topics:
                self.topics.setdefault(name, row)
        _put_under(self.lows, older.lows, stays)
        _put_under(self.chunks, older.chunks, stays)
        _put_under(self.kept, older.kept, stays)
        for place, delayed in older.delayed.items():
            if delayed is not None and self.delayed.get(place, delayed) is None:
                del self.delayed[place]  # it was removed before it was there
            elif stays(place):
                self.delayed.setdefault(place, delayed)
        _put_under(self.recent, older.recent, stays)
        self.facts = older.facts | self.facts

    def share_keys(self) -> Iterator[ShareKey]:
        """Topic, group and partition of whatever there is to be stored; again and again."""
        yield from self.lows
        for stored in (self.chunks, self.kept):
            yield from (key[:3] for key, value in stored.items() if value is not None)


def _put_under(newer: dict[_Key, _Value], older: dict[_Key, _Value], stays: Callable[[tuple[Any, ...]], bool]) -> None:
    for key, value in older.items():
        if key not in newer and stays(key):
            newer[key] = value


@dataclass(slots=True)
class Saved:
    """All that is stored, in the shapes of :class:`Changes`. recent: the oldest first."""

    topics: dict[str, TopicRow] = field(default_factory=dict)
    groups: list[GroupKey] = field(default_factory=list)
    lows: dict[ShareKey, int] = field(default_factory=dict)
    chunks: dict[tuple[str, str, int, int], bytes] = field(default_factory=dict)
    kept: dict[tuple[str, str, int, int], KeptMessage] = field(default_factory=dict)
    delayed: dict[tuple[str, int], DelayedMessage] = field(default_factory=dict)
    recent: dict[tuple[str, bytes], tuple[int | None, int]] = field(default_factory=dict)
    facts: dict[str, bytes] = field(default_factory=dict)
