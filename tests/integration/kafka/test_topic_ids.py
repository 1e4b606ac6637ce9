"""Topics by their ids: a topic of the same name is another one, and the id of a topic stays (KIP-516)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import confluent_kafka
import kafka
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from kafka.protocol.consumer import FetchRequest, FetchResponse
from kafka.protocol.metadata import MetadataRequest, MetadataResponse

from gstream.kafka.codes import Code
from gstream.kafka.fetch import API
from gstream.testing import TIMEOUT_SECONDS, ServerProcess, ServerThread, wait_until
from tests.integration.kafka.clients import Record, confluent_produce
from tests.integration.kafka.conftest import Raw

BY_ID = [version for version in API.versions if version >= 13]


def id_of(client: Raw, name: str = "jobs") -> uuid.UUID:
    """The id that Metadata tells."""
    topics = [MetadataRequest.MetadataRequestTopic(name=name)]
    (topic,) = client.ask(MetadataRequest(topics=topics), 12, MetadataResponse).topics
    id: uuid.UUID = topic.topic_id
    return id


def asked(id: uuid.UUID, offset: int = 0, wait_ms: int = 0) -> FetchRequest:
    topic = FetchRequest.FetchTopic
    partition = topic.FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=1 << 20)
    return FetchRequest(
        max_wait_ms=wait_ms, min_bytes=1, max_bytes=1 << 20, topics=[topic(topic_id=id, partitions=[partition])]
    )


def told(reply: FetchResponse) -> list[tuple[uuid.UUID, int, bool]]:
    """Of each partition: the id of its topic, the code, and whether there are records."""
    return [
        (topic.topic_id, each.error_code, bool(each.records)) for topic in reply.responses for each in topic.partitions
    ]


@pytest.mark.parametrize("version", BY_ID)
def test_records_of_a_topic_by_its_id(server: ServerThread, version: int) -> None:
    confluent_produce(server.bootstrap, "jobs", [Record(b"first")])
    with Raw(server) as client:
        id = id_of(client)
        assert told(client.ask(asked(id), version, FetchResponse)) == [(id, 0, True)]
        other = uuid.UUID(int=id.int ^ 1)
        assert told(client.ask(asked(other), version, FetchResponse)) == [(other, Code.UNKNOWN_TOPIC_ID, False)]


@pytest.mark.parametrize("version", BY_ID)
def test_another_topic_of_the_name_is_not_taken_for_it(server: ServerThread, version: int) -> None:
    confluent_produce(server.bootstrap, "jobs", [Record(b"first")])
    with Raw(server) as client:
        id = id_of(client)
        client.send_request(asked(id, 1, wait_ms=600_000), version)
        wait_until(lambda: server.call(lambda service: service.broker.topics["jobs"].watchers), "it waits")
        make_anew(server.bootstrap)
        confluent_produce(server.bootstrap, "jobs", [Record(b"second")] * 2)
        gone = FetchResponse.decode(client.read_frame(), version=version, header=True)
        assert told(gone) == [(id, Code.UNKNOWN_TOPIC_ID, False)]
        assert told(client.ask(asked(id), version, FetchResponse)) == [(id, Code.UNKNOWN_TOPIC_ID, False)]
        new = id_of(client)
        assert new != id
        assert told(client.ask(asked(new), version, FetchResponse)) == [(new, 0, True)]


def make_anew(bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics(["jobs"])["jobs"].result(TIMEOUT_SECONDS)
    admin.create_topics([NewTopic("jobs", 1)])["jobs"].result(TIMEOUT_SECONDS)


# --- clients that go on


Poll = Callable[[], list[bytes]]
Client = Callable[[str], AbstractContextManager[Poll]]


@contextmanager
def confluent(bootstrap: str) -> Iterator[Poll]:
    """Fetches by id."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "nobody",
            "auto.offset.reset": "earliest",
            "topic.metadata.refresh.interval.ms": 500,
        }
    )
    consumer.assign([confluent_kafka.TopicPartition("jobs", 0)])
    try:
        yield lambda: [message.value() for message in consumer.consume(100, 0.1) if message.error() is None]
    finally:
        consumer.close()


@contextmanager
def kafka_python(bootstrap: str) -> Iterator[Poll]:
    """Fetches by name."""
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        metadata_max_age_ms=500,
        allow_auto_create_topics=False,
    )
    consumer.assign([kafka.TopicPartition("jobs", 0)])
    try:
        yield lambda: [message.value for messages in consumer.poll(100).values() for message in messages]
    finally:
        consumer.close()


def take(poll: Poll, count: int) -> list[bytes]:
    found: list[bytes] = []

    def is_enough() -> bool:
        found.extend(poll())
        return len(found) >= count

    wait_until(is_enough, f"{count} records come")
    return found


@pytest.mark.parametrize("client", [confluent, kafka_python])
def test_a_consumer_goes_on_with_a_topic_that_is_made_anew(server: ServerThread, client: Client) -> None:
    confluent_produce(server.bootstrap, "jobs", [Record(b"old %d" % number) for number in range(5)])
    with client(server.bootstrap) as poll:
        assert take(poll, 5) == [b"old %d" % number for number in range(5)]
        make_anew(server.bootstrap)
        confluent_produce(server.bootstrap, "jobs", [Record(b"new %d" % number) for number in range(3)])
        assert take(poll, 3) == [b"new 0", b"new 1", b"new 2"]


@pytest.mark.parametrize("sync", ["always", "never"])
def test_ids_and_consumers_outlive_a_server_that_is_killed(tmp_path: Path, sync: str) -> None:
    arguments = ("--data-dir", str(tmp_path / "data"), "--sync", sync)
    with ServerProcess(*arguments, kafka=True) as first, Raw(first) as raw:
        id = id_of(raw)  # which makes the topic
        first.kill()
    again = (*arguments, "--kafka-port", str(first.kafka_port))
    with ExitStack() as clients:
        with ServerProcess(*again, kafka=True) as second, Raw(second) as raw:
            assert id_of(raw) == id
            confluent_produce(second.bootstrap, "jobs", [Record(b"one")])
            poll = clients.enter_context(confluent(second.bootstrap))
            assert take(poll, 1) == [b"one"]
            second.kill()
        with ServerProcess(*again, kafka=True) as third, Raw(third) as raw:
            confluent_produce(third.bootstrap, "jobs", [Record(b"two")])
            assert take(poll, 1) == [b"two"]
            assert id_of(raw) == id
            clients.close()
