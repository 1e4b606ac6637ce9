"""When the groups' state is written, what is in it, and what becomes of it when that fails."""

from __future__ import annotations

import threading

import gevent
import pytest

from gstream.errors import DiskError, DiskFullError
from gstream.storage.changes import DelayedMessage, TopicRow
from gstream.storage.state import State
from gstream.storage.threads import Threads
from tests.unit.disk_ground import TIMEOUT_SECONDS, disk_grounds, until

LATER = DelayedMessage(0, 0, None, ord("p"), b"pa\n")


class FakeMeta:
    """Where changes are written. written: those that were. error: what the next writes raise."""

    def __init__(self):
        self.written = []
        self.error = None
        self.tries = 0
        self.closed = False

    def write(self, changes):
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.written.append(changes)

    def close(self):
        self.closed = True


class Group:
    """Has something to remember."""

    def __init__(self, name, low=0):
        self.name = name
        self.low = low
        self.asked = 0

    def collect(self, changes):
        self.asked += 1
        changes.lows["topic", self.name, 0] = self.low


@pytest.fixture
def threads():
    threads = Threads()
    yield threads
    threads.close()


@pytest.fixture
def meta():
    return FakeMeta()


@pytest.fixture
def state(meta, threads):
    state = State(meta, threads)
    state.start()
    yield state
    if not meta.closed:
        state.close()


def test_what_was_noted_is_written_together_and_once(state, meta):
    groups = [Group("a", 1), Group("b", 2)]
    for group in groups:
        state.note(group)
    groups[0].low = 5
    state.note(groups[0])
    until(lambda: meta.written)
    assert [changes.lows for changes in meta.written] == [{("topic", "a", 0): 5, ("topic", "b", 0): 2}]
    assert [group.asked for group in groups] == [1, 1]


def test_nothing_is_written_when_nothing_has_changed(state, meta):
    state.commit().wait()
    state.note()
    state.commit().wait()
    assert meta.tries == 0


def test_a_commit_writes_at_once_and_with_others(state, meta):
    group = Group("a", 1)
    state.note(group)
    first, second = state.commit(), state.commit()
    assert first is second
    first.wait()
    assert len(meta.written) == 1
    assert state.commit() is not first


def test_what_changes_while_it_is_written_is_written_next(state, meta):
    group = Group("a", 1)

    def write(changes):
        FakeMeta.write(meta, changes)
        group.low += 1
        state.note(group)

    meta.write = write
    state.note(group)
    state.commit().wait()
    meta.write = lambda changes: FakeMeta.write(meta, changes)
    state.commit().wait()
    assert [changes.lows["topic", "a", 0] for changes in meta.written] == [1, 2]


def test_what_could_not_be_written_is_written_with_what_came_after(state, meta, caplog):
    meta.error = DiskFullError("meta.db: full")
    one, other = Group("a", 1), Group("b", 1)
    state.note(one)
    state.changes.topics["topic"] = TopicRow(1)
    with pytest.raises(DiskError, match="full"):
        state.commit().wait()
    with pytest.raises(DiskError, match="full"):
        state.commit().wait()
    one.low = 7
    state.note(one)
    state.note(other)
    meta.error = None
    state.commit().wait()
    (changes,) = meta.written
    assert changes.lows == {("topic", "a", 0): 7, ("topic", "b", 0): 1}
    assert changes.topics == {"topic": TopicRow(1)}
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"], "each is said once"


def test_it_is_tried_again_by_itself(state, meta):
    meta.error = DiskFullError("meta.db: full")
    state.note(Group("a", 1))
    until(lambda: meta.tries)
    meta.error = None
    until(lambda: meta.written)
    assert [changes.lows for changes in meta.written] == [{("topic", "a", 0): 1}]


def test_a_bug_does_not_end_the_writing(state, meta, caplog):
    meta.error = ValueError("something of a topic that is not there")
    state.note(Group("a", 1))
    with pytest.raises(DiskError, match="bug"):
        state.commit().wait()
    meta.error = None
    state.commit().wait()
    assert len(meta.written) == 1
    assert any(record.exc_info for record in caplog.records)


def test_one_that_cannot_be_asked_keeps_nobody_waiting(state, meta, caplog):
    broken = Group("broken")
    del broken.low
    state.note(broken)
    state.note(Group("a", 1))
    with pytest.raises(DiskError, match="bug"):
        state.commit().wait()
    assert [changes.lows for changes in meta.written] == [{("topic", "a", 0): 1}], "others are written"
    assert any(record.exc_info for record in caplog.records)
    state.note(Group("a", 2))
    state.commit().wait()
    assert len(meta.written) == 2


def test_a_bug_while_it_is_handed_over_does_not_end_the_writing(state, meta, monkeypatch):
    def fail(*_):
        raise RuntimeError("can't start new thread")

    state.note(Group("a", 1))
    with monkeypatch.context() as patch:
        patch.setattr(state._pool, "apply", fail)
        with pytest.raises(DiskError, match="new thread"):
            state.commit().wait()
    state.commit().wait()
    assert [changes.lows for changes in meta.written] == [{("topic", "a", 0): 1}]


def may_begin(state):
    try:
        state.check()
    except DiskError as error:
        assert "full" in str(error)  # noqa: PT017  # it need not be raised
        return False
    return True


def test_while_it_fails_nothing_begins_but_what_shows_whether_it_still_does(state, meta):
    assert may_begin(state)
    meta.error = DiskFullError("meta.db: full")
    state.changes.delayed["topic", 0] = LATER
    with pytest.raises(DiskError):
        state.commit().wait()
    until(lambda: meta.tries == 2)
    assert not may_begin(state), "it is tried with what is there"
    state.changes.remove_delayed("topic", 0)
    state.commit().wait()
    assert state.is_failing, "nothing was to be written, and so nothing is known"
    assert [may_begin(state) for _ in range(3)] == [True, False, False]
    until(lambda: may_begin(state))  # whether the first has tried, or not
    meta.error = None
    state.note(Group("a", 1))
    state.commit().wait()
    assert not state.is_failing
    assert [may_begin(state) for _ in range(2)] == [True, True]


def test_of_a_message_that_was_never_kept_nothing_is_written(meta, threads):
    """Refused again and again, they would fill the memory."""
    state = State(meta, threads)
    meta.error = DiskFullError("meta.db: full")
    state.changes.delayed["topic", 0] = LATER
    state.start()
    state.changes.remove_delayed("topic", 0)
    assert not state.changes

    def write(changes):
        state.changes.remove_delayed("topic", 1)  # while it is being written
        FakeMeta.write(meta, changes)

    meta.write = write
    state.changes.delayed["topic", 1] = LATER
    with pytest.raises(DiskError):
        state.commit().wait()
    assert not state.changes
    meta.error = None
    state.changes.delayed["topic", 1] = LATER
    state.commit().wait()
    assert state.changes.delayed == {("topic", 1): None}, "this one is there, and has to go"
    meta.write = lambda changes: FakeMeta.write(meta, changes)
    state.close()


def test_closing_writes_what_is_left(state, meta):
    group = Group("a", 3)
    state.note(group)
    state.close()
    assert [changes.lows for changes in meta.written] == [{("topic", "a", 0): 3}]
    assert meta.closed


def test_closing_while_it_is_written(state, meta):
    begun, may_end = threading.Event(), threading.Event()

    def write(changes):
        begun.set()
        assert may_end.wait(TIMEOUT_SECONDS)
        FakeMeta.write(meta, changes)

    meta.write = write
    group = Group("a", 1)
    state.note(group)
    commit = state.commit()
    until(begun.is_set)
    group.low = 2
    state.note(group)
    closing = gevent.spawn(state.close)
    gevent.idle()
    assert not meta.closed
    may_end.set()
    closing.get()
    assert commit.is_done
    assert [changes.lows for changes in meta.written] == [{("topic", "a", 0): 1}, {("topic", "a", 0): 2}]
    assert meta.closed


def test_closing_says_what_is_lost(state, meta, caplog):
    meta.error = DiskFullError("meta.db: full")
    state.note(Group("a", 3))
    state.close()
    assert "may come twice" in caplog.text
    assert meta.closed


# --- on an engine


@pytest.fixture
def ground(tmp_path):
    with disk_grounds(tmp_path) as make:
        yield make()


def test_a_group_is_kept_although_it_has_taken_nothing(ground):
    ground.topic.group("one")
    ground.restart()
    assert list(ground.topic.groups) == ["one"]
    ground.topic.forget_group("one")
    ground.restart()
    assert list(ground.topic.groups) == []


def test_a_group_of_a_name_that_was_removed_is_new(ground):
    ground.publish(b"a", b"b", b"c")
    consumer, batch = ground.lease(2, "one")
    ground.topic.groups["one"].leave(consumer)
    ground.save()
    ground.topic.forget_group("one")
    again = ground.topic.group("one")
    assert again.backlog == 3
    ground.restart()
    batch = ground.take("one")
    assert (batch.bodies(), batch.attempt) == ([b"a", b"b", b"c"], 1)


def test_delayed_messages_are_kept_before_they_are_answered(ground):
    assert ground.topic.publish_once(b"later", None, 60, b"id") is None
    ground.topic.commit.wait()
    saved = ground.disk.state.meta.load()
    assert [each.data for each in saved.delayed.values()] == [b"plater\n"]
    ground.restart()
    assert ground.topic.delayed_count == 1
    assert ground.topic.publish_once(b"later", None, 60, b"id") is None, "it is known"
    assert ground.topic.delayed_count == 1
    ground.sleep(61)
    ground.disk.flush()
    assert ground.take_all() == [b"later"]
    assert ground.topic.publish_once(b"later", None, 60, b"id") == 0
    ground.restart()
    assert ground.topic.delayed_count == 0
    assert ground.topic.publish_once(b"later", None, 60, b"id") == 0


def test_delayed_messages_whose_time_has_passed_come_in_the_order_of_their_times(ground):
    for seconds in (30, 10, 20):
        ground.topic.publish_once(b"%d" % seconds, None, seconds, None)
    ground.topic.commit.wait()
    ground.now += 100
    ground.restart()
    ground.sleep(0)
    ground.disk.flush()
    assert ground.take_all() == [b"10", b"20", b"30"]


def test_attempts_are_kept(ground):
    ground.publish(b"a", b"b")
    for attempt in (1, 2, 3):
        _, batch = ground.lease(1)
        assert (batch.bodies(), batch.attempt) == ([b"a"], attempt)
        ground.restart()
    batch = ground.take(most=1)
    assert (batch.bodies(), batch.attempt) == ([b"a"], 4)


def test_a_place_to_which_a_group_was_moved_is_kept(ground):
    ground.publish(*[b"%d" % number for number in range(10)])
    group = ground.topic.group()
    consumer, _ = ground.lease(8)
    assert group.acknowledge(consumer, [1, 2, 5]) == []
    ground.save()
    assert group.seek(lambda _log: 4) == [4]
    ground.restart()
    assert ground.take_all() == [b"%d" % number for number in range(4, 10)]
