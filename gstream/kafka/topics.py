"""Topics as Kafka's clients ask for them: by a name that may not exist yet, and by the number of a partition."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gstream.errors import FullError
from gstream.kafka.codes import Code, KafkaError

if TYPE_CHECKING:
    from gstream.kafka.node import Node
    from gstream.share import AnyLog
    from gstream.topic import Topic

__all__ = ["check_name", "find", "find_or_make", "partition"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


def check_name(name: str) -> None:
    """Raise KafkaError for what cannot be the name of a topic."""
    if _NAME.fullmatch(name) is None or name in {".", ".."}:
        raise KafkaError(
            Code.INVALID_TOPIC_EXCEPTION,
            "a topic's name is 1 to 249 letters, digits, '.', '_' or '-', and neither '.' nor '..'",
        )


def find(node: Node, name: str) -> Topic | None:
    """The topic of that name; None: there is none."""
    return node.broker.topics.get(name)


def find_or_make(node: Node, name: str) -> Topic:
    """The topic of that name, made if there is none and the server makes topics by itself.

    Raises KafkaError.
    """
    topic = node.broker.topics.get(name)
    if topic is not None:
        return topic
    check_name(name)
    if not node.config.kafka_auto_create:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, "there is no such topic, and --kafka-auto-create is off")
    try:
        topic = node.broker.set_up(name, node.partitions)
    except FullError as error:
        raise KafkaError(Code.POLICY_VIOLATION, str(error)) from None
    topic.make_log()
    return topic


def partition(node: Node, name: str, index: int) -> tuple[Topic, AnyLog]:
    """A partition of a topic, and the topic. Raises KafkaError when there is none."""
    topic = node.broker.topics.get(name)
    if topic is None or not 0 <= index < len(topic.partitions):
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
    return topic, topic.partitions[index]
