"""A server that is ended again and again while producers and consumers go on, on the same files and the same port.

    with Cycle(directory, seed=7) as cycle:
        cycle.run(20)
        assert not cycle.check().violations

What happens by chance (the gaps between the ends, what actors decide) comes from the seed, which is to be printed; what
threads and processes make of it does not.
"""

from __future__ import annotations

import math
import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from gstream import Client
from gstream.testing import TIMEOUT_SECONDS, ServerProcess, wait_until
from tests.integration.chaos.actors import MANNERS, Consumer, Producer
from tests.integration.chaos.checker import Report, check
from tests.integration.chaos.history import Ended, Found, History, Left, Place, place_of
from tests.integration.chaos.link import Link

__all__ = ["Cycle", "seed_from"]

SHORTEST_GAP_SECONDS, LONGEST_GAP_SECONDS = 0.05, 3.0
LEASE_SECONDS = 2.0

QUEUE, KEYED = "queue", "keyed"
PARTITIONS = 3
"""Of the topic whose messages have keys; the other has one."""

PRODUCERS = (QUEUE,) * 5 + (KEYED,) * 3
CONSUMERS = ((QUEUE, 0), (QUEUE, 1), (QUEUE, 2), (QUEUE, 3), (QUEUE, 5), (KEYED, 1), (KEYED, 2), (KEYED, 4))
"""The topic, and which of MANNERS."""

DEAD_LETTERS = ".dlq"
READ_MESSAGES = 1000

LOG_CHARACTERS = 3000
"""So much of the server's log is shown when something is wrong."""

_BUG = re.compile(r"Traceback|\bbug\b")


def seed_from(variable: str = "CHAOS_SEED") -> int:
    """What a run's chances come from: a new number, unless the environment has that of a run to be repeated."""
    return int(os.environ.get(variable) or random.SystemRandom().randrange(1 << 32))


def find_port() -> int:
    """A port that is free, and that the system gives to nobody who asks for any: the server is often not there."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Cycle:
    """The server, those who talk to it, and what they saw.

    directory: for its files. seed: of what happens by chance. ending: the signal that ends it.
    name: of this cycle, among those with the same files: its topics are its own.
    arguments: more of the server's command line.
    """

    def __init__(
        self,
        directory: Path,
        seed: int,
        ending: signal.Signals = signal.SIGKILL,
        *,
        name: str = "",
        arguments: Sequence[str] = (),
    ) -> None:
        self.history = History(LEASE_SECONDS)
        self.is_over = threading.Event()
        self.is_quiet = threading.Event()
        self.slowest_start = 0.0
        """In seconds, from the command to where it listens."""
        self._topics = {each: f"{each}{name}" for each in (QUEUE, KEYED)}
        self._chance = random.Random(seed)
        self._ending = ending
        self._arguments = ["--data-dir", str(directory), "--max-attempts", "0", "--lease", f"{LEASE_SECONDS:g}"]
        self._arguments += ["--retain", "4GiB", "--log-level", "warning", *arguments]
        self._changed = threading.Condition()
        self._server: ServerProcess | None = None
        self._life = -1
        self._port = find_port()
        self._producers = [
            Producer(self, at, self._topics[of], seed, keyed=of == KEYED, tries_again=at % 2 == 0)
            for at, of in enumerate(PRODUCERS)
        ]
        self._consumers = [
            Consumer(self, at, self._topics[of], seed, MANNERS[manner]) for at, (of, manner) in enumerate(CONSUMERS)
        ]

    def __enter__(self) -> Cycle:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.is_quiet.set()
        self.is_over.set()
        server, self._server = self._server, None
        if server is not None:
            server.kill()
        with self._changed:
            self._changed.notify_all()

    # --- what actors ask for

    def connect(self) -> tuple[socket.socket, int] | None:
        """See Home. A life's number changes only while no server runs: who connects, knows to which."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._server is not None or self.is_over.is_set())
                life, server = self._life, self._server
            if self.is_over.is_set() or server is None:
                return None
            try:
                connection = socket.create_connection((server.host, server.port), TIMEOUT_SECONDS)
            except OSError:
                with self._changed:
                    self._changed.wait_for(lambda life=life: self._life != life or self.is_over.is_set())  # type: ignore[misc]
                continue
            if self._life == life:
                return connection, life
            connection.close()

    def behind(self) -> int:
        """See Home."""
        return sum(each.stored_count for each in self._producers) - sum(each.done_count for each in self._consumers)

    # --- the server's lives

    def run(self, count: int) -> None:
        """End the server so often while messages pass; then let everything be drained, and look at what is left."""
        self._start("--partitions", str(PARTITIONS))
        with self._client(KEYED) as client:
            assert client.consume() == []  # there it is, with so many partitions
        self._end(signal.SIGTERM)
        self._start()
        for actor in (*self._producers, *self._consumers):
            actor.start()
        for _ in range(count):
            gap = math.log(SHORTEST_GAP_SECONDS), math.log(LONGEST_GAP_SECONDS)
            self.is_over.wait(math.exp(self._chance.uniform(*gap)))
            self._check_actors()
            self._end(self._ending)
            self._start()
        self._drain()
        self._end(signal.SIGTERM)
        self._start()
        self._look()
        self._end(signal.SIGTERM)

    def check(self) -> Report:
        """What the history was found to be."""
        report = check(self.history)
        report.figures["slowest start (s)"] = round(self.slowest_start, 3)
        return report

    def _start(self, *arguments: str) -> None:
        self._life += 1
        began = time.monotonic()
        server = ServerProcess("--port", str(self._port), *self._arguments, *arguments)
        self.slowest_start = max(self.slowest_start, time.monotonic() - began)
        self._port = server.port
        with self._changed:
            self._server = server
            self._changed.notify_all()

    def _end(self, ending: signal.Signals) -> None:
        server = self._server
        assert server is not None
        self.history.note(Ended(self._life, time.monotonic(), ending == signal.SIGTERM))
        code = server.stop(ending)
        with self._changed:
            self._server = None
        assert code == (0 if ending == signal.SIGTERM else -ending), server.log
        assert not _BUG.search(server.log), server.log[:LOG_CHARACTERS]

    # --- the end of it all

    def _drain(self) -> None:
        self.is_quiet.set()
        for producer in self._producers:
            producer.close()
        for name in self._topics:
            with self._client(name) as client:
                try:
                    wait_until(lambda client=client: self._is_drained(client), f"{name} is drained")  # type: ignore[misc]
                except AssertionError as error:
                    raise AssertionError(f"{error}; there is {client.stats(client.topic)}") from None
        self.is_over.set()
        for consumer in self._consumers:
            consumer.close()

    def _is_drained(self, client: Client) -> bool:
        self._check_actors()
        return _left(client) == 0

    def _check_actors(self) -> None:
        """Raise what an actor has failed with."""
        for actor in (*self._producers, *self._consumers):
            if actor.failure is not None:
                said = self._server.log[:LOG_CHARACTERS] if self._server is not None else ""
                raise AssertionError(f"{actor.name}: {actor.failure!r}; the server said: {said}") from actor.failure

    def _look(self) -> None:
        """What the groups have left, and what lies in the logs."""
        for topic in self._topics.values():
            for name, group, dead in ((topic, "log", False), (topic + DEAD_LETTERS, "", True)):
                for place, body in self._read(name, group):
                    self.history.note(Found(self._life, time.monotonic(), topic, place, body, dead))
        for name, topic in self._topics.items():
            with self._client(name) as client:
                self.history.note(Left(self._life, time.monotonic(), topic, _left(client), is_log_read=True))

    def _client(self, name: str) -> Client:
        assert self._server is not None
        return Client(self._server.host, self._server.port, topic=self._topics[name])

    def _read(self, topic: str, group: str) -> list[tuple[Place, bytes]]:
        """All that a group finds in a topic."""
        assert self._server is not None
        found: list[tuple[Place, bytes]] = []
        with socket.create_connection((self._server.host, self._server.port), TIMEOUT_SECONDS) as connection:
            link = Link(connection, self._life)
            link.send(b"t%b\ng%b\n" % (topic.encode(), group.encode()))
            assert link.read_line() == b"+ " + topic.encode()
            assert link.read_line().startswith(b"+ ")
            before = -1
            while len(found) > before:
                before = len(found)
                link.send(b"w0 %d\n" % READ_MESSAGES)
                while (line := link.read_line()) != b".":
                    id, _, body = link.read_message(line)
                    found.append((place_of(topic, id), body))
        return found


def _left(client: Client) -> int:
    """How many messages the default group has still to take or to settle."""
    stats = client.stats(client.topic)
    return int(stats.get("group.default.lag", 0)) + int(stats.get("delayed", 0))
