"""Transactions, as Kafka's clients make them and read what they have made."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as AioPartition
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as PythonPartition
from kafka.protocol.producer import (
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    EndTxnRequest,
    EndTxnResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
)
from kafka.structs import OffsetAndMetadata

from gstream import Client
from gstream.testing import TIMEOUT_SECONDS, ServerProcess, ServerThread, wait_until
from tests.integration.kafka.conftest import Raw
from tests.integration.kafka.readers import COMMITTED, UNCOMMITTED, read

TOPIC = "t"
FENCED = -144
"""librdkafka's _FENCED."""


def make_producer(bootstrap: str, id: str = "id", **more: Any) -> Producer:
    fast = {"retry.backoff.ms": 10, "reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 100}
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": id, **fast, **more})
    producer.init_transactions(TIMEOUT_SECONDS)
    return producer


def produce(producer: Producer, *values: bytes, topic: str = TOPIC, partition: int = 0) -> None:
    for value in values:
        producer.produce(topic, value, partition=partition)
    assert producer.flush(TIMEOUT_SECONDS) == 0


def values(bootstrap: str, isolation: str = COMMITTED, partitions: int = 1, topic: str = TOPIC) -> list[bytes]:
    return [value for _, _, value in read(bootstrap, topic, partitions, isolation)]


@contextmanager
def consumer_of(bootstrap: str, group: str = "g") -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": COMMITTED,
        }
    )
    try:
        yield consumer
    finally:
        consumer.close()


# --- what is seen


def test_what_is_committed_is_seen_and_what_is_aborted_is_not(server: ServerThread) -> None:
    producer = make_producer(server.bootstrap)
    for number, ends in enumerate((producer.commit_transaction, producer.abort_transaction) * 2):
        producer.begin_transaction()
        produce(producer, b"a%d" % number, b"b%d" % number)
        ends(TIMEOUT_SECONDS)
    assert values(server.bootstrap) == [b"a0", b"b0", b"a2", b"b2"]
    everything = [b"a0", b"b0", b"a1", b"b1", b"a2", b"b2", b"a3", b"b3"]
    assert values(server.bootstrap, UNCOMMITTED) == everything
    assert [offset for _, offset, _ in read(server.bootstrap, TOPIC, 1, UNCOMMITTED)] == [0, 1, 3, 4, 6, 7, 9, 10]


def test_nothing_is_seen_behind_what_is_open(server: ServerThread) -> None:
    producer = make_producer(server.bootstrap)
    producer.begin_transaction()
    produce(producer, b"1")
    other = Producer({"bootstrap.servers": server.bootstrap})
    produce(other, b"2")
    assert values(server.bootstrap) == []
    assert values(server.bootstrap, UNCOMMITTED) == [b"1", b"2"]
    producer.commit_transaction(TIMEOUT_SECONDS)
    assert values(server.bootstrap) == [b"1", b"2"]


def test_whoever_waits_is_told_when_it_ends(server: ServerThread) -> None:
    producer = make_producer(server.bootstrap)
    producer.begin_transaction()
    produce(producer, b"1")
    with consumer_of(server.bootstrap) as consumer:
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        assert consumer.poll(0.2) is None
        producer.commit_transaction(TIMEOUT_SECONDS)
        message = consumer.poll(TIMEOUT_SECONDS)
    assert message is not None
    assert message.value() == b"1"


def test_a_transaction_reaches_over_partitions_and_topics(start_server: Callable[..., ServerThread]) -> None:
    server = start_server(kafka_partitions=3)
    producer = make_producer(server.bootstrap)
    for ends in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        for topic in ("t", "u"):
            for partition in range(3):
                produce(producer, b"%a" % ends.__name__, topic=topic, partition=partition)
        ends(TIMEOUT_SECONDS)
    for topic in ("t", "u"):
        assert values(server.bootstrap, COMMITTED, 3, topic) == [b"'commit_transaction'"] * 3
        assert len(values(server.bootstrap, UNCOMMITTED, 3, topic)) == 6


def test_a_topic_that_is_deleted_in_between_holds_nobody_up(server: ServerThread) -> None:
    producer = make_producer(server.bootstrap)
    producer.begin_transaction()
    produce(producer, b"1", topic="gone")
    produce(producer, b"2")
    admin = AdminClient({"bootstrap.servers": server.bootstrap})
    admin.delete_topics(["gone"])["gone"].result(TIMEOUT_SECONDS)
    producer.commit_transaction(TIMEOUT_SECONDS)
    assert values(server.bootstrap) == [b"2"]


def test_what_nc_publishes_lies_between_transactions(server: ServerThread) -> None:
    producer = make_producer(server.bootstrap)
    producer.begin_transaction()
    produce(producer, b"1")
    producer.commit_transaction(TIMEOUT_SECONDS)
    with Client(*server, topic=TOPIC) as client:
        client.publish(b"2")
        producer.begin_transaction()
        produce(producer, b"3")
        producer.abort_transaction(TIMEOUT_SECONDS)
        assert client.consume(10) == [b"1", b"2", b"3"], "a queue gives what there is, but no markers"
        assert client.consume(10) == []
    assert values(server.bootstrap) == [b"1", b"2"]


# --- offsets


def test_offsets_are_committed_with_what_was_made_of_the_messages(server: ServerThread) -> None:
    produce(Producer({"bootstrap.servers": server.bootstrap}), b"1", b"2", b"3", topic="in")
    producer = make_producer(server.bootstrap)
    place = TopicPartition("in", 0)
    with consumer_of(server.bootstrap) as consumer:
        consumer.subscribe(["in"])
        for ends, expected in ((producer.abort_transaction, -1001), (producer.commit_transaction, 2)):
            producer.begin_transaction()
            for _ in range(2):
                message = consumer.poll(TIMEOUT_SECONDS)
                assert message is not None
                produce(producer, message.value() * 2)
            positions = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), TIMEOUT_SECONDS)
            ends(TIMEOUT_SECONDS)
            assert consumer.committed([place], TIMEOUT_SECONDS)[0].offset == expected
            if expected < 0:
                consumer.seek(TopicPartition("in", 0, 0))
    assert values(server.bootstrap) == [b"11", b"22"]


def test_a_member_that_was_replaced_does_not_commit(server: ServerThread) -> None:
    produce(Producer({"bootstrap.servers": server.bootstrap}), b"1", topic="in")
    producer = make_producer(server.bootstrap)
    with consumer_of(server.bootstrap) as consumer:
        consumer.subscribe(["in"])
        assert consumer.poll(TIMEOUT_SECONDS) is not None
        metadata = consumer.consumer_group_metadata()
    producer.begin_transaction()
    with pytest.raises(KafkaException) as raised:
        producer.send_offsets_to_transaction([TopicPartition("in", 0, 1)], metadata, TIMEOUT_SECONDS)
    assert raised.value.args[0].txn_requires_abort()
    producer.abort_transaction(TIMEOUT_SECONDS)


def test_a_group_of_the_line_protocol_takes_no_offsets(server: ServerThread) -> None:
    with Client(*server, topic=TOPIC, group="g") as client:
        client.consume()
    producer = make_producer(server.bootstrap)
    with consumer_of(server.bootstrap) as consumer:
        metadata = consumer.consumer_group_metadata()
    producer.begin_transaction()
    with pytest.raises(KafkaException) as raised:
        producer.send_offsets_to_transaction([TopicPartition(TOPIC, 0, 1)], metadata, TIMEOUT_SECONDS)
    assert raised.value.args[0].code() == KafkaError.INCONSISTENT_GROUP_PROTOCOL
    producer.abort_transaction(TIMEOUT_SECONDS)


# --- who may write


def test_a_second_producer_replaces_the_first(server: ServerThread) -> None:
    first = make_producer(server.bootstrap)
    first.begin_transaction()
    produce(first, b"1")
    second = make_producer(server.bootstrap)
    second.begin_transaction()
    produce(second, b"2")
    with pytest.raises(KafkaException) as raised:
        first.commit_transaction(TIMEOUT_SECONDS)
    error: KafkaError = raised.value.args[0]
    assert error.code() == FENCED
    assert error.fatal()
    second.commit_transaction(TIMEOUT_SECONDS)
    assert values(server.bootstrap) == [b"2"]


def test_a_producer_that_was_replaced_writes_nothing_more(server: ServerThread) -> None:
    first = make_producer(server.bootstrap)
    first.begin_transaction()
    produce(first, b"1")
    second = make_producer(server.bootstrap)
    first.produce(TOPIC, b"late", partition=0)
    with pytest.raises(KafkaException) as raised:
        first.flush(TIMEOUT_SECONDS)
    assert raised.value.args[0].code() == FENCED
    second.begin_transaction()
    produce(second, b"2")
    second.commit_transaction(TIMEOUT_SECONDS)
    assert values(server.bootstrap) == [b"2"]
    assert b"late" not in values(server.bootstrap, UNCOMMITTED)


def test_a_transaction_that_lasts_too_long_is_aborted(server: ServerThread) -> None:
    settings = {"transaction.timeout.ms": 1000, "message.timeout.ms": 1000}
    producer = make_producer(server.bootstrap, **settings)
    producer.begin_transaction()
    produce(producer, b"1")
    produce(Producer({"bootstrap.servers": server.bootstrap}), b"2")
    with consumer_of(server.bootstrap) as consumer:
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        message = consumer.poll(TIMEOUT_SECONDS)
        assert message is not None
        assert message.value() == b"2", "what is behind it can be read"
    with pytest.raises(KafkaException) as raised:
        producer.commit_transaction(TIMEOUT_SECONDS)
    assert raised.value.args[0].code() == FENCED


# --- restarts


def start(directory: Path, kafka_port: int = 0, *more: str) -> ServerProcess:
    arguments = ("--kafka", "--kafka-port", str(kafka_port), "--data-dir", str(directory), "--sync", "always")
    return ServerProcess(*arguments, *more)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("commits", [True, False])
def test_a_transaction_goes_on_over_a_restart(tmp_path: Path, ending: signal.Signals, *, commits: bool) -> None:
    with start(tmp_path / "data") as server:
        producer = make_producer(server.bootstrap)
        producer.begin_transaction()
        produce(producer, b"1")
        server.stop(ending)
    with start(tmp_path / "data", server.kafka_port) as server:
        assert values(server.bootstrap) == []
        produce(producer, b"2")
        (producer.commit_transaction if commits else producer.abort_transaction)(TIMEOUT_SECONDS)
        assert values(server.bootstrap) == ([b"1", b"2"] if commits else [])
        assert values(server.bootstrap, UNCOMMITTED) == [b"1", b"2"]
        server.stop(ending)
    with start(tmp_path / "data", server.kafka_port) as server:
        assert values(server.bootstrap) == ([b"1", b"2"] if commits else []), "nor is it forgotten how it has ended"
        assert "Traceback" not in server.log


def test_what_a_producer_left_open_before_a_restart_is_aborted_after_it(tmp_path: Path) -> None:
    with start(tmp_path / "data") as server:
        first = make_producer(server.bootstrap)
        first.begin_transaction()
        produce(first, b"1")
        server.kill()
    with start(tmp_path / "data", server.kafka_port) as server:
        second = make_producer(server.bootstrap)
        second.begin_transaction()
        produce(second, b"2")
        second.commit_transaction(TIMEOUT_SECONDS)
        assert values(server.bootstrap) == [b"2"]
        with pytest.raises(KafkaException):
            first.commit_transaction(TIMEOUT_SECONDS)
    with start(tmp_path / "data", server.kafka_port) as server:
        assert values(server.bootstrap) == [b"2"]


def test_offsets_wait_over_a_restart(tmp_path: Path) -> None:
    with start(tmp_path / "data") as server:
        produce(Producer({"bootstrap.servers": server.bootstrap}), b"1", b"2", topic="in")
        producer = make_producer(server.bootstrap)
        producer.begin_transaction()
        produce(producer, b"11")
        with consumer_of(server.bootstrap) as consumer:
            consumer.assign([TopicPartition("in", 0, 0)])
            place = [TopicPartition("in", 0, 1)]
            producer.send_offsets_to_transaction(place, consumer.consumer_group_metadata(), TIMEOUT_SECONDS)
        server.kill()
    with start(tmp_path / "data", server.kafka_port) as server:
        producer.commit_transaction(TIMEOUT_SECONDS)
        with consumer_of(server.bootstrap) as consumer:
            assert consumer.committed([TopicPartition("in", 0)], TIMEOUT_SECONDS)[0].offset == 1
        assert values(server.bootstrap) == [b"11"]


# --- other clients


def test_aiokafka(server: ServerThread) -> None:
    async def run() -> list[bytes]:
        async with AIOKafkaProducer(bootstrap_servers=server.bootstrap, transactional_id="id") as producer:
            async with producer.transaction():
                await producer.send_and_wait(TOPIC, b"1", partition=0)
                offsets = {AioPartition(TOPIC, 0): 1}
                await producer.send_offsets_to_transaction(offsets, "g")
            await producer.begin_transaction()
            await producer.send_and_wait(TOPIC, b"2", partition=0)
            await producer.abort_transaction()
            async with producer.transaction():
                await producer.send_and_wait(TOPIC, b"3", partition=0)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=server.bootstrap, isolation_level=COMMITTED, enable_auto_commit=False, group_id="g"
        )
        async with consumer:
            place = AioPartition(TOPIC, 0)
            consumer.assign([place])
            assert await consumer.committed(place) == 1
            consumer.seek(place, 0)
            return [(await asyncio.wait_for(consumer.getone(), TIMEOUT_SECONDS)).value for _ in range(2)]

    assert asyncio.run(run()) == [b"1", b"3"]


def test_kafka_python(server: ServerThread) -> None:
    producer = KafkaProducer(bootstrap_servers=server.bootstrap, transactional_id="id")
    consumer = KafkaConsumer(
        bootstrap_servers=server.bootstrap,
        isolation_level=COMMITTED,
        enable_auto_commit=False,
        group_id="g",
        consumer_timeout_ms=1000 * TIMEOUT_SECONDS,
    )
    place = PythonPartition(TOPIC, 0)
    try:
        producer.init_transactions()
        for value, commits in ((b"1", True), (b"2", False), (b"3", True)):
            producer.begin_transaction()
            producer.send(TOPIC, value, partition=0).get(TIMEOUT_SECONDS)
            if value == b"1":
                producer.send_offsets_to_transaction({place: OffsetAndMetadata(1, "", -1)}, "g")
            if commits:
                producer.commit_transaction()
            else:
                producer.abort_transaction()
        consumer.assign([place])
        assert consumer.committed(place) == 1
        consumer.seek(place, 0)
        assert [next(consumer).value for _ in range(2)] == [b"1", b"3"]
    finally:
        consumer.close()
        producer.close()


# --- every version of every API


@pytest.mark.parametrize("version", range(5))
def test_every_version_is_served(server: ServerThread, version: int) -> None:
    others = min(version, 3)
    produce(Producer({"bootstrap.servers": server.bootstrap}), b"1")
    with Raw(server) as raw:
        init = InitProducerIdRequest(
            transactional_id="id", transaction_timeout_ms=60_000, producer_id=-1, producer_epoch=-1
        )
        started = raw.ask(init, version, InitProducerIdResponse)
        assert started.error_code == 0
        producer = {"producer_id": started.producer_id, "producer_epoch": started.producer_epoch}
        topic = AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name=TOPIC, partitions=[0])
        add = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id="id",
            v3_and_below_producer_id=started.producer_id,
            v3_and_below_producer_epoch=started.producer_epoch,
            v3_and_below_topics=[topic],
        )
        added = raw.ask(add, others, AddPartitionsToTxnResponse)
        [answer] = added.results_by_topic_v3_and_below
        assert answer.name == TOPIC
        assert [each.partition_error_code for each in answer.results_by_partition] == [0]
        group = AddOffsetsToTxnRequest(transactional_id="id", group_id="g", **producer)
        assert raw.ask(group, others, AddOffsetsToTxnResponse).error_code == 0
        kind = TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic
        row = kind.TxnOffsetCommitRequestPartition(
            partition_index=0, committed_offset=1, committed_leader_epoch=-1, committed_metadata=None
        )
        offsets = TxnOffsetCommitRequest(
            transactional_id="id",
            group_id="g",
            **producer,
            generation_id=-1,
            member_id="",
            group_instance_id=None,
            topics=[kind(name=TOPIC, partitions=[row])],
        )
        committed = raw.ask(offsets, others, TxnOffsetCommitResponse)
        assert [each.error_code for each in committed.topics[0].partitions] == [0]
        end = EndTxnRequest(transactional_id="id", committed=True, **producer)
        assert raw.ask(end, others, EndTxnResponse).error_code == 0
        assert raw.ask(end, others, EndTxnResponse).error_code == 0, "asked again"
    with consumer_of(server.bootstrap) as consumer:
        assert consumer.committed([TopicPartition(TOPIC, 0)], TIMEOUT_SECONDS)[0].offset == 1


def test_the_server_knows_what_is_open(server: ServerThread) -> None:
    def open_count() -> int:
        return server.call(lambda service: service.kafka.node.transactions.open_count)

    producer = make_producer(server.bootstrap)
    assert open_count() == 0
    producer.begin_transaction()
    produce(producer, b"1")
    assert open_count() == 1
    producer.commit_transaction(TIMEOUT_SECONDS)
    wait_until(lambda: open_count() == 0, "it is complete")
