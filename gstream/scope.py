"""What a connection's commands act on: the topic and the group that it has chosen, and what it has leased in each.

Names are chosen at once; the topic and the group are made when something is done with them. Knows no socket and no
wire format.
"""

from __future__ import annotations

from gstream.batch import Batch
from gstream.broker import DEFAULT_TOPIC, Broker
from gstream.consumer import Consumer
from gstream.group import Group
from gstream.topic import DEFAULT_GROUP, PEEK_MESSAGES, Topic

__all__ = ["Scope"]


FEW_CONSUMERS = 64


class Scope:
    """A connection's topic, group and consumers."""

    __slots__ = ("_consumers", "_group", "_sweep_at", "_topic", "broker", "group_name", "topic_name")

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.topic_name = DEFAULT_TOPIC
        self.group_name = DEFAULT_GROUP
        self._topic: Topic | None = None
        self._group: Group | None = None
        self._consumers: dict[Group, Consumer] = {}
        self._sweep_at = FEW_CONSUMERS

    def choose_topic(self, name: str) -> None:
        """The commands that follow act on this topic, and on the group of the same name in it."""
        self.topic_name, self._topic, self._group = name, None, None

    def choose_group(self, name: str) -> None:
        """The commands that follow consume as this group, which is made. Raises FullError and BusyError."""
        self.group_name, self._group = name, None
        self.group()

    def topic(self) -> Topic:
        """The chosen topic. Raises FullError when it cannot be made."""
        topic = self._topic
        if topic is None or topic.removed:
            topic = self._topic = self.broker.topic(self.topic_name)
        return topic

    def group(self) -> Group:
        """The chosen group of the chosen topic. Raises FullError and BusyError when it cannot be made."""
        group = self._group
        if group is None or group.removed:
            group = self._group = self.topic().group(self.group_name)
        return group

    def held(self) -> tuple[Group, Consumer] | None:
        """The chosen group, and what this connection has leased from it; None if it never leased anything."""
        group = self._group
        if group is None or group.removed:
            topic = self.broker.topics.get(self.topic_name)
            group = topic.groups.get(self.group_name) if topic is not None else None
            if group is None:
                return None
        consumer = self._consumers.get(group)
        return None if consumer is None else (group, consumer)

    def _sweep(self) -> None:
        """Forget consumers that hold nothing, now that there are twice as many as after the last time."""
        held = {group: each for group, each in self._consumers.items() if len(each) and not group.removed}
        self._consumers = held
        self._sweep_at = max(FEW_CONSUMERS, 2 * len(held))

    def peek(self, count: int) -> list[Batch]:
        """The next messages of the chosen group, of which neither it nor its topic is made for that."""
        topic = self.broker.topics.get(self.topic_name)
        return [] if topic is None else topic.peek(self.group_name, min(count, PEEK_MESSAGES))

    @property
    def several(self) -> bool:
        """Whether the chosen topic has several partitions, so that ids name them, or would have if it were there."""
        topic = self.broker.topics.get(self.topic_name)
        return self.broker.settings.partitions > 1 if topic is None else topic.several

    def consumer(self, group: Group) -> Consumer:
        """What this connection has leased from the group."""
        consumer = self._consumers.get(group)
        if consumer is None:
            if len(self._consumers) >= self._sweep_at:
                self._sweep()
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
