#!/usr/bin/env python3
"""Readings of sensors, with kafka-python: a topic on purpose, records with keys and headers, and a group.

    gstream serve --kafka
    pip install kafka-python
    python kafka_python_clients.py 127.0.0.1:9092

It makes the topic ``readings``, whose messages are kept for a day, produces the readings of two sensors, and prints
what the group ``plot`` has not seen yet. ``gstream consume -t readings`` gets them, too.
"""

from __future__ import annotations

import sys
from contextlib import closing, suppress

from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

TOPIC = "readings"
DAY_MS = 24 * 3600 * 1000
SECONDS = 30
"""Nothing takes so long."""


def make_topic(server: str) -> None:
    """Make the topic, unless it is there."""
    topic = NewTopic(TOPIC, num_partitions=4, replication_factor=1, topic_configs={"retention.ms": str(DAY_MS)})
    with closing(KafkaAdminClient(bootstrap_servers=server)) as admin, suppress(TopicAlreadyExistsError):
        admin.create_topics([topic])


def produce(server: str, readings: list[tuple[str, float]]) -> None:
    """Produce a record for each, and return when all are stored. Each sensor's lie in one partition, in their order."""
    with closing(KafkaProducer(bootstrap_servers=server, compression_type="gzip")) as producer:
        sent = [
            producer.send(TOPIC, key=sensor.encode(), value=str(degrees).encode(), headers=[("unit", b"C")])
            for sensor, degrees in readings
        ]
        for future in sent:
            future.get(SECONDS)


def consume(server: str, count: int) -> list[str]:
    """So many readings that the group has not seen yet."""
    seen = []
    consumer = KafkaConsumer(
        TOPIC,
        bootstrap_servers=server,
        group_id="plot",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=SECONDS * 1000,
    )
    with closing(consumer):
        for record in consumer:
            unit = dict(record.headers)["unit"].decode()
            seen.append(f"{record.key.decode()} {record.value.decode()} {unit}")
            consumer.commit()
            if len(seen) == count:
                break
    return seen


def main() -> None:
    """Make, produce, consume."""
    server = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
    readings = [("cellar", 11.5), ("attic", 31.0), ("cellar", 11.4)]
    make_topic(server)
    produce(server, readings)
    for line in consume(server, len(readings)):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
