"""What a connection's commands act on: the topic and the group that it has chosen, and what it has leased in each.

Names are chosen at once; the topic and the group are made when something is done with them. Knows no socket and no
wire format.
"""

from __future__ import annotations

from gstream.broker import DEFAULT_TOPIC, Broker
from gstream.consumer import Consumer
from gstream.group import Group
from gstream.topic import DEFAULT_GROUP, Topic

__all__ = ["Scope"]


class Scope:
    """A connection's topic, group and consumers."""

    __slots__ = ("_consumers", "_group", "_topic", "broker", "group_name", "topic_name")

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.topic_name = DEFAULT_TOPIC
        self.group_name = DEFAULT_GROUP
        self._topic: Topic | None = None
        self._group: Group | None = None
        self._consumers: dict[Group, Consumer] = {}

    def choose_topic(self, name: str) -> None:
        """The commands that follow act on this topic, and on the group of the same name in it."""
        self.topic_name, self._topic, self._group = name, None, None

    def choose_group(self, name: str) -> None:
        """The commands that follow consume as this group, which is made. Raises FullError."""
        self.group_name, self._group = name, None
        self.group()

    def topic(self) -> Topic:
        """The chosen topic. Raises FullError when it cannot be made."""
        topic = self._topic
        if topic is None:
            topic = self._topic = self.broker.topic(self.topic_name)
        return topic

    def group(self) -> Group:
        """The chosen group of the chosen topic. Raises FullError when it cannot be made."""
        group = self._group
        if group is None or group.removed:
            group = self._group = self.topic().group(self.group_name)
        return group

    def held(self) -> tuple[Group, Consumer] | None:
        """The chosen group, and what this connection has leased from it; None if there is no such group."""
        group = self._group
        if group is None or group.removed:
            topic = self.broker.topics.get(self.topic_name)
            group = topic.groups.get(self.group_name) if topic is not None else None
            if group is None:
                return None
        return group, self.consumer(group)

    @property
    def several(self) -> bool:
        """Whether the topic has several partitions, so that ids name them."""
        return self.broker.settings.partitions > 1

    def consumer(self, group: Group) -> Consumer:
        """What this connection has leased from the group."""
        consumer = self._consumers.get(group)
        if consumer is None:
            for left in [group for group in self._consumers if group.removed]:
                del self._consumers[left]
            consumer = self._consumers[group] = Consumer(self.broker.engine)
        return consumer

    def leave(self) -> int:
        """End all leases; how many there were."""
        returned = 0
        for group, consumer in self._consumers.items():
            returned += len(consumer)
            group.leave(consumer)
        self._consumers.clear()
        return returned
