"""Producing with the clients that people use: what they send is there, whatever it is packed in, or is refused."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import kafka
import kafka.errors
import pytest
from kafka.protocol.producer import ProduceRequest

from gstream.kafka.codes import Code
from gstream.record import Record as StoredRecord
from gstream.records import encode_batch
from gstream.testing import TIMEOUT_SECONDS, ServerThread, wait_until
from gstream.topic_options import TopicOptions
from tests.integration.kafka.clients import (
    CODECS,
    ENGINES,
    PRODUCERS,
    Produce,
    Record,
    confluent_consume,
    confluent_produce,
    kcat,
    start,
)

RECORDS = [
    Record(b"plain"),
    Record(b"with a key", b"customer 7"),
    Record(b"", b""),
    Record(None, b"a tombstone"),
    Record(b"any bytes \0\r\n\xff", b"\0\xff", (("first", b"1"), ("first", b""), ("second", b"\xff\0"))),
    *(Record(b"message %d" % number) for number in range(100)),
]

CASES = [(client, codec) for client, (_, codecs) in PRODUCERS.items() for codec in codecs]
every_client = pytest.mark.parametrize(("client", "codec"), CASES, ids=[" ".join(case) for case in CASES])
each_client = pytest.mark.parametrize("produce", [each for each, _ in PRODUCERS.values()], ids=list(PRODUCERS))


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerThread]:
    with start(request.param, tmp_path) as server:
        yield server


@every_client
def test_what_is_produced_is_there(server: ServerThread, client: str, codec: str) -> None:
    PRODUCERS[client][0](server.bootstrap, "jobs", RECORDS, codec)
    assert confluent_consume(server.bootstrap, "jobs", len(RECORDS)) == RECORDS


@pytest.mark.parametrize("codec", CODECS)
def test_kcat(server: ServerThread, codec: str) -> None:
    data = b"k:one\nkey:two\n:\nnull:\n"
    headers = ("-H", "colour=red", "-H", "size=")
    kcat(server.bootstrap, "-P", "-t", "jobs", "-p", "0", "-z", codec, "-K", ":", "-Z", *headers, data=data)
    sent = (("colour", b"red"), ("size", b""))
    assert confluent_consume(server.bootstrap, "jobs", 4) == [
        Record(b"one", b"k", sent),
        Record(b"two", b"key", sent),
        Record(None, None, sent),
        Record(None, b"null", sent),
    ]


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_is_kept(server: ServerThread, codec: str) -> None:
    """Nothing is unpacked, and packed again: it would cost hundreds of times as much."""
    confluent_produce(server.bootstrap, "jobs", [Record(b"again " * 1000)] * 10, codec, linger_ms=50)
    kept = server.call(lambda service: service.broker.topics["jobs"].kept_bytes)
    assert (kept < 20_000) == (codec != "none")


LIMITS = {
    "confluent-kafka": {"message_max_bytes": 1 << 20},
    "kafka-python": {"max_request_size": 1 << 20},
    "aiokafka": {"max_request_size": 1 << 20},
}


@pytest.mark.parametrize("codec", CODECS[1:])
def test_an_old_client_compresses(server: ServerThread, codec: str) -> None:
    """Before its version 2.12, librdkafka does so only where Produce begins with version 0, and says nothing if not."""
    kcat(server.bootstrap, "-P", "-t", "jobs", "-p", "0", "-z", codec, data=b"again " * 5000)
    assert server.call(lambda service: service.broker.topics["jobs"].kept_bytes) < 3000
    assert confluent_consume(server.bootstrap, "jobs", 1) == [Record(b"again " * 5000)]


@pytest.mark.parametrize("client", LIMITS)
def test_a_megabyte(server: ServerThread, client: str) -> None:
    records = [Record(b"%d" % size * (size // 7)) for size in (1_000_000, 1_000_001, 1_000_002)] + [Record(b"small")]
    PRODUCERS[client][0](server.bootstrap, "jobs", records, **LIMITS[client])
    assert confluent_consume(server.bootstrap, "jobs", 4) == records


@each_client
def test_several_at_once_to_each_partition(server: ServerThread, produce: Produce) -> None:
    server.call(lambda service: service.broker.set_up("jobs", 3))
    for partition in range(3):
        produce(server.bootstrap, "jobs", [Record(b"%d" % partition)] * 10, partition=partition)
    for partition in range(3):
        found = confluent_consume(server.bootstrap, "jobs", 10, partition=partition)
        assert found == [Record(b"%d" % partition)] * 10


@pytest.mark.parametrize("acks", [0, 1, -1])
def test_acks(server: ServerThread, acks: int) -> None:
    confluent_produce(server.bootstrap, "jobs", RECORDS, acks=acks)
    assert confluent_consume(server.bootstrap, "jobs", len(RECORDS)) == RECORDS


def test_order_is_kept_among_many_requests(server: ServerThread) -> None:
    records = [Record(b"%d" % number) for number in range(3000)]
    confluent_produce(server.bootstrap, "jobs", records, batch_num_messages=1, linger_ms=0, max_in_flight=100)
    assert confluent_consume(server.bootstrap, "jobs", 3000) == records


def test_partitions_are_chosen_as_elsewhere(server: ServerThread) -> None:
    """The same key goes to the same partition, whoever sends it, the line protocol included."""
    server.call(lambda service: service.broker.set_up("jobs", 5))
    producer = confluent_kafka.Producer({"bootstrap.servers": server.bootstrap, "partitioner": "murmur2"})
    python = kafka.KafkaProducer(bootstrap_servers=server.bootstrap)
    keys = [b"key %d" % number for number in range(20)]
    chosen: list[int] = []
    for key in keys:
        producer.produce("jobs", b"", key, on_delivery=lambda _error, message: chosen.append(message.partition()))
        producer.flush(TIMEOUT_SECONDS)
    theirs = [python.send("jobs", b"", key).get(TIMEOUT_SECONDS).partition for key in keys]
    python.close()
    ours = [server.call(lambda service, key=key: service.broker.topics["jobs"]._choose_partition(key)) for key in keys]
    assert chosen == theirs == ours
    assert len(set(ours)) == 5


# --- what is refused


def published(server: ServerThread) -> int:
    return server.call(lambda service: service.broker.topics["jobs"].published_count)


def test_without_acks_the_connection_ends_when_something_cannot_be_stored(server: ServerThread) -> None:
    server.call(lambda service: service.broker.topic("jobs"))
    topic = ProduceRequest.TopicProduceData
    batch = topic.PartitionProduceData(index=0, records=encode_batch([StoredRecord(0, 0, None, b"", ())]))
    with socket.create_connection((server.config.kafka_host, server.kafka_port), TIMEOUT_SECONDS) as client:
        for name in ("jobs", "nobody"):
            request = ProduceRequest(
                version=9, acks=0, timeout_ms=0, topic_data=[topic(name=name, partition_data=[batch])]
            )
            request.with_header(7)
            client.sendall(request.encode(header=True, framed=True))
        assert client.recv(100) == b"", "not even the first is answered"
    wait_until(lambda: published(server) == 1, "the first one is stored")
    assert "nobody" not in server.call(lambda service: list(service.broker.topics))


def test_a_record_that_is_too_large(server: ServerThread) -> None:
    def set_limit(service: object) -> None:
        service.broker.topic("jobs").set_options(TopicOptions(max_message_bytes=1000))  # type: ignore[attr-defined]

    server.call(set_limit)
    with pytest.raises(confluent_kafka.KafkaException) as caught:
        confluent_produce(server.bootstrap, "jobs", [Record(b"x" * 1000)])
    assert caught.value.args[0].code() == Code.MESSAGE_TOO_LARGE
    python = kafka.KafkaProducer(bootstrap_servers=server.bootstrap)
    with pytest.raises(kafka.errors.MessageSizeTooLargeError):
        python.send("jobs", b"x" * 1000).get(TIMEOUT_SECONDS)
    python.close()
    confluent_produce(server.bootstrap, "jobs", [Record(b"x" * 900)])
    assert confluent_consume(server.bootstrap, "jobs", 1) == [Record(b"x" * 900)]


def test_times_of_the_append(server: ServerThread) -> None:
    server.call(lambda service: service.broker.topic("jobs").set_options(TopicOptions(append_time=True)))
    python = kafka.KafkaProducer(bootstrap_servers=server.bootstrap)
    sent = python.send("jobs", b"x", timestamp_ms=1000).get(TIMEOUT_SECONDS)
    python.close()
    now_ms = server.call(lambda service: service.engine.clock() * 1000)
    assert now_ms - 60_000 < sent.timestamp <= now_ms
    consumer = kafka.KafkaConsumer("jobs", bootstrap_servers=server.bootstrap, auto_offset_reset="earliest")
    message = next(consumer)
    consumer.close()
    assert (message.timestamp, message.timestamp_type) == (sent.timestamp, 1)


def test_a_full_server_says_so_and_takes_more_when_there_is_room(tmp_path: Path) -> None:
    with start("memory", tmp_path, max_memory_bytes=1 << 20) as server:
        server.call(lambda service: service.broker.topic("mails").publish(b"x" * 1_000_000 + b"\n", 1))
        server.call(lambda service: service.broker.topic("mails").group())
        failing = {"message_timeout_ms": 500}
        with pytest.raises(confluent_kafka.KafkaException) as caught:
            confluent_produce(server.bootstrap, "jobs", [Record(b"x" * 500_000)], **failing)
        assert caught.value.args[0].code() == confluent_kafka.KafkaError._MSG_TIMED_OUT
        assert server.call(lambda service: service.broker.topics["jobs"].message_count) == 0
        confluent_produce(server.bootstrap, "jobs", [Record(b"small")])
        assert confluent_consume(server.bootstrap, "jobs", 1) == [Record(b"small")]
