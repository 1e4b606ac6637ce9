"""One Kafka client as the load: librdkafka (confluent-kafka) with the settings of the scenario, one line of JSON out.

    python benchmarks/kafka_load.py produce 127.0.0.1:9092 topic 1000000 100
    python benchmarks/kafka_load.py consume 127.0.0.1:9092 topic 1000000 100
    python benchmarks/kafka_load.py pipelined 127.0.0.1:9092 topic 100000 100
    python benchmarks/kafka_load.py one-by-one 127.0.0.1:9092 topic 5000 100

Messages of the given size go to partition 0. ``produce``: batches of up to 1 MB, 5 ms of linger; the time runs from the
first message to the last report. ``consume``: everything; the time runs from a seek to the beginning, by a consumer
that is connected already, to the last message. ``pipelined``: one message a request, many requests under way.
``one-by-one``: one message, its report, the next one; the median and the 99th percentile of the round trips.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

WAIT_SECONDS = 120.0
POLL_EVERY = 1000


class _Reports:
    """Counts what was stored; whatever was not ends the run."""

    def __init__(self) -> None:
        self.stored = 0

    def __call__(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            raise SystemExit(f"a message was not stored: {error}")
        self.stored += 1


def _producer(servers: str, **settings: Any) -> Producer:
    return Producer({"bootstrap.servers": servers, "acks": "all", "enable.idempotence": False, **settings})


def _warm(producer: Producer, topic: str, reports: _Reports, body: bytes) -> None:
    """The topic is there, and the connection."""
    producer.produce(topic, body, partition=0, on_delivery=reports)
    producer.flush(WAIT_SECONDS)
    if reports.stored != 1:
        raise SystemExit("the first message was not stored")
    reports.stored = 0


def _send(producer: Producer, topic: str, count: int, body: bytes, reports: _Reports) -> float:
    began = time.perf_counter()
    for number in range(count):
        while True:
            try:
                producer.produce(topic, body, partition=0, on_delivery=reports)
                break
            except BufferError:
                producer.poll(0.01)
        if number % POLL_EVERY == 0:
            producer.poll(0)
    producer.flush(WAIT_SECONDS)
    seconds = time.perf_counter() - began
    if reports.stored != count:
        raise SystemExit(f"{reports.stored} of {count} messages were stored")
    return seconds


def produce(servers: str, topic: str, count: int, size: int) -> dict[str, float]:
    """Batches."""
    settings = {"linger.ms": 5, "batch.size": 1_000_000, "batch.num.messages": 100_000}
    producer = _producer(servers, **settings, **{"queue.buffering.max.messages": 1_000_000})
    reports = _Reports()
    _warm(producer, topic, reports, bytes(size))
    return {"rate": count / _send(producer, topic, count, bytes(size), reports)}


def pipelined(servers: str, topic: str, count: int, size: int) -> dict[str, float]:
    """One message a request, as many requests under way as the client likes."""
    settings = {"linger.ms": 0, "batch.num.messages": 1, "max.in.flight.requests.per.connection": 1000}
    producer = _producer(servers, **settings, **{"queue.buffering.max.messages": 1_000_000})
    reports = _Reports()
    _warm(producer, topic, reports, bytes(size))
    return {"rate": count / _send(producer, topic, count, bytes(size), reports)}


def one_by_one(servers: str, topic: str, count: int, size: int) -> dict[str, float]:
    """The next message when the one before is stored."""
    producer = _producer(servers, **{"linger.ms": 0})
    reports = _Reports()
    body = bytes(size)
    _warm(producer, topic, reports, body)
    seconds = []
    for number in range(1, count + 1):
        began = time.perf_counter()
        producer.produce(topic, body, partition=0, on_delivery=reports)
        while reports.stored < number:
            producer.poll(1)
        seconds.append(time.perf_counter() - began)
    return {"p50_ms": statistics.median(seconds) * 1e3, "p99_ms": statistics.quantiles(seconds, n=100)[98] * 1e3}


def consume(servers: str, topic: str, count: int, size: int) -> dict[str, float]:
    """All of them, from the beginning, by one consumer that asks no group."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "benchmark",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            # Else the client stops fetching now and then, which is what would be measured.
            "queued.min.messages": 1_000_000,
            "queued.max.messages.kbytes": 2_000_000,
            "receive.message.max.bytes": 1_000_000_000,  # one broker takes no notice of the limits of a request
        }
    )
    # Connected and fetching before the time begins to run: it waits at the end, and is then sent to the beginning.
    consumer.assign([TopicPartition(topic, 0, count)])
    deadline = time.monotonic() + WAIT_SECONDS
    while not (first := consumer.consume(1, 1.0)):
        if time.monotonic() > deadline:
            raise SystemExit("the last message does not come")
    if len(first[0].value()) != size:
        raise SystemExit("that is not what was produced")
    began = time.perf_counter()
    consumer.seek(TopicPartition(topic, 0, 0))
    got = 0
    while got < count:
        messages = consumer.consume(10_000, 1.0)
        for message in messages:
            if message.error() is not None:
                raise SystemExit(f"cannot consume: {message.error()}")
        got += len(messages)
        if time.monotonic() > deadline:
            raise SystemExit(f"{got} of {count} messages came")
    rate = count / (time.perf_counter() - began)
    consumer.close()
    return {"rate": rate}


KINDS: dict[str, Callable[[str, str, int, int], dict[str, float]]] = {
    "produce": produce,
    "consume": consume,
    "pipelined": pipelined,
    "one-by-one": one_by_one,
}


if __name__ == "__main__":
    kind, servers, topic, count, size = sys.argv[1:]
    print(json.dumps(KINDS[kind](servers, topic, int(count), int(size))))
