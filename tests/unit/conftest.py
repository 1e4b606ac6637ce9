"""What the unit tests share: a decoder's commands one by one, and sessions with a connection that is none."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import astuple, dataclass, field
from typing import Any

import gevent
import pytest

from gstream import protocol
from gstream.agenda import Agenda
from gstream.batch import Batch, pack
from gstream.broker import Broker
from gstream.commit import Commit
from gstream.connection import ClientGone
from gstream.group import Group
from gstream.progress import Progress
from gstream.session import Session, SessionSettings
from gstream.storage.budget import Budget
from gstream.storage.chain import Chain, Cursor, Piece
from gstream.storage.changes import Changes, Saved
from gstream.storage.disk import SavedTopic
from gstream.storage.facts import Facts
from gstream.storage.memory import Memory
from gstream.storage.terms import Terms
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


class FakeState:
    """What is to be remembered, and is when a test says so.

    saved: what was remembered until now. refusal: what whoever asks first is told.
    """

    refusal = None

    def __init__(self, saved=None):
        self.saved = Saved() if saved is None else saved
        self.changes = Changes()
        self.sources = {}
        self.notes = 0
        self.next = Commit()

    def note(self, source=None):
        self.notes += 1
        if source is not None:
            self.sources[source] = None

    def commit(self):
        return self.next

    def check(self):
        if self.refusal is not None:
            raise self.refusal

    def save(self, error=None):
        """Write what has changed, or fail to."""
        gevent.idle()  # until those were told who waited for something else
        sources, self.sources = self.sources, {}
        changes, self.changes = self.changes, Changes()
        commit, self.next = self.next, Commit()
        for source in sources:
            source.collect(changes)
        if error is None:
            self._apply(changes)
        else:
            self.changes.merge_older(changes)
        commit.finish(error)
        gevent.idle()

    def _apply(self, changes):
        saved = self.saved
        for name in ("topics", "lows", "chunks", "kept", "delayed", "recent", "facts"):
            table = getattr(saved, name)
            for key in list(table):
                if key[:2] in changes.removed_groups and name in {"lows", "chunks", "kept"}:
                    del table[key]
            for key, value in getattr(changes, name).items():
                if value is None:
                    table.pop(key, None)
                else:
                    table[key] = value
        saved.groups = [key for key in saved.groups if key not in changes.removed_groups]
        saved.groups += [key for key in changes.groups if key not in saved.groups]


class FakeCursor(Cursor):
    """A place in a log of which parts may be missing, or not be there yet."""

    is_loading = False
    error = None
    number = 0

    def read(self, max_messages, max_bytes):
        if self._chain.is_away and self.lag:
            self.is_loading = self.error is None
            return None
        return super().read(max_messages, max_bytes)

    def load(self, error=None):
        """What is away is there now, or cannot be read."""
        self._chain.is_away = error is not None
        self.is_loading, self.error = False, error
        self.on_read()


class FakeLog(Chain):
    """A log as the disk engine has it, all of it in memory.

    waits: what is appended is stored when :meth:`write` is called, and not at once.
    """

    def __init__(self, disk, topic, partition, oldest_offset=0):
        super().__init__(disk, partition, oldest_offset)
        self.topic = topic
        self.oldest_offset = oldest_offset
        self.next_offset = oldest_offset
        self.readers = []
        self.commit = None
        self.on_stored = lambda _count: None
        self.waits = False
        self.is_away = False
        self.waiting = []
        self.next = Commit()

    def append(self, data, count, kind=Batch, *, always=False):  # noqa: ARG002
        self.waiting.append((data, count, kind))
        self.next_offset += count
        self.commit = self.next
        if not self.waits:
            self.write()
        return count

    def write(self, error=None):
        """Store what was appended, or fail to."""
        waiting, self.waiting = self.waiting, []
        commit, self.next = self.next, Commit()
        if error is None:
            for data, count, kind in waiting:
                self.add(data, count, kind, int(self.budget.clock() * 1000))
            self.on_stored(sum(count for _, count, _ in waiting))
        self.next_offset = self.end_offset
        commit.finish(error)
        if self.waits:
            gevent.idle()

    def miss(self, count):
        """So many messages follow that are damaged."""
        self._start_piece(bytearray(), 0, Batch, self._last_ms)
        self.end_offset += count
        self.next_offset = self.end_offset
        self._start_piece(bytearray(), 0, Batch, self._last_ms)

    def find(self, offset):
        offset = min(max(offset, self.oldest_offset), self.end_offset)
        piece = self._pieces[0]
        while piece.following is not None and piece.offset + piece.count <= offset:
            piece = piece.following
        if piece.offset > offset:  # it begins behind what is missing
            place = Piece(offset, 0, 0, b"", Batch, 0)
            place.following = piece
            return place, 0, offset
        before = min(offset - piece.offset, piece.count)
        return piece, piece.kind.find_end(piece.data, 0, len(piece.data), before, piece.count) if before else 0, offset

    def open_cursor(self):
        cursor = FakeCursor(self, self._pieces[0])
        cursor.seek(self.oldest_offset)
        self.cursors.append(cursor)
        return cursor

    def close_cursor(self, cursor):
        self.cursors.remove(cursor)

    def peek(self, offset, max_messages, max_bytes):
        return self.read_on(offset, max_messages, max_bytes)

    def restart_at(self, end):
        """What lies from there on is taken back."""
        (piece,) = self._pieces
        piece.data = piece.data[: piece.kind.find_end(piece.data, 0, len(piece.data), end, piece.count)]
        piece.count = end
        self.end_offset = self.next_offset = end
        for reader in self.readers:
            reader.take_back(end)

    def drop_before(self, offset):
        """Messages before this offset go, by a limit; how many were lost, at the most."""
        self.oldest_offset = offset
        return max([reader.lose(offset) for reader in self.readers], default=0)


class FakeDisk(Budget):
    """An engine that remembers what groups and topics have done, and has no files."""

    name = "disk"
    keeps = True

    def __init__(self, clock, max_bytes=1 << 30, saved=None):
        super().__init__(max_bytes)
        self.clock = clock
        self.state = FakeState(saved)
        self.found = copy.deepcopy(self.state.saved)
        self.logs = {}
        self.facts = Facts(self.state, self.found.facts)
        rows = self.found.topics.items()
        self.terms = Terms(self.facts, own={name: (row.retain_bytes, row.retain_seconds) for name, row in rows})
        self.taken = {}

    def restart(self, ends=None):
        """The engine that is started after this one ended; of logs for which there is an end, the rest is lost."""
        found = FakeDisk(self.clock, self.max_bytes, copy.deepcopy(self.state.saved))
        for (topic, partition), log in self.logs.items():
            end = (ends or {}).get((topic, partition), log.end_offset)
            again = found.logs[topic, partition] = FakeLog(found, topic, partition, min(log.oldest_offset, end))
            for batch in log.read_on(log.oldest_offset, 1 << 40, 1 << 40):
                if again.end_offset < batch.offset < end:
                    again.miss(batch.offset - again.end_offset)
                if batch.offset < end:
                    part = batch.part(0, min(batch.count, end - batch.offset))
                    again.add(part.data, part.count, type(part), part.time_ms(part.offset))
            again.next_offset = again.end_offset
        return found

    @property
    def topic_names(self):
        return sorted({name for name, _ in self.logs} | set(self.found.topics))

    def partition_count(self, topic):
        row = self.found.topics.get(topic)
        return row.partitions if row else 0

    def open_log(self, topic="", partition=0):
        if (topic, partition) not in self.logs:
            self.logs[topic, partition] = FakeLog(self, topic, partition)
        return self.logs[topic, partition]

    def progress(self, log, group):
        key = (log.topic, group, log.partition)
        saved = self.found
        progress = Progress(key, self.state.note)
        if key in saved.lows:
            chunks, kept = (
                {number: value for (*of, number), value in table.items() if tuple(of) == key}
                for table in (saved.chunks, saved.kept)
            )
            progress.restore(saved.lows.pop(key), chunks, kept, log.oldest_offset, log.end_offset)
        else:
            progress.lose(log.oldest_offset)
        return progress

    def set_limits(self, topic, limit_bytes, limit_seconds):
        self.terms.set_limits(topic, limit_bytes, limit_seconds)

    def set_options(self, topic, options, _logs):
        self.terms.set_options(topic, options)

    def take_saved(self, topic):
        saved = self.found
        return SavedTopic(
            [group for name, group in saved.groups if name == topic],
            {number: delayed for (name, number), delayed in saved.delayed.items() if name == topic},
            {id: answer for (name, id), answer in saved.recent.items() if name == topic},
        )

    def make_room(self, size):
        pass


@pytest.fixture
def disk(time) -> FakeDisk:
    return FakeDisk(time)


@pytest.fixture
def make_state() -> type[FakeState]:
    """``make_state()``."""
    return FakeState


class KeptGrounds(Grounds):
    """A group whose state is kept, over logs that are there again after a restart."""

    def __init__(self, partitions=1, lease_seconds=10.0, max_attempts=3, max_bytes=1 << 30):
        self.time = FakeTime()
        self.partitions = partitions
        self.settings = lease_seconds, max_attempts
        self.buried = []
        self.bury_commit = None
        self._begin(FakeDisk(self.time, max_bytes))

    def _begin(self, disk):
        self.memory = disk
        self.logs = [disk.open_log("default", number) for number in range(self.partitions)]
        self.log = self.logs[0]
        self.group = Group(
            "default",
            self.logs,
            self.time.agenda,
            lease_seconds=self.settings[0],
            max_attempts=self.settings[1],
            bury=self._bury,
            progress=lambda log: disk.progress(log, "default"),
        )
        for log in self.logs:
            log.on_stored = lambda _count: self.group.wake()

    def _bury(self, _group, batch, reason):
        self.buried.append((batch.bodies(), reason))
        return self.bury_commit

    def restart(self, *, saves=True, ends=None):
        """End, with or without writing what has changed, and start again; nobody comes back of those who were there."""
        if saves:
            self.memory.state.save()
        self.time.agenda = Agenda(self.time.clock)
        self._begin(self.memory.restart({("default", number): end for number, end in (ends or {}).items()}))


@pytest.fixture
def make_kept() -> type[KeptGrounds]:
    """``make_kept(partitions, lease_seconds, max_attempts, max_bytes)``."""
    return KeptGrounds


@pytest.fixture
def kept() -> KeptGrounds:
    return KeptGrounds()


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
        self.is_storing = False
        self.elsewhere = nullcontext
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
    """What sessions need around them.

    kept: whether the engine remembers what groups and topics have done, and so can be started again.
    """

    def __init__(
        self,
        max_memory_bytes=1 << 30,
        max_message_bytes=1 << 20,
        retain_bytes=0,
        max_topics=100,
        max_groups=100,
        kept=False,
        **topics,
    ):
        self.time = FakeTime()
        self.limits = TopicSettings(**topics), max_topics, max_groups
        self.max_message_bytes = max_message_bytes
        self.numbers = 0
        if kept:
            self._begin(FakeDisk(self.time.clock, max_memory_bytes))
        else:
            self._begin(Memory(max_memory_bytes, retain_bytes, self.time.clock))

    def _begin(self, engine):
        self.memory = engine
        self.broker = Broker(engine, self.time.agenda, *self.limits)
        self.settings = SessionSettings(self.broker, self.max_message_bytes, max_connections=10)
        self.topic = self.broker.topic()

    def restart(self, ends=None):
        """Start again with what was remembered; of logs for which there is an end, what lies behind is lost."""
        self.time.agenda = Agenda(self.time.clock)
        self._begin(self.memory.restart(ends))

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
