"""What only aiokafka does, or does in its own way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import OffsetOutOfRangeError

from gstream.testing import TIMEOUT_SECONDS, ServerThread
from tests.integration.kafka.clients import Record, aiokafka_produce

GROUP = "workers"
PLACE = TopicPartition("orders", 0)


def run(steps: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(steps, TIMEOUT_SECONDS)

    asyncio.run(limited())


def produce(server: ServerThread, topic: str = "orders", count: int = 10) -> None:
    aiokafka_produce(server.bootstrap, topic, [Record(b"%d" % number) for number in range(count)])


def consumer_of(server: ServerThread, *topics: str, **settings: Any) -> AIOKafkaConsumer:
    settings = {"group_id": GROUP, "auto_offset_reset": "earliest", "fetch_max_wait_ms": 50, **settings}
    return AIOKafkaConsumer(*topics, bootstrap_servers=server.bootstrap, **settings)


@asynccontextmanager
async def admin_of(server: ServerThread) -> Any:
    admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def take(consumer: AIOKafkaConsumer, count: int) -> list[int]:
    """The offsets of so many records."""
    return [(await consumer.getone()).offset for _ in range(count)]


def test_offsets_are_committed_when_it_is_closed(server: ServerThread) -> None:
    async def steps() -> None:
        async with consumer_of(server, "orders") as consumer:
            assert await take(consumer, 4) == [0, 1, 2, 3]
        async with consumer_of(server, "orders") as consumer:
            assert await take(consumer, 6) == [4, 5, 6, 7, 8, 9]
            assert await consumer.committed(PLACE) == 4

    produce(server)
    run(steps())


def test_topics_by_a_pattern(server: ServerThread) -> None:
    async def steps() -> None:
        async with consumer_of(server, metadata_max_age_ms=200) as consumer:
            consumer.subscribe(pattern="^order.*")
            assert await take(consumer, 2) == [0, 0]
            assert {place.topic for place in consumer.assignment()} == {"orders", "order-lines"}

    for topic in ("orders", "mails", "order-lines"):
        produce(server, topic, 1)
    run(steps())


def test_it_looks_ahead_and_goes_back(server: ServerThread) -> None:
    async def steps() -> None:
        async with consumer_of(server, group_id=None) as consumer:
            consumer.assign([PLACE])
            consumer.seek(PLACE, 7)
            assert await take(consumer, 3) == [7, 8, 9]
            await consumer.seek_to_beginning(PLACE)
            assert await take(consumer, 1) == [0]
            await consumer.seek_to_end(PLACE)
            assert await consumer.position(PLACE) == 10
            assert (await consumer.offsets_for_times({PLACE: 1}))[PLACE].offset == 0

    produce(server)
    run(steps())


def test_what_is_not_there_is_told(server: ServerThread) -> None:
    async def steps() -> None:
        async with consumer_of(server, group_id=None, auto_offset_reset="none") as consumer:
            consumer.assign([PLACE])
            consumer.seek(PLACE, 500)
            with pytest.raises(OffsetOutOfRangeError):
                await consumer.getone()

    produce(server)
    run(steps())


def test_an_idempotent_producer_keeps_the_order(server: ServerThread) -> None:
    async def steps() -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=server.bootstrap, enable_idempotence=True, max_batch_size=100, linger_ms=1
        ) as producer:
            sent = [await producer.send("orders", b"%d" % number, partition=0) for number in range(500)]
            assert [(await each).offset for each in sent] == list(range(500))

    run(steps())


def test_its_groups_are_seen_and_records_deleted(server: ServerThread) -> None:
    async def steps() -> None:
        async with admin_of(server) as admin:
            async with consumer_of(server, "orders") as consumer:
                await take(consumer, 10)
                await consumer.commit()
                ((_, name, state, kind, _, members, *_),) = (await admin.describe_consumer_groups([GROUP]))[0].groups
                assert (name, state, kind, len(members)) == (GROUP, "Stable", "consumer", 1)
            assert await admin.list_consumer_groups() == [(GROUP, "consumer")]
            assert (await admin.list_consumer_group_offsets(GROUP))[PLACE].offset == 10
            assert await admin.delete_records({PLACE: RecordsToDelete(before_offset=4)}) == {PLACE: 4}

    produce(server)
    run(steps())
