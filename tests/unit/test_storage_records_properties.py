"""Logs of both engines do what a list would do, with records, lines and counted messages in any order."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gstream.record import Record
from gstream.records import encode_batch
from gstream.storage.placed import OffsetOutOfRangeError
from gstream.storage.producers import DuplicateSequenceError, OutOfOrderError
from tests.unit.disturbed_files import QuietFiles
from tests.unit.records_ground import NOW_MS, RecordsInMemory, RecordsOnDisk, headers_of, marker, records_of

LINE = st.binary(max_size=30).filter(lambda body: b"\n" not in body)
TIMES = st.one_of(st.integers(0, 3000), st.integers(NOW_MS - 5, NOW_MS + 5), st.just(1 << 50))
KEEP = 5
"""So many batches of a producer are known again."""


class QuietRecordsOnDisk(RecordsOnDisk):
    """Without syncing: power stays on."""

    def open(self):
        self.files = QuietFiles()
        super().open()


class RecordsMachine(RuleBasedStateMachine):
    """values: of all messages, by offset: (value, time), None for the end of a transaction.

    stored: the batches of records that clients sent, as they are to be given back, by offset. sent: by producer, its
    batches: offset, number and bytes. oldest: what was deleted lies before this. taken: how far the group has come.
    """

    def __init__(self):
        super().__init__()
        self.values = []
        self.stored = {}
        self.sent = {1: [], 2: []}
        self.open_since = {}
        self.ended = []
        self.oldest = 0
        self.taken = 0
        self.start()

    # --- what is stored

    @rule(bodies=st.lists(LINE, min_size=1, max_size=6))
    def publish_lines(self, bodies):
        self.ground.publish(*bodies)
        self.values += [(body, NOW_MS) for body in bodies]

    @rule(body=st.binary(max_size=20))
    def publish_counted(self, body):
        self.ground.topic.publish_bodies([body], b"key")
        if self.ground.topic.commit is not None:
            self.ground.topic.commit.wait()
        self.values.append((body, NOW_MS))

    def store(self, data):
        offset = len(self.values)
        placed = self.ground.append(data)
        assert (placed.offset, placed.is_duplicate) == (offset, False)
        self.stored[offset] = offset.to_bytes(8, "big") + data[8:12] + bytes(4) + data[16:]

    @rule(
        records=st.lists(st.tuples(st.binary(max_size=30), TIMES), min_size=1, max_size=6),
        compression=st.integers(0, 1),
    )
    def append_records(self, records, compression):
        batch = [Record(at, time_ms, None, value) for at, (value, time_ms) in enumerate(records)]
        self.store(encode_batch(batch, compression=compression))
        self.values += records

    @rule(producer=st.sampled_from([1, 2]), count=st.integers(1, 3), is_transactional=st.booleans())
    def append_of_a_producer(self, producer, count, is_transactional):
        sent = self.sent[producer]
        number = sent[-1][1] + sent[-1][3] if sent else 0
        batch = [Record(at, 1000, None, b"%d" % (number + at)) for at in range(count)]
        of = {"producer_id": producer, "producer_epoch": 0, "base_sequence": number}
        data = encode_batch(batch, **of, is_transactional=is_transactional)
        offset = len(self.values)
        self.store(data)
        sent.append((offset, number, data, count))
        self.values += [(record.value, 1000) for record in batch]
        if is_transactional:
            self.open_since.setdefault(producer, offset)

    @rule(producer=st.sampled_from([1, 2]), commits=st.booleans())
    def end_transaction(self, producer, commits):
        offset = len(self.values)
        self.store(marker(producer, commits=commits))
        self.values.append(None)
        first = self.open_since.pop(producer, None)
        if first is not None:
            self.ended.append((producer, first, offset, commits))

    @rule(producer=st.sampled_from([1, 2]), data=st.data())
    def send_again(self, producer, data):
        sent = self.sent[producer]
        if not sent:
            return
        at = data.draw(st.integers(0, len(sent) - 1))
        offset, _, batch, _ = sent[at]
        if at >= len(sent) - KEEP:
            placed = self.ground.append(batch)
            assert (placed.offset, placed.is_duplicate) == (offset, True)
        else:
            with pytest.raises(DuplicateSequenceError):
                self.ground.append(batch)

    @rule(producer=st.sampled_from([1, 2]), gap=st.integers(1, 5))
    def leave_a_gap(self, producer, gap):
        sent = self.sent[producer]
        if sent:
            of = {"producer_id": producer, "producer_epoch": 0, "base_sequence": sent[-1][1] + sent[-1][3] + gap}
            with pytest.raises(OutOfOrderError):
                self.ground.append(encode_batch([Record(0, 0)], **of))

    # --- what is read

    def check_fetched(self, data):
        at = None
        position = 0
        for header in headers_of(data):
            if header.base_offset in self.stored:
                assert data[position : position + header.size] == self.stored[header.base_offset]
            position += header.size
            at = header.base_offset if at is None else at
            assert header.base_offset == at
            at = header.next_offset
        for record in records_of(data):
            value = self.values[record.offset]
            if value is not None:
                assert (record.value, record.time_ms) == value
        return at

    @rule(data=st.data(), max_bytes=st.integers(0, 1000))
    def fetch(self, data, max_bytes):
        offset = data.draw(st.integers(self.oldest, len(self.values)))
        fetched = self.ground.fetch(offset, max_bytes)
        end = self.check_fetched(fetched)
        headers = headers_of(fetched)
        assert headers or offset == len(self.values)
        if headers:
            assert headers[0].base_offset <= offset < end
            assert len(fetched) <= max_bytes or len(headers) == 1

    @rule(data=st.data())
    def fetch_all(self, data):
        offset = data.draw(st.integers(self.oldest, len(self.values)))
        end = self.check_fetched(self.ground.fetch_all(offset, 200))
        assert end in (len(self.values), None)

    @rule(data=st.data())
    def fetch_what_is_gone(self, data):
        if self.oldest:
            with pytest.raises(OffsetOutOfRangeError):
                self.ground.log.read_records(data.draw(st.integers(0, self.oldest - 1)), 100)

    @rule(most=st.integers(1, 5), max_bytes=st.integers(1, 100))
    def consume(self, most, max_bytes):
        batch = self.ground.take("group", most, max_bytes)
        while self.taken < len(self.values) and self.values[self.taken] is None:
            self.taken += 1
        if batch is None:
            assert self.taken == len(self.values)
            return
        self.ground.topic.group("group").done(batch)
        found = [(each.offset, each.body, each.time_ms) for each in batch.messages()]
        assert 1 <= len(found) <= most
        assert found == [(at, *self.values[at]) for at in range(self.taken, self.taken + len(found))]
        self.taken += len(found)

    @rule(data=st.data())
    def peek(self, data):
        offset = data.draw(st.integers(self.oldest, len(self.values)))
        found = [each for batch in self.ground.log.peek(offset, 5, 1000) for each in batch.messages()]
        there = [at for at in range(offset, len(self.values)) if self.values[at] is not None]
        assert [(each.offset, each.body) for each in found] == [(at, self.values[at][0]) for at in there[: len(found)]]
        assert found or not there

    @precondition(lambda self: None not in self.values)
    @rule(time_ms=TIMES)
    def find_record(self, time_ms):
        kept = range(self.oldest, len(self.values))
        first = next(((at, self.values[at][1]) for at in kept if self.values[at][1] >= time_ms), None)
        assert self.ground.log.find_record(time_ms) == first
        newest = max((self.values[at][1] for at in kept), default=None)
        expected = next(((at, newest) for at in kept if self.values[at][1] == newest), None)
        assert self.ground.log.newest_record() == expected

    # --- what goes

    @rule(data=st.data())
    def delete(self, data):
        offset = data.draw(st.integers(0, len(self.values)))
        commit = self.ground.log.delete_before(offset)
        if commit is not None:
            commit.wait()
        self.oldest = max(self.oldest, offset)
        self.taken = max(self.taken, self.oldest)

    @invariant()
    def it_is_all_there(self):
        log, end = self.ground.log, len(self.values)
        assert (log.oldest_offset, log.end_offset, log.next_offset) == (self.oldest, end, end)
        assert log.stable_offset == max(self.oldest, min(self.open_since.values(), default=end))
        kept = [each for each in self.ended if each[2] >= self.oldest and not each[3]]
        assert log.aborted(self.oldest, end) == [(producer, first) for producer, first, *_ in kept]


class MemoryMachine(RecordsMachine):
    def start(self):
        self.ground = RecordsInMemory()
        self.ground.topic.group("group")

    @invariant()
    def memory_is_counted(self):
        memory, log = self.ground.disk, self.ground.log
        assert memory.stored_bytes == log.kept_bytes
        assert 0 <= memory.used_bytes <= memory.stored_bytes


class DiskMachine(RecordsMachine):
    def start(self):
        self.path = Path(tempfile.mkdtemp())
        self.ground = QuietRecordsOnDisk(self.path, segment_bytes=700)
        self.ground.topic.make_log()
        self.ground.topic.group("group")

    def teardown(self):
        self.ground.disk.close()
        shutil.rmtree(self.path)

    @rule()
    def restart(self):
        self.ground.save()
        self.ground.restart()
        self.ground.log = self.ground.topic.partitions[0]

    @rule(data=st.data())
    def lose_the_end(self, data):
        """The last segment is cut off somewhere, as a loss of power may leave it."""
        self.ground.save()
        self.ground.disk.close()
        home = Path(self.ground.path) / "topics" / "default" / "0"
        if home.exists():
            last = max(name for name in os.listdir(home) if name.endswith(".log"))
            size = (home / last).stat().st_size
            os.truncate(home / last, size - data.draw(st.integers(0, min(size, 150))))
        self.ground.open()
        end = self.ground.log.end_offset
        assert end <= len(self.values)
        self.forget_from(end)

    def forget_from(self, end):
        del self.values[end:]
        self.stored = {offset: data for offset, data in self.stored.items() if offset < end}
        assert all(offset + headers_of(data)[0].records <= end for offset, data in self.stored.items())
        for producer, sent in self.sent.items():
            sent[:] = [each for each in sent if each[0] < end]
            if producer in self.open_since and self.open_since[producer] >= end:
                del self.open_since[producer]
        for each in [each for each in self.ended if each[2] >= end]:
            self.ended.remove(each)
            producer, first, *_ = each
            if first < end:
                self.open_since[producer] = first
        self.oldest, self.taken = min(self.oldest, end), min(self.taken, end)


MemoryMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
DiskMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestRecordsInMemory = MemoryMachine.TestCase
TestRecordsOnDisk = DiskMachine.TestCase
