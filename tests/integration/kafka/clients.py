"""The clients that people use with Kafka, each told in its own way to produce records, and to read a partition."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiokafka
import confluent_kafka
import kafka
import pytest

from gstream.testing import TIMEOUT_SECONDS, ServerThread

__all__ = [
    "CODECS",
    "CONSUMERS",
    "ENGINES",
    "PRODUCERS",
    "Consume",
    "Produce",
    "Record",
    "confluent_consume",
    "confluent_produce",
    "kcat",
    "start",
]

ENGINES = ("memory", "disk")
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
TIMEOUT_MS = int(TIMEOUT_SECONDS * 1000)


class Record(NamedTuple):
    """What is produced, and read. headers: names and values, in order."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


Produce = Callable[..., None]
Consume = Callable[..., list[Record]]


def start(engine: str, path: Path, **settings: Any) -> ServerThread:
    """A server with that engine, whose data directory lies there."""
    if engine == "disk":
        settings["data_dir"] = str(path / "data")
    return ServerThread(kafka=True, **settings)


def kcat(bootstrap: str, *arguments: str, data: bytes = b"") -> bytes:
    """What it prints."""
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not installed")
    command = ["kcat", "-b", bootstrap, *arguments]
    done = subprocess.run(command, input=data, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


# --- producing: returns when all is confirmed


def confluent_produce(
    bootstrap: str, topic: str, records: Sequence[Record], codec: str = "none", partition: int = 0, **settings: Any
) -> None:
    """confluent-kafka, which is librdkafka."""
    options = {name.replace("_", "."): value for name, value in settings.items()}
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "compression.type": codec, **options})
    errors: list[Any] = []

    def done(error: Any, _message: Any) -> None:
        if error is not None:
            errors.append(error)

    for value, key, headers in records:
        producer.produce(topic, value, key, partition=partition, headers=list(headers), on_delivery=done)
    assert producer.flush(TIMEOUT_SECONDS) == 0
    if errors:
        raise confluent_kafka.KafkaException(errors[0])


def kafka_python_produce(
    bootstrap: str, topic: str, records: Sequence[Record], codec: str = "none", partition: int = 0, **settings: Any
) -> None:
    """kafka-python."""
    producer = kafka.KafkaProducer(
        bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec, **settings
    )
    try:
        sent = [
            producer.send(topic, value, key, headers=list(headers), partition=partition)
            for value, key, headers in records
        ]
        for future in sent:
            future.get(TIMEOUT_SECONDS)
    finally:
        producer.close(timeout=TIMEOUT_SECONDS)


def aiokafka_produce(
    bootstrap: str, topic: str, records: Sequence[Record], codec: str = "none", partition: int = 0, **settings: Any
) -> None:
    """The one for asyncio."""

    async def run() -> None:
        compression = None if codec == "none" else codec
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=bootstrap, compression_type=compression, **settings
        ) as producer:
            sent = [
                await producer.send(topic, value, key, partition=partition, headers=list(headers))
                for value, key, headers in records
            ]
            for future in sent:
                await asyncio.wait_for(future, TIMEOUT_SECONDS)

    asyncio.run(run())


# --- reading so many records of a partition, from an offset on


def confluent_consume(
    bootstrap: str, topic: str, count: int, offset: int = 0, partition: int = 0, **settings: Any
) -> list[Record]:
    """confluent-kafka."""
    options = {name.replace("_", "."): value for name, value in settings.items()}
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "nobody", **options})
    found: list[Record] = []
    try:
        consumer.assign([confluent_kafka.TopicPartition(topic, partition, offset)])
        while len(found) < count:
            messages = consumer.consume(count - len(found), TIMEOUT_SECONDS)
            assert messages, f"{len(found)} of {count} records came"
            for message in messages:
                assert message.error() is None
                found.append(Record(message.value(), message.key(), tuple(message.headers() or ())))
    finally:
        consumer.close()
    return found


def kafka_python_consume(
    bootstrap: str, topic: str, count: int, offset: int = 0, partition: int = 0, **settings: Any
) -> list[Record]:
    """kafka-python."""
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=bootstrap, consumer_timeout_ms=TIMEOUT_MS, auto_offset_reset="none", **settings
    )
    found: list[Record] = []
    try:
        place = kafka.TopicPartition(topic, partition)
        consumer.assign([place])
        consumer.seek(place, offset)
        for message in consumer:
            found.append(Record(message.value, message.key, tuple(message.headers)))
            if len(found) == count:
                break
    finally:
        consumer.close()
    return found


def aiokafka_consume(
    bootstrap: str, topic: str, count: int, offset: int = 0, partition: int = 0, **settings: Any
) -> list[Record]:
    """The one for asyncio."""

    async def run() -> list[Record]:
        found: list[Record] = []
        async with aiokafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap, auto_offset_reset="none", **settings
        ) as consumer:
            place = aiokafka.TopicPartition(topic, partition)
            consumer.assign([place])
            consumer.seek(place, offset)
            while len(found) < count:
                message = await asyncio.wait_for(consumer.getone(), TIMEOUT_SECONDS)
                found.append(Record(message.value, message.key, tuple(message.headers)))
        return found

    return asyncio.run(run())


def kcat_consume(bootstrap: str, topic: str, count: int, offset: int = 0, partition: int = 0) -> list[Record]:
    """kcat, whose JSON can hold text only."""
    where = ("-t", topic, "-p", str(partition), "-o", str(offset), "-c", str(count))
    found = []
    for line in kcat(bootstrap, "-C", "-J", *where).splitlines():
        row = json.loads(line)
        names, values = row.get("headers", [])[::2], row.get("headers", [])[1::2]
        headers = tuple((name, _encoded(value)) for name, value in zip(names, values, strict=True))
        found.append(Record(_encoded(row["payload"]), _encoded(row["key"]), headers))
    return found


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


PRODUCERS: dict[str, tuple[Produce, tuple[str, ...]]] = {
    "confluent-kafka": (confluent_produce, CODECS),
    "kafka-python": (kafka_python_produce, ("none", "gzip")),  # the others need packages of their own
    "aiokafka": (aiokafka_produce, CODECS),
}
"""Name: how it produces, and with which codecs."""

CONSUMERS: dict[str, tuple[Consume, tuple[str, ...]]] = {
    "confluent-kafka": (confluent_consume, CODECS),
    "kafka-python": (kafka_python_consume, ("none", "gzip")),
    "aiokafka": (aiokafka_consume, CODECS),
    "kcat": (kcat_consume, CODECS),
}
"""Name: how it reads, and which codecs."""
