"""A log does what a list would do, whatever is done to it in whatever order."""

from __future__ import annotations

import shutil
import tempfile
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gstream.batch import Batch, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.storage.log import Log, LogSettings
from tests.unit.disturbed_files import QuietFiles

LINE = st.binary(max_size=40).filter(lambda body: b"\n" not in body)


class LogMachine(RuleBasedStateMachine):
    """messages: body and time of every message, by offset. oldest: the first that may not be dropped."""

    def __init__(self):
        super().__init__()
        self.path = tempfile.mkdtemp()
        self.messages = []
        self.sizes = []
        self.oldest = 0
        self.last_ms = 0
        self.open()

    def open(self):
        self.log = Log(self.path, self.fail, LogSettings(500, 50, 100), QuietFiles())

    def fail(self, finding):
        raise AssertionError(finding)

    def teardown(self):
        self.log.close()
        shutil.rmtree(self.path)

    @rule(batches=st.lists(st.lists(LINE, min_size=1, max_size=5), max_size=3), later=st.integers(0, 30))
    def append_lines(self, batches, later):
        time_ms = self.last_ms + later
        offset = self.log.append([Batch(0, len(bodies), pack(*bodies), time_ms) for bodies in batches])
        assert offset == len(self.messages)
        self.messages += [(body, time_ms) for bodies in batches for body in bodies]
        self.last_ms = time_ms if batches else self.last_ms

    @rule(bodies=st.lists(st.binary(max_size=40), min_size=1, max_size=5))
    def append_counted_of_the_past(self, bodies):
        packed = b"".join(map(pack_counted, bodies))
        self.log.append([CountedBatch(0, len(bodies), packed, max(0, self.last_ms - 1))])
        self.messages += [(body, self.last_ms) for body in bodies]

    @rule()
    def sync(self):
        assert self.log.sync() == len(self.messages)

    @rule()
    def roll(self):
        self.log.roll()
        assert self.log.segments()[-1].size == 0

    @rule(crash=st.booleans())
    def open_again(self, crash):
        if not crash:
            self.log.close()
        before, self.log = self.log, None
        self.open()
        if crash:
            before.close()
        if self.log.oldest_offset == len(self.messages):  # no message is left to tell of any time
            self.last_ms = 0

    @rule(data=st.data())
    def drop(self, data):
        offset = data.draw(st.integers(0, len(self.messages) + 1))
        self.log.drop_before(offset)
        self.oldest = max(self.oldest, min(offset, len(self.messages)))
        assert self.log.oldest_offset <= self.oldest
        assert all(segment.next_offset > offset for segment in self.log.segments()[:-1])

    @rule(data=st.data(), max_bytes=st.integers(0, 1000))
    def read(self, data, max_bytes):
        offset = data.draw(st.integers(0, len(self.messages)))
        batches = self.log.read(offset, max_bytes)
        found = [message for batch in batches for message in batch.messages()]
        first = max(offset, self.log.oldest_offset)
        assert [(m.offset, m.body, m.time_ms) for m in found] == [
            (at, *self.messages[at]) for at in range(first, first + len(found))
        ]
        assert found or first == len(self.messages)
        assert len(batches) <= 1 or sum(frame.size for frame in self.log.read_frames(offset, max_bytes)) <= max_bytes

    @rule(data=st.data())
    def find_time(self, data):
        time_ms = data.draw(st.integers(0, self.last_ms + 1))
        kept = range(self.log.oldest_offset, len(self.messages))
        assert self.log.find_time(time_ms) == next(
            (at for at in kept if self.messages[at][1] >= time_ms), len(self.messages)
        )

    @precondition(lambda self: self.log.segments()[0].size)
    @rule()
    def last_times(self):
        for segment in self.log.segments():
            times = [time_ms for _, time_ms in self.messages[segment.base_offset : segment.next_offset]]
            assert self.log.last_ms(segment.base_offset) == (times[-1] if times else None)

    @invariant()
    def it_is_all_there(self):
        assert self.log.end_offset == len(self.messages)
        assert self.log.oldest_offset <= self.oldest <= len(self.messages)
        assert self.log.synced_offset <= self.log.end_offset
        segments = self.log.segments()
        assert all(before.next_offset == after.base_offset for before, after in pairwise(segments))


LogMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestLogAgainstAList = LogMachine.TestCase
