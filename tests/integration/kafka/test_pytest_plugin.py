"""The fixture for everybody's tests of Kafka programs: records put in and looked at, faults ordered."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from gstream.kafka_testing import KafkaTopic
from gstream.testing import TIMEOUT_SECONDS, ServerThread


@pytest.fixture
def producer(gstream_kafka: KafkaTopic) -> Producer:
    return Producer({"bootstrap.servers": gstream_kafka.bootstrap_servers, "linger.ms": 0})


@pytest.fixture
def consumer(gstream_kafka: KafkaTopic) -> Iterator[Consumer]:
    settings = {"group.id": gstream_kafka.topic, "auto.offset.reset": "earliest"}
    made = Consumer({"bootstrap.servers": gstream_kafka.bootstrap_servers, **settings})
    yield made
    made.close()


def produce(producer: Producer, topic: str, value: bytes, **more: object) -> KafkaError | None:
    """What became of it."""
    reports: list[KafkaError | None] = []
    producer.produce(topic, value, on_delivery=lambda error, _message: reports.append(error), **more)
    assert producer.flush(TIMEOUT_SECONDS) == 0
    return reports[0]


def test_what_was_produced_is_looked_at(gstream_kafka: KafkaTopic, producer: Producer) -> None:
    headers = [("trace", b"7"), ("empty", None)]
    assert produce(producer, gstream_kafka.topic, b"tea", key=b"k", headers=headers, timestamp=1234) is None
    assert produce(producer, gstream_kafka.topic, b"milk") is None
    first, second = gstream_kafka.wait_for(2)
    assert (first.offset, first.key, first.value, first.time_ms) == (0, b"k", b"tea", 1234)
    assert first.headers == (("trace", b"7"), ("empty", None))
    assert (second.offset, second.key, second.value, second.headers) == (1, None, b"milk", ())
    assert gstream_kafka.values() == [b"tea", b"milk"]


def test_what_is_put_in_is_consumed(gstream_kafka: KafkaTopic, consumer: Consumer) -> None:
    assert gstream_kafka.put(b"one", b"two", key=b"k", headers=[("a", b"b")], time_ms=99) == [0, 1]
    assert gstream_kafka.put(None) == [2]
    consumer.subscribe([gstream_kafka.topic])
    got = []
    while len(got) < 3:
        message = consumer.poll(TIMEOUT_SECONDS)
        assert message is not None
        assert message.error() is None
        got.append((message.offset(), message.key(), message.value(), message.headers()))
    assert got == [(0, b"k", b"one", [("a", b"b")]), (1, b"k", b"two", [("a", b"b")]), (2, None, None, None)]


def test_each_test_has_an_empty_topic_of_its_own(gstream_kafka: KafkaTopic) -> None:
    assert gstream_kafka.topic.startswith("test_each_test_has_an_empty_topic")
    assert gstream_kafka.records() == []


def test_an_error_is_answered_so_many_times(gstream_kafka: KafkaTopic, producer: Producer) -> None:
    assert produce(producer, gstream_kafka.topic, b"first") is None
    gstream_kafka.fail("Produce", "INVALID_RECORD")
    error = produce(producer, gstream_kafka.topic, b"refused")
    assert error is not None
    assert error.name() == "INVALID_RECORD"
    assert produce(producer, gstream_kafka.topic, b"second") is None
    assert gstream_kafka.values() == [b"first", b"second"]


def test_a_client_tries_again_what_may_pass(gstream_kafka: KafkaTopic, producer: Producer) -> None:
    assert produce(producer, gstream_kafka.topic, b"first") is None
    gstream_kafka.fail("Produce", "NOT_ENOUGH_REPLICAS", times=2)
    assert produce(producer, gstream_kafka.topic, b"second") is None
    assert gstream_kafka.faults_left == 0
    assert gstream_kafka.values() == [b"first", b"second"]


def test_a_connection_is_dropped(gstream_kafka: KafkaTopic, producer: Producer) -> None:
    assert produce(producer, gstream_kafka.topic, b"first") is None
    gstream_kafka.drop("Produce")
    assert produce(producer, gstream_kafka.topic, b"second") is None
    assert gstream_kafka.faults_left == 0
    assert gstream_kafka.values() == [b"first", b"second"]


def test_an_answer_comes_late(gstream_kafka: KafkaTopic, producer: Producer) -> None:
    assert produce(producer, gstream_kafka.topic, b"first") is None
    gstream_kafka.delay("Produce", 0.3)
    began = time.monotonic()
    assert produce(producer, gstream_kafka.topic, b"second") is None
    assert time.monotonic() - began >= 0.3


def test_a_group_is_told_of_an_error(gstream_kafka: KafkaTopic, consumer: Consumer) -> None:
    gstream_kafka.put(b"one")
    gstream_kafka.fail("JoinGroup", "GROUP_AUTHORIZATION_FAILED")
    consumer.subscribe([gstream_kafka.topic])
    message = consumer.poll(TIMEOUT_SECONDS)
    assert message is not None
    assert message.error().name() == "GROUP_AUTHORIZATION_FAILED"


@pytest.mark.parametrize(
    ("api", "error"),
    [
        ("Fetch", "LEADER_NOT_AVAILABLE"),
        ("FindCoordinator", "COORDINATOR_NOT_AVAILABLE"),
        ("ListOffsets", "LEADER_NOT_AVAILABLE"),
        ("OffsetFetch", "COORDINATOR_LOAD_IN_PROGRESS"),
        ("SyncGroup", "NOT_COORDINATOR"),
    ],
)
def test_a_consumer_gets_over_a_fault_of_any_api(
    gstream_kafka: KafkaTopic, consumer: Consumer, api: str, error: str
) -> None:
    gstream_kafka.put(b"one")
    gstream_kafka.fail(api, error)
    consumer.subscribe([gstream_kafka.topic])
    message = consumer.poll(TIMEOUT_SECONDS)
    while message is not None and message.error() is not None:  # a fault may be told
        message = consumer.poll(TIMEOUT_SECONDS)
    assert message is not None
    assert message.value() == b"one"
    assert gstream_kafka.faults_left == 0


def test_other_names_are_refused(gstream_kafka: KafkaTopic) -> None:
    with pytest.raises(ValueError, match="there is no API 'Publish'; there are Produce, Fetch"):
        gstream_kafka.drop("Publish")
    with pytest.raises(ValueError, match="there is no error 'NOPE'"):
        gstream_kafka.fail("Produce", "NOPE")
    with pytest.raises(AssertionError, match="at least one value"):
        gstream_kafka.put()


def test_a_server_without_a_listener_is_told() -> None:
    with ServerThread() as server, pytest.raises(AssertionError, match="started without kafka=True"):
        KafkaTopic(server, "127.0.0.1:9", "t").records()


def test_transactions_show_no_markers(gstream_kafka: KafkaTopic) -> None:
    producer = Producer({"bootstrap.servers": gstream_kafka.bootstrap_servers, "transactional.id": gstream_kafka.topic})
    producer.init_transactions(TIMEOUT_SECONDS)
    producer.begin_transaction()
    producer.produce(gstream_kafka.topic, b"one")
    producer.commit_transaction(TIMEOUT_SECONDS)
    assert gstream_kafka.values() == [b"one"]
    with pytest.raises(KafkaException):
        producer.commit_transaction(TIMEOUT_SECONDS)  # there is none
