"""The broker: topics by name.

Knows no socket and no wire format. Nothing here blocks or switches greenlets, so every method is atomic.
"""

from __future__ import annotations

from dataclasses import replace

from gstream.agenda import Agenda
from gstream.errors import FullError, UnknownNameError
from gstream.topic import DEAD_LETTERS, AnyEngine, Topic, TopicSettings

__all__ = ["DEFAULT_TOPIC", "Broker"]

DEFAULT_TOPIC = "default"
"""The tutorial's queue: what a connection uses that names no topic."""


class Broker:
    """All topics of a server, over one engine.

    agenda: where they note what is to be done later.
    max_topics: so many are made; topics of dead letters are made whatever their number is.
    max_groups: so many are made, in all topics together.
    """

    def __init__(
        self,
        engine: AnyEngine,
        agenda: Agenda | None = None,
        settings: TopicSettings | None = None,
        max_topics: int = 10_000,
        max_groups: int = 10_000,
    ) -> None:
        self.engine = engine
        self.agenda = agenda or Agenda()
        self.settings = settings or TopicSettings()
        self.max_topics = max_topics
        self.max_groups = max_groups
        self.topics: dict[str, Topic] = {}
        for name in engine.topic_names:
            self._make(name, engine.partition_count(name))  # type: ignore[union-attr]

    def topic(self, name: str = DEFAULT_TOPIC) -> Topic:
        """The topic of that name, made on first use. Raises FullError when there are too many."""
        topic = self.topics.get(name)
        if topic is None:
            if len(self.topics) >= self.max_topics:
                raise FullError(f"there are {len(self.topics)} topics, the server's --max-topics")
            topic = self._make(name)
        return topic

    def find(self, name: str) -> Topic:
        """The topic of that name. Raises UnknownNameError when there is none."""
        topic = self.topics.get(name)
        if topic is None:
            raise UnknownNameError("no such topic")
        return topic

    def _make(self, name: str, partitions: int = 0) -> Topic:
        """A topic with so many partitions (0: as many as the server's settings say)."""
        dead_letters = name if name.endswith(DEAD_LETTERS) else name + DEAD_LETTERS

        def find_dead_letters() -> Topic:
            return self.topics.get(dead_letters) or self._make(dead_letters)

        settings = replace(self.settings, partitions=partitions) if partitions else self.settings
        topic = Topic(name, self.engine, self.agenda, settings, find_dead_letters, self._check_groups)
        self.topics[name] = topic
        return topic

    def _check_groups(self) -> None:
        count = sum([len(topic.groups) for topic in self.topics.values()])
        if count >= self.max_groups:
            raise FullError(f"there are {count} groups, the server's --max-groups")

    @property
    def unfinished_count(self) -> int:
        """How many messages somebody has still to take or to acknowledge, in all topics."""
        return sum(topic.unfinished_count for topic in self.topics.values())
