"""What is set for a topic by a Kafka client has its effect, on both engines."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from gstream import Client
from gstream.testing import TIMEOUT_SECONDS, ServerThread, wait_until


@pytest.fixture
def admin(server: ServerThread) -> AdminClient:
    return AdminClient({"bootstrap.servers": server.bootstrap})


def create(admin: AdminClient, **config: str) -> None:
    topic = NewTopic("orders", 1, config={name.replace("_", "."): value for name, value in config.items()})
    admin.create_topics([topic])["orders"].result(TIMEOUT_SECONDS)


def produce(server: ServerThread, *bodies: bytes) -> None:
    """Each in a batch of its own, stored before the next one is sent: what is written at once lies together."""
    producer = Producer({"bootstrap.servers": server.bootstrap, "batch.num.messages": 1, "linger.ms": 0})
    for body in bodies:
        producer.produce("orders", body, partition=0, timestamp=1)
        assert producer.flush(TIMEOUT_SECONDS) == 0


def consumer_of(server: ServerThread) -> Consumer:
    consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": "g", "enable.auto.commit": False})
    consumer.assign([TopicPartition("orders", 0, 0)])
    return consumer


def oldest(consumer: Consumer) -> int:
    low: int = consumer.get_watermark_offsets(TopicPartition("orders", 0), timeout=TIMEOUT_SECONDS)[0]
    return low


def test_what_is_too_much_goes(server, admin):
    create(admin, retention_bytes="2000", segment_bytes="1024")
    produce(server, *[b"x" * 900] * 200)
    consumer = consumer_of(server)
    try:
        wait_until(lambda: oldest(consumer) >= 190, "all go but the newest")
        assert oldest(consumer) <= 198, "2,000 bytes of them stay"
    finally:
        consumer.close()


def test_what_is_too_old_goes(server, admin):
    create(admin, retention_ms="1")
    produce(server, b"one", b"two")
    consumer = consumer_of(server)
    try:
        wait_until(lambda: oldest(consumer) == 2, "the messages go")
    finally:
        consumer.close()


def test_what_groups_have_taken_stays(server, admin):
    create(admin)
    produce(server, b"one", b"two")
    with Client(*server, topic="orders") as client:
        assert client.consume(2) == [b"one", b"two"]
        assert client.consume() == []
    consumer = consumer_of(server)
    try:
        assert oldest(consumer) == 0
        assert consumer.poll(TIMEOUT_SECONDS).value() == b"one"
    finally:
        consumer.close()


def test_times_are_the_servers_when_that_is_set(server, admin):
    create(admin)
    resource = ConfigResource(
        ResourceType.TOPIC,
        "orders",
        incremental_configs=[
            ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    admin.incremental_alter_configs([resource])[resource].result(TIMEOUT_SECONDS)
    began_ms = int(time.time() * 1000)
    produce(server, b"one")
    consumer = consumer_of(server)
    try:
        kind, when_ms = consumer.poll(TIMEOUT_SECONDS).timestamp()
    finally:
        consumer.close()
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert began_ms <= when_ms <= int(time.time() * 1000)
