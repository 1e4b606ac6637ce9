"""The memory engine: what is kept for those who want it again, what makes room, and times."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from gstream.batch import pack
from gstream.storage.chain import LARGE_BATCH_BYTES
from gstream.storage.memory import Memory
from gstream.topic_options import TopicOptions

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


# --- limits, and topics that are logs


def test_of_a_topic_that_is_a_log_everything_stays_as_long_as_there_is_room():
    memory = Memory(100_000, retain_bytes=0)
    log = memory.open_log("log")
    other = memory.open_log("other")
    memory.set_options("log", TopicOptions(is_log=True), [log])
    later = memory.open_log("log", 1)
    cursors = {each: each.open_cursor() for each in (log, other, later)}
    for number in range(9):
        for each in (log, other, later):
            if each is not later or number < 2:
                assert publish(each, bytes(20_000)) == 1
                assert len(read_all(cursors[each])) == 1
        assert memory.stored_bytes <= 100_000
    assert memory.used_bytes == 0
    assert other.kept_bytes == 0
    assert log.kept_bytes + later.kept_bytes > 60_000
    assert log.oldest_offset > 0, "the room was needed"
    cursors[log].seek(0)
    assert memory.used_bytes == log.kept_bytes


@pytest.mark.parametrize("with_group", [True, False])
def test_what_is_beyond_a_limit_goes_taken_or_not(with_group, caplog, time):
    memory = Memory(PLENTY, PLENTY, time.clock, time.agenda)
    log = memory.open_log("log")
    cursor = log.open_cursor() if with_group else None
    memory.set_limits("log", 100_000, None)
    for number in range(50):
        publish(log, b"%d:" % number + bytes(20_000))
        assert log.kept_bytes <= 100_000 + 20_100
        assert memory.stored_bytes == memory.used_bytes == log.kept_bytes
    assert log.oldest_offset == 45
    time.sleep(1)
    if cursor is None:
        assert (memory.lost_count, caplog.records) == (0, [])
        cursor = log.open_cursor()
    else:
        (told,) = caplog.records
        assert (told.topic, told.partition, told.messages, told.before) == ("log", 0, memory.lost_count, 45)
        assert memory.lost_count == 45
    assert [body.split(b":")[0] for body in read_all(cursor)] == [b"%d" % number for number in range(45, 50)]
    assert memory.used_bytes == 0
    assert dict(memory.rows())["memory.lost"] == memory.lost_count


def test_what_is_leased_or_was_taken_is_not_lost():
    memory = Memory(PLENTY, retain_bytes=PLENTY)
    log = memory.open_log("log")
    fast, slow = log.open_cursor(), log.open_cursor()
    for _ in range(10):
        publish(log, bytes(20_000))
    read_all(fast)
    slow.read(7, PLENTY)
    memory.set_limits("log", 40_000, None)
    assert (log.oldest_offset, fast.offset, slow.offset) == (8, 10, 8)
    assert memory.lost_count == 7
    assert memory.used_bytes == memory.stored_bytes == log.kept_bytes == 40_004
    read_all(slow)
    assert memory.used_bytes == 0


def test_what_is_older_than_a_limit_goes(time):
    memory = Memory(PLENTY, PLENTY, time.clock, time.agenda)
    log, other = memory.open_log("log"), memory.open_log("other")
    cursor = log.open_cursor()
    memory.set_limits("log", None, 8.0)
    for number in range(100):
        publish(log, b"%d" % number)
        publish(other, b"x")
        time.sleep(1)
        assert number - 10 <= log.oldest_offset <= max(0, number - 7)
        assert memory.used_bytes == log.kept_bytes + other.kept_bytes
    assert cursor.offset == log.oldest_offset == memory.lost_count
    assert read_all(cursor)[-1] == b"99"
    for _ in range(11):
        time.sleep(1)
    assert (log.kept_bytes, log.oldest_offset, log.end_offset) == (0, 100, 100)
    assert other.oldest_offset == 0
    publish(log, b"new")
    assert read_all(cursor) == [b"new"]
    assert memory.stored_bytes == 3 * 100 + 5


def test_the_servers_limits_are_those_of_topics_that_have_none(time):
    memory = Memory(PLENTY, PLENTY, time.clock, time.agenda, (40_000, 8.0))
    plain, own = memory.open_log("plain"), memory.open_log("own")
    memory.set_limits("own", 0, 0.0)
    for _ in range(10):
        publish(plain, bytes(20_000))
        publish(own, bytes(20_000))
    assert (plain.oldest_offset, own.oldest_offset) == (8, 0)
    for _ in range(12):
        time.sleep(1)
    assert (plain.oldest_offset, own.oldest_offset) == (10, 0)
    memory.set_limits("own", None, None)
    assert own.oldest_offset == 8


def test_nobody_looks_after_a_topic_that_was_removed(time):
    memory = Memory(PLENTY, PLENTY, time.clock, time.agenda, (0, 8.0))
    log = memory.open_log("log")
    publish(log, b"a")
    memory.facts.put("topic/log/id", b"1")
    memory.remove_topic("log", [log])
    assert time.agenda.run_next() is None
    assert (memory.used_bytes, memory.stored_bytes, len(memory.facts)) == (0, 0, 0)
