"""The memory engine: what is kept for those who want it again, what makes room, and times."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from gstream.batch import pack
from gstream.storage.chain import LARGE_BATCH_BYTES
from gstream.storage.memory import Memory

PLENTY = 1 << 30


def publish(log, *bodies):
    return log.append(pack(*bodies), len(bodies))


def read_all(cursor):
    return [body for batch in iter(lambda: cursor.read(1 << 20, PLENTY), None) for body in batch.bodies()]


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


def test_what_everybody_has_taken_is_kept_as_long_as_it_is_among_the_newest_bytes():
    memory = Memory(PLENTY, retain_bytes=100_000)
    log = memory.open_log()
    cursor = log.open_cursor()
    for number in range(20):
        publish(log, b"%d" % number + bytes(20_000))
        cursor.read(1, 0)
    assert memory.used_bytes == 0
    assert 100_000 <= memory.stored_bytes <= 100_000 + 20_100
    assert log.kept_bytes == memory.stored_bytes
    cursor.seek(0)
    assert cursor.offset == log.oldest_offset == 15
    assert memory.used_bytes == memory.stored_bytes
    assert len(read_all(cursor)) == 5


def test_what_is_only_kept_makes_room():
    memory = Memory(100_000, retain_bytes=PLENTY)
    logs = [memory.open_log() for _ in range(2)]
    cursors = [log.open_cursor() for log in logs]
    for number in range(40):
        assert publish(logs[number % 2], bytes(20_000)) == 1
        cursors[number % 2].read(1, 0)
        assert memory.stored_bytes <= 100_000
    assert memory.used_bytes == 0
    assert memory.stored_bytes > 60_000


@pytest.mark.parametrize("body_bytes", [LARGE_BATCH_BYTES, 10 * LARGE_BATCH_BYTES])
def test_a_last_large_message_that_was_taken_makes_room_too(body_bytes):
    """A message in each of many topics, each taken: none of them may stay."""
    memory = Memory(3 * body_bytes, retain_bytes=PLENTY)
    cursors = []
    for _ in range(20):
        log = memory.open_log()
        cursors.append(log.open_cursor())
        assert publish(log, bytes(body_bytes)) == 1
        assert len(read_all(cursors[-1])) == 1
        assert memory.stored_bytes <= memory.max_bytes
    assert publish(log, b"a") == 1
    assert read_all(cursors[-1]) == [b"a"]


def test_a_cursor_that_rests_keeps_nothing_in_memory():
    memory = Memory(4_000_000, retain_bytes=PLENTY)

    def pass_through():
        kept = []
        for _ in range(30):
            log = memory.open_log()
            cursor = log.open_cursor()
            publish(log, bytes(1_000_000))
            while cursor.read(1, 0):
                pass
            kept.append((log, cursor))
        return kept

    size, _ = traced(pass_through)
    assert size < 4_100_000


def test_nothing_is_dropped_that_somebody_has_still_to_take():
    memory = Memory(100_000, retain_bytes=PLENTY)
    log = memory.open_log()
    fast, slow = log.open_cursor(), log.open_cursor()
    for _ in range(4):
        publish(log, bytes(20_000))
        fast.read(1, 0)
    slow.read(1, 0)
    assert memory.used_bytes == 3 * 20_002
    assert publish(log, bytes(20_000), bytes(20_000)) == 1 or memory.stored_bytes <= 100_000
    assert slow.offset == 1
    assert len(read_all(slow)) == log.end_offset - 1


def test_the_slowest_cursor_counts():
    memory = Memory(PLENTY, retain_bytes=PLENTY)
    log = memory.open_log()
    assert publish(log, b"a", b"b", b"c", b"d") == 4
    assert memory.used_bytes == 12, "without a cursor, all are kept"
    one, other = log.open_cursor(), log.open_cursor()
    one.read(3, 100)
    assert memory.used_bytes == 12
    other.read(1, 0)
    assert memory.used_bytes == 9
    log.close_cursor(other)
    assert memory.used_bytes == 3
    third = log.open_cursor()
    assert (third.offset, memory.used_bytes) == (0, 12)
    log.close_cursor(third)
    log.close_cursor(one)
    assert memory.used_bytes == 3, "what was taken when the last cursor was closed stays taken"
    assert log.open_cursor().offset == 0
    assert memory.used_bytes == 12


def test_looking_changes_nothing():
    memory = Memory(PLENTY, retain_bytes=0)
    log = memory.open_log()
    cursor = log.open_cursor()
    publish(log, b"a", b"b", b"c")
    cursor.read(1, 0)
    for offset, expected in ((0, [b"a", b"b", b"c"]), (1, [b"b", b"c"]), (3, []), (9, [])):
        assert [body for batch in log.peek(offset, 9, 100) for body in batch.bodies()] == expected
        assert (memory.used_bytes, memory.stored_bytes, cursor.offset, cursor.lag) == (6, 9, 1, 2)
    assert read_all(cursor) == [b"b", b"c"]


# --- times


def test_every_message_has_its_time(time):
    memory = Memory(PLENTY, PLENTY, time.clock)
    log = memory.open_log()
    cursor = log.open_cursor()
    expected = []
    for number in range(100):
        time.now += (number % 3) / 1000
        size = 20_000 if number % 10 == 0 else 10
        publish(log, *[bytes(size)] * (1 + number % 2))
        expected += [int(time.now * 1000)] * (1 + number % 2)
    for most in (1, 3, 7, 1000):
        cursor.seek(0)
        got = []
        while batch := cursor.read(most, 1 << 20):
            got += [message.time_ms for message in batch.messages()]
        assert got == expected
    for time_ms in {*expected, 0, expected[0] - 1, expected[-1] + 1, 10**15}:
        assert log.find_time(time_ms) == sum(1 for each in expected if each < time_ms)


def test_times_never_go_back(time):
    memory = Memory(PLENTY, PLENTY, time.clock)
    log = memory.open_log()
    publish(log, b"a")
    time.now -= 1000
    publish(log, b"b")
    time.now += 1001
    publish(log, b"c")
    (batch,) = log.peek(0, 9, 100)
    assert [message.time_ms for message in batch.messages()] == [1_000_000_500, 1_000_000_500, 1_000_001_500]
