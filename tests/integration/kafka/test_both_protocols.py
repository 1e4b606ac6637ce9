"""One topic, two protocols: what is published by lines is read by Kafka's clients, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gstream import Client
from gstream.testing import TIMEOUT_SECONDS, ServerThread, Session
from tests.integration.kafka.clients import (
    CODECS,
    CONSUMERS,
    ENGINES,
    PRODUCERS,
    Consume,
    Produce,
    Record,
    confluent_consume,
    confluent_produce,
    start,
)

each_consumer = pytest.mark.parametrize("consume", [each for each, _ in CONSUMERS.values()], ids=list(CONSUMERS))
each_producer = pytest.mark.parametrize("produce", [each for each, _ in PRODUCERS.values()], ids=list(PRODUCERS))


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerThread]:
    with start(request.param, tmp_path) as server:
        yield server


# --- lines to records


@each_consumer
def test_lines_are_records(server: ServerThread, consume: Consume) -> None:
    with Session(server) as session:
        session.send(b"tjobs\npHere we go!\np\npAnother message\n")
        session.expect(b"+ jobs\nok\r\nok\r\nok\r\n")
    assert consume(server.bootstrap, "jobs", 3) == [Record(b"Here we go!"), Record(b""), Record(b"Another message")]


@each_consumer
def test_counted_messages_are_records(server: ServerThread, consume: Consume) -> None:
    with Client(*server, topic="jobs") as client:
        client.publish(b"plain")
        client.publish(b"two\nlines", key=b"customer 7")
        client.publish([b"a", b"b"])
    found = [Record(b"plain"), Record(b"two\nlines", b"customer 7"), Record(b"a"), Record(b"b")]
    assert consume(server.bootstrap, "jobs", 4) == found


def test_many_lines_are_records(server: ServerThread) -> None:
    bodies = [b"message %d" % number * (number % 50) for number in range(20_000)]
    with Client(*server, topic="jobs") as client:
        client.publish(bodies)
    assert [record.value for record in confluent_consume(server.bootstrap, "jobs", 20_000)] == bodies
    assert [record.value for record in confluent_consume(server.bootstrap, "jobs", 5, 12_345)] == bodies[12_345:12_350]


# --- records to lines


@each_producer
def test_records_are_lines(server: ServerThread, produce: Produce) -> None:
    produce(server.bootstrap, "jobs", [Record(b"one", b"a key"), Record(b"two"), Record(None, b"a tombstone")])
    with Session(server) as session:
        session.send(b"tjobs\nc\nc\nw0\nc\nz\n")
        session.expect(b"+ jobs\none\ntwo\n= 2 1 \n+ \n")


@pytest.mark.parametrize("codec", CODECS)
def test_consumers_of_lines_get_them_whatever_they_are_packed_in(server: ServerThread, codec: str) -> None:
    values = [b"message %d" % number for number in range(1000)]
    confluent_produce(server.bootstrap, "jobs", [Record(value) for value in values], codec, linger_ms=50)
    with Client(*server, topic="jobs") as client:
        assert client.consume(1000) == values
        assert client.consume() == []


def test_keys_and_headers_are_kept(server: ServerThread) -> None:
    headers = (("colour", b"red"), ("colour", b""), ("none", None))
    confluent_produce(server.bootstrap, "jobs", [Record(b"two\nlines", b"customer 7", headers)])
    with Client(*server, topic="jobs", details=True) as client, client.lease() as messages:
        (message,) = messages
        assert (message.body, message.key) == (b"two\nlines", b"customer 7")
        assert message.headers == (("colour", b"red"), ("colour", b""), ("none", b""))


def test_a_lease_of_a_record(server: ServerThread) -> None:
    confluent_produce(server.bootstrap, "jobs", [Record(b"%d" % number) for number in range(3)], linger_ms=20)
    with Session(server) as session:
        session.send(b"tjobs\nr0 2\n")
        session.expect(b"+ jobs\n= 0 1 0\n= 1 1 1\n.\n")
        session.send(b"a1\nn0\nr0 3\n")
        session.expect(b"+ 1\n+ 0\n= 0 2 0\n= 2 1 2\n.\n")


def test_a_waiting_consumer_is_woken_by_a_record(server: ServerThread) -> None:
    with Session(server) as session:
        session.send(b"tjobs\nw\n")
        session.expect(b"+ jobs\n")
        confluent_produce(server.bootstrap, "jobs", [Record(b"here")])
        session.expect(b"= 0 1 here\n")


def test_both_kinds_in_one_partition(server: ServerThread) -> None:
    """Offsets go on, whoever publishes; and what lines have taken is still there for Kafka's clients."""
    expected = []
    with Client(*server, topic="jobs") as client:
        for number in range(20):
            client.publish([b"line %d" % number, b"another"])
            records = [Record(b"record %d" % number, b"k"), Record(b"more")]
            confluent_produce(server.bootstrap, "jobs", records, CODECS[number % 5])
            expected += [Record(b"line %d" % number), Record(b"another"), *records]
        assert client.consume(80) == [record.value for record in expected]
        assert client.consume() == []
    assert confluent_consume(server.bootstrap, "jobs", 80) == expected
    for offset in (1, 2, 3, 41):
        assert confluent_consume(server.bootstrap, "jobs", 80 - offset, offset) == expected[offset:]


def test_a_group_of_lines_and_its_place(server: ServerThread) -> None:
    confluent_produce(server.bootstrap, "jobs", [Record(b"%d" % number) for number in range(10)], linger_ms=20)
    with Client(*server, topic="jobs", group="audit") as client:
        assert client.consume(3) == [b"0", b"1", b"2"]
        client.seek(7)
        assert client.consume(2) == [b"7", b"8"]
        assert [message.body for message in client.peek(5)] == [b"9"]


def test_all_at_the_same_time(server: ServerThread) -> None:
    """Each reader gets everything once, and what each producer sent in its order."""
    count = 5000

    def publish() -> None:
        with Client(*server, topic="jobs") as client:
            for start_at in range(0, count, 50):
                client.publish([b"line %d" % number for number in range(start_at, start_at + 50)])

    def produce(codec: str) -> None:
        records = [Record(b"%s %d" % (codec.encode(), number)) for number in range(count)]
        confluent_produce(server.bootstrap, "jobs", records, codec, batch_num_messages=100, linger_ms=0)

    def consume() -> list[bytes]:
        with Client(*server, topic="jobs") as client:
            found: list[bytes] = []
            while len(found) < 3 * count:
                got = client.consume(1000, wait_seconds=TIMEOUT_SECONDS)
                assert got, f"{len(found)} came"
                found += got
            return found

    server.call(lambda service: service.broker.topic("jobs"))
    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(consume), pool.submit(confluent_consume, server.bootstrap, "jobs", 3 * count)]
        for done in [pool.submit(publish), pool.submit(produce, "none"), pool.submit(produce, "lz4")]:
            done.result()
        by_lines, by_records = readers[0].result(), [record.value for record in readers[1].result()]
    assert by_lines == by_records
    for name in (b"line", b"none", b"lz4"):
        assert [body for body in by_lines if body.startswith(name)] == [b"%s %d" % (name, at) for at in range(count)]


# --- a server that is started again


def test_all_of_it_is_there_after_a_restart(tmp_path: Path) -> None:
    records = [Record(b"record %d" % number, b"%d" % number, (("n", b"%d" % number),)) for number in range(50)]
    with start("disk", tmp_path) as server, Client(*server, topic="jobs") as client:
        client.publish([b"line"] * 5)
        confluent_produce(server.bootstrap, "jobs", records, "zstd", linger_ms=20)
        assert client.consume(25) == [b"line"] * 5 + [record.value for record in records[:20]]
    with start("disk", tmp_path) as server, Client(*server, topic="jobs") as client:
        assert client.consume(100) == [record.value for record in records[20:]]
        confluent_produce(server.bootstrap, "jobs", records[:3])
        client.publish(b"the end")
        found = confluent_consume(server.bootstrap, "jobs", 59)
        assert found == [Record(b"line")] * 5 + records + records[:3] + [Record(b"the end")]
    with start("disk", tmp_path) as server, Client(*server, topic="jobs", group="another") as client:
        assert client.consume(100) == [record.value for record in found]
