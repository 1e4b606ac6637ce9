"""What is going on, as names and values: the rows of ``i`` and ``l``, which docs/protocol.md describes.

Reads the counters of the broker; knows no socket and no wire format.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from gstream import __version__
from gstream.broker import Broker
from gstream.topic import Topic

__all__ = ["Row", "server_rows", "topic_list_rows", "topic_rows"]

Row = tuple[str, object]


def topic_list_rows(broker: Broker) -> Iterator[Row]:
    """Every topic, and how many messages it keeps."""
    for name, topic in sorted(broker.topics.items()):
        yield f"topic.{name}", topic.message_count


def server_rows(broker: Broker, started: float, connections: int) -> Iterator[Row]:
    """The server, its topics together, and the memory that they take. started: when, by ``time.monotonic``."""
    engine = broker.engine
    yield "version", __version__
    yield "uptime", round(time.monotonic() - started, 3)
    yield "connections", connections
    yield "lease", broker.settings.lease_seconds
    yield "max_attempts", broker.settings.max_attempts
    yield "engine", engine.name
    yield "topics", len(broker.topics)
    yield "messages", sum(topic.message_count for topic in broker.topics.values())
    yield "published", broker.published_count
    yield "memory.limit", engine.max_bytes
    yield from engine.rows()


def topic_rows(topic: Topic) -> Iterator[Row]:
    """One topic with its partitions and groups."""
    yield "partitions", len(topic.partitions)
    yield "messages", topic.message_count
    yield "bytes", topic.kept_bytes
    yield "published", topic.published_count
    yield "delayed", topic.delayed_count
    if topic.retain_bytes is not None:
        yield "retain.bytes", topic.retain_bytes
    if topic.retain_seconds is not None:
        yield "retain.seconds", topic.retain_seconds
    for number, log in enumerate(topic.partitions):
        yield f"partition.{number}.oldest", log.oldest_offset
        yield f"partition.{number}.end", log.end_offset
    for name, group in sorted(topic.groups.items()):
        yield f"group.{name}.backlog", group.backlog
        yield f"group.{name}.lag", group.lag
        yield f"group.{name}.leased", group.leased_count
        yield f"group.{name}.consumers", group.consumer_count
        yield f"group.{name}.waiting", len(group.waiting)
        yield f"group.{name}.taken", group.taken_count
        yield f"group.{name}.acknowledged", group.acknowledged_count
        yield f"group.{name}.returned", group.returned_count
        yield f"group.{name}.dead", group.dead_count
