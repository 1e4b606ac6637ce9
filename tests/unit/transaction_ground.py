"""What the tests of transactions share: topics, groups and facts that refuse and wait as a test says."""

from __future__ import annotations

import gevent

from gstream.commit import Commit
from gstream.errors import DiskError
from gstream.kafka.codes import KafkaError
from gstream.kafka.producer_ids import ProducerIds
from gstream.kafka.transactions import Transactions
from gstream.records import decode_marker
from gstream.storage.changes import Changes
from gstream.storage.facts import Facts
from gstream.storage.placed import Placed

SECOND = 1000
MINUTE = 60 * SECOND


class FakeKeeper:
    """Keeps facts when a test says so. kept: what a restart would find."""

    def __init__(self, kept=()):
        self.kept = dict(kept)
        self.changes = Changes()
        self.waits = False
        self.commits = 0
        self._next = None

    def note(self):
        pass

    def commit(self):
        self.commits += 1
        if self._next is None:
            self._next = Commit()
            if not self.waits:
                gevent.get_hub().loop.run_callback(self._write)
        return self._next

    def write(self, error=None):
        """Keep what has changed, or fail to."""
        self._write(error)
        gevent.idle()

    def _write(self, error=None):
        commit, self._next = self._next, None
        if error is None:
            for name, value in self.changes.facts.items():
                if value is None:
                    self.kept.pop(name, None)
                else:
                    self.kept[name] = value
            self.changes = Changes()
        if commit is not None:
            commit.finish(error)


class FakeLog:
    """opened: the ids of producers whose transactions are open there, and their epochs."""

    def __init__(self):
        self.opened = {}
        self.producers = self

    def open_producers(self):
        return self.opened


class FakeTopic:
    """markers: of each that was stored, its partition, whose it is, and what it says."""

    def __init__(self, partitions=1, name="t"):
        self.name = name
        self.partitions = [FakeLog() for _ in range(partitions)]
        self.markers = []
        self.refusals = {}
        self.waits = False
        self.commits = []

    def append_records(self, partition, data, header):
        if partition in self.refusals:
            raise self.refusals[partition]
        self.markers.append((partition, (header.producer_id, header.producer_epoch), decode_marker(data)))
        commit = Commit() if self.waits else None
        if commit is not None:
            self.commits.append(commit)
        return Placed(0, commit)

    def store(self, error=None):
        """What waits is stored, or fails."""
        commits, self.commits = self.commits, []
        for commit in commits:
            commit.finish(error)
        gevent.idle()


class FakeGroups:
    """ended: of each group that was told, its name, the producer, and whether its offsets count.

    pending: what waits, by group and producer. refused: what a member is told.
    """

    def __init__(self):
        self.ended = []
        self.refusal = None
        self.pending = {}
        self.members = []
        self.refused = None
        self.commit = None

    def end_pending(self, group, producer_id, commits):
        if self.refusal is not None:
            raise self.refusal
        self.ended.append((group, producer_id, commits))

    def drop_pending(self, known):
        self.known = set(known)

    def check_txn_commit(self, group, member_id, instance_id, generation):
        self.members.append((group, member_id, instance_id, generation))
        if self.refused is not None:
            raise self.refused

    def add_pending(self, group, producer_id, offsets):
        self.pending.setdefault((group, producer_id), {}).update(offsets)
        return self.commit


class FakeBroker:
    def __init__(self, agenda):
        self.agenda = agenda
        self.topics = {}


class Ground:
    """A coordinator with all that is around it, which is a node as far as handlers need one."""

    def __init__(self, time, keeper=None):
        self.time = time
        self.keeper = keeper
        self.broker = FakeBroker(time.agenda)
        self.groups = FakeGroups()
        self.topic = self.broker.topics["t"] = FakeTopic(3)
        self._open()

    def _open(self):
        found = None if self.keeper is None else self.keeper.kept
        self.facts = Facts(self.keeper, found)
        self.producer_ids = ProducerIds(self.facts, self.time.clock)
        self.transactions = Transactions(self.broker, self.groups, self.facts, self.producer_ids, self.time.clock)

    def crash(self):
        """Another server finds what was kept."""
        if self.keeper is not None:
            self.keeper = FakeKeeper(self.keeper.kept)
        self.time.agenda = self.broker.agenda = type(self.time.agenda)(self.time.clock)
        self._open()

    def begin(self, id="a", timeout_ms=MINUTE, partitions=(0,)):
        """A transaction that somebody has begun; who that is."""
        identity = self.transactions.start(id, timeout_ms)
        self.transactions.add_partitions(id, identity, [("t", each) for each in partitions])
        return identity

    def sleep(self, seconds):
        self.time.sleep(seconds)
        gevent.idle()
        self.time.run()
        gevent.idle()


def code_of(function, *arguments, **options):
    """The code of the KafkaError that this raises."""
    try:
        function(*arguments, **options)
    except KafkaError as error:
        return error.code
    raise AssertionError("nothing was refused")


def spawn(function, *arguments, **options):
    """Begin this in a greenlet of its own; gives what ``get`` waits for and raises from."""

    def run():
        try:
            return function(*arguments, **options), None
        except KafkaError as error:
            return None, error.code

    greenlet = gevent.spawn(run)
    gevent.idle()
    return greenlet


DISK_FULL = DiskError("the disk is full")
