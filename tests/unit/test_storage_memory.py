from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gstream.batch import PACKING_BYTES, pack
from gstream.storage.chain import LARGE_BATCH_BYTES, OPEN_PIECE_BYTES
from gstream.storage.memory import Memory

PLENTY = 1 << 30


def publish(log, *bodies):
    return log.append(pack(*bodies), len(bodies))


def read_all(cursor, max_messages=1 << 20, max_bytes=1 << 30):
    """The bodies from the cursor to the end; the batches are consecutive."""
    bodies = []
    expected = cursor.offset
    while batch := cursor.read(max_messages, max_bytes):
        assert batch.offset == expected
        assert 1 <= batch.count <= max_messages
        assert len(batch.data) <= max_bytes or batch.count == 1
        assert batch.data.count(b"\n") == batch.count
        assert batch.data.endswith(b"\n")
        assert type(batch.data) is bytes
        expected += batch.count
        bodies += batch.bodies()
    assert cursor.offset == expected
    return bodies


def test_what_was_appended_is_read_in_order():
    log = Memory(PLENTY).open_log()
    cursor = log.open_cursor()
    assert cursor.read(10, 100) is None
    assert publish(log, b"one", b"two") == 2
    assert publish(log, b"three") == 1
    assert log.end_offset == 3
    assert cursor.lag == 3
    assert read_all(cursor) == [b"one", b"two", b"three"]
    assert cursor.lag == 0
    assert cursor.read(10, 100) is None


def test_a_cursor_begins_at_the_oldest_message_that_is_kept():
    log = Memory(PLENTY).open_log()
    publish(log, b"before")
    cursor = log.open_cursor()
    assert (cursor.offset, cursor.lag) == (0, 1)
    batch = cursor.read(10, 100)
    assert (batch.offset, batch.count, batch.data) == (0, 1, b"pbefore\n")
    assert cursor.read(10, 100) is None


def test_logs_share_the_budget_and_nothing_else():
    memory = Memory(20)
    first, second = memory.open_log(), memory.open_log()
    cursors = first.open_cursor(), second.open_cursor()
    assert publish(first, b"12345678") == 1
    assert publish(second, b"12345678") == 1
    assert memory.used_bytes == 20
    assert publish(second, b"") == 0
    assert read_all(cursors[0]) == [b"12345678"]
    assert publish(second, b"87654321") == 1
    assert read_all(cursors[1]) == [b"12345678", b"87654321"]
    assert memory.used_bytes == 0
    assert (first.end_offset, second.end_offset) == (1, 2)


@pytest.mark.parametrize(("max_messages", "expected"), [(1, [b"a"]), (2, [b"a", b"bb"]), (3, [b"a", b"bb", b"ccc"])])
def test_no_more_messages_than_asked_for(max_messages, expected):
    log = Memory(PLENTY).open_log()
    cursor = log.open_cursor()
    publish(log, b"a", b"bb", b"ccc")
    assert list(cursor.read(max_messages, 100).bodies()) == expected


@pytest.mark.parametrize(
    ("max_bytes", "count"), [(0, 1), (1, 1), (3, 1), (6, 1), (7, 2), (8, 2), (11, 2), (12, 3), (100, 3)]
)
def test_no_more_bytes_than_asked_for_but_always_one(max_bytes, count):
    memory = Memory(PLENTY)
    log = memory.open_log()
    cursor = log.open_cursor()
    publish(log, b"a", b"bb", b"ccc")
    assert cursor.read(3, max_bytes).count == count
    assert cursor.lag == 3 - count
    assert memory.used_bytes == len(pack(b"a", b"bb", b"ccc")[len(pack(*[b"a", b"bb", b"ccc"][:count])) :])


def test_of_what_does_not_fit_the_first_ones_are_stored():
    memory = Memory(12)
    log = memory.open_log()
    cursor = log.open_cursor()
    assert publish(log, b"12", b"3456", b"7", b"") == 2
    assert memory.used_bytes == 10
    assert log.end_offset == 2
    assert publish(log, b"8") == 0
    assert publish(log, b"") == 1
    assert memory.used_bytes == 12
    assert publish(log, b"") == 0
    assert read_all(cursor) == [b"12", b"3456", b""]
    assert memory.used_bytes == 0


def test_the_budget_is_exact():
    for body in (b"", b"Hello", bytes(100_000)):
        memory = Memory(len(body) + PACKING_BYTES)
        assert publish(memory.open_log(), body) == 1
        memory = Memory(len(body) + PACKING_BYTES - 1)
        assert publish(memory.open_log(), body) == 0
        assert memory.used_bytes == 0


def test_nothing_is_stored_beyond_an_exceeded_budget():
    memory = Memory(10)
    log = memory.open_log()
    memory.held_bytes = 15  # messages were given back
    assert publish(log, b"") == 0
    assert publish(log, b"", b"", b"") == 0
    assert (memory.used_bytes, memory.stored_bytes, log.end_offset) == (0, 0, 0)


SIZES = {
    "one by one": [1] * 10_000,
    "small bursts": [10] * 1000,
    "large bursts": [2000] * 20,
    "large and small by turns": [1, 2000] * 20,
    "at the edge": [LARGE_BATCH_BYTES // 16 - 1, LARGE_BATCH_BYTES // 16, LARGE_BATCH_BYTES // 16 + 1] * 5,
}


@pytest.fixture(params=SIZES.values(), ids=SIZES.keys())
def bursts(request):
    """Bodies of 14 bytes, which cost 16."""
    numbers = iter(range(1 << 20))
    return [[b"%014d" % next(numbers) for _ in range(size)] for size in request.param]


@pytest.mark.parametrize("max_messages", [1, 7, 1000, 1 << 20])
def test_a_cursor_goes_on_over_many_segments(bursts, max_messages):
    memory = Memory(PLENTY)
    log = memory.open_log()
    cursor = log.open_cursor()
    for burst in bursts:
        assert publish(log, *burst) == len(burst)
    expected = [body for burst in bursts for body in burst]
    assert memory.used_bytes == 16 * len(expected) > 2 * OPEN_PIECE_BYTES
    assert read_all(cursor, max_messages) == expected
    assert memory.used_bytes == 0


def test_reading_and_appending_by_turns(bursts):
    memory = Memory(PLENTY)
    log = memory.open_log()
    cursor = log.open_cursor()
    read = []
    for burst in bursts:
        publish(log, *burst)
        while cursor.lag > 5:
            read += cursor.read(cursor.lag - 5, PLENTY).bodies()
    assert cursor.lag == 5
    assert memory.used_bytes == 5 * 16
    read += read_all(cursor)
    assert read == [body for burst in bursts for body in burst]


def test_two_cursors_read_the_same():
    log = Memory(PLENTY).open_log()
    one, other = log.open_cursor(), log.open_cursor()
    publish(log, b"a", b"b")
    assert read_all(one) == read_all(other) == [b"a", b"b"]


def traced(function):
    """How many bytes more are in use behind it."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = function()
        gc.collect()
        return tracemalloc.get_traced_memory()[0], kept
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("burst", [1, 10, 1000, 10_000])
def test_a_message_costs_little_more_than_its_bytes(burst):
    def fill():
        log = Memory(PLENTY).open_log()
        data = b"p123456789012345\n" * burst
        for _ in range(100_000 // burst):
            log.append(data if burst < 1000 else bytes(bytearray(data)), burst)
        return log

    size, log = traced(fill)
    assert log.end_offset == 100_000
    assert size < 100_000 * 17 * 1.1


@pytest.mark.parametrize("burst", [10, 1000, 10_000])
def test_what_every_cursor_has_read_is_freed(burst):
    def pass_through():
        log = Memory(PLENTY).open_log()
        cursor = log.open_cursor()
        for _ in range(100_000 // burst):  # 1.7 MB
            log.append(b"p123456789012345\n" * burst, burst)
            while cursor.read(burst, PLENTY):
                pass
        assert cursor.offset == 100_000
        return log, cursor

    size, _ = traced(pass_through)
    assert size < 2 * OPEN_PIECE_BYTES + 17 * burst


def test_a_backlog_is_freed_as_it_is_read():
    log = Memory(PLENTY).open_log()
    cursor = log.open_cursor()

    def fill_and_read_nine_tenths():
        for _ in range(1000):
            log.append(b"p" + bytes(998) + b"\n", 1)
        while cursor.offset < 900:
            cursor.read(1, 0)

    size, _ = traced(fill_and_read_nine_tenths)
    assert cursor.lag == 100
    assert size < 100 * 1000 + 2 * OPEN_PIECE_BYTES


class LogMachine(RuleBasedStateMachine):
    """A log of 200 KB and a list that does the same."""

    MAX_BYTES = 200_000

    def __init__(self):
        super().__init__()
        self.memory = Memory(self.MAX_BYTES)
        self.log = self.memory.open_log()
        self.cursor = self.log.open_cursor()
        self.unread = []
        self.numbers = 0

    @rule(sizes=st.lists(st.sampled_from([0, 1, 5, 100, 1000, 20_000]), min_size=1, max_size=30))
    def append(self, sizes):
        bodies = [(b"%d:" % (self.numbers + at)).ljust(size, b"p")[:size] for at, size in enumerate(sizes)]
        self.numbers += len(bodies)
        stored = publish(self.log, *bodies)
        room = self.MAX_BYTES - self.used_bytes()
        fitting = 0
        while fitting < len(bodies) and len(pack(*bodies[: fitting + 1])) <= room:
            fitting += 1
        assert stored == fitting
        self.unread += bodies[:stored]

    @rule(max_messages=st.integers(1, 50), max_bytes=st.sampled_from([0, 1, 10, 1000, 30_000, 1 << 20]))
    def read(self, max_messages, max_bytes):
        batch = self.cursor.read(max_messages, max_bytes)
        if batch is None:
            assert self.unread == []
            return
        assert batch.count <= max_messages
        assert batch.count == 1 or len(batch.data) <= max_bytes
        assert list(batch.bodies()) == self.unread[: batch.count]
        assert batch.offset == self.log.end_offset - len(self.unread)
        del self.unread[: batch.count]

    @rule()
    def read_everything(self):
        assert read_all(self.cursor) == self.unread
        self.unread.clear()

    def used_bytes(self):
        return sum(map(len, self.unread)) + PACKING_BYTES * len(self.unread)

    @invariant()
    def counts(self):
        assert self.memory.used_bytes == self.used_bytes()
        assert self.cursor.lag == len(self.unread)


LogMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30)
TestLogAgainstAList = LogMachine.TestCase
