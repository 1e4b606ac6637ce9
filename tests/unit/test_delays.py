"""Messages that are published later, on an engine that remembers them and on one that does not."""

from __future__ import annotations

import gevent
import pytest

from gstream.batch import Batch, pack
from gstream.commit import Commit
from gstream.counted import CountedBatch, pack_counted
from gstream.delays import AGAIN_SECONDS, DELAYED_BYTES, DUE_AT_ONCE, Delayed, Delays
from gstream.errors import DiskFullError
from gstream.storage.budget import Budget

FULL = DiskFullError("full")


class Shelf:
    """Delays, and what was published of them. pending: what publishing answers, and None when that is empty."""

    def __init__(self, time, state=None):
        self.time = time
        self.state = state
        self.budget = Budget(1 << 20)
        self.published = []
        self.pending = []
        self.delays = Delays("t", self.budget, time.agenda, self.publish, state, time.clock)

    def publish(self, delayed):
        self.published.append(delayed.data)
        return self.pending.pop(0) if self.pending else None

    def add(self, data, seconds, id=None, partition=0):
        return self.delays.add(Delayed(data, Batch, partition, id), seconds)

    @property
    def kept(self):
        """What is remembered, by number."""
        self.state.save()
        return {number: each.data for (topic, number), each in self.state.saved.delayed.items() if topic == "t"}


def finish(commit, error=None):
    commit.finish(error)
    gevent.idle()


@pytest.fixture
def forgetful(time):
    return Shelf(time)


@pytest.fixture
def shelf(time, make_state):
    return Shelf(time, make_state())


def test_each_has_its_time(forgetful):
    for name, seconds in ((b"c", 3.0), (b"a", 1.0), (b"b", 2.0), (b"b2", 2.0)):
        assert forgetful.add(name, seconds) is None
    assert (len(forgetful.delays), forgetful.budget.held_bytes) == (4, 5 + 4 * DELAYED_BYTES)
    forgetful.time.sleep(0.9)
    assert forgetful.published == []
    forgetful.time.sleep(0.1)
    assert forgetful.published == [b"a"]
    forgetful.time.sleep(1)
    assert forgetful.published == [b"a", b"b", b"b2"]
    forgetful.time.sleep(100)
    assert forgetful.published == [b"a", b"b", b"b2", b"c"]
    assert (len(forgetful.delays), forgetful.budget.held_bytes) == (0, 0)


def test_many_at_once_leave_others_a_turn(forgetful):
    for number in range(DUE_AT_ONCE + 1):
        forgetful.add(b"%d" % number, 1.0)
    forgetful.time.now += 1
    forgetful.time.agenda.run_next()
    assert len(forgetful.published) == DUE_AT_ONCE
    forgetful.time.run()
    assert forgetful.published == [b"%d" % number for number in range(DUE_AT_ONCE + 1)]


def test_there_is_room_for_a_message_and_what_it_costs(forgetful):
    assert forgetful.delays.room_bytes == (1 << 20) - DELAYED_BYTES
    forgetful.add(b"a" * 100, 1.0)
    assert forgetful.delays.room_bytes == (1 << 20) - 100 - 2 * DELAYED_BYTES


def test_nothing_is_published_of_what_is_forgotten(forgetful):
    forgetful.add(b"a", 1.0)
    forgetful.delays.clear()
    assert (len(forgetful.delays), forgetful.budget.held_bytes) == (0, 0)
    forgetful.time.sleep(100)
    assert forgetful.published == []


# --- remembered


def test_a_message_is_remembered_before_its_producer_is_answered(shelf):
    commit = shelf.add(b"a", 1.5, b"id")
    assert not commit.is_done
    shelf.state.save()
    assert (commit.is_done, commit.error) == (True, None)
    ((key, kept),) = shelf.state.saved.delayed.items()
    assert key == ("t", 0)
    assert (kept.partition, kept.id, kept.kind, kept.data) == (0, b"id", Batch.magic, b"a")
    assert kept.due_ms == int((shelf.time.now + 1.5) * 1000)


def test_a_message_that_cannot_be_remembered_is_not_published(shelf):
    commit = shelf.add(b"a", 1.0)
    other = shelf.add(b"b", 1.0)
    assert commit is other
    shelf.state.save(FULL)
    assert commit.error is FULL
    assert (len(shelf.delays), shelf.budget.held_bytes) == (0, 0)
    assert not shelf.state.changes.delayed, "and leaves nothing to be written"
    assert shelf.kept == {}, "nor later, when there is room again"
    shelf.time.sleep(100)
    assert shelf.published == []


def test_what_is_stored_in_its_log_is_remembered_no_longer(shelf):
    shelf.pending = [Commit()]
    (pending,) = shelf.pending
    shelf.add(b"a", 1.0)
    assert shelf.kept == {0: b"a"}
    shelf.time.sleep(1)
    assert (shelf.published, shelf.kept, len(shelf.delays)) == ([b"a"], {0: b"a"}, 1)
    finish(pending)
    assert (shelf.kept, len(shelf.delays), shelf.budget.held_bytes) == ({}, 0, 0)
    shelf.time.sleep(100)
    assert shelf.published == [b"a"]


def test_what_cannot_be_stored_is_tried_until_it_is(shelf):
    commits = [Commit() for _ in range(3)]
    shelf.pending = list(commits)
    shelf.add(b"a", 1.0)
    shelf.time.sleep(1)
    for tries, commit in enumerate(commits[:2], 1):
        finish(commit, FULL)
        assert (len(shelf.published), shelf.kept) == (tries, {0: b"a"})
        shelf.time.sleep(AGAIN_SECONDS - 0.1)
        assert len(shelf.published) == tries
        shelf.time.sleep(0.1)
    finish(commits[2])
    shelf.time.sleep(100)
    assert (shelf.published, shelf.kept, len(shelf.delays)) == ([b"a"] * 3, {}, 0)


def test_those_behind_it_wait_and_those_of_other_partitions_do_not(shelf):
    """A full disk and a hundred thousand messages that are due must not keep the server busy."""
    first, again, other, last = commits = [Commit() for _ in range(4)]
    shelf.pending = [first, first, other, again, last]
    shelf.add(b"a", 1.0)
    shelf.add(b"b", 1.0)
    shelf.add(b"c", 1.5)
    shelf.add(b"other", 1.5, partition=1)
    shelf.time.sleep(1)
    finish(first, FULL)
    shelf.time.sleep(0.5)
    finish(other)
    assert shelf.published == [b"a", b"b", b"other"]
    shelf.time.sleep(AGAIN_SECONDS)
    assert shelf.published == [b"a", b"b", b"other", b"a"], "one is tried"
    shelf.time.sleep(10)
    assert len(shelf.published) == 4, "and no other, until it is known what became of that one"
    finish(again, FULL)
    shelf.time.sleep(AGAIN_SECONDS)
    assert shelf.published[4:] == [b"a"]
    finish(last)
    assert all(commit.is_done for commit in commits)
    shelf.time.run()
    assert shelf.published[5:] == [b"b", b"c"]
    assert (len(shelf.delays), shelf.kept) == (0, {})


def test_a_message_that_was_not_kept_while_it_was_tried_does_not_stop_the_others(shelf):
    tried = Commit()
    shelf.add(b"a", 1.0)
    shelf.state.save()
    shelf.pending = [tried]
    shelf.time.sleep(1)
    finish(tried, FULL)
    tried = Commit()
    shelf.pending = [tried]
    shelf.delays.clear()
    shelf.add(b"b", 1.0)
    shelf.time.sleep(1)
    shelf.state.save(FULL)
    finish(tried, FULL)
    shelf.add(b"c", 0.5)
    shelf.time.sleep(AGAIN_SECONDS)
    assert shelf.published == [b"a", b"b", b"c"]


@pytest.mark.parametrize("error", [None, FULL])
def test_a_message_that_was_forgotten_while_it_was_stored(shelf, error):
    commit = Commit()
    shelf.pending = [commit]
    shelf.add(b"a", 1.0)
    shelf.time.sleep(1)
    shelf.delays.clear()
    finish(commit, error)
    shelf.time.sleep(100)
    assert (shelf.published, shelf.kept, shelf.budget.held_bytes) == ([b"a"], {}, 0)


# --- restarting


def restart(shelf, later=0.0, partitions=1):
    """The shelf of a server that is started so much later."""
    shelf.state.save()
    saved = {number: each for (_, number), each in shelf.state.saved.delayed.items()}
    shelf.time.now += later
    again = Shelf(type(shelf.time)(), type(shelf.state)(shelf.state.saved))
    again.time.now = shelf.time.now
    again.delays.restore(saved, partitions)
    return again


def test_what_was_remembered_has_its_time_after_a_restart(shelf):
    shelf.add(b"a", 10.0)
    shelf.add(b"c", 2.0)
    shelf.add(b"b", 1.0)
    again = restart(shelf, 5.0)
    assert (len(again.delays), again.budget.held_bytes) == (3, 3 + 3 * DELAYED_BYTES)
    again.time.run()
    assert again.published == [b"b", b"c"], "their time is over, and they come in its order"
    again.time.sleep(4.9)
    assert again.published == [b"b", b"c"]
    again.time.sleep(0.1)
    assert again.published == [b"b", b"c", b"a"]
    assert again.kept == {}


def test_numbers_go_on_behind_those_that_are_there(shelf):
    for name in (b"a", b"b", b"c"):
        shelf.add(name, 10.0)
    again = restart(shelf)
    again.add(b"d", 10.0)
    assert again.kept == {0: b"a", 1: b"b", 2: b"c", 3: b"d"}


def test_a_message_comes_back_as_it_was(shelf, time):
    data = pack_counted(b"a\n", b"key")
    shelf.delays.add(Delayed(data, CountedBatch, 3, b"id"), 1.0)
    got = []
    again = restart(shelf, partitions=4)
    other = Delays("t", again.budget, again.time.agenda, got.append, again.state, time.clock)
    other.restore({number: each for (_, number), each in again.state.saved.delayed.items()}, 3)
    again.time.sleep(10)
    assert got == [Delayed(data, CountedBatch, 2, b"id")], "in the last partition, if there are fewer now"


def test_packed_lines_come_back_as_such(shelf):
    shelf.add(pack(b"a"), 1.0)
    again = restart(shelf)
    again.time.sleep(1)
    assert again.published == [b"pa\n"]
