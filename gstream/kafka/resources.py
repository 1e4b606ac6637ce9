"""What has a configuration, as requests name it: a topic by its name, the server by its number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gstream.errors import DiskError, FullError
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.configs import ResourceType
from gstream.kafka.topics import check_name, find

if TYPE_CHECKING:
    from gstream.commit import Commit
    from gstream.kafka.node import Node
    from gstream.topic import Topic

__all__ = ["check_broker", "check_can_alter", "check_once", "check_room", "find_topic", "repeated", "wait_until_kept"]


def find_topic(node: Node, name: str) -> Topic:
    """The topic of that name. Raises KafkaError."""
    topic = find(node, name)
    if topic is None:
        check_name(name)
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{name}' does not exist.")
    return topic


def check_broker(node: Node, name: str) -> None:
    """Whether that is the number of the one server. Raises KafkaError."""
    if not (name.isascii() and name.isdigit()):
        raise KafkaError(Code.INVALID_REQUEST, f"Broker id must be an integer, but it is: {name}")
    if name.lstrip("0") != str(node.node_id):
        text = f"Unexpected broker id, expected {node.node_id} or empty string, but received {name}"
        raise KafkaError(Code.INVALID_REQUEST, text)


def check_can_alter(node: Node, kind: int, name: str) -> Topic:
    """The topic whose configuration is to be altered. Raises KafkaError for what cannot be altered by a client."""
    match kind:
        case ResourceType.TOPIC:
            return find_topic(node, name)
        case ResourceType.BROKER:
            if name:
                check_broker(node, name)
            raise KafkaError(Code.INVALID_REQUEST, "the server's configuration: set it by the server's options")
        case ResourceType.BROKER_LOGGER:
            raise KafkaError(Code.INVALID_REQUEST, "what is logged: set it by the server's option --log-level")
    raise KafkaError(Code.INVALID_REQUEST, f"Unsupported resource type: {kind}")


def check_room(node: Node, partitions: int) -> None:
    """Whether there may be so many partitions more. Raises KafkaError."""
    try:
        node.broker.check_topics(partitions)
    except FullError as error:
        raise KafkaError(Code.POLICY_VIOLATION, str(error)) from None


def repeated(names: Iterable[object]) -> set[object]:
    """Those that are there more than once."""
    return {name for name, count in Counter(names).items() if count > 1}


def check_once(name: object, twice: set[object]) -> None:
    """Whether a request names this only once: it could ask for two things at once. Raises KafkaError."""
    if name in twice:
        raise KafkaError(Code.INVALID_REQUEST, "the request names it more than once")


def wait_until_kept(commit: Commit | None) -> KafkaError | None:
    """Return when it is kept; the error, if it was not. Blocks this greenlet."""
    if commit is not None:
        try:
            commit.wait()
        except DiskError as error:
            return KafkaError(Code.KAFKA_STORAGE_ERROR, str(error))
    return None
