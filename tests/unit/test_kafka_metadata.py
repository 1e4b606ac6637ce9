"""Metadata: which topics are told of, which are made, and which errors there are."""

from __future__ import annotations

import uuid

import pytest
from kafka.protocol.metadata import MetadataRequest, MetadataResponse

from gstream.broker import Broker
from gstream.commit import Commit
from gstream.config import Config
from gstream.kafka.api import Context, Deferred, Peer
from gstream.kafka.codes import Code
from gstream.kafka.metadata import API
from gstream.kafka.node import Node
from gstream.kafka.operations import CLUSTER_OPERATIONS, TOPIC_OPERATIONS
from gstream.storage.changes import Changes
from gstream.storage.facts import Facts
from gstream.storage.memory import Memory

Topic = MetadataRequest.MetadataRequestTopic
VERSIONS = list(range(13))
PEER = Peer(local_host="127.0.0.1", local_port=19092)


def make_node(**settings):
    return Node(Broker(Memory(1 << 20)), Config(**settings))


@pytest.fixture
def node():
    return make_node()


def ask(node, version, topics, **more):
    wanted = None if topics is None else [Topic(name=name) for name in topics]
    request = MetadataRequest(topics=wanted, **more)
    asked = MetadataRequest.decode(request.encode(version=version), version=version)
    body = API.handle(node, asked, Context(version, peer=PEER))
    return MetadataResponse.decode(b"".join(body), version=version)


def codes(reply):
    return [(topic.name, topic.error_code, len(topic.partitions)) for topic in reply.topics]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_broker_is_where_the_client_has_found_it(node, version):
    reply = ask(node, version, ["orders"])
    assert [(each.node_id, each.host, each.port) for each in reply.brokers] == [(1, "127.0.0.1", 19092)]
    if version >= 1:
        assert reply.controller_id == 1
    if version >= 2:
        assert reply.cluster_id == node.cluster_id


@pytest.mark.parametrize("version", VERSIONS)
def test_a_topic_that_is_asked_for_is_made(node, version):
    assert codes(ask(node, version, ["orders"])) == [("orders", 0, 1)]
    assert list(node.broker.topics) == ["orders"]


@pytest.mark.parametrize("version", [4, 8, 9, 12])
def test_unless_the_client_does_not_want_that(node, version):
    reply = ask(node, version, ["orders", "a b"], allow_auto_topic_creation=False)
    assert codes(reply) == [("orders", Code.UNKNOWN_TOPIC_OR_PARTITION, 0), ("a b", Code.INVALID_TOPIC_EXCEPTION, 0)]
    assert not node.broker.topics


@pytest.mark.parametrize("version", VERSIONS)
def test_or_the_server(version):
    node = make_node(kafka_auto_create=False)
    node.broker.topic("lines")
    reply = ask(node, version, ["orders", "lines"])
    assert codes(reply) == [("orders", Code.UNKNOWN_TOPIC_OR_PARTITION, 0), ("lines", 0, 1)]


@pytest.mark.parametrize("version", VERSIONS)
def test_all_topics_are_told_of(node, version):
    for name in ("b", "a", ".", ".."):
        node.broker.topic(name)
    reply = ask(node, version, None if version else [])
    assert codes(reply) == [("b", 0, 1), ("a", 0, 1)]


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_and_none_if_none_is_asked_for(node, version):
    node.broker.topic("lines")
    assert codes(ask(node, version, [])) == []


def test_partitions_have_this_leader():
    node = make_node(kafka_partitions=3)
    (topic,) = ask(node, 7, ["orders"]).topics
    rows = [
        (each.error_code, each.partition_index, each.leader_id, each.leader_epoch, each.replica_nodes, each.isr_nodes)
        for each in topic.partitions
    ]
    assert rows == [(0, number, 1, 0, [1], [1]) for number in range(3)]


@pytest.mark.parametrize("name", [None, ""])
def test_a_topic_is_found_by_its_id(node, name):
    id = node.topic_id(node.broker.topic("orders"))
    other = uuid.UUID(int=5)
    request = MetadataRequest(topics=[Topic(name=name, topic_id=id), Topic(name=name, topic_id=other)])
    body = API.handle(node, request, Context(12, peer=PEER))
    reply = MetadataResponse.decode(b"".join(body), version=12)
    assert [(topic.name, topic.topic_id, topic.error_code) for topic in reply.topics] == [
        ("orders", id, 0),
        (None, other, Code.UNKNOWN_TOPIC_ID),
    ]


def test_its_id_is_told(node):
    (topic,) = ask(node, 10, ["orders"]).topics
    assert topic.topic_id == node.topic_id(node.broker.topics["orders"])


class Keeper:
    """Keeps facts when it is told to."""

    def __init__(self):
        self.changes = Changes()
        self.commits = []

    def note(self):
        pass

    def commit(self):
        self.commits.append(Commit())
        return self.commits[-1]


@pytest.mark.parametrize("error", [None, OSError("the disk is full")])
def test_a_new_id_is_told_when_it_is_kept(error):
    keeper = Keeper()
    node = Node(Broker(Memory(1 << 20)), Config(), Facts(keeper))
    assert not isinstance(ask(node, 9, ["orders"]), Deferred), "it tells of none"
    for _ in range(2):
        request = MetadataRequest(topics=[Topic(name="orders")])
        reply = API.handle(node, request, Context(12, peer=PEER))
        assert isinstance(reply, Deferred), "nobody is told before"
        assert reply.commit is keeper.commits[-1]
    keeper.commits[-1].error = error
    keeper.commits[-1].is_done = True
    found = MetadataResponse.decode(b"".join(reply.finish()), version=12)
    id = node.topic_id(node.broker.topics["orders"])
    assert [(topic.topic_id, topic.error_code) for topic in found.topics] == [(id, 0)]
    assert ask(node, 12, ["orders"]).topics[0].topic_id == id
    assert len(keeper.commits) == 1


def test_what_a_client_may_do_is_told_if_it_asks(node):
    reply = ask(
        node, 8, ["orders"], include_topic_authorized_operations=True, include_cluster_authorized_operations=True
    )
    assert reply.authorized_operations == CLUSTER_OPERATIONS
    assert reply.topics[0].authorized_operations == TOPIC_OPERATIONS
    silent = ask(node, 8, ["orders"])
    assert silent.to_dict()["topics"][0] != reply.to_dict()["topics"][0]


def test_its_row():
    assert (API.key, API.versions) == (3, range(13))
