"""The line protocol's groups as Kafka's tools see them: they are listed, described, and tell how far they are.

A line group is a group of one topic; groups of the same name, of several topics, are one group here. They have no
protocol type, as groups whose consumers choose for themselves what they read: others are not shown by Kafka's tools.
What those call the assignor, and a consumer's client, says what they are. Knows no wire format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gstream.broker import Broker
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.committed import Place
from gstream.kafka.group import State

__all__ = ["NAME", "PROTOCOL_TYPE", "LineGroup", "all_of", "exists", "find", "offsets", "remove"]

PROTOCOL_TYPE = ""
NAME = "gstream"


class LineGroup(NamedTuple):
    """One of them. consumers: how many it has in each topic."""

    name: str
    consumers: dict[str, int]

    @property
    def state(self) -> State:
        """Whether it has consumers."""
        return State.STABLE if any(self.consumers.values()) else State.EMPTY

    @property
    def member_ids(self) -> list[str]:
        """Consumers have no ids of their own: each is called by its topic and a number."""
        return [f"{topic}-{number}" for topic, count in self.consumers.items() for number in range(count)]


def exists(broker: Broker, name: str) -> bool:
    """Whether there is one of that name, in whatever topic."""
    return any(name in topic.groups for topic in broker.topics.values())


def find(broker: Broker, name: str) -> LineGroup | None:
    """That of that name; None: there is none."""
    consumers = {
        topic.name: group.consumer_count
        for topic in broker.topics.values()
        if (group := topic.groups.get(name)) is not None
    }
    return LineGroup(name, consumers) if consumers else None


def all_of(broker: Broker) -> list[LineGroup]:
    """All of them."""
    found: dict[str, LineGroup] = {}
    for topic in broker.topics.values():
        for name, group in topic.groups.items():
            line_group = found.setdefault(name, LineGroup(name, {}))
            line_group.consumers[topic.name] = group.consumer_count
    return list(found.values())


def offsets(broker: Broker, name: str) -> Iterator[tuple[Place, int]]:
    """How far it has come in each partition of each of its topics: everything before that is done."""
    for topic in broker.topics.values():
        group = topic.groups.get(name)
        if group is not None:
            for partition, low in enumerate(group.lows):
                yield (topic.name, partition), low


def remove(broker: Broker, name: str) -> None:
    """Remove it from all topics. Raises KafkaError: NON_EMPTY_GROUP while it has consumers, or GROUP_ID_NOT_FOUND."""
    topics = [topic for topic in broker.topics.values() if name in topic.groups]
    if not topics:
        raise KafkaError(Code.GROUP_ID_NOT_FOUND)
    if any(topic.groups[name].busy for topic in topics):
        raise KafkaError(Code.NON_EMPTY_GROUP)
    for topic in topics:
        topic.forget_group(name)
