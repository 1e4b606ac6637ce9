"""What a group has still to take, where it has to be read from the disk first, and is remembered."""

from __future__ import annotations

import gevent
import pytest

from gstream.errors import DiskError, StorageError
from gstream.mailbox import Mailbox

BROKEN = StorageError("/data/topics: Input/output error")


def cursor_of(grounds, partition=0):
    (cursor,) = grounds.logs[partition].cursors
    return cursor


def away(grounds, *bodies, partition=0):
    """Messages that have to be read from the disk before they can be taken."""
    grounds.publish(*bodies, partition=partition)
    grounds.logs[partition].is_away = True


def load(grounds):
    """A greenlet that waits for what is read."""
    greenlet = gevent.spawn(grounds.group.load)
    gevent.idle()
    return greenlet


# --- what is read first


def test_in_memory_everything_is_ready(grounds):
    grounds.publish(b"a")
    assert not grounds.group.is_unready
    assert grounds.take() == [b"a"]
    assert not grounds.group.is_unready


def test_who_finds_nothing_waits_for_what_is_read(kept):
    away(kept, b"a")
    assert not kept.group.is_unready, "nobody has asked for it"
    assert kept.take() is None
    assert kept.group.is_unready
    greenlet = load(kept)
    assert not greenlet.dead
    cursor_of(kept).load()
    greenlet.join()
    assert greenlet.successful()
    assert kept.take() == [b"a"]
    assert not kept.group.is_unready


def test_all_who_wait_for_what_is_read_are_told(kept):
    away(kept, b"a")
    kept.take()
    greenlets = [load(kept) for _ in range(3)]
    cursor_of(kept).load()
    gevent.joinall(greenlets)
    assert all(greenlet.successful() for greenlet in greenlets)


def test_what_is_there_already_is_not_waited_for(kept):
    kept.group.load()
    assert kept.take() is None
    assert not kept.group.is_unready


def test_what_cannot_be_read_is_an_error(kept):
    away(kept, b"a")
    kept.take()
    greenlet = load(kept)
    cursor_of(kept).load(BROKEN)
    greenlet.join()
    assert (type(greenlet.exception), str(greenlet.exception)) == (DiskError, str(BROKEN))
    assert kept.group.is_unready
    with pytest.raises(DiskError, match="Input/output error"):
        kept.group.load()
    cursor_of(kept).load()
    assert kept.take() == [b"a"]
    assert not kept.group.is_unready


def test_one_partition_does_not_wait_for_another(make_kept):
    kept = make_kept(partitions=2)
    away(kept, b"a")
    kept.publish(b"b", partition=1)
    assert kept.take() == [b"b"]
    assert kept.take() is None
    assert kept.group.is_unready
    greenlet = load(kept)
    cursor_of(kept).load()
    greenlet.join()
    assert kept.take() == [b"a"]


def test_what_was_read_is_handed_to_who_has_waited_longest(kept):
    mailboxes = [Mailbox() for _ in range(3)]
    kept.log.is_away = True
    for mailbox in mailboxes:
        kept.group.waiting[mailbox] = 1
    kept.publish(b"a", b"b")
    assert list(kept.group.waiting) == mailboxes
    cursor_of(kept).load()
    assert [mailbox.get_nowait().bodies() for mailbox in mailboxes[:2]] == [[b"a"], [b"b"]]
    assert list(kept.group.waiting) == mailboxes[2:]


# --- what is remembered


def test_what_was_taken_for_good_is_done(kept):
    kept.publish(b"a", b"b", b"c")
    batch = kept.group.take(2, 100)
    kept.group.done(batch)
    assert kept.group.acknowledged_count == 2
    kept.restart()
    assert kept.take_all() == [(b"c", 1)]


def test_what_was_taken_and_not_delivered_comes_again(kept):
    kept.publish(b"a", b"b", b"c")
    kept.group.take(2, 100)
    kept.restart()
    assert kept.take_all() == [(b"a", 1), (b"b", 1), (b"c", 1)]


@pytest.mark.parametrize("saves", [True, False], ids=["saved before", "not saved before"])
def test_what_was_done_and_did_not_arrive_is_not_done(kept, saves):
    kept.publish(b"a", b"b", b"c")
    batch = kept.group.take(2, 100)
    kept.group.done(batch)
    if saves:
        kept.memory.state.save()
    kept.group.undo(batch)
    assert (kept.group.acknowledged_count, kept.group.backlog) == (0, 3)
    kept.restart()
    assert kept.group.backlog == 3
    assert kept.take_all() == [(b"a", 1), (b"b", 1), (b"c", 1)]


def test_what_did_not_arrive_is_done_when_it_arrives_at_another(kept):
    kept.publish(b"a", b"b")
    batch = kept.group.take(2, 100)
    kept.group.done(batch)
    kept.memory.state.save()
    kept.group.undo(batch)
    kept.memory.state.save()
    kept.group.done(kept.group.take(2, 100))
    kept.restart()
    assert kept.take_all() == []
    assert kept.memory.state.saved.kept == {}


def test_after_a_crash_what_was_not_written_comes_twice(kept):
    kept.publish(b"a", b"b", b"c")
    kept.group.done(kept.group.take(1, 100))
    kept.memory.state.save()
    kept.group.done(kept.group.take(1, 100))
    kept.restart(saves=False)
    assert kept.take_all() == [(b"b", 1), (b"c", 1)]


def test_every_partition_is_remembered(make_kept):
    kept = make_kept(partitions=3)
    for number in range(3):
        kept.publish(*(b"%d-%d" % (number, at) for at in range(3)), partition=number)
    for _ in range(6):
        batch = kept.group.take(1, 0)
        if batch.partition != 1:
            kept.group.done(batch)
    kept.restart()
    assert kept.group.backlog == 5
    assert sorted(body for body, _ in kept.take_all()) == [b"0-2", b"1-0", b"1-1", b"1-2", b"2-2"]


def test_who_streams_gets_a_fair_part_of_what_is_not_done(make_kept):
    """Ahead of what comes are messages that are done: they count for nobody."""
    kept = make_kept()
    kept.publish(*(b"%d" % number for number in range(100)))
    batch = kept.group.take(100, 1 << 20)
    kept.group.done(batch.part(1, 90))
    kept.restart()
    mailboxes = [Mailbox() for _ in range(2)]
    for mailbox in mailboxes:
        kept.group.waiting[mailbox] = 1000
    kept.group.wake()
    counts = [mailbox.get_nowait().count for mailbox in mailboxes]
    assert counts == [1, 9]
    assert kept.group.backlog == 0


def test_a_group_whose_log_lost_messages_by_a_limit_goes_on(kept):
    kept.publish(*(b"%d" % number for number in range(10)))
    kept.group.done(kept.group.take(10, 1 << 20).part(3, 4))
    kept.restart()
    assert kept.log.drop_before(6) == 3
    assert kept.group.backlog == 3
    mailbox = Mailbox()
    kept.group.waiting[mailbox] = 1000
    kept.group.wake()
    assert mailbox.get_nowait().bodies() == [b"7", b"8", b"9"]


def test_a_log_that_is_added_is_remembered_too(make_kept):
    kept = make_kept()
    kept.publish(b"a", b"b")
    kept.group.done(kept.group.take(1, 0))
    kept.partitions = 2
    log = kept.memory.open_log("default", 1)
    log.on_stored = lambda _count: kept.group.wake()
    kept.logs.append(log)
    assert kept.group.add_log(log).offset == 0
    assert (kept.group.partition_count, kept.group.several, kept.group.seeks) == (2, True, [0, 0])
    kept.publish(b"c", b"d", partition=1)
    assert kept.group.backlog == 3
    while (batch := kept.group.take(1, 0)).partition == 0:
        pass
    kept.group.done(batch)
    kept.restart()
    assert sorted(body for body, _ in kept.take_all()) == [b"b", b"d"]
