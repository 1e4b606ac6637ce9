"""Reading with the clients that people use: what is stored comes, from any offset, within the limits, and in time."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import confluent_kafka
import kafka
import kafka.errors
import pytest
from kafka.protocol.consumer import FetchRequest, FetchResponse

from gstream.kafka.codes import Code
from gstream.testing import TIMEOUT_SECONDS, ServerThread, wait_until
from tests.integration.kafka.clients import (
    CONSUMERS,
    ENGINES,
    Consume,
    Record,
    confluent_consume,
    confluent_produce,
    start,
)

TEXT = [
    Record(b"plain"),
    Record(b"with a key", b"customer 7"),
    Record(b"", b""),
    Record(None, b"a tombstone"),
    Record("größer".encode(), None, (("first", b"1"), ("first", b""), ("second", b"2"))),
    *(Record(b"message %d" % number) for number in range(100)),
]
CASES = [(client, codec) for client, (_, codecs) in CONSUMERS.items() for codec in codecs]
each_client = pytest.mark.parametrize("consume", [each for each, _ in CONSUMERS.values()], ids=list(CONSUMERS))


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerThread]:
    with start(request.param, tmp_path) as server:
        yield server


@pytest.mark.parametrize(("client", "codec"), CASES, ids=[" ".join(case) for case in CASES])
def test_what_is_stored_comes(server: ServerThread, client: str, codec: str) -> None:
    confluent_produce(server.bootstrap, "jobs", TEXT, codec, linger_ms=20)
    assert CONSUMERS[client][0](server.bootstrap, "jobs", len(TEXT)) == TEXT


@each_client
def test_from_any_offset(server: ServerThread, consume: Consume) -> None:
    """The batches are larger than that: reading begins within one."""
    confluent_produce(server.bootstrap, "jobs", TEXT, "gzip", linger_ms=100)
    for offset in (1, 57, len(TEXT) - 1):
        assert consume(server.bootstrap, "jobs", len(TEXT) - offset, offset) == TEXT[offset:]


@each_client
def test_a_megabyte(server: ServerThread, consume: Consume) -> None:
    records = [Record(bytes([65 + number]) * 1_000_000) for number in range(4)]
    confluent_produce(server.bootstrap, "jobs", records, message_max_bytes=1 << 20)
    assert consume(server.bootstrap, "jobs", 4) == records


LIMITS = {
    "confluent-kafka": {"fetch_message_max_bytes": 1000, "fetch_max_bytes": 2_000_000},
    "kafka-python": {"max_partition_fetch_bytes": 1000, "fetch_max_bytes": 1000},
    "aiokafka": {"max_partition_fetch_bytes": 1000, "fetch_max_bytes": 1000},
}


@pytest.mark.parametrize("client", LIMITS)
def test_batches_larger_than_what_is_asked_for(server: ServerThread, client: str) -> None:
    records = [Record(b"x" * 50_000), Record(b"y" * 60_000), Record(b"z")]
    confluent_produce(server.bootstrap, "jobs", records, batch_num_messages=1)
    assert CONSUMERS[client][0](server.bootstrap, "jobs", 3, **LIMITS[client]) == records


def test_many_partitions_at_once(server: ServerThread) -> None:
    server.call(lambda service: service.broker.set_up("jobs", 20))
    for partition in range(20):
        confluent_produce(server.bootstrap, "jobs", [Record(b"%d" % partition)] * 5, partition=partition)
    consumer = kafka.KafkaConsumer(bootstrap_servers=server.bootstrap, consumer_timeout_ms=int(TIMEOUT_SECONDS * 1000))
    places = [kafka.TopicPartition("jobs", partition) for partition in range(20)]
    consumer.assign(places)
    consumer.seek_to_beginning()
    found: dict[int, list[bytes]] = {partition: [] for partition in range(20)}
    for message in consumer:
        found[message.partition].append(message.value)
        if sum(map(len, found.values())) == 100:
            break
    consumer.close()
    assert found == {partition: [b"%d" % partition] * 5 for partition in range(20)}


def test_an_offset_out_of_range(server: ServerThread) -> None:
    confluent_produce(server.bootstrap, "jobs", TEXT)
    consumer = kafka.KafkaConsumer(bootstrap_servers=server.bootstrap, auto_offset_reset="none")
    place = kafka.TopicPartition("jobs", 0)
    consumer.assign([place])
    consumer.seek(place, 10_000)
    with pytest.raises(kafka.errors.OffsetOutOfRangeError):
        consumer.poll(timeout_ms=int(TIMEOUT_SECONDS * 1000))
    consumer.close()
    found = confluent_consume(server.bootstrap, "jobs", len(TEXT), 10_000, auto_offset_reset="earliest")
    assert found == TEXT


def test_a_consumer_is_told_of_the_end(server: ServerThread) -> None:
    confluent_produce(server.bootstrap, "jobs", TEXT)
    settings = {"bootstrap.servers": server.bootstrap, "group.id": "nobody", "enable.partition.eof": True}
    consumer = confluent_kafka.Consumer(settings)
    consumer.assign([confluent_kafka.TopicPartition("jobs", 0, len(TEXT) - 1)])
    assert consumer.poll(TIMEOUT_SECONDS).value() == TEXT[-1].value
    end = consumer.poll(TIMEOUT_SECONDS)
    assert (end.error().code(), end.offset()) == (confluent_kafka.KafkaError._PARTITION_EOF, len(TEXT))
    assert consumer.get_watermark_offsets(confluent_kafka.TopicPartition("jobs", 0), cached=True) == (0, len(TEXT))
    consumer.close()


# --- waiting


class Raw:
    """A connection that sends requests as they are, and does not wait for their replies."""

    def __init__(self, server: ServerThread) -> None:
        self._socket = socket.create_connection((server.config.kafka_host, server.kafka_port), TIMEOUT_SECONDS)
        self._file = self._socket.makefile("rb")

    def ask(self, *partitions: tuple[str, int, int], wait_ms: int = 600_000, min_bytes: int = 1) -> None:
        """Fetch from each (topic, partition, offset)."""
        topic = FetchRequest.FetchTopic
        request = FetchRequest(
            version=12,
            replica_id=-1,
            max_wait_ms=wait_ms,
            min_bytes=min_bytes,
            max_bytes=1 << 20,
            isolation_level=0,
            session_id=0,
            session_epoch=-1,
            topics=[
                topic(
                    topic=name,
                    partitions=[
                        topic.FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=1 << 20)
                    ],
                )
                for name, index, offset in partitions
            ],
        )
        request.with_header(7)
        self._socket.sendall(request.encode(header=True, framed=True))

    def read(self) -> list[tuple[int, int]]:
        """Of each partition in the reply: the code, and how many bytes of records there are."""
        (size,) = struct.unpack(">i", self._file.read(4))
        response = FetchResponse.decode(self._file.read(size), version=12, header=True)
        return [
            (each.error_code, len(each.records or b"")) for topic in response.responses for each in topic.partitions
        ]

    def expect_nothing(self, seconds: float) -> None:
        """No reply comes within that time."""
        assert not select.select([self._socket], [], [], seconds)[0]

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def raw(server: ServerThread) -> Iterator[Raw]:
    confluent_produce(server.bootstrap, "jobs", [Record(b"first")])
    raw = Raw(server)
    yield raw
    raw.close()


def watchers(server: ServerThread, topic: str = "jobs") -> int:
    return server.call(lambda service: len(service.broker.topics[topic].watchers))


def test_a_consumer_gets_what_comes_while_it_waits(server: ServerThread, raw: Raw) -> None:
    raw.ask(("jobs", 0, 1))
    wait_until(lambda: watchers(server) == 1, "it waits")
    confluent_produce(server.bootstrap, "jobs", [Record(b"second")])
    ((code, size),) = raw.read()
    assert code == 0
    assert size > 60
    assert watchers(server) == 0


def test_lines_wake_it_too(server: ServerThread, raw: Raw) -> None:
    raw.ask(("jobs", 0, 1))
    wait_until(lambda: watchers(server) == 1, "it waits")
    server.call(lambda service: service.broker.topic("jobs").publish(b"a line\n", 1))
    ((code, size),) = raw.read()
    assert code == 0
    assert size > 60


def test_a_topic_that_is_removed_wakes_it(server: ServerThread, raw: Raw) -> None:
    raw.ask(("jobs", 0, 1))
    wait_until(lambda: watchers(server) == 1, "it waits")
    server.call(lambda service: service.broker.remove("jobs"))
    assert raw.read() == [(Code.UNKNOWN_TOPIC_OR_PARTITION, 0)]


def test_its_time_is_over(raw: Raw) -> None:
    began = time.monotonic()
    raw.ask(("jobs", 0, 1), wait_ms=200)
    assert raw.read() == [(0, 0)]
    assert time.monotonic() - began >= 0.2


def test_requests_behind_it_are_answered_in_order(server: ServerThread, raw: Raw) -> None:
    raw.ask(("jobs", 0, 1))
    raw.ask(("jobs", 0, 0))
    raw.ask(("nobody", 0, 0))
    wait_until(lambda: watchers(server) == 1, "it waits")
    confluent_produce(server.bootstrap, "jobs", [Record(b"second")])
    (_, second), *none = raw.read()
    assert none == []
    assert raw.read()[0][1] > second
    assert raw.read() == [(Code.UNKNOWN_TOPIC_OR_PARTITION, 0)]
    assert "nobody" not in server.call(lambda service: list(service.broker.topics))


def test_a_server_that_stops_answers(server: ServerThread, raw: Raw) -> None:
    raw.ask(("jobs", 0, 1))
    wait_until(lambda: watchers(server) == 1, "it waits")
    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(server.stop)
        assert raw.read() == [(0, 0)]
        stopped.result(TIMEOUT_SECONDS)


def test_a_client_that_is_gone_is_not_waited_with(server: ServerThread, raw: Raw) -> None:
    raw.ask(("jobs", 0, 1))
    wait_until(lambda: watchers(server) == 1, "it waits")
    raw.close()
    wait_until(lambda: watchers(server) == 0, "it is noticed")


def test_many_wait_and_cost_nothing(server: ServerThread) -> None:
    confluent_produce(server.bootstrap, "jobs", [Record(b"first")])
    waiting = [Raw(server) for _ in range(100)]
    for each in waiting:
        each.ask(("jobs", 0, 1))
    wait_until(lambda: watchers(server) == 100, "they wait")
    (thread,) = (each for each in threading.enumerate() if each.name == "gstream server")
    assert thread.native_id is not None

    def used() -> float:
        """Processor time of the server's thread, in seconds."""
        fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    before = used()
    waiting[0].expect_nothing(0.5)
    assert used() - before < 0.1
    confluent_produce(server.bootstrap, "jobs", [Record(b"second")])
    for each in waiting:
        assert each.read()[0][0] == 0
        each.close()
