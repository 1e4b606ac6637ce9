"""What only kafka-python does, or does in its own way; older versions of it: tests/kafka_clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import NoOffsetForPartitionError

from gstream.testing import TIMEOUT_SECONDS, ServerThread, wait_until
from tests.integration.kafka.clients import Record, kafka_python_produce

GROUP = "workers"
PLACE = TopicPartition("orders", 0)


@pytest.fixture
def admin(server: ServerThread) -> Iterator[KafkaAdminClient]:
    with closing(KafkaAdminClient(bootstrap_servers=server.bootstrap)) as admin:
        yield admin


def produce(server: ServerThread, topic: str = "orders", count: int = 10) -> None:
    kafka_python_produce(server.bootstrap, topic, [Record(b"%d" % number) for number in range(count)])


def consumer_of(server: ServerThread, *topics: str, **settings: Any) -> closing[KafkaConsumer]:
    settings = {"group_id": GROUP, "auto_offset_reset": "earliest", "fetch_max_wait_ms": 50, **settings}
    return closing(KafkaConsumer(*topics, bootstrap_servers=server.bootstrap, **settings))


def take(consumer: KafkaConsumer, count: int) -> list[int]:
    """The offsets of so many records."""
    found: list[int] = []

    def poll() -> bool:
        # Not shorter: kafka-python may lose the assignment of a group that it asked for in one poll in the next one.
        polled = consumer.poll(5000, max_records=count - len(found))
        found.extend(message.offset for messages in polled.values() for message in messages)
        return len(found) == count

    wait_until(poll, f"{count} records have come")
    return found


def test_offsets_are_committed_when_it_is_closed(server: ServerThread) -> None:
    produce(server)
    with consumer_of(server, "orders") as consumer:
        assert take(consumer, 4) == [0, 1, 2, 3]
    with consumer_of(server, "orders") as consumer:
        assert take(consumer, 6) == [4, 5, 6, 7, 8, 9]
        assert consumer.committed(PLACE) == 4


def test_topics_by_a_pattern(server: ServerThread) -> None:
    for topic in ("orders", "mails", "order-lines"):
        produce(server, topic, 1)
    with consumer_of(server, metadata_max_age_ms=200) as consumer:
        consumer.subscribe(pattern="^order.*")
        assert take(consumer, 2) == [0, 0]
        assert {place.topic for place in consumer.assignment()} == {"orders", "order-lines"}
        produce(server, "orderings", 1)
        assert take(consumer, 1) == [0], "a topic that was made later"


def test_it_looks_ahead_and_goes_back(server: ServerThread) -> None:
    produce(server)
    with consumer_of(server) as consumer:
        consumer.assign([PLACE])
        consumer.seek(PLACE, 7)
        assert take(consumer, 3) == [7, 8, 9]
        assert consumer.position(PLACE) == 10
        consumer.seek_to_beginning(PLACE)
        assert take(consumer, 1) == [0]
        consumer.seek_to_end(PLACE)
        assert consumer.position(PLACE) == 10


def test_without_an_offset_it_is_told_so(server: ServerThread) -> None:
    produce(server)
    with consumer_of(server, auto_offset_reset="none") as consumer:
        consumer.assign([PLACE])
        with pytest.raises(NoOffsetForPartitionError):
            consumer.poll(TIMEOUT_SECONDS * 1000)


def test_its_groups_are_seen_and_removed(server: ServerThread, admin: KafkaAdminClient) -> None:
    produce(server)
    with consumer_of(server, "orders") as consumer:
        take(consumer, 10)
        consumer.commit()
        description = admin.describe_groups([GROUP])[GROUP]
        (member,) = description["members"]
        assert description["group_state"] == "Stable"
        assert member["member_assignment"]["assigned_partitions"] == [{"topic": "orders", "partitions": [0]}]
        assert admin.delete_groups([GROUP]) != {GROUP: "OK"}, "somebody is in it"
    assert admin.describe_groups([GROUP])[GROUP]["group_state"] == "Empty"
    assert admin.list_group_offsets([GROUP])[GROUP][PLACE].offset == 10
    assert [group["group_id"] for group in admin.list_groups()] == [GROUP]
    assert admin.delete_groups([GROUP]) == {GROUP: "OK"}
    assert admin.list_groups() == []
