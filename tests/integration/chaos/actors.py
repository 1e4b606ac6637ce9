"""Those who publish and consume while the server comes and goes, and note what they see.

Each runs in a thread of its own. A connection belongs to one life of the server; when it ends, its owner waits for the
next. Whatever a server says that is not the protocol ends the actor, and is raised by :meth:`Actor.close`.

Knows nothing of processes: a server that comes and goes is a Home.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from gstream.testing import TIMEOUT_SECONDS
from tests.integration.chaos.history import (
    ACKNOWLEDGE,
    BURY,
    EXTEND,
    RETURN,
    Answered,
    Delivered,
    History,
    Place,
    Sent,
    Settling,
    Stored,
    place_of,
)
from tests.integration.chaos.link import Link, LostError

__all__ = ["MANNERS", "Actor", "Consumer", "Home", "Manner", "Producer", "make_body"]

MOST_BURST = 30
PAUSE_SECONDS = 0.04
"""A producer sends up to so many messages at once, and then pauses for up to so long, twice that at most."""

MOST_BEHIND = 5000
"""Producers wait while so many messages are not settled."""

LOOK_SECONDS = 0.2
"""A consumer that gets nothing looks so often whether all is over."""

_FILLER = b"0123456789abcdef" * 256


class Home(Protocol):
    """A server that comes and goes."""

    history: History
    is_over: threading.Event
    is_quiet: threading.Event
    """Nobody is to publish any more."""

    def connect(self) -> tuple[socket.socket, int] | None:
        """A connection as soon as there is a server, and the number of that server's life; None: it is over."""

    def behind(self) -> int:
        """About how many messages are stored and not settled."""


class Actor(threading.Thread):
    """Somebody who talks to the server, in each of its lives.

    name: of the thread. topic: on which. seed: of what it decides by chance.
    """

    def __init__(self, home: Home, name: str, topic: str, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.home = home
        self.topic = topic
        self.chance = random.Random(f"{seed} {name}")
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._is_done() and (connected := self.home.connect()) is not None:
                connection, life = connected
                with connection:
                    try:
                        link = Link(connection, life)
                        link.send(b"t%b\n" % self.topic.encode())
                        assert link.read_line() == b"+ " + self.topic.encode()
                        self.talk(link)
                    except LostError:
                        pass
        except BaseException as error:  # noqa: BLE001  # raised by close, in the test's own thread
            self.failure = error

    def _is_done(self) -> bool:
        return self.home.is_over.is_set()

    def talk(self, link: Link) -> None:
        """Do what is to be done until the connection ends, or all is over."""
        raise NotImplementedError

    def close(self) -> None:
        """Wait for its end; raises what it failed with."""
        self.join(TIMEOUT_SECONDS)
        assert not self.is_alive(), f"{self.name} does not end"
        if self.failure is not None:
            raise self.failure


def make_body(producer: int, number: int, *, counted: bool = False) -> bytes:
    """A message that no other is like. counted: some have bytes that a line cannot carry."""
    size = 3000 if number % 50 == 0 else (number * 7919 + producer) % 64
    filler = _FILLER[:size]
    if counted and number % 7 == 0:
        filler += b"\r\n\0"
    return b"%d:%d:%b" % (producer, number, filler)


class Producer(Actor):
    """Publishes bursts, and waits for the answers to each.

    number: the producer's own. keyed: with keys, counted, and answered with ids.
    tries_again: sends again what was not answered; otherwise nobody knows whether it is there.
    """

    def __init__(
        self, home: Home, number: int, topic: str, seed: int, *, keyed: bool = False, tries_again: bool = False
    ) -> None:
        super().__init__(home, f"producer {number}", topic, seed)
        self.number = number
        self.keyed = keyed
        self.tries_again = tries_again
        self.stored_count = 0
        self._numbers = count()
        self._unanswered: deque[tuple[int, bytes]] = deque()

    def _is_done(self) -> bool:
        return self.home.is_quiet.is_set()

    def talk(self, link: Link) -> None:
        if not self.tries_again:
            self._unanswered.clear()
        while self._unanswered or not self._is_done():
            if not self._unanswered:
                for number in [next(self._numbers) for _ in range(self.chance.randint(1, MOST_BURST))]:
                    self._unanswered.append((number, make_body(self.number, number, counted=self.keyed)))
            self._publish(link)
            self.home.is_quiet.wait(self.chance.uniform(0, 2 * PAUSE_SECONDS))
            while self.home.behind() > MOST_BEHIND and not self._is_done():
                self.home.is_quiet.wait(PAUSE_SECONDS)

    def _publish(self, link: Link) -> None:
        history = self.home.history
        commands = bytearray()
        for number, body in self._unanswered:
            key = b"%d.%d" % (self.number, number % 5) if self.keyed else None
            history.note(Sent(link.life, time.monotonic(), self.topic, body, self.number, number, key))
            commands += b"p%b\n" % body if key is None else b"P%d key=%b\n%b\n" % (len(body), key, body)
        link.send(commands)
        while self._unanswered:
            line = link.read_line()
            _, body = self._unanswered.popleft()
            if line == b"ok" or line.startswith(b"+ "):
                place = place_of(self.topic, line[2:]) if self.keyed else None
                history.note(Stored(link.life, time.monotonic(), self.topic, body, place))
                self.stored_count += 1
            else:
                assert line.startswith((b"- disk ", b"- drain ", b"- full ")), line


@dataclass(frozen=True)
class Manner:
    """How a consumer goes about it.

    request: what it asks for messages with; a stream if it begins with ``s``.
    most: so many it settles in one line.
    odd: what it says of one message in ``one_in``, and what follows its id; of the others, that they are done.
    """

    name: str
    request: bytes
    most: int = 1
    odd: bytes = b""
    one_in: int = 1
    arguments: tuple[bytes, ...] = (b"",)


MANNERS = (
    Manner("one at a time", b"r0.2\n"),
    Manner("in batches", b"r0.2 100\n", most=100),
    Manner("streams", b"s64\n", most=20),
    Manner("gives back", b"r0.2 20\n", most=20, odd=RETURN, one_in=3, arguments=(b"", b" 0.05")),
    Manner("lets leases end", b"r0.2 20\n", most=20, odd=EXTEND, one_in=10, arguments=(b" 0.03",)),
    Manner("buries", b"r0.2 20\n", most=20, odd=BURY, one_in=40, arguments=(b" tired",)),
)


class Consumer(Actor):
    """Leases messages and settles them, after its manner."""

    def __init__(self, home: Home, number: int, topic: str, seed: int, manner: Manner) -> None:
        super().__init__(home, f"consumer {number}, {manner.name}", topic, seed)
        self.manner = manner
        self.done_count = 0

    def talk(self, link: Link) -> None:
        _Conversation(self, link).run()


class _Conversation:
    """What a consumer and one life of the server say to each other: replies come in the order of the commands."""

    def __init__(self, consumer: Consumer, link: Link) -> None:
        self.consumer = consumer
        self.home = consumer.home
        self.topic = consumer.topic
        self.chance = consumer.chance
        self.manner = consumer.manner
        self.link = link
        self.leased: list[Place] = []
        """Came, and nothing was said of them yet."""
        self.ids: dict[Place, bytes] = {}
        self.attempts: dict[Place, int] = {}
        self.pending: deque[tuple[bytes, list[Place]]] = deque()
        """What was said and is not answered yet."""
        self.since = time.monotonic()

    def run(self) -> None:
        if self.manner.request.startswith(b"s"):
            self._stream()
        else:
            while not self.home.is_over.is_set():
                self.since = time.monotonic()
                self.link.send(self.manner.request)
                many = b" " in self.manner.request
                while (line := self.link.read_line()).startswith((b"=", b"$")):
                    self._take(line)
                    if not many:
                        break
                else:
                    assert line == b"." or line.startswith(b"- drain "), line
                self._settle()
                while self.pending:
                    self._hear(self.link.read_line())

    def _stream(self) -> None:
        self.link.send(self.manner.request)
        while not self.home.is_over.is_set():
            if not self.link.has_more(LOOK_SECONDS):
                continue
            self.since = self.link.received_at
            while self.link.has_line:
                line = self.link.read_line()
                if line.startswith((b"=", b"$")):
                    self._take(line)
                else:
                    self._hear(line)
            self._settle()
        self.link.send(b"s0\n")
        while self.pending or self.link.read_line() != b".":
            if self.pending:
                self._hear(self.link.read_line())

    def _take(self, line: bytes) -> None:
        id, attempt, body = self.link.read_message(line)
        place = place_of(self.topic, id)
        now = time.monotonic()
        self.home.history.note(Delivered(self.link.life, now, self.link.number, self.since, place, attempt, body))
        self.ids[place] = id
        self.attempts[place] = attempt
        self.leased.append(place)

    def _settle(self) -> None:
        """Say of all that is leased what is to be said."""
        manner = self.manner
        odd = [place for place in self.leased if manner.odd and not self.chance.randrange(manner.one_in)]
        done = [place for place in self.leased if place not in odd]
        self.leased = []
        commands = bytearray()
        for places in _parts(done, manner.most):
            commands += ACKNOWLEDGE + b" ".join([self.ids[place] for place in places]) + b"\n"
            self._note(ACKNOWLEDGE, places)
        for place in odd:
            commands += manner.odd + self.ids[place] + self.chance.choice(manner.arguments) + b"\n"
            self._note(manner.odd, [place])
        if commands:
            self.link.send(commands)

    def _note(self, verb: bytes, places: list[Place]) -> None:
        now = time.monotonic()
        for place in places:
            self.home.history.note(Settling(self.link.life, now, self.link.number, place, verb))
        self.pending.append((verb, places))

    def _hear(self, line: bytes) -> None:
        """The answer to what was said first."""
        verb, places = self.pending.popleft()
        gone: set[Place] = set()
        if line.startswith(b"- gone "):
            gone = {place_of(self.topic, id) for id in line.split(b" ")[2:]}
        else:
            assert line.startswith(b"+ "), (verb, line)
        now = time.monotonic()
        for place in places:
            answer = Answered(
                self.link.life, now, self.link.number, place, verb, self.attempts[place], place not in gone
            )
            self.home.history.note(answer)
            self.consumer.done_count += answer.done and verb in {ACKNOWLEDGE, BURY}


def _parts(places: list[Place], most: int) -> Iterator[list[Place]]:
    for start in range(0, len(places), most):
        yield places[start : start + most]
