"""What the tests of the disk engine share: a file system that can be watched and disturbed, and an engine on it."""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import contextmanager

import gevent
from gevent.timeout import Timeout

from gstream.agenda import Agenda
from gstream.batch import pack
from gstream.broker import Broker
from gstream.consumer import Consumer
from gstream.storage.disk import Disk, DiskSettings
from gstream.storage.files import Files
from gstream.storage.retention import Retention
from gstream.topic import TopicSettings

TIMEOUT_SECONDS = 20
PLENTY = 1 << 30
NEVER = float("inf")


def until(condition):
    """Return when this is so; others get turns meanwhile."""
    with Timeout(TIMEOUT_SECONDS):
        while not condition():
            gevent.sleep(0.001)


class WatchedFiles(Files):
    """Of segments' files: notes what it is asked for, fails where it is told to, and has callers wait.

    counts: of calls. read_bytes: of what was read. errors: what a call raises (an errno), as long as it stands there.
    """

    def __init__(self):
        self.counts = Counter()
        self.read_bytes = 0
        self.errors = {}
        self._segments = set()
        self._gates = {}
        self._waiting = Counter()

    @contextmanager
    def holding(self, call):
        """Whoever makes this call waits until the end of the block."""
        gate = self._gates[call] = threading.Event()
        try:
            yield
        finally:
            del self._gates[call]
            gate.set()

    def until_held(self, call):
        until(lambda: self._waiting[call])

    def _meet(self, call, fd):
        if fd not in self._segments:
            return
        self.counts[call] += 1
        gate = self._gates.get(call)
        if gate is not None:
            self._waiting[call] += 1
            assert gate.wait(TIMEOUT_SECONDS)
            self._waiting[call] -= 1
        if call in self.errors:
            code = self.errors[call]
            raise OSError(code, os.strerror(code))

    def open(self, path, flags=os.O_RDONLY):
        fd = super().open(path, flags)
        if path.endswith(".log"):
            self._segments.add(fd)
        return fd

    def close(self, fd):
        self._segments.discard(fd)
        super().close(fd)

    def write(self, fd, buffers, position):
        self._meet("write", fd)
        return super().write(fd, buffers, position)

    def read(self, fd, size, position):
        self._meet("read", fd)
        data = super().read(fd, size, position)
        if fd in self._segments:
            self.read_bytes += len(data)
        return data

    def sync(self, fd):
        self._meet("sync", fd)
        super().sync(fd)


class DiskGround:
    """An engine in a directory, with one topic. Time passes when a test says so; its clock counts from 1970."""

    def __init__(self, path, max_bytes=1 << 24, partitions=1, lease_seconds=10.0, max_attempts=3, **settings):
        self.path = str(path / "data")
        self.now = 1_000_000.5
        self.files = WatchedFiles()
        self.max_bytes = max_bytes
        self.topics = TopicSettings(partitions, lease_seconds, max_attempts)
        self.settings = DiskSettings(**settings)
        self.open()

    def open(self):
        self.agenda = Agenda(lambda: self.now)
        self.disk = Disk(self.path, self.max_bytes, self.agenda, self.settings, self.agenda.clock, self.files)
        self.broker = Broker(self.disk, self.agenda, self.topics)
        self.topic = self.broker.topic()
        self.log = self.topic.partitions[0]
        self.disk.state.start()

    def restart(self):
        self.disk.close()
        self.open()

    def sleep(self, seconds):
        self.now += seconds
        while self.agenda.run_next() == 0.0:
            pass

    def start_publishing(self, *bodies):
        """What says when they are stored."""
        assert self.topic.publish(pack(*bodies), len(bodies)) == len(bodies)
        return self.topic.commit

    def publish(self, *bodies):
        self.start_publishing(*bodies).wait()

    def save(self):
        """Return when the groups' state is written."""
        self.disk.state.commit().wait()

    def look(self):
        """Let go what can go."""
        Retention(self.disk).look_at(self.log)

    def take(self, group="default", most=1 << 20, max_bytes=PLENTY):
        """The next messages, which are read from the disk if need be; None if there are none. Raises DiskError."""
        group = self.topic.group(group)
        batch = group.take(most, max_bytes)
        while batch is None and group.is_unready:
            group.load()
            batch = group.take(most, max_bytes)
        return batch

    def take_all(self, group="default"):
        """The bodies of all messages there are, taken for good."""
        bodies = []
        while batch := self.take(group):
            self.topic.group(group).done(batch)
            bodies += batch.bodies()
        return bodies

    def lease(self, most=1, group="default"):
        """A consumer that has leased the next messages, and these."""
        consumer = Consumer(self.disk)
        batch = self.take(group, most)
        self.topic.group(group).lease(consumer, batch)
        return consumer, batch

    def segment_count(self):
        return len([name for name in os.listdir(f"{self.path}/topics/default/0") if name.endswith(".log")])


@contextmanager
def disk_grounds(path, **defaults):
    """Gives ``make(**settings)``, which makes engines in a directory; at the end each is closed."""
    grounds = []

    def make(**settings):
        grounds.append(DiskGround(path, **{**defaults, **settings}))
        return grounds[-1]

    yield make
    for ground in grounds:
        ground.files.errors.clear()
        ground.disk.close()
