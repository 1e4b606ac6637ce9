"""The broker: topics by name.

Knows no socket and no wire format. Nothing here blocks or switches greenlets, so every method is atomic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gstream.agenda import Agenda
from gstream.commit import Commit, together
from gstream.errors import ArgumentError, FullError, UnknownNameError
from gstream.topic import DEAD_LETTERS, AnyEngine, Limit, Topic, TopicSettings

__all__ = ["DEFAULT_TOPIC", "Broker"]

DEFAULT_TOPIC = "default"
"""The tutorial's queue: what a connection uses that names no topic."""


class Broker:
    """All topics of a server, over one engine.

    agenda: where they note what is to be done later.
    max_topics: so many are made; topics of dead letters are made whatever their number is.
    max_groups: so many are made, in all topics together.

    A topic that is made with more partitions than the settings say counts as so many times more, and so do its groups:
    it is the partitions that cost.
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
        self.topics_bound = ""
        """What ``max_topics`` comes from, if not from the settings."""
        self.max_groups = max_groups
        self.topics: dict[str, Topic] = {}
        self.partition_count = 0
        """Of all topics together."""
        self.group_guard: Callable[[str], object] = lambda _name: None
        """Called with a group's name before it is made; raises BusyError for one that belongs to others."""
        self._published_before = 0
        """Messages of topics that were removed since."""
        for name in engine.topic_names:
            self._make(name, engine.partition_count(name))  # type: ignore[union-attr]

    def topic(self, name: str = DEFAULT_TOPIC) -> Topic:
        """The topic of that name, made on first use. Raises FullError when there are too many."""
        topic = self.topics.get(name)
        if topic is None:
            self.check_topics(self.settings.partitions)
            topic = self._make(name, self.settings.partitions)
        return topic

    def set_up(
        self, name: str, partitions: int | None = None, retain_bytes: Limit = None, retain_seconds: Limit = None
    ) -> Topic:
        """Make a topic, if there is none of that name, and set for it what is said.

        partitions: how many it is to have; None: if it is new, as many as all.
        retain_bytes, retain_seconds: see Topic.change.

        Raises ArgumentError for what cannot be had, or changed, and FullError. Then nothing is made or changed.
        """
        topic = self.topics.get(name)
        if topic is None:
            wanted = partitions or self.settings.partitions
            self.check_topics(wanted)
            topic = self._make(name, wanted)
        elif partitions not in (None, len(topic.partitions)):
            count = len(topic.partitions)
            shown = f"{count} partitions" if topic.several else "1 partition"
            raise ArgumentError(f"the topic has {shown}; their number cannot be changed")
        topic.change(retain_bytes, retain_seconds)
        return topic

    def remove(self, name: str) -> Commit | None:
        """Remove a topic with all that is in it; when nothing of it is kept any more (None: nothing is).

        Raises UnknownNameError, and BusyError while it has consumers.
        """
        topic = self.find(name)
        topic.close()
        del self.topics[name]
        self.partition_count -= len(topic.partitions)
        self._published_before += topic.published_count
        gone = self.engine.remove_topic(name, topic.partitions)  # type: ignore[arg-type]  # they are this engine's
        return together([gone, topic.keep()])

    def find(self, name: str) -> Topic:
        """The topic of that name. Raises UnknownNameError when there is none."""
        topic = self.topics.get(name)
        if topic is None:
            raise UnknownNameError("no such topic")
        return topic

    def check_topics(self, partitions: int) -> None:
        """Whether a topic with so many partitions may be made. Raises FullError."""
        self._check_room("topics", self.partition_count, partitions, self.max_topics, self.topics_bound)

    def _make(self, name: str, partitions: int) -> Topic:
        dead_letters = name if name.endswith(DEAD_LETTERS) else name + DEAD_LETTERS

        def find_dead_letters() -> Topic:
            return self.topics.get(dead_letters) or self._make(dead_letters, self.settings.partitions)

        settings = replace(self.settings, partitions=partitions)
        topic = Topic(name, self.engine, self.agenda, settings, find_dead_letters, self._check_group, self._grow)
        self.topics[name] = topic
        self.partition_count += partitions
        return topic

    def _check_group(self, topic: Topic, name: str) -> None:
        """Whether a topic may get a further group of this name. Raises FullError and BusyError."""
        self.group_guard(name)
        self._check_groups(len(topic.partitions))

    def _check_groups(self, wanted: int) -> None:
        """Whether groups may have so many partitions more. Raises FullError."""
        count = sum([len(topic.groups) * len(topic.partitions) for topic in self.topics.values()])
        self._check_room("groups", count, wanted, self.max_groups)

    def _grow(self, topic: Topic, count: int) -> None:
        """A topic is to have so many partitions more. Raises FullError."""
        self.check_topics(count)
        if topic.groups:
            self._check_groups(len(topic.groups) * count)
        self.partition_count += count

    def _check_room(self, what: str, count: int, wanted: int, limit: int, bound: str = "") -> None:
        """Whether there is room for so many more, both counted in partitions. Raises FullError."""
        each = self.settings.partitions
        if count + wanted > limit * each:
            present, more = -(-count // each), -(-wanted // each)
            if more == 1:
                most = bound or f"the server's --max-{what}"
                raise FullError(f"there are {present} {what}, {most}")
            most = f"{limit} are {bound}" if bound else f"--max-{what} is {limit}"
            raise FullError(f"it counts as {more} {what}, and there are {present}; {most}")

    @property
    def published_count(self) -> int:
        """How many messages were published since the start, in all topics, also in those that were removed."""
        return self._published_before + sum(topic.published_count for topic in self.topics.values())

    @property
    def unfinished_count(self) -> int:
        """How many messages somebody has still to take or to acknowledge, in all topics."""
        return sum(topic.unfinished_count for topic in self.topics.values())
