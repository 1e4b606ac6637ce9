"""Topics and logs that are lists of batches, for the tests of Produce, Fetch and their kin.

Each says what it was asked for, and fails when it is told to.
"""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

from gevent.event import Event

from gstream.agenda import Agenda
from gstream.config import Config
from gstream.header import unpack_header
from gstream.kafka.api import Context, Deferred, Peer
from gstream.record import Record
from gstream.records import encode_batch
from gstream.storage.placed import Fetched, OffsetOutOfRangeError, Placed
from gstream.topic_options import TopicOptions

TIME_MS = 1_795_512_600_000


def records_batch(count=1, offset=0, value=b"value", **options):
    """A batch of so many records, as a client sends it, or as it lies at that offset."""
    records = [Record(offset + number, TIME_MS + offset + number, None, value, ()) for number in range(count)]
    return encode_batch(records, **options)


class FakeLog:
    """Batches, one behind the other.

    undecided: where an open transaction begins. commit: of what is appended. error: raised instead of what is asked.
    """

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self.oldest_offset = 0
        self.end_offset = 0
        self.undecided: int | None = None
        self.aborts: list[tuple[int, int]] = []
        self.asked: list[tuple[int, int, int | None]] = []
        self.error: Exception | None = None
        self.commit: Any = None
        self.newest: tuple[int, int] | None = None
        self.times: dict[int, tuple[int, int]] = {}

    @property
    def stable_offset(self) -> int:
        return self.end_offset if self.undecided is None else self.undecided

    def add(self, count=1, value=b"value"):
        """Append a batch of so many records."""
        batch = records_batch(count, self.end_offset, value)
        self.batches.append(batch)
        self.end_offset += count
        return batch

    def read_records(self, offset, max_bytes, end=None):
        self.asked.append((offset, max_bytes, end))
        if self.error is not None:
            raise self.error
        if not self.oldest_offset <= offset <= self.end_offset:
            raise OffsetOutOfRangeError(offset)
        chunks, size, following = [], 0, offset
        for batch in self.batches:
            header = unpack_header(batch)
            if header.next_offset <= offset or header.base_offset >= (self.end_offset if end is None else end):
                continue
            if chunks and size + len(batch) > max_bytes:
                break
            chunks.append(batch)
            size += len(batch)
            following = header.next_offset
        return Fetched(chunks, size, following)

    def aborted(self, first, end):
        return [each for each in self.aborts if first <= each[1] < end]

    def find_record(self, time_ms):
        if self.error is not None:
            raise self.error
        return self.times.get(time_ms)

    def newest_record(self):
        return self.newest

    def delete_before(self, offset):
        if self.error is not None:
            raise self.error
        self.oldest_offset = offset
        return self.commit


class FakeTopic:
    """A topic with so many such logs."""

    def __init__(self, name="jobs", partitions=1) -> None:
        self.name = name
        self.partitions = [FakeLog() for _ in range(partitions)]
        self.options = TopicOptions()
        self.watchers: dict[Any, None] = {}
        self.removed = False
        self.is_log = False
        self.appended: list[tuple[int, bytes]] = []
        self.error: Exception | None = None
        self.duplicate: int | None = None

    def make_log(self):
        self.is_log = True

    def append_records(self, partition, data, header):
        if self.error is not None:
            raise self.error
        assert unpack_header(data) == header, "the header is that of the batch"
        log = self.partitions[partition]
        if self.duplicate is not None:
            return Placed(self.duplicate, log.commit, is_duplicate=True)
        self.appended.append((partition, data))
        placed = Placed(log.end_offset, log.commit)
        log.end_offset += header.records
        return placed

    def tell(self):
        """Wake who watches."""
        for watcher in list(self.watchers):
            watcher()


class FakeTransactions:
    """Transactions: which are asked for, and what is wrong with them."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def check_produce(self, *asked):
        self.asked.append(asked)
        if self.error is not None:
            raise self.error


def id_of(name):
    """The id of a topic of that name."""
    return uuid.uuid5(uuid.NAMESPACE_OID, name)


def make_node(*topics):
    """A node with these topics."""
    ids = {id_of(topic.name): topic for topic in topics}
    return SimpleNamespace(
        find_by_id=ids.get,
        broker=SimpleNamespace(topics={topic.name: topic for topic in topics}),
        engine=SimpleNamespace(clock=lambda: TIME_MS / 1000, waiting_bytes=0),
        config=Config(),
        fetched_bytes=0,
        agenda=Agenda(),
        stopping=Event(),
        transactions=FakeTransactions(),
    )


def context(version, *, is_gone=False):
    """Whose request it is."""
    return Context(version, "client", 7, Peer(is_gone=lambda: is_gone))


def answered(reply):
    """The reply, when what it waits for is stored."""
    if isinstance(reply, Deferred):
        assert reply.commit.is_done, "nothing is answered before"
        reply = reply.finish()
    return reply
