"""Groups as administrators see them and what they can do with them, those of the line protocol, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import confluent_kafka
import kafka
import pytest
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka.admin import KafkaAdminClient

from gstream import Client, RefusedError
from gstream.testing import TIMEOUT_SECONDS, ServerThread, wait_until
from tests.integration.kafka.clients import Record, confluent_produce
from tests.integration.kafka.group_consumers import ConfluentConsumer, consumers_of, settle
from tests.integration.kafka.test_groups import ALL, PARTITIONS, Start, fill


@pytest.fixture
def settings(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "partitions": PARTITIONS, "sync_seconds": float("inf")}


@pytest.fixture
def start(server: ServerThread) -> Iterator[Start]:
    yield from consumers_of(ConfluentConsumer, server.bootstrap)


@pytest.fixture
def admin(server: ServerThread) -> AdminClient:
    return AdminClient({"bootstrap.servers": server.bootstrap})


@pytest.fixture
def python_admin(server: ServerThread) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    yield client
    client.close()


def listed(admin: AdminClient, **options: Any) -> dict[str, ConsumerGroupState]:
    found = admin.list_consumer_groups(**options).result(TIMEOUT_SECONDS)
    assert found.errors == []
    return {group.group_id: group.state for group in found.valid}


def committed(admin: AdminClient, group: str) -> dict[int, int]:
    """How far a group says that it is, by partition."""
    (future,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    return {each.partition: each.offset for each in future.result(TIMEOUT_SECONDS).topic_partitions}


def test_groups_are_listed(server: ServerThread, admin: AdminClient, start: Start) -> None:
    fill(server)
    consumer = start("workers", "orders")
    settle(lambda: consumer.partitions == ALL, consumer)
    server.call(lambda service: service.broker.topic("orders").group("readers"))
    assert listed(admin) == {"workers": ConsumerGroupState.STABLE, "readers": ConsumerGroupState.EMPTY}
    assert listed(admin, states={ConsumerGroupState.EMPTY}) == {"readers": ConsumerGroupState.EMPTY}


def test_groups_are_described(server: ServerThread, admin: AdminClient, start: Start) -> None:
    fill(server)
    consumer = start("workers", "orders", **{"client.id": "me"})
    settle(lambda: consumer.partitions == ALL, consumer)
    (future,) = admin.describe_consumer_groups(["workers"]).values()
    group = future.result(TIMEOUT_SECONDS)
    assert (group.group_id, group.state, group.partition_assignor) == ("workers", ConsumerGroupState.STABLE, "range")
    (member,) = group.members
    assert (member.client_id, member.host) == ("me", "/127.0.0.1")
    assert {each.partition for each in member.assignment.topic_partitions} == ALL


def test_a_line_group_is_described(server: ServerThread, admin: AdminClient) -> None:
    fill(server)
    with Client(*server, topic="orders", group="readers") as client, client.lease():
        (future,) = admin.describe_consumer_groups(["readers"]).values()
        group = future.result(TIMEOUT_SECONDS)
        assert (group.state, group.partition_assignor) == (ConsumerGroupState.STABLE, "gstream")
        assert [(member.member_id, member.client_id) for member in group.members] == [("orders-0", "gstream")]


def test_a_group_that_is_not_there_is_dead(admin: AdminClient) -> None:
    (future,) = admin.describe_consumer_groups(["nobody"]).values()
    assert future.result(TIMEOUT_SECONDS).state == ConsumerGroupState.DEAD


def test_offsets_are_changed_while_nobody_consumes(server: ServerThread, admin: AdminClient, start: Start) -> None:
    fill(server)
    consumer = start("workers", "orders")
    settle(lambda: consumer.partitions == ALL, consumer)
    change = ConsumerGroupTopicPartitions("workers", [TopicPartition("orders", 1, 4)])
    (future,) = admin.alter_consumer_group_offsets([change]).values()
    (place,) = future.result(TIMEOUT_SECONDS).topic_partitions
    assert place.error.code() == confluent_kafka.KafkaError.UNKNOWN_MEMBER_ID
    consumer.close()
    (future,) = admin.alter_consumer_group_offsets([change]).values()
    future.result(TIMEOUT_SECONDS)
    assert committed(admin, "workers") == {1: 4}


def test_groups_are_removed(server: ServerThread, admin: AdminClient, start: Start) -> None:
    fill(server)
    consumer = start("workers", "orders")
    settle(lambda: consumer.partitions == ALL, consumer)
    (future,) = admin.delete_consumer_groups(["workers"]).values()
    with pytest.raises(KafkaException) as caught:
        future.result(TIMEOUT_SECONDS)
    assert caught.value.args[0].code() == confluent_kafka.KafkaError.NON_EMPTY_GROUP
    consumer.close()
    (future,) = admin.delete_consumer_groups(["workers"]).values()
    future.result(TIMEOUT_SECONDS)
    assert listed(admin) == {}
    (future,) = admin.delete_consumer_groups(["workers"]).values()
    with pytest.raises(KafkaException) as caught:
        future.result(TIMEOUT_SECONDS)
    assert caught.value.args[0].code() == confluent_kafka.KafkaError.GROUP_ID_NOT_FOUND


def test_the_same_with_kafka_python(server: ServerThread, python_admin: KafkaAdminClient, start: Start) -> None:
    fill(server)
    consumer = start("workers", "orders")
    settle(lambda: consumer.partitions == ALL, consumer)
    consumer.consumer.commit(
        offsets=[TopicPartition("orders", 1, 4), TopicPartition("orders", 2, 3)], asynchronous=False
    )
    (group,) = python_admin.list_groups()
    assert (group["group_id"], group["protocol_type"], group["group_state"]) == ("workers", "consumer", "Stable")
    described = python_admin.describe_groups(["workers"])["workers"]
    assert (described["group_state"], len(described["members"])) == ("Stable", 1)
    places = python_admin.list_group_offsets(["workers"])["workers"]
    assert {place.partition: each.offset for place, each in places.items()} == {1: 4, 2: 3}
    consumer.close()
    place = kafka.TopicPartition("orders", 1)
    python_admin.delete_group_offsets("workers", [place])
    places = python_admin.list_group_offsets(["workers"])["workers"]
    assert {place.partition: each.offset for place, each in places.items() if each.offset >= 0} == {2: 3}
    python_admin.delete_groups(["workers"])
    assert python_admin.list_groups() == []


def test_the_lag_of_a_line_group(server: ServerThread, admin: AdminClient) -> None:
    for partition in ALL:
        confluent_produce(
            server.bootstrap, "orders", [Record(b"%d" % number) for number in range(3)], partition=partition
        )
    with Client(*server, topic="orders", group="readers") as client:
        assert len(client.consume(5)) > 0
        with client.lease(2) as lease:
            offsets = committed(admin, "readers")
            assert set(offsets) == ALL
            done = sum(offsets.values())
            assert len(lease) == 2
        wait_until(lambda: sum(committed(admin, "readers").values()) == done + 2, "what was leased is done")
    consumer = confluent_kafka.Consumer({"bootstrap.servers": server.bootstrap, "group.id": "readers"})
    found = consumer.committed([TopicPartition("orders", number) for number in ALL])
    assert sum(each.offset for each in found) == done + 2
    consumer.close()


def test_a_name_belongs_to_one_kind(server: ServerThread, start: Start) -> None:
    fill(server)
    with Client(*server, topic="orders", group="readers") as client:
        client.consume()
        consumer = start("readers", "orders")
        errors: list[str] = []

        def refused() -> bool:
            message = consumer.consumer.poll(0.02)
            if message is not None and message.error() is not None:
                errors.append(message.error().name())
            return bool(errors)

        wait_until(refused, "the consumer is refused")
        assert errors == ["INCONSISTENT_GROUP_PROTOCOL"]
    worker = start("workers", "orders")
    settle(lambda: worker.partitions == ALL, worker)
    with (
        pytest.raises(RefusedError, match="the group belongs to Kafka clients") as caught,
        Client(*server, topic="orders", group="workers") as client,
    ):
        client.consume()
    assert caught.value.code == "busy"
