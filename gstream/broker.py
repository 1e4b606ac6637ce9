"""The broker: topics by name, where messages are published and found.

Knows no socket and no wire format. Nothing here blocks or switches greenlets, so every method is atomic.
"""

from __future__ import annotations

from gstream.errors import FullError
from gstream.group import Group
from gstream.storage.memory import Memory

__all__ = ["DEFAULT_TOPIC", "Broker", "Topic"]

DEFAULT_TOPIC = "default"
"""The tutorial's queue: what a connection uses that names no topic."""


class Topic:
    """A named log and the group that consumes it."""

    def __init__(self, name: str, memory: Memory) -> None:
        self.name = name
        self._memory = memory
        self.log = memory.open_log()
        self.group = Group(self.log)
        self.published_count = 0

    def publish(self, data: bytes, count: int) -> int:
        """Store ``count`` messages given as packed lines, and wake the consumers that wait.

        Returns how many were stored: all, or the first ones when there is no room for more.
        """
        stored = self.log.append(data, count)
        self.published_count += stored
        if self.group.waiting:
            self.group.wake()
        return stored

    def full_error(self) -> FullError:
        """What to tell the producer of a message that was not stored."""
        return FullError(
            f"no room within {self._memory.max_bytes} bytes, the server's --max-memory; consume, or raise it"
        )


class Broker:
    """All topics of a server, over one engine."""

    def __init__(self, engine: Memory) -> None:
        self.engine = engine
        self.topics: dict[str, Topic] = {}

    def topic(self, name: str = DEFAULT_TOPIC) -> Topic:
        """The topic of that name, made on first use."""
        topic = self.topics.get(name)
        if topic is None:
            topic = self.topics[name] = Topic(name, self.engine)
        return topic
