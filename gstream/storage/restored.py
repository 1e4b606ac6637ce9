"""What was kept of topics and groups when the server was started, sorted by who will ask for it.

Knows no file, no topic and no group.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gstream.storage.changes import DelayedMessage, KeptMessage, Saved, ShareKey, TopicRow

__all__ = ["Restored", "SavedTopic"]


@dataclass(slots=True)
class SavedTopic:
    """What was kept of a topic, but for what its groups have done: see Changes."""

    groups: list[str] = field(default_factory=list)
    delayed: dict[int, DelayedMessage] = field(default_factory=dict)
    recent: dict[bytes, tuple[int | None, int]] = field(default_factory=dict)


class Restored:
    """All that was kept; what was asked for is forgotten."""

    def __init__(self, saved: Saved) -> None:
        self.topics: dict[str, TopicRow] = saved.topics
        self.facts: dict[str, bytes] = saved.facts
        self._lows = saved.lows
        self._chunks: dict[ShareKey, dict[int, bytes]] = {}
        for (topic, group, partition, number), states in saved.chunks.items():
            self._chunks.setdefault((topic, group, partition), {})[number] = states
        self._kept: dict[ShareKey, dict[int, KeptMessage]] = {}
        for (topic, group, partition, offset), message in saved.kept.items():
            self._kept.setdefault((topic, group, partition), {})[offset] = message
        self._topics = {name: SavedTopic() for name in saved.topics}
        for topic, group in saved.groups:
            self._topics[topic].groups.append(group)
        for (topic, id), answer in saved.recent.items():
            self._topics[topic].recent[id] = answer
        for (topic, number), delayed in saved.delayed.items():
            self._topics[topic].delayed[number] = delayed

    def limits(self) -> dict[str, tuple[int | None, float | None]]:
        """The limits that topics have of their own: bytes, seconds."""
        return {name: (row.retain_bytes, row.retain_seconds) for name, row in self.topics.items()}

    def take_topic(self, topic: str) -> SavedTopic:
        """What was kept of a topic."""
        return self._topics.pop(topic, None) or SavedTopic()

    def take_share(self, key: ShareKey) -> tuple[int, dict[int, bytes], dict[int, KeptMessage]] | None:
        """What a group had done in a partition: see Progress.restore. None: nothing is known of it."""
        low = self._lows.pop(key, None)
        return None if low is None else (low, self._chunks.pop(key, {}), self._kept.pop(key, {}))
