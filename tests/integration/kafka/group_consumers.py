"""Consumers that share a topic's partitions, of the clients that people use with Kafka, all handled alike."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import aiokafka
import confluent_kafka
import kafka
from kafka.consumer.subscription_state import ConsumerRebalanceListener as KafkaListener

from gstream.testing import TIMEOUT_SECONDS, wait_until

__all__ = ["CLIENTS", "GroupConsumer", "consumers_of", "settle"]

FATAL = -150
"""librdkafka's _FATAL: the consumer cannot go on."""

SESSION_MS, HEARTBEAT_MS = 3000, 100
"""Heartbeats also tell that all have to join again: the more often, the sooner."""


class GroupConsumer(Protocol):
    """One of them. revoked: how often something was taken away from it. It may be closed twice."""

    revoked: int

    def poll(self) -> list[bytes]:
        """The values that have come, after a short while."""

    @property
    def partitions(self) -> set[int]:
        """Those it has been given."""

    def commit(self) -> None:
        """Say how far it is, and wait until that is kept."""

    def close(self) -> None:
        """Leave, and end."""


class ConfluentConsumer:
    """confluent-kafka, which is librdkafka."""

    def __init__(self, bootstrap: str, group: str, topic: str, instance: str | None = None, **more: Any) -> None:
        self.revoked = 0
        settings = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": HEARTBEAT_MS,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **more,
        }
        if instance is not None:
            settings["group.instance.id"] = instance
        self.consumer = confluent_kafka.Consumer(settings)
        self.consumer.subscribe([topic], on_revoke=self._note)

    def _note(self, _consumer: object, partitions: list[Any]) -> None:
        self.revoked += bool(partitions)

    def poll(self) -> list[bytes]:
        messages = self.consumer.consume(1000, 0.02)
        for message in messages:
            if message.error() is not None and message.error().code() == FATAL:
                raise confluent_kafka.KafkaException(message.error())
        return [message.value() for message in messages if message.error() is None]

    @property
    def partitions(self) -> set[int]:
        return {each.partition for each in self.consumer.assignment()}

    def commit(self) -> None:
        self.consumer.commit(asynchronous=False)

    def close(self) -> None:
        self.consumer.close()


class ThreadedConsumer:
    """A consumer with a thread of its own, for clients that cannot join while nobody looks after them."""

    def __init__(self, bootstrap: str, group: str, topic: str, instance: str | None = None, **more: Any) -> None:
        self.revoked = 0
        self.partitions: set[int] = set()
        self.records: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.commits: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
        self.closing = False
        self._topic = topic
        self._settings = {
            "bootstrap_servers": bootstrap,
            "group_id": group,
            "group_instance_id": instance,
            "session_timeout_ms": SESSION_MS,
            "heartbeat_interval_ms": HEARTBEAT_MS,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            **more,
        }
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Consume until ``closing``."""
        raise NotImplementedError

    def note(self, found: dict[Any, list[Any]], assigned: set[Any]) -> None:
        """What has come, and what it has now."""
        for records in found.values():
            for record in records:
                self.records.put(record.value)
        self.partitions = {each.partition for each in assigned}

    def poll(self) -> list[bytes]:
        found: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            found.append(self.records.get(timeout=0.02))
            while True:
                found.append(self.records.get_nowait())
        return found

    def commit(self) -> None:
        done = threading.Event()
        self.commits.put(done)
        assert done.wait(TIMEOUT_SECONDS)

    def close(self) -> None:
        self.closing = True
        self._thread.join(TIMEOUT_SECONDS)
        assert not self._thread.is_alive()


class KafkaPythonConsumer(ThreadedConsumer):
    """kafka-python. A poll that ends too soon forgets that it was about to join."""

    def run(self) -> None:
        owner = self

        class Listener(KafkaListener):  # type: ignore[misc]
            def on_partitions_revoked(self, revoked: Any) -> None:
                owner.revoked += bool(revoked)

            def on_partitions_assigned(self, assigned: Any) -> None:
                pass

        consumer = kafka.KafkaConsumer(**self._settings)
        consumer.subscribe([self._topic], listener=Listener())
        while not self.closing:
            self.note(consumer.poll(1000), consumer.assignment())
            if not self.commits.empty():
                consumer.commit()
                self.commits.get().set()
        consumer.close()


class AioConsumer(ThreadedConsumer):
    """aiokafka."""

    def run(self) -> None:
        asyncio.run(self._consume())

    async def _consume(self) -> None:
        owner = self

        class Listener(aiokafka.ConsumerRebalanceListener):  # type: ignore[misc]
            def on_partitions_revoked(self, revoked: Any) -> None:
                owner.revoked += bool(revoked)

            def on_partitions_assigned(self, assigned: Any) -> None:
                pass

        consumer = aiokafka.AIOKafkaConsumer(**self._settings)
        consumer.subscribe([self._topic], listener=Listener())
        async with consumer:
            while not self.closing:
                self.note(await consumer.getmany(timeout_ms=100), consumer.assignment())
                if not self.commits.empty():
                    await consumer.commit()
                    self.commits.get().set()


class KcatConsumer:
    """kcat, in a process of its own. It can be killed; what it has got is not asked."""

    def __init__(self, bootstrap: str, group: str, topic: str, **_more: Any) -> None:
        self.revoked = 0
        options = (f"session.timeout.ms={SESSION_MS}", f"heartbeat.interval.ms={HEARTBEAT_MS}")
        settings = [part for option in options for part in ("-X", option)]
        self.process = subprocess.Popen(
            ["kcat", "-b", bootstrap, "-G", group, *settings, topic],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """It vanishes without a word."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


CLIENTS: dict[str, Callable[..., GroupConsumer]] = {
    "confluent-kafka": ConfluentConsumer,
    "kafka-python": KafkaPythonConsumer,
    "aiokafka": AioConsumer,
}


def consumers_of(make: Callable[..., Any], bootstrap: str) -> Iterator[Callable[..., Any]]:
    """For a fixture: starts consumers of this client, and ends them after the test."""
    with ExitStack() as started:

        def start(group: str, topic: str, **more: Any) -> Any:
            consumer = make(bootstrap, group, topic, **more)
            started.callback(consumer.close)
            return consumer

        yield start


def settle(condition: Callable[[], bool], *consumers: GroupConsumer, what: str = "the partitions are shared") -> None:
    """Let them all poll until this holds."""

    def look() -> bool:
        for consumer in consumers:
            consumer.poll()
        return condition()

    wait_until(look, what)
