"""What Kafka's clients read, for the tests of this folder."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaError, TopicPartition

from gstream.testing import TIMEOUT_SECONDS

__all__ = ["COMMITTED", "UNCOMMITTED", "read"]

COMMITTED, UNCOMMITTED = "read_committed", "read_uncommitted"


def read(bootstrap: str, topic: str, partitions: int = 1, isolation: str = COMMITTED) -> list[tuple[int, int, bytes]]:
    """Everything that a consumer sees of a topic: partition, offset and value, partition by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": isolation,
            "fetch.wait.max.ms": 10,
        }
    )
    found: list[tuple[int, int, bytes]] = []
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        left = set(range(partitions))
        while left:
            message = consumer.poll(TIMEOUT_SECONDS)
            assert message is not None, f"nothing came within {TIMEOUT_SECONDS:g} s"
            error = message.error()
            if error is None:
                found.append((message.partition(), message.offset(), message.value()))
            elif error.code() == KafkaError._PARTITION_EOF:  # librdkafka's own codes begin so
                left.discard(message.partition())
            else:
                raise AssertionError(f"the consumer says: {error}")
    finally:
        consumer.close()
    return sorted(found)
