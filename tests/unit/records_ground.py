"""What the tests of record batches share: a topic on either engine, and batches for it."""

from __future__ import annotations

from gstream.agenda import Agenda
from gstream.batch import pack
from gstream.broker import Broker
from gstream.header import unpack_header
from gstream.record import Record, decode_records
from gstream.records import encode_batch, encode_marker
from gstream.storage.memory import Memory
from gstream.topic import TopicSettings
from tests.unit.disk_ground import PLENTY, DiskGround

NOW_MS = 1_000_000_500
"""What the clock says at first."""


def batch_of(*values, time_ms=1000, step_ms=1, **fields):
    """A batch of records that a client sends; ``fields`` are those of its producer."""
    records = [Record(at, time_ms + at * step_ms, None, value) for at, value in enumerate(values)]
    return encode_batch(records, **fields)


def marker(producer_id=7, epoch=0, *, commits=True):
    return encode_marker(producer_id, epoch, commits=commits, time_ms=2000)


def headers_of(data):
    """Of all batches, of which these bytes must be nothing but."""
    position = 0
    found = []
    while position < len(data):
        found.append(header := unpack_header(data, position))
        position += header.size
    assert position == len(data)
    return found


def records_of(data):
    """All records of batches, one behind the other."""
    position = 0
    found = []
    for header in headers_of(data):
        found += decode_records(data, position)
        position += header.size
    return found


class Reading:
    """What tests do with a log, whatever engine it is of."""

    def append(self, data, partition=0):
        """Store a batch; when it is stored: where it lies."""
        placed = self.topic.append_records(partition, data, unpack_header(data))
        if placed.commit is not None:
            placed.commit.wait()
        return placed

    def publish(self, *bodies):
        assert self.topic.publish(pack(*bodies), len(bodies)) == len(bodies)
        if self.topic.commit is not None:
            self.topic.commit.wait()

    def fetch(self, offset=0, max_bytes=PLENTY, end=None):
        """The batches there, as bytes; what is said of them is true."""
        fetched = self.log.read_records(offset, max_bytes, end)
        data = b"".join(fetched.chunks)
        assert fetched.size == len(data)
        headers = headers_of(data)
        assert fetched.next_offset == (headers[-1].next_offset if headers else offset)
        return data

    def fetch_all(self, offset=0, max_bytes=PLENTY, end=None):
        """All batches from there on, one fetch after the other."""
        parts = []
        while part := self.fetch(offset, max_bytes, end):
            parts.append(part)
            offset = headers_of(part)[-1].next_offset
        return b"".join(parts)

    def values(self, offset=0, **limits):
        return [(record.offset, record.value) for record in records_of(self.fetch(offset, **limits))]


class RecordsOnDisk(Reading, DiskGround):
    keeps = True


class RecordsInMemory(Reading):
    keeps = False

    def __init__(self, max_bytes=1 << 24, partitions=1, max_attempts=3, is_log=True, pool=None):
        self.now = 1_000_000.5
        self.agenda = Agenda(lambda: self.now)
        self.disk = Memory(max_bytes, 0, self.agenda.clock, self.agenda, pool=pool)
        self.broker = Broker(self.disk, self.agenda, TopicSettings(partitions, 10.0, max_attempts))
        self.topic = self.broker.topic()
        self.log = self.topic.partitions[0]
        if is_log:
            self.topic.make_log()

    sleep = DiskGround.sleep
    take = DiskGround.take
    take_all = DiskGround.take_all
    lease = DiskGround.lease
