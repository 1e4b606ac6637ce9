"""A program that passes messages on, from one topic to another, while the server is killed: each is to pass once.

What it makes of some messages, and how far it has come, is committed in one transaction. When one fails, it begins anew
where the last one that was committed has ended.
"""

from __future__ import annotations

import random
from pathlib import Path
from types import TracebackType

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from gstream.testing import TIMEOUT_SECONDS, ServerProcess
from tests.integration.kafka.readers import read

__all__ = ["Pipeline"]

SOURCE, TARGET = "source", "target"
GROUP = "passing"

MOST_MESSAGES = 10
"""In a transaction."""

FAST = {
    "retry.backoff.ms": 10,
    "reconnect.backoff.ms": 10,
    "reconnect.backoff.max.ms": 100,
    "metadata.recovery.strategy": "none",  # else librdkafka 2.16 has waited for ever for a broker it had dropped
    "log_level": 0,
}


class Pipeline:
    """The server, and the program.

    directory: for the server's files. seed: of what happens by chance: where in a transaction the server is killed.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self._arguments = ("--data-dir", str(directory), "--sync", "always", "--log-level", "warning")
        self._server = self._start(0)
        self._chance = random.Random(seed)
        self._count = 0
        self._kills: set[int] = set()
        self._step = 0

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.kill()

    def fill(self, count: int) -> None:
        """Have so many messages to be passed on."""
        producer = Producer({"bootstrap.servers": self._server.bootstrap, **FAST})
        for number in range(count):
            producer.produce(SOURCE, b"%d" % number, partition=0)
        assert producer.flush(TIMEOUT_SECONDS) == 0
        self._count = count

    def run(self, kills: int) -> None:
        """Pass them on, while the server is killed so often: each time between two steps of some transaction."""
        steps = 3 * self._count // MOST_MESSAGES
        self._kills = set(self._chance.sample(range(1, steps), kills))
        while self.committed() < self._count:
            consumer = Consumer(
                {
                    "bootstrap.servers": self._server.bootstrap,
                    "group.id": GROUP,
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    **FAST,
                }
            )
            producer = Producer({"bootstrap.servers": self._server.bootstrap, "transactional.id": GROUP, **FAST})
            try:
                self._pass_on(consumer, producer)
            except KafkaException as error:
                if not error.args[0].txn_requires_abort():
                    raise
            finally:
                consumer.close()
        assert not self._kills, "it was killed as often as it was to be"

    def _pass_on(self, consumer: Consumer, producer: Producer) -> None:
        producer.init_transactions(TIMEOUT_SECONDS)
        start = max(0, self.committed())
        consumer.assign([TopicPartition(SOURCE, 0, start)])
        while start < self._count:
            wanted = min(self._chance.randrange(1, MOST_MESSAGES + 1), self._count - start)
            messages: list[Message] = []
            while len(messages) < wanted:
                messages += consumer.consume(wanted - len(messages), TIMEOUT_SECONDS)
            producer.begin_transaction()
            for message in messages:
                producer.produce(TARGET, b"passed " + (message.value() or b""), partition=0)
            self._may_kill()
            assert producer.flush(TIMEOUT_SECONDS) == 0
            self._may_kill()
            start += wanted
            group = consumer.consumer_group_metadata()
            producer.send_offsets_to_transaction([TopicPartition(SOURCE, 0, start)], group, TIMEOUT_SECONDS)
            self._may_kill()
            if self._chance.random() < 0.1:
                producer.abort_transaction(TIMEOUT_SECONDS)
                return
            producer.commit_transaction(TIMEOUT_SECONDS)

    def _may_kill(self) -> None:
        self._step += 1
        if self._step in self._kills:
            self._kills.remove(self._step)
            self._server.kill()
            assert "Traceback" not in self._server.log, self._server.log
            self._server = self._start(self._server.kafka_port)

    def committed(self) -> int:
        """How far the group has come; negative: nowhere yet."""
        consumer = Consumer({"bootstrap.servers": self._server.bootstrap, "group.id": GROUP, **FAST})
        try:
            offset: int = consumer.committed([TopicPartition(SOURCE, 0)], TIMEOUT_SECONDS)[0].offset
            return offset
        finally:
            consumer.close()

    def read(self) -> list[bytes]:
        """What was passed on, and committed."""
        return [value for _, _, value in read(self._server.bootstrap, TARGET)]

    def _start(self, port: int) -> ServerProcess:
        return ServerProcess("--kafka", "--kafka-port", str(port), *self._arguments)
