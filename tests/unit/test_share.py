from __future__ import annotations

import pytest

from gstream.agenda import Agenda
from gstream.batch import pack
from gstream.share import HALVED_MESSAGES, Share
from gstream.storage.memory import Memory


@pytest.fixture
def memory():
    return Memory(1 << 20, 1 << 20)


@pytest.fixture
def log(memory):
    return memory.open_log()


@pytest.fixture
def share(log):
    return Share(log, Agenda(), lambda: None)


def fill(log, *bodies):
    assert log.append(pack(*bodies), len(bodies)) == len(bodies)


def drain(share):
    """(offset, attempt) of all there is to take, one by one."""
    taken = []
    while batch := share.take(1, 0):
        taken.append((batch.offset, batch.attempt))
    return taken


def test_what_comes_back_comes_before_what_nobody_has_had(log, share):
    fill(log, b"a", b"b", b"c", b"d")
    first, second = share.take(1, 0), share.take(1, 0)
    assert share.backlog == 2
    second.attempt = 2
    share.give_back(second)
    share.give_back(first)
    assert (share.backlog, share.offset) == (4, 2)
    assert drain(share) == [(0, 1), (1, 2), (2, 1), (3, 1)]


def test_what_comes_back_later(log, share, memory):
    fill(log, b"a", b"b", b"c")
    batch = share.take(2, 100)
    later, sooner = batch.split(1)
    share.give_back_later(later, 20.0)
    share.give_back_later(sooner, 10.0)
    assert (share.backlog, share.later_count, share.next_return) == (1, 2, 10.0)
    assert memory.held_bytes == 6
    assert share.bring_back(9.9, 10) == 0
    assert (share.backlog, share.later_count) == (1, 2)
    assert share.bring_back(10.0, 10) > 0
    assert (share.backlog, share.later_count, share.next_return) == (2, 1, 20.0)
    assert drain(share) == [(1, 1), (2, 1)]
    share.bring_back(1000.0, 10)
    assert drain(share) == [(0, 1)]
    assert (memory.held_bytes, share.next_return) == (0, None)


@pytest.mark.parametrize("max_messages", [1, 2, 50, HALVED_MESSAGES, 1000])
def test_a_large_batch_that_comes_back_is_taken_in_parts(log, share, memory, max_messages):
    bodies = [b"%d" % number * (number % 5) for number in range(1000)]
    fill(log, *bodies)
    share.give_back(share.take(1000, 1 << 20))
    got = []
    while batch := share.take(max_messages, 1 << 20):
        assert batch.count <= max_messages
        assert batch.offset == len(got)
        got += batch.bodies()
        assert memory.held_bytes == len(pack(*bodies[len(got) :]))
        assert share.backlog == 1000 - len(got)
    assert got == bodies


def test_looking_takes_nothing(log, share, memory):
    fill(log, b"a", b"b", b"c", b"d", b"e")
    batch = share.take(3, 100)
    batch.attempt = 2
    share.give_back(batch)
    before = (share.backlog, memory.used_bytes, memory.held_bytes)
    for most in range(1, 7):
        seen = [(each.offset + at, each.attempt) for each in share.peek(most, 1000) for at in range(each.count)]
        assert seen == [(0, 2), (1, 2), (2, 2), (3, 1), (4, 1)][:most]
    assert (share.backlog, memory.used_bytes, memory.held_bytes) == before
    assert drain(share) == [(0, 2), (1, 2), (2, 2), (3, 1), (4, 1)]


def test_looking_stops_when_there_is_enough_to_see(log, share):
    fill(log, b"a" * 100, b"b" * 100, b"c" * 100)
    assert sum(batch.count for batch in share.peek(10, 1)) == 1
    share.give_back(share.take(1, 0))
    assert sum(batch.count for batch in share.peek(10, 1)) == 1


def test_seeking_goes_to_the_nearest_that_is_kept(log, share):
    fill(log, b"a", b"b", b"c")
    assert [share.seek(offset) for offset in (-5, 0, 2, 3, 99)] == [0, 0, 2, 3, 3]
    share.seek(1)
    assert drain(share) == [(1, 1), (2, 1)]


def test_nothing_is_kept_of_what_is_forgotten(log, share, memory):
    fill(log, b"a", b"b", b"c")
    first, second = share.take(1, 0), share.take(1, 0)
    share.give_back(first)
    share.give_back_later(second, 10.0)
    share.forget_returned()
    share.bring_back(1000.0, 10)
    assert (share.backlog, share.later_count, memory.held_bytes, share.next_return) == (1, 0, 0, None)


def test_a_closed_share_keeps_nothing(log, share, memory):
    other = Share(log, Agenda(), lambda: None)
    fill(log, b"a", b"b", b"c")
    other.take(3, 100)
    share.give_back(share.take(1, 0))
    assert (memory.used_bytes, memory.held_bytes) == (6, 3)
    share.close()
    assert (memory.used_bytes, memory.held_bytes) == (0, 0)
