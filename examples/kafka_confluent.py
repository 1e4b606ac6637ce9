#!/usr/bin/env python3
"""Orders and bills, with confluent-kafka: a record with a key and headers, a group, and a transaction.

    gstream serve --kafka
    pip install confluent-kafka
    python kafka_confluent.py 127.0.0.1:9092

It orders tea and milk, and bills what the group ``billing`` has still to bill: each bill is produced in the same
transaction that says how far the group has come, so that nothing is billed twice, however this program ends. It prints
the bills, and what consumers of the line protocol get of them is in the topic ``bills``, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from confluent_kafka import Consumer, Message, Producer

SECONDS = 30.0
"""Nothing takes so long."""


def order(server: str, *names: str) -> None:
    """Produce an order for each, and return when all are stored."""
    producer = Producer({"bootstrap.servers": server, "enable.idempotence": True, "partitioner": "murmur2_random"})
    failures: list[object] = []
    for name in names:
        producer.produce(
            "orders",
            key=b"customer 7",
            value=name.encode(),
            headers=[("source", b"shop")],
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
    left = producer.flush(SECONDS)
    if left or failures:
        raise SystemExit(f"{left + len(failures)} orders are not known to be stored: {failures}")


def bill(server: str, count: int) -> list[str]:
    """Bill so many orders that were not billed yet."""
    consumer = Consumer(
        {
            "bootstrap.servers": server,
            "group.id": "billing",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    producer = Producer({"bootstrap.servers": server, "transactional.id": "billing 1"})
    producer.init_transactions(SECONDS)  # whatever an earlier run has left open is aborted
    consumer.subscribe(["orders"])
    bills = []
    try:
        for message in take(consumer, count):
            bills.append(f"{message.key().decode()}: {message.value().decode()}")
            producer.begin_transaction()
            producer.produce("bills", key=message.key(), value=bills[-1].encode(), headers=message.headers())
            places = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata(), SECONDS)
            producer.commit_transaction(SECONDS)
    finally:
        consumer.close()
    return bills


def take(consumer: Consumer, count: int) -> Iterator[Message]:
    """So many messages, one after the other."""
    for _ in range(count):
        message = consumer.poll(SECONDS)
        if message is None or message.error():
            raise SystemExit(f"no order came: {message and message.error()}")
        yield message


def main() -> None:
    """Order, and bill."""
    server = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
    names = ["tea", "milk"]
    order(server, *names)
    for line in bill(server, len(names)):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
