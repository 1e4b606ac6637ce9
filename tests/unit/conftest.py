"""What the unit tests share: a decoder's commands one by one, and sessions with a connection that is none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from typing import Any

import gevent
import pytest

from gstream import protocol
from gstream.agenda import Agenda
from gstream.batch import Batch, pack
from gstream.broker import Broker
from gstream.connection import ClientGone
from gstream.group import Group
from gstream.session import Session, SessionSettings
from gstream.storage.memory import Memory
from gstream.topic import TopicSettings

LETTERS = {
    protocol.Quit: "q",
    protocol.ChooseTopic: "t",
    protocol.ChooseGroup: "g",
    protocol.Acknowledge: "a",
    protocol.GiveBack: "n",
    protocol.Release: "o",
    protocol.Extend: "e",
    protocol.DeadLetter: "d",
    protocol.Stream: "s",
    protocol.Seek: "f",
    protocol.Peek: "v",
    protocol.ForgetGroup: "x",
    protocol.MakeTopic: "m",
    protocol.RemoveTopic: "y",
    protocol.ListTopics: "l",
    protocol.Info: "i",
    protocol.Counted: "b",
    protocol.Ping: "z",
    protocol.Help: "h",
}


@dataclass
class Decoded:
    """What a decoder made of some bytes.

    commands: ("p", body, eol), ("P", body, key, delay_seconds, id, eol), ("c", eol),
    ("w" or "r", seconds, count, counted, eol), ("-", code, eol), ("foreign", name), and for every other command its
    letter and its fields, as in ("z", token, eol).
    answers: to a telnet client, joined; where they lie between the commands depends on how the bytes are cut.
    """

    commands: list[tuple[Any, ...]] = field(default_factory=list)
    answers: bytes = b""

    def add(self, command: protocol.Command) -> None:
        if isinstance(command, protocol.Negotiate):
            self.answers += command.answer
        else:
            self.commands += flatten(command)


def flatten(command: protocol.Command) -> Iterator[tuple[Any, ...]]:
    match command:
        case protocol.Publish(data, count, eol):
            lines = data.split(b"\n")
            assert lines.pop() == b"", "packed lines end in LF"
            assert len(lines) == count, "as many as it says"
            for line in lines:
                assert line[:1] == b"p", "each is packed"
                yield "p", line[1:], eol
        case protocol.PublishCounted(bodies, key, delay_seconds, id, eol):
            assert bodies
            assert len(bodies) == 1 or (key, delay_seconds, id) == (None, 0.0, None), "one with fields is on its own"
            yield from (("P", body, key, delay_seconds, id, eol) for body in bodies)
        case protocol.Wait(seconds, count, counted, leased, eol):
            yield "r" if leased else "w", seconds, count, counted, eol
        case protocol.Consume(count, eol):
            assert count > 0
            yield from [("c", eol)] * count
        case protocol.Failure(error, eol):
            yield "-", error.code, eol
        case protocol.ForeignProtocol(name):
            yield "foreign", name
        case _:
            yield LETTERS[type(command)], *astuple(command)


Decode = Callable[..., Decoded]


@pytest.fixture(scope="session")
def decode() -> Decode:
    """``decode(pieces, max_message_bytes)``: what a new decoder makes of them, and of the end behind them."""

    def decode(pieces: Iterable[bytes], max_message_bytes: int = 1 << 20) -> Decoded:
        decoder = protocol.Decoder(max_message_bytes)
        decoded = Decoded()
        for piece in pieces:
            for command in decoder.feed(piece):
                decoded.add(command)
        for command in decoder.close():
            decoded.add(command)
        return decoded

    return decode


@pytest.fixture(scope="session")
def expect_commands(decode: Decode) -> Callable[..., None]:
    """``expect_commands(data, commands)``: data are these commands, however they are cut and whatever stands around."""

    def expect_commands(data: bytes, commands: list[tuple[Any, ...]], max_message_bytes: int = 1 << 20) -> None:
        bytewise = [data[at : at + 1] for at in range(len(data))]
        assert decode([data], max_message_bytes).commands == commands
        assert decode(bytewise, max_message_bytes).commands == commands
        assert decode([b"c\n", *bytewise], max_message_bytes).commands == [("c", b"\n"), *commands]
        for at in range(len(data) + 1):
            pieces = [data[:at], data[at : at + 1], data[at + 1 :]]
            assert decode([data[:at], data[at:]], max_message_bytes).commands == commands, at
            assert decode([b"c\n" + data[:at], data[at:]], max_message_bytes).commands == [("c", b"\n"), *commands], at
            assert decode(pieces, max_message_bytes).commands == commands, at
        following = [("p", b"1", b"\r\n"), ("z", b"", b"\n")]
        if data.endswith(b"\n"):
            assert decode([data + b"p1\r\nz\n"], max_message_bytes).commands == [*commands, *following]

    return expect_commands


class FakeTime:
    """An agenda whose time passes when a test says so. It begins at a time that is no round number."""

    def __init__(self):
        self.now = 1_000_000.5
        self.clock = lambda: self.now
        self.agenda = Agenda(self.clock)

    def run(self):
        """Do what is due."""
        while self.agenda.run_next() == 0.0:
            pass

    def sleep(self, seconds):
        """Let time pass, and do what is due then; what waits for others a little, too."""
        self.now += seconds
        self.run()

    def __call__(self):
        return self.now


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


class Grounds:
    """A group over a memory log for each partition, without a topic.

    buried: what became a dead letter, with the reason.
    """

    def __init__(self, partitions=1, max_bytes=1 << 20, retain_bytes=0, lease_seconds=10.0, max_attempts=3):
        self.time = FakeTime()
        self.memory = Memory(max_bytes, retain_bytes, self.time.clock)
        self.logs = [self.memory.open_log(partition=number) for number in range(partitions)]
        self.log = self.logs[0]
        self.buried = []
        self.group = self.make_group(lease_seconds, max_attempts)

    def make_group(self, lease_seconds=10.0, max_attempts=3):
        return Group(
            "default",
            self.logs,
            self.time.agenda,
            lease_seconds=lease_seconds,
            max_attempts=max_attempts,
            bury=lambda _group, batch, reason: self.buried.append((batch.bodies(), reason)),
        )

    def publish(self, *bodies, partition=0):
        assert self.logs[partition].append(pack(*bodies), len(bodies), Batch) == len(bodies)
        self.group.wake()

    def take(self, max_messages=1000, max_bytes=1 << 20):
        """The bodies of the next messages, or None."""
        batch = self.group.take(max_messages, max_bytes)
        return None if batch is None else batch.bodies()

    def take_all(self):
        """Every body there is, in the order in which they come, with its attempt."""
        taken = []
        while batch := self.group.take(1 << 20, 1 << 30):
            taken += [(body, batch.attempt) for body in batch.bodies()]
        return taken


@pytest.fixture
def make_grounds() -> type[Grounds]:
    """``make_grounds(partitions, max_bytes, retain_bytes, lease_seconds, max_attempts)``."""
    return Grounds


@pytest.fixture
def grounds() -> Grounds:
    return Grounds()


class FakeConnection:
    """What a Session uses of a Connection, without a socket.

    pieces: what each read gives, or is called to give. Behind them the client has ended.
    takes: so many bytes of replies, and then the client is gone. got: how many of them it acknowledges.
    """

    def __init__(self, *pieces, takes=None, got=None):
        self.pieces = deque(pieces)
        self.takes = takes
        self.got = got
        self.ended = False
        self.written = bytearray()
        self.flushed = 0
        self.flushes_soon = False
        self.pauses = 0
        self.wakes = 0
        self.finished_until_arrived = None
        self.stop_waiting = None
        self.stops_at_end = None
        self.reads_less = False
        self.aborted = False
        self.arrived_calls = 0

    def read(self):
        if self.flushes_soon:
            if self.is_gone:
                return None
            self.flush()
        assert self.flushed == len(self.written), "nobody is left waiting for a reply"
        assert not self.ended
        if not self.pieces:
            self.ended = True
            return b""
        piece = self.pieces.popleft()
        return piece if isinstance(piece, bytes) else piece()

    def read_less(self):
        self.reads_less = True

    def abort(self):
        self.aborted = True

    def wake(self):
        self.wakes += 1

    @contextmanager
    def watching(self, stop, *, stop_at_end):
        assert self.flushed == len(self.written), "what came before is answered before the waiting"
        self.stop_waiting = stop
        self.stops_at_end = stop_at_end
        try:
            yield
        finally:
            self.stop_waiting = None

    def pause(self):
        assert self.flushed == len(self.written)
        self.pauses += 1

    @property
    def place(self):
        return len(self.written)

    def write(self, data):
        self.written += data

    def write_soon(self, data):
        self.written += data
        self.flushes_soon = True

    @property
    def is_gone(self):
        return self.takes is not None and len(self.written) > self.takes

    def flush(self):
        if self.is_gone:
            raise ClientGone
        self.flushes_soon = False
        self.flushed = len(self.written)

    def flush_soon(self):
        self.flushes_soon = True

    def arrived(self):
        self.arrived_calls += 1
        return self.flushed if self.got is None else self.got

    def perhaps_seen(self):
        return self.arrived()

    def finish(self, *, until_arrived):
        self.flush()
        self.finished_until_arrived = until_arrived


class Surroundings:
    """What sessions need around them."""

    def __init__(
        self,
        max_memory_bytes=1 << 30,
        max_message_bytes=1 << 20,
        retain_bytes=0,
        max_topics=100,
        max_groups=100,
        **topics,
    ):
        self.time = FakeTime()
        self.memory = Memory(max_memory_bytes, retain_bytes, self.time.clock)
        self.broker = Broker(self.memory, self.time.agenda, TopicSettings(**topics), max_topics, max_groups)
        self.settings = SessionSettings(self.broker, max_message_bytes, max_connections=10)
        self.topic = self.broker.topic()
        self.numbers = 0

    def session(self, *pieces, **connection):
        """A new client's session, and its connection."""
        fake = FakeConnection(*pieces, **connection)
        self.numbers += 1
        return Session(fake, self.settings, self.numbers), fake

    def run(self, *pieces, banner=b"", **connection):
        """The whole conversation of one client; gives its connection."""
        session, fake = self.session(*pieces, **connection)
        session.run(banner)
        return fake

    def start(self, *pieces):
        """A conversation that goes on; gives its connection, its greenlet and the session."""
        session, fake = self.session(*pieces)
        greenlet = gevent.spawn(session.run, b"")
        gevent.idle()
        return fake, greenlet, session

    def publish(self, *bodies):
        assert self.topic.publish(pack(*bodies), len(bodies)) == len(bodies)

    def left(self):
        """What is still in the queue."""
        bodies = []
        while batch := self.topic.group().take(1 << 20, 1 << 30):
            bodies += batch.bodies()
        return bodies


@pytest.fixture
def make_server() -> type[Surroundings]:
    """``make_server(max_memory_bytes, max_message_bytes)``."""
    return Surroundings


@pytest.fixture
def server() -> Surroundings:
    return Surroundings()
