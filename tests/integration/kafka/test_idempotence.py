"""Idempotent producers: a batch that is sent again is not stored again, whatever became of the server meanwhile."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from kafka import KafkaProducer
from kafka.protocol.producer import InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse

from gstream.kafka.codes import Code
from gstream.record import Record
from gstream.records import encode_batch
from gstream.testing import TIMEOUT_SECONDS, ServerProcess, ServerThread, wait_until
from tests.integration.kafka.conftest import Raw
from tests.integration.kafka.readers import read

TOPIC = "t"
LAST_NUMBER = (1 << 31) - 1

Topic = ProduceRequest.TopicProduceData


def start_id(raw: Raw, version: int = 4) -> int:
    request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=0, producer_id=-1, producer_epoch=-1)
    reply = raw.ask(request, version, InitProducerIdResponse)
    assert (reply.error_code, reply.producer_epoch) == (0, 0)
    return int(reply.producer_id)


def send(raw: Raw, id: int, sequence: int, *values: bytes, epoch: int = 0) -> tuple[Code, int]:
    """Send a batch; the code, and the offset of its first record."""
    records = [Record(number, 1000, None, value, ()) for number, value in enumerate(values or (b"x",))]
    batch = encode_batch(records, producer_id=id, producer_epoch=epoch, base_sequence=sequence)
    data = Topic(name=TOPIC, partition_data=[Topic.PartitionProduceData(index=0, records=batch)])
    request = ProduceRequest(transactional_id=None, acks=-1, timeout_ms=30_000, topic_data=[data])
    [answer] = raw.ask(request, 9, ProduceResponse).responses[0].partition_responses
    return Code(answer.error_code), answer.base_offset


@pytest.fixture
def with_topic(server: ServerThread) -> ServerThread:
    server.call(lambda service: service.broker.topic(TOPIC))
    return server


def test_every_producer_has_an_id_of_its_own(server: ServerThread) -> None:
    with Raw(server) as raw:
        ids = [start_id(raw, version) for version in (0, 1, 2, 3, 4) * 500]
    assert len(set(ids)) == len(ids)


def test_what_is_sent_again_is_stored_once_and_its_place_is_told_again(with_topic: ServerThread) -> None:
    with Raw(with_topic) as raw:
        id = start_id(raw)
        offsets = [send(raw, id, 2 * number, b"a%d" % number, b"b%d" % number)[1] for number in range(6)]
        assert offsets == [0, 2, 4, 6, 8, 10]
        for number in range(1, 6):
            assert send(raw, id, 2 * number, b"a%d" % number, b"b%d" % number) == (Code.NONE, 2 * number)
        assert send(raw, id, 0, b"a0", b"b0")[0] is Code.DUPLICATE_SEQUENCE_NUMBER, "five are remembered"
    assert len(read(with_topic.bootstrap, TOPIC)) == 12


def test_what_is_missing_is_missed(with_topic: ServerThread) -> None:
    with Raw(with_topic) as raw:
        id = start_id(raw)
        assert send(raw, id, 0) == (Code.NONE, 0)
        assert send(raw, id, 2)[0] is Code.OUT_OF_ORDER_SEQUENCE_NUMBER
        assert send(raw, id, 1) == (Code.NONE, 1)
        assert send(raw, id, 2) == (Code.NONE, 2)


def test_numbers_begin_anew_when_they_are_used_up(with_topic: ServerThread) -> None:
    with Raw(with_topic) as raw:
        id = start_id(raw)
        assert send(raw, id, LAST_NUMBER - 1) == (Code.NONE, 0), "whoever is not known begins anywhere"
        assert send(raw, id, LAST_NUMBER, b"x", b"y") == (Code.NONE, 1)
        assert send(raw, id, 1) == (Code.NONE, 3)
        assert send(raw, id, LAST_NUMBER, b"x", b"y") == (Code.NONE, 1)


def test_epochs_rise(with_topic: ServerThread) -> None:
    with Raw(with_topic) as raw:
        id = start_id(raw)
        assert send(raw, id, 0) == (Code.NONE, 0)
        assert send(raw, id, 1, epoch=1)[0] is Code.OUT_OF_ORDER_SEQUENCE_NUMBER, "an epoch begins with 0"
        assert send(raw, id, 0, epoch=1) == (Code.NONE, 1)
        assert send(raw, id, 1)[0] is Code.INVALID_PRODUCER_EPOCH


@pytest.mark.parametrize("client", ["confluent-kafka", "kafka-python", "aiokafka"])
def test_clients_are_idempotent(server: ServerThread, client: str) -> None:
    values = [b"%d" % number for number in range(500)]
    if client == "confluent-kafka":
        producer = Producer({"bootstrap.servers": server.bootstrap, "enable.idempotence": True})
        for value in values:
            producer.produce(TOPIC, value, partition=0)
        assert producer.flush(TIMEOUT_SECONDS) == 0
    elif client == "kafka-python":
        python = KafkaProducer(bootstrap_servers=server.bootstrap, enable_idempotence=True)
        for value in values:
            python.send(TOPIC, value, partition=0)
        python.flush(TIMEOUT_SECONDS)
        python.close()
    else:

        async def run() -> None:
            async with AIOKafkaProducer(bootstrap_servers=server.bootstrap, enable_idempotence=True) as aio:
                await asyncio.gather(*[await aio.send(TOPIC, value, partition=0) for value in values])

        asyncio.run(run())
    assert [value for _, _, value in read(server.bootstrap, TOPIC)] == values
    known = server.call(lambda service: len(service.broker.topics[TOPIC].partitions[0].producers))
    assert known == 1


# --- restarts


def start(directory: Path, kafka_port: int = 0) -> ServerProcess:
    arguments = ("--kafka", "--kafka-port", str(kafka_port), "--data-dir", str(directory), "--sync", "always")
    return ServerProcess(*arguments, "--segment-bytes", "64KiB")


def test_a_restart_knows_what_was_sent(tmp_path: Path) -> None:
    value = b"x" * 3000
    with start(tmp_path / "data") as server, Raw(server) as raw:
        Producer({"bootstrap.servers": server.bootstrap}).list_topics(TOPIC, TIMEOUT_SECONDS)
        id, other = start_id(raw), start_id(raw)
        assert send(raw, other, 0) == (Code.NONE, 0)
        for number in range(100):  # several segments
            assert send(raw, id, number, value) == (Code.NONE, number + 1)
        server.kill()
    with start(tmp_path / "data") as server, Raw(server) as raw:
        assert send(raw, id, 99, value) == (Code.NONE, 100)
        assert send(raw, id, 95, value) == (Code.NONE, 96)
        assert send(raw, id, 101, value)[0] is Code.OUT_OF_ORDER_SEQUENCE_NUMBER
        assert send(raw, id, 100, value) == (Code.NONE, 101)
        assert send(raw, other, 0) == (Code.NONE, 0), "whose batches lie in an older segment"
        assert send(raw, other, 1) == (Code.NONE, 102)
        assert start_id(raw) not in {id, other}
        assert "Traceback" not in server.log


def test_a_server_that_is_killed_while_a_producer_goes_on(tmp_path: Path) -> None:
    """The long form of this is in test_killed_server.py."""
    stored: list[bytes] = []
    failed: list[Any] = []
    is_over = threading.Event()

    def note(error: Any, message: Any) -> None:
        (stored if error is None else failed).append(error or message.value())

    def run(bootstrap: str) -> None:
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 0,
                "retry.backoff.ms": 10,
                "reconnect.backoff.ms": 10,
                "reconnect.backoff.max.ms": 100,
            }
        )
        number = 0
        while not is_over.is_set():
            producer.produce(TOPIC, b"%d" % number, partition=0, on_delivery=note)
            number += 1
            producer.poll(0)
            while number - len(stored) - len(failed) > 100 and not is_over.is_set():
                producer.poll(0.01)
        producer.flush(TIMEOUT_SECONDS)

    server = start(tmp_path / "data")
    thread = threading.Thread(target=run, args=(server.bootstrap,))
    thread.start()
    try:
        for _ in range(3):
            before = len(stored)
            wait_until(lambda before=before: len(stored) > before + 200, "messages are stored")  # type: ignore[misc]
            server.kill()
            server = start(tmp_path / "data", server.kafka_port)
    finally:
        is_over.set()
        thread.join()
    with server:
        found = [value for _, _, value in read(server.bootstrap, TOPIC)]
        assert not failed
        assert found == stored == [b"%d" % number for number in range(len(stored))]
        assert "Traceback" not in server.log
