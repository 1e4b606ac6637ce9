"""Metadata as clients see it: topics made by whoever, by many partitions, and for both engines over a restart."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient
from kafka.protocol.metadata import MetadataRequest, MetadataResponse

from gstream import Client
from gstream.testing import ServerThread

Topic = MetadataRequest.MetadataRequestTopic


def ask(client, version, *names, **more):
    return client.ask(MetadataRequest(topics=[Topic(name=name) for name in names], **more), version, MetadataResponse)


@pytest.mark.parametrize("version", range(13))
def test_every_version_makes_a_topic(start_server, connect, version):
    server = start_server(kafka_partitions=3)
    reply = ask(connect(server), version, "orders")
    assert [(topic.error_code, topic.name, len(topic.partitions)) for topic in reply.topics] == [(0, "orders", 3)]
    with Client(*server, topic="orders") as client:
        assert client.topics() == {"orders": 0}


def test_topics_of_the_line_protocol_are_there(server):
    with Client(*server, topic="lines") as client:
        client.publish(b"one")
    known = AdminClient({"bootstrap.servers": server.bootstrap}).list_topics(timeout=30)
    assert {name: len(topic.partitions) for name, topic in known.topics.items()} == {"lines": 1}


def test_a_removed_topic_is_gone(server, connect):
    client = connect(server)
    before = ask(client, 12, "orders").topics[0]
    with Client(*server) as lines:
        lines.delete_topic("orders")
    gone = ask(client, 12, "orders", allow_auto_topic_creation=False).topics[0]
    assert gone.error_code == 3
    again = ask(client, 12, "orders").topics[0]
    assert (again.error_code, again.topic_id == before.topic_id) == (0, False)


def test_ids_outlive_the_server(tmp_path, connect):
    ids = []
    for _ in range(2):
        with ServerThread(kafka=True, data_dir=str(tmp_path / "data")) as server:
            ids.append(ask(connect(server), 12, "orders").topics[0].topic_id)
    assert ids[0] == ids[1]
    assert ids[0].int


def test_many_partitions_are_told_of(start_server, connect):
    server = start_server(kafka_partitions=1000, max_topics=100_000)
    names = [f"topic-{number}" for number in range(20)]
    client = connect(server)
    ask(client, 12, *names)
    reply = ask(client, 12, *names)
    assert [len(topic.partitions) for topic in reply.topics] == [1000] * 20
    assert [each.partition_index for each in reply.topics[-1].partitions] == list(range(1000))


def test_what_cannot_be_made_is_said(start_server, connect):
    client = connect(start_server(max_topics=1))
    reply = ask(client, 9, "one", "two", "a b")
    assert [topic.error_code for topic in reply.topics] == [0, 44, 17]
