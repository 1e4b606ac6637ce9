"""The node: who it says it is, and where."""

from __future__ import annotations

import re

import pytest

from gstream.broker import Broker
from gstream.config import Config
from gstream.kafka import node as module
from gstream.kafka.api import Context, Peer
from gstream.kafka.node import CLUSTER_FACT, Node
from gstream.storage.facts import Facts
from gstream.storage.memory import Memory


def make_node(facts=None, **settings):
    return Node(Broker(Memory(1 << 20)), Config(**settings), facts)


def test_the_cluster_has_an_id_for_ever():
    facts = Facts()
    node = make_node(facts)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", node.cluster_id)
    assert make_node(facts).cluster_id == node.cluster_id
    assert facts.get(CLUSTER_FACT) == node.cluster_id.encode()
    assert make_node().cluster_id != node.cluster_id


def test_an_id_does_not_look_like_an_option():
    facts = Facts()
    facts.put(CLUSTER_FACT, b"-ZF2ZbYfJQpGQh0jvLk2a3")
    assert not make_node(facts).cluster_id.startswith("-")


@pytest.mark.parametrize(
    ("advertise", "address"),
    [
        (None, ("10.0.0.1", 19092)),
        ("broker.example:9092", ("broker.example", 9092)),
        ("[2001:db8::1]:443", ("2001:db8::1", 443)),
    ],
)
def test_clients_are_told_the_address_that_they_have_found_unless_one_is_set(advertise, address):
    node = make_node(kafka_advertise=advertise)
    context = Context(0, peer=Peer(local_host="10.0.0.1", local_port=19092))
    assert node.advertised(context) == address


def test_a_topic_has_an_id():
    facts = Facts()
    node = make_node(facts)
    one, two = node.broker.topic("one"), node.broker.topic("two")
    assert node.topic_id(one) == node.topic_id(one) != node.topic_id(two)
    assert node.find_by_id(node.topic_id(two)) is two
    again = make_node(facts)
    assert again.topic_id(again.broker.topic("one")) == node.topic_id(one)
    node.broker.remove("two")
    assert node.find_by_id(again.topic_id(two)) is None


def test_a_topic_is_found_by_the_id_that_it_had_before_a_restart():
    facts = Facts()
    node = make_node(facts)
    id = node.topic_id(node.broker.topic("orders"))
    started = Node(node.broker, Config(), facts)
    assert started.find_by_id(id) is node.broker.topics["orders"]


def test_removed_topics_are_not_remembered_for_ever(monkeypatch):
    monkeypatch.setattr(module, "MANY_NAMES", 3)
    node = make_node()
    kept = node.topic_id(node.broker.topic("kept"))
    for number in range(20):
        gone = node.topic_id(node.broker.topic(f"topic {number}"))
        node.broker.remove(f"topic {number}")
        assert node.find_by_id(gone) is None
        assert node.find_by_id(kept) is node.broker.topics["kept"]
    assert len(node._names) <= 6


def test_another_topic_of_the_same_name_has_another_id():
    node = make_node()
    id = node.topic_id(node.broker.topic("orders"))
    node.broker.remove("orders")
    assert node.topic_id(node.broker.topic("orders")) != id
    assert node.find_by_id(id) is None


def test_how_many_partitions_its_topics_have():
    assert make_node().partitions == 1
    assert make_node(partitions=3).partitions == 3
    assert make_node(partitions=3, kafka_partitions=8).partitions == 8
