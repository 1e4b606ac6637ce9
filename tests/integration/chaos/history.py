"""What clients of a server saw while it was ended and started again, event by event.

Events are noted by many threads into one list. Those of one life of the server (from a start to its end) belong
together, whenever they were noted: what a server sent before it was killed may be read afterwards.

Knows no socket and no process; checker.py says what must hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

__all__ = [
    "ACKNOWLEDGE",
    "BURY",
    "EXTEND",
    "RETURN",
    "Answered",
    "Delivered",
    "Ended",
    "Event",
    "Found",
    "History",
    "Left",
    "Place",
    "Sent",
    "Settling",
    "Stored",
    "place_of",
]

ACKNOWLEDGE, RETURN, EXTEND, BURY = b"a", b"n", b"e", b"d"
"""What a consumer says of a message that it has leased."""


class Place(NamedTuple):
    """Where a message lies: what its id says."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic} {self.partition}:{self.offset}"


def place_of(topic: str, id: bytes) -> Place:
    """The place that an id means: ``7``, or ``1:7`` in a topic with several partitions."""
    partition, _, offset = id.rpartition(b":")
    return Place(topic, int(partition or 0), int(offset))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a client saw, or did.

    life: how often the server had been started before. at: when it was noted, in seconds of the monotonic clock.
    """

    life: int
    at: float


@dataclass(frozen=True, slots=True)
class Sent(Event):
    """A message is about to be published."""

    topic: str
    body: bytes
    producer: int
    number: int
    """The producer counts its messages."""
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Stored(Event):
    """The server answered that it has the message. place: where, if it said so."""

    topic: str
    body: bytes
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Delivered(Event):
    """A message came, leased.

    link: the connection's number. since: no earlier than then it can have been leased, in seconds.
    """

    link: int
    since: float
    place: Place
    attempt: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Settling(Event):
    """A consumer is about to say something of a message that it has leased. verb: a, n, e or d."""

    link: int
    place: Place
    verb: bytes


@dataclass(frozen=True, slots=True)
class Answered(Event):
    """The server answered to that. done: it has done it; else the lease was gone.

    attempt: the highest with which the message had come to that connection.
    """

    link: int
    place: Place
    verb: bytes
    attempt: int
    done: bool = True


@dataclass(frozen=True, slots=True)
class Ended(Event):
    """The server was told to end. clean: it was asked to (SIGTERM) and not killed."""

    clean: bool = False


@dataclass(frozen=True, slots=True)
class Found(Event):
    """A message that lies in a log when all is over; or, if ``dead``, among the dead letters of its topic."""

    topic: str
    place: Place
    body: bytes
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Left(Event):
    """So many messages a group had still to take or to settle when all had been drained.

    is_log_read: all that lies in the topic's log was noted as Found.
    """

    topic: str
    count: int
    is_log_read: bool = False


E = TypeVar("E", bound=Event)


class History:
    """All that was seen.

    lease_seconds: of the server.
    """

    def __init__(self, lease_seconds: float) -> None:
        self.lease_seconds = lease_seconds
        self.events: list[Event] = []
        """In the order in which they were noted; one append is atomic."""

    def note(self, event: Event) -> None:
        """Add an event; from any thread."""
        self.events.append(event)

    def of(self, kind: type[E]) -> Iterator[E]:
        """The events of one kind, life by life, in the order in which they were noted."""
        return iter(sorted((event for event in self.events if type(event) is kind), key=lambda event: event.life))
