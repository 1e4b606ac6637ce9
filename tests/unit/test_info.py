from __future__ import annotations

import time

from gstream import __version__
from gstream.batch import pack
from gstream.consumer import Consumer
from gstream.info import server_rows, topic_list_rows, topic_rows
from gstream.mailbox import Mailbox


def test_topics_are_listed_by_name(server):
    server.broker.topic("b").publish(pack(b"x", b"y"), 2)
    server.broker.topic("a")
    assert list(topic_list_rows(server.broker)) == [("topic.a", 0), ("topic.b", 2), ("topic.default", 0)]


def test_the_server(make_server):
    server = make_server(max_memory_bytes=1000, retain_bytes=500, lease_seconds=7.0)
    server.publish(b"a", b"bb", b"ccc")
    group = server.topic.group()
    group.take(1, 0)
    group.lease(Consumer(server.memory), group.take(1, 0))
    rows = dict(server_rows(server.broker, time.monotonic() - 100, 3))
    assert 100 <= rows.pop("uptime") < 200
    assert rows == {
        "version": __version__,
        "connections": 3,
        "lease": 7.0,
        "max_attempts": 5,
        "engine": "memory",
        "topics": 1,
        "messages": 3,
        "published": 3,
        "memory.limit": 1000,
        "memory.used": 5,
        "memory.held": 4,
        "memory.retained": 7,
        "memory.lost": 0,
    }


def test_what_was_published_stays_counted_when_its_topic_is_removed(server):
    server.publish(b"a", b"b")
    server.broker.remove("default")
    rows = dict(server_rows(server.broker, 0.0, 0))
    assert (rows["topics"], rows["messages"], rows["published"]) == (0, 0, 2)


def test_limits_are_shown_where_they_are_set(server):
    server.topic.retain_bytes = 0
    assert [row for row in topic_rows(server.topic) if row[0].startswith("retain.")] == [("retain.bytes", 0)]
    server.topic.retain_bytes, server.topic.retain_seconds = None, 60.0
    assert [row for row in topic_rows(server.topic) if row[0].startswith("retain.")] == [("retain.seconds", 60.0)]


def test_a_topic(make_server):
    server = make_server(partitions=2, retain_bytes=100)
    server.publish(b"a", b"bb")
    server.publish(b"c")
    server.topic.publish_once(b"d", None, 10.0, None)
    group = server.topic.group("g")
    consumer = Consumer(server.memory)
    for _ in range(3):
        group.lease(consumer, group.take(1, 0))
    group.acknowledge(consumer, [0])
    group.return_lease(consumer, 1, 5.0)
    group.waiting[Mailbox()] = 1
    assert dict(topic_rows(server.topic)) == {
        "partitions": 2,
        "messages": 3,
        "bytes": 10,
        "published": 3,
        "delayed": 1,
        "partition.0.oldest": 0,
        "partition.0.end": 2,
        "partition.1.oldest": 0,
        "partition.1.end": 1,
        "group.g.backlog": 0,
        "group.g.lag": 2,
        "group.g.leased": 1,
        "group.g.consumers": 1,
        "group.g.waiting": 1,
        "group.g.taken": 3,
        "group.g.acknowledged": 1,
        "group.g.returned": 1,
        "group.g.dead": 0,
    }
