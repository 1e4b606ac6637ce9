"""Groups over a restart: their members go on as if nothing had been."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition

from gstream.testing import ServerProcess, wait_until
from tests.integration.kafka.clients import Record, confluent_produce
from tests.integration.kafka.group_consumers import ConfluentConsumer, GroupConsumer, consumers_of, settle
from tests.integration.kafka.test_groups import ALL, PARTITIONS, Start, shared

SESSION_MS = 20_000
"""Nobody is missed while the server is not there."""


@pytest.fixture
def port() -> Iterator[int]:
    """A port that nobody else is given meanwhile, and on which a server can be started again and again."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def serve(port: int, tmp_path: Path) -> Callable[..., ServerProcess]:
    """Starts a server on always the same port and directory."""

    def serve() -> ServerProcess:
        arguments = ["--partitions", str(PARTITIONS), "--data-dir", str(tmp_path / "data")]
        return ServerProcess("--kafka", "--kafka-port", str(port), *arguments)

    return serve


@pytest.mark.parametrize("kills", [False, True], ids=["stopped", "killed"])
def test_members_go_on(serve: Callable[..., ServerProcess], port: int, kills: bool) -> None:
    bootstrap = f"127.0.0.1:{port}"
    starting = consumers_of(ConfluentConsumer, bootstrap)
    with serve() as server:
        fill(bootstrap, b"first")
        start: Start = next(starting)
        first, second = (start("workers", "orders", **{"session.timeout.ms": SESSION_MS}) for _ in range(2))
        settle(lambda: shared(first, second), first, second)
        fill(bootstrap, b"before")
        collect(b"before", first, second)
        first.commit()
        second.commit()
        parts, revoked = (first.partitions, second.partitions), (first.revoked, second.revoked)
        if kills:
            server.process.kill()
            server.process.wait()
    with serve():
        fill(bootstrap, b"after")
        assert collect(b"after", first, second) == [b"after"] * PARTITIONS
        assert (first.partitions, second.partitions) == parts
        assert (first.revoked, second.revoked) == revoked, "they did not have to join again"
        for _ in starting:  # they leave
            pass


def collect(value: bytes, *consumers: GroupConsumer) -> list[bytes]:
    """Poll until this has come from each partition; all that came."""
    found: list[bytes] = []

    def look() -> bool:
        for consumer in consumers:
            found.extend(consumer.poll())
        return found.count(value) >= PARTITIONS

    wait_until(look, f"{value!r} came")
    return found


def fill(bootstrap: str, value: bytes) -> None:
    """One record in each partition."""
    for partition in ALL:
        confluent_produce(bootstrap, "orders", [Record(value)], partition=partition)


@pytest.mark.parametrize("kills", [False, True], ids=["stopped", "killed"])
def test_what_was_committed_is_kept(serve: Callable[..., ServerProcess], port: int, kills: bool) -> None:
    bootstrap = f"127.0.0.1:{port}"
    place = TopicPartition("orders", 2, 7, metadata="so far")
    with serve() as server:
        fill(bootstrap, b"x")
        consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "alone"})
        consumer.commit(offsets=[place], asynchronous=False)
        if kills:
            server.process.kill()
            server.process.wait()
    with serve():
        (found,) = consumer.committed([TopicPartition("orders", 2)])
        assert (found.offset, found.metadata) == (7, "so far")
        consumer.close()
