"""Asking for offsets with real clients: beginning, end, times, the newest; and deleting what is before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import kafka
import pytest
from confluent_kafka.admin import AdminClient, OffsetSpec

from gstream.testing import TIMEOUT_SECONDS, ServerThread
from tests.integration.kafka.clients import CODECS, ENGINES, Record, confluent_consume, confluent_produce, kcat, start

TIME_MS = 1_795_512_600_000
TIMES_MS = [TIME_MS + step for step in (0, 10, 20, 20, 5, 30, 40)]
"""Of records, in their order: clients say what time it is, and they may not agree."""

ASKED = {
    0: (0, TIME_MS),
    TIME_MS: (0, TIME_MS),
    TIME_MS + 1: (1, TIME_MS + 10),
    TIME_MS + 20: (2, TIME_MS + 20),
    TIME_MS + 21: (5, TIME_MS + 30),
    TIME_MS + 40: (6, TIME_MS + 40),
}
"""Time: the first record of that time or later, and its own time."""


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerThread]:
    with start(request.param, tmp_path) as server:
        yield server


def produce_with_times(server: ServerThread, codec: str = "none", *, together: bool = True) -> None:
    settings = {"bootstrap.servers": server.bootstrap, "compression.type": codec, "linger.ms": 100 if together else 0}
    producer = confluent_kafka.Producer({**settings, "batch.num.messages": 100 if together else 1})
    for number, time_ms in enumerate(TIMES_MS):
        producer.produce("jobs", b"%d" % number, partition=0, timestamp=time_ms)
    assert producer.flush(TIMEOUT_SECONDS) == 0


@pytest.fixture
def consumer(server: ServerThread) -> Iterator[kafka.KafkaConsumer]:
    consumer = kafka.KafkaConsumer(bootstrap_servers=server.bootstrap)
    yield consumer
    consumer.close()


JOBS = kafka.TopicPartition("jobs", 0)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("codec", CODECS)
def test_times(server: ServerThread, consumer: kafka.KafkaConsumer, codec: str, together: bool) -> None:
    produce_with_times(server, codec, together=together)
    for time_ms, (offset, found_ms) in ASKED.items():
        found = consumer.offsets_for_times({JOBS: time_ms})[JOBS]
        assert (found.offset, found.timestamp, found.leader_epoch) == (offset, found_ms, 0)
    assert consumer.offsets_for_times({JOBS: TIME_MS + 41}) == {JOBS: None}


def test_times_of_lines(server: ServerThread, consumer: kafka.KafkaConsumer) -> None:
    before_ms = server.call(lambda service: int(service.engine.clock() * 1000))
    server.call(lambda service: service.broker.topic("jobs").publish(b"a\nb\n", 2))
    confluent_produce(server.bootstrap, "jobs", [Record(b"c")])
    found = consumer.offsets_for_times({JOBS: before_ms})[JOBS]
    assert found.offset == 0
    assert found.timestamp >= before_ms
    assert consumer.offsets_for_times({JOBS: found.timestamp + 3_600_000}) == {JOBS: None}


def test_beginning_and_end(server: ServerThread, consumer: kafka.KafkaConsumer) -> None:
    produce_with_times(server)
    assert consumer.beginning_offsets([JOBS]) == {JOBS: 0}
    assert consumer.end_offsets([JOBS]) == {JOBS: 7}
    theirs = confluent_kafka.Consumer({"bootstrap.servers": server.bootstrap, "group.id": "nobody"})
    assert theirs.get_watermark_offsets(confluent_kafka.TopicPartition("jobs", 0), TIMEOUT_SECONDS) == (0, 7)
    (found,) = theirs.offsets_for_times([confluent_kafka.TopicPartition("jobs", 0, TIME_MS + 21)], TIMEOUT_SECONDS)
    assert found.offset == 5
    theirs.close()
    assert kcat(server.bootstrap, "-Q", "-t", f"jobs:0:{TIME_MS + 20}").strip() == b"jobs [0] offset 2"


def test_the_newest_record(server: ServerThread) -> None:
    produce_with_times(server)
    confluent_produce(server.bootstrap, "jobs", [])
    admin = AdminClient({"bootstrap.servers": server.bootstrap})
    asked = {confluent_kafka.TopicPartition("jobs", 0): OffsetSpec.max_timestamp()}
    (future,) = admin.list_offsets(asked).values()
    found = future.result(TIMEOUT_SECONDS)
    assert (found.offset, found.timestamp, found.leader_epoch) == (6, TIME_MS + 40, 0)


def test_a_topic_that_there_is_not_is_not_made(server: ServerThread) -> None:
    admin = AdminClient({"bootstrap.servers": server.bootstrap})
    (future,) = admin.list_offsets({confluent_kafka.TopicPartition("nobody", 0): OffsetSpec.latest()}).values()
    with pytest.raises(confluent_kafka.KafkaException):
        future.result(TIMEOUT_SECONDS)
    assert "nobody" not in server.call(lambda service: list(service.broker.topics))


# --- deleting records


def delete(server: ServerThread, offset: int) -> int:
    """Delete what is before this offset; gives where the partition begins now."""
    admin = AdminClient({"bootstrap.servers": server.bootstrap})
    (future,) = admin.delete_records([confluent_kafka.TopicPartition("jobs", 0, offset)]).values()
    return int(future.result(TIMEOUT_SECONDS).low_watermark)


def test_what_is_deleted_is_not_read(server: ServerThread, consumer: kafka.KafkaConsumer) -> None:
    produce_with_times(server)
    assert delete(server, 3) == 3
    assert consumer.beginning_offsets([JOBS]) == {JOBS: 3}
    assert confluent_consume(server.bootstrap, "jobs", 4, 0, auto_offset_reset="earliest")[-1] == Record(b"6")
    assert consumer.offsets_for_times({JOBS: TIME_MS})[JOBS].offset == 3
    assert delete(server, 1) == 3, "nothing comes back"
    assert delete(server, -1) == 7
    assert consumer.end_offsets([JOBS]) == {JOBS: 7}
    with pytest.raises(confluent_kafka.KafkaException, match="out of range"):
        delete(server, 8)


def test_it_stays_deleted_when_the_server_is_started_again(tmp_path: Path) -> None:
    with start("disk", tmp_path) as server:
        produce_with_times(server)
        assert delete(server, 3) == 3
    with start("disk", tmp_path) as server:
        consumer = kafka.KafkaConsumer(bootstrap_servers=server.bootstrap)
        assert consumer.beginning_offsets([JOBS]) == {JOBS: 3}
        assert consumer.end_offsets([JOBS]) == {JOBS: 7}
        consumer.close()
        assert [value for value, *_ in confluent_consume(server.bootstrap, "jobs", 4, 3)] == [b"3", b"4", b"5", b"6"]
