"""What the tests of administration share: a node over a real broker, which is asked as a client would, without sockets.

Requests and replies go through bytes, in the version that is asked for: what has no place in it is not seen.
"""

from __future__ import annotations

from gstream.broker import Broker
from gstream.config import Config
from gstream.kafka.api import Context
from gstream.kafka.node import Node
from gstream.storage.memory import Memory
from gstream.topic import TopicSettings

TOPIC, BROKER, LOGGER = 2, 4, 8
"""Types of resources."""


def make_node(engine=None, max_topics=10_000, **settings):
    config = Config(kafka=True, **settings)
    engine = engine or Memory(config.max_memory_bytes)
    return Node(Broker(engine, settings=TopicSettings(config.partitions), max_topics=max_topics), config)


def ask(node, api, version=None, **fields):
    """The reply, decoded, to a request with these fields; by default of the newest version."""
    version = api.versions[-1] if version is None else version
    assert version in api.versions
    request = api.request.decode(api.request(**fields).encode(version=version), version=version)
    reply = api.handle(node, request, Context(version))
    encoded = b"".join(reply) if isinstance(reply, list) else reply.encode(version=version)
    return api.response.decode(encoded, version=version)


def answers(rows):
    """The code and message of each row, by its name."""
    names = ("name", "resource_name")
    return {next(getattr(row, each) for each in names if hasattr(row, each)): row.error_code for row in rows}
