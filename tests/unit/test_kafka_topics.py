"""Topics by the names and numbers that Kafka's clients give."""

from __future__ import annotations

import pytest

from gstream.broker import Broker
from gstream.config import Config
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.node import Node
from gstream.kafka.topics import check_name, find, find_or_make, partition
from gstream.storage.memory import Memory
from gstream.topic import TopicSettings


def make_node(max_topics=100, partitions=1, **settings):
    broker = Broker(Memory(1 << 20), settings=TopicSettings(partitions=partitions), max_topics=max_topics)
    return Node(broker, Config(partitions=partitions, **settings))


@pytest.mark.parametrize("name", ["a", "A-z_0.9", "...", "x" * 249])
def test_names_that_a_topic_can_have(name):
    check_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 250, "a b", "ü", "a/b", "a\n"])
def test_names_that_none_can_have(name):
    with pytest.raises(KafkaError) as caught:
        check_name(name)
    assert caught.value.code is Code.INVALID_TOPIC_EXCEPTION


def test_a_topic_is_found_whoever_has_made_it():
    node = make_node()
    topic = node.broker.topic("lines")
    assert find(node, "lines") is topic
    assert find_or_make(node, "lines") is topic
    assert find(node, "others") is None


def test_a_topic_is_made_as_a_log_with_partitions():
    node = make_node(partitions=2, kafka_partitions=4)
    topic = find_or_make(node, "orders")
    assert find(node, "orders") is topic
    assert len(topic.partitions) == 4
    assert topic.options.is_log
    assert not node.broker.topic("lines").options.is_log


def test_with_as_many_as_all_unless_it_is_said():
    node = make_node(partitions=2)
    assert len(find_or_make(node, "orders").partitions) == 2


def test_none_is_made_if_the_server_makes_none():
    node = make_node(kafka_auto_create=False)
    with pytest.raises(KafkaError) as caught:
        find_or_make(node, "orders")
    assert caught.value.code is Code.UNKNOWN_TOPIC_OR_PARTITION
    assert find(node, "orders") is None


def test_none_is_made_of_an_impossible_name():
    node = make_node()
    with pytest.raises(KafkaError) as caught:
        find_or_make(node, "a b")
    assert caught.value.code is Code.INVALID_TOPIC_EXCEPTION
    assert not node.broker.topics


def test_none_is_made_when_there_are_too_many():
    node = make_node(max_topics=1)
    find_or_make(node, "one")
    with pytest.raises(KafkaError) as caught:
        find_or_make(node, "two")
    assert caught.value.code is Code.POLICY_VIOLATION
    assert "--max-topics" in caught.value.message


def test_a_partition_has_a_number():
    node = make_node(partitions=2)
    topic = node.broker.topic("orders")
    assert partition(node, "orders", 1) == (topic, topic.partitions[1])


@pytest.mark.parametrize(("name", "number"), [("orders", -1), ("orders", 2), ("others", 0)])
def test_of_a_partition_that_there_is_not_that_is_said(name, number):
    node = make_node(partitions=2)
    node.broker.topic("orders")
    with pytest.raises(KafkaError) as caught:
        partition(node, name, number)
    assert caught.value.code is Code.UNKNOWN_TOPIC_OR_PARTITION
    assert find(node, "others") is None
