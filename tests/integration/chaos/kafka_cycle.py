"""Kafka's producers that go on while their server is killed again and again, and what consumers find afterwards.

    with KafkaCycle(directory, seed=7) as cycle:
        cycle.run(20)
        assert not cycle.check()

Idempotent producers send what they were not answered again, so that in the end everything is there once, and in order.
Producers with transactions commit some and abort others; what was committed is seen as a whole, and nothing else.

What happens by chance comes from the seed, which is to be printed; what threads and processes make of it does not.
"""

from __future__ import annotations

import math
import random
import re
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from confluent_kafka import KafkaException, Producer

from gstream.testing import TIMEOUT_SECONDS, ServerProcess, wait_until
from tests.integration.kafka.readers import COMMITTED, UNCOMMITTED, read

__all__ = ["KafkaCycle", "violations"]

TOPIC = "jobs"
PARTITIONS = 3
IDEMPOTENT = 4
TRANSACTIONAL = 2

WINDOW = 200
"""So many messages of a producer are on their way at most."""
TRANSACTION_MESSAGES = 20

SHORTEST_GAP_SECONDS, LONGEST_GAP_SECONDS = 0.1, 1.5
LEAST_STORED = 50
"""Between two kills: the clients have found the server again."""

LOG_CHARACTERS = 3000
SHOWN = 10

_BUG = re.compile(r"Traceback|\bbug\b")

Sent = dict[int, list[bytes]]
"""By partition, in the order in which it was sent."""


def violations(
    what: str, expected: Iterable[Sent], found: Sent, forbidden: frozenset[bytes] = frozenset()
) -> list[str]:
    """What is wrong with what was found: each of the expected lists is to be there, once and in order, and no more."""
    wrong: list[str] = []
    for partition, values in found.items():
        counts = Counter(values)
        where = f"{what}, partition {partition}"
        wrong += [f"{where}: {value!r} is there {count} times" for value, count in counts.items() if count > 1]
        wrong += [f"{where}: {value!r} is there" for value in counts if value in forbidden]
    known: set[bytes] = set()
    for sent in expected:
        for partition, values in sent.items():
            place = {value: at for at, value in enumerate(found.get(partition, []))}
            where = f"{what}, partition {partition}"
            wrong += [f"{where}: {value!r} is lost" for value in values if value not in place]
            there = [place[value] for value in values if value in place]
            if there != sorted(there):
                wrong.append(f"{where}: {values[0]!r} and what follows is not in order")
            known.update(values)
    invented = {value for values in found.values() for value in values} - known - forbidden
    wrong += [f"{what}: {value!r} was never sent" for value in sorted(invented)]
    return wrong


class Actor:
    """A producer in a thread of its own.

    stored: what it was told is stored, or committed. dropped: what it was told is aborted.
    failure: what it has failed with.
    """

    def __init__(self, name: str, bootstrap: str, seed: int, is_over: threading.Event, **settings: Any) -> None:
        self.name = name
        self.stored: Sent = {number: [] for number in range(PARTITIONS)}
        self.dropped: Sent = {number: [] for number in range(PARTITIONS)}
        self.failure: BaseException | None = None
        self._chance = random.Random(f"{seed} {name}")
        self._is_over = is_over
        self._count = 0
        self._answered = 0
        self._settings = {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 1,
            "retry.backoff.ms": 10,
            "reconnect.backoff.ms": 10,
            "reconnect.backoff.max.ms": 100,
            "socket.timeout.ms": 10_000,
            "log_level": 0,
            **settings,
        }
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def stored_count(self) -> int:
        return sum(map(len, self.stored.values()))

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(2 * TIMEOUT_SECONDS)
        assert not self._thread.is_alive(), f"{self.name} does not end"

    def _run(self) -> None:
        try:
            self._go_on(Producer(self._settings))
        except BaseException as error:  # noqa: BLE001  # told by whoever has started it
            self.failure = error

    def _go_on(self, producer: Producer) -> None:
        raise NotImplementedError

    def _send(self, producer: Producer, into: Sent) -> None:
        """Send the next message, and note it when it is stored."""
        value = f"{self.name}.{self._count}".encode()
        self._count += 1
        partition = self._chance.randrange(PARTITIONS)

        def note(error: Any, _message: Any) -> None:
            self._answered += 1
            if error is not None:
                raise KafkaException(error)
            into[partition].append(value)

        producer.produce(TOPIC, value, partition=partition, on_delivery=note)

    def _flush(self, producer: Producer) -> None:
        assert producer.flush(2 * TIMEOUT_SECONDS) == 0, f"{self.name}: not everything was answered"


class Idempotent(Actor):
    """Sends one message after the other, and lets the client see to it that each is stored once."""

    def _go_on(self, producer: Producer) -> None:
        while not self._is_over.is_set():
            self._send(producer, self.stored)
            producer.poll(0)
            while self._count - self._answered > WINDOW:
                producer.poll(0.01)
        self._flush(producer)


class Transactional(Actor):
    """Sends messages in transactions, some of which it aborts."""

    def _go_on(self, producer: Producer) -> None:
        self._insist(producer.init_transactions)
        while not self._is_over.is_set():
            producer.begin_transaction()
            sent: Sent = {number: [] for number in range(PARTITIONS)}
            for _ in range(self._chance.randrange(1, TRANSACTION_MESSAGES)):
                self._send(producer, sent)
                producer.poll(0)
            self._flush(producer)
            commits = self._chance.random() < 0.7
            self._insist(producer.commit_transaction if commits else producer.abort_transaction)
            for partition, values in sent.items():
                (self.stored if commits else self.dropped)[partition] += values

    def _insist(self, ask: Any) -> None:
        """Ask until there is an answer; whoever is asked again knows that it was done."""
        for _ in range(10):
            try:
                ask(TIMEOUT_SECONDS)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
            else:
                return
        raise AssertionError(f"{self.name}: no answer")


class KafkaCycle:
    """The server, those who send, and what they were told.

    directory: for its files. seed: of what happens by chance. arguments: more of the server's command line.
    """

    def __init__(self, directory: Path, seed: int, *, arguments: tuple[str, ...] = ()) -> None:
        self._arguments = ("--data-dir", str(directory), "--kafka-partitions", str(PARTITIONS), "--retain", "4GiB")
        self._arguments += ("--log-level", "warning", *arguments)
        self._chance = random.Random(seed)
        self._is_over = threading.Event()
        self._server = self._start(0)
        self.kills = 0
        bootstrap = self._server.bootstrap
        self._actors: list[Actor] = [
            *(Idempotent(f"i{number}", bootstrap, seed, self._is_over) for number in range(IDEMPOTENT)),
            *(
                Transactional(f"t{number}", bootstrap, seed, self._is_over, **{"transactional.id": f"t{number}"})
                for number in range(TRANSACTIONAL)
            ),
        ]

    def __enter__(self) -> KafkaCycle:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._is_over.set()
        self._server.kill()

    def run(self, count: int) -> None:
        """Kill the server so often while messages are sent; then let everything be answered."""
        for actor in self._actors:
            actor.start()
        for _ in range(count):
            gap = math.log(SHORTEST_GAP_SECONDS), math.log(LONGEST_GAP_SECONDS)
            before = self.stored_count
            wait_until(lambda before=before: self._has_gone_on(before), "messages are stored")  # type: ignore[misc]
            self._is_over.wait(math.exp(self._chance.uniform(*gap)))
            self._server.kill()
            self._look_for_bugs()
            self.kills += 1
            self._server = self._start(self._server.kafka_port)
        self._is_over.set()
        for actor in self._actors:
            actor.join()
            self._check(actor)

    @property
    def stored_count(self) -> int:
        """How many messages somebody was told are stored, or committed."""
        return sum(actor.stored_count for actor in self._actors)

    def check(self) -> list[str]:
        """What is wrong with what consumers find, with this server and with the next one."""
        wrong = []
        for _ in range(2):
            committed, everything = [self._read(each) for each in (COMMITTED, UNCOMMITTED)]
            stored = [actor.stored for actor in self._actors]
            dropped = [actor.dropped for actor in self._actors]
            aborted = frozenset(value for each in dropped for values in each.values() for value in values)
            wrong += violations("committed", stored, committed, aborted)
            wrong += violations("everything", [*stored, *dropped], everything)
            self._server.kill()
            self._look_for_bugs()
            self._server = self._start(self._server.kafka_port)
        return wrong[:SHOWN]

    def _read(self, isolation: str) -> Sent:
        found: Sent = {}
        for partition, _, value in read(self._server.bootstrap, TOPIC, PARTITIONS, isolation):
            found.setdefault(partition, []).append(value)
        return found

    def _start(self, port: int) -> ServerProcess:
        return ServerProcess("--kafka", "--kafka-port", str(port), *self._arguments)

    def _has_gone_on(self, before: int) -> bool:
        for actor in self._actors:
            self._check(actor)
        return self.stored_count >= before + LEAST_STORED

    def _check(self, actor: Actor) -> None:
        if actor.failure is not None:
            said = self._server.log[:LOG_CHARACTERS]
            raise AssertionError(f"{actor.name}: {actor.failure!r}; the server said: {said}") from actor.failure

    def _look_for_bugs(self) -> None:
        assert not _BUG.search(self._server.log), self._server.log[:LOG_CHARACTERS]
