"""A group: what is leased, comes back, and dies."""

from __future__ import annotations

import time

import gevent
import pytest

from gstream.batch import PARTITION_SHIFT
from gstream.commit import Commit
from gstream.consumer import Consumer
from gstream.errors import DiskFullError, FullError
from gstream.group import PIECE_MESSAGES, RESOLUTION_SECONDS
from gstream.mailbox import Mailbox


def lease(grounds, count=1, consumer=None):
    """A consumer that has leased the next messages, as one batch."""
    consumer = Consumer(grounds.memory) if consumer is None else consumer
    batch = grounds.group.take(count, 1 << 20)
    grounds.group.lease(consumer, batch)
    return consumer


def test_what_is_acknowledged_is_done(grounds):
    grounds.publish(b"a", b"b", b"c")
    consumer = lease(grounds, 3)
    group = grounds.group
    assert (group.backlog, group.leased_count, group.lag, group.consumer_count) == (0, 3, 3, 1)
    assert group.acknowledge(consumer, [2, 0]) == []
    assert group.acknowledge(consumer, [0, 1, 9]) == [0, 9]
    assert (group.acknowledged_count, group.taken_count, group.lag, group.consumer_count) == (3, 3, 0, 0)
    grounds.time.sleep(100)
    assert grounds.take_all() == []
    assert grounds.memory.held_bytes == 0


def test_a_lease_ends_in_its_time_and_a_little(grounds):
    grounds.publish(b"a", b"b")
    lease(grounds, 1)
    grounds.time.sleep(9.99)
    assert grounds.take(1) == [b"b"]
    grounds.time.sleep(0.01 + RESOLUTION_SECONDS)
    assert grounds.take_all() == [(b"a", 2)]
    assert grounds.group.returned_count == 1


def test_what_comes_back_comes_in_its_old_place(grounds):
    grounds.publish(*(b"%d" % number for number in range(6)))
    consumers = [lease(grounds, 2) for _ in range(2)]
    grounds.group.acknowledge(consumers[0], [1])
    grounds.time.sleep(10.1)
    assert grounds.take_all() == [(b"0", 2), (b"2", 2), (b"3", 2), (b"4", 1), (b"5", 1)]


def test_waiters_get_in_order_what_ended_together(grounds):
    grounds.publish(b"0", b"1", b"2")
    holders = [lease(grounds) for _ in range(3)]
    mailboxes = [Mailbox() for _ in range(3)]
    for mailbox in mailboxes:
        grounds.group.waiting[mailbox] = 1
    assert len(holders) == 3
    grounds.time.sleep(10.1)
    assert [mailbox.get_nowait().bodies() for mailbox in mailboxes] == [[b"0"], [b"1"], [b"2"]]


def test_a_message_given_back_comes_at_once_or_later(grounds):
    group = grounds.group
    grounds.publish(b"a", b"b")
    consumer = lease(grounds, 2)
    assert group.return_lease(consumer, 0, 5.0)
    assert group.return_lease(consumer, 1, 0)
    assert not group.return_lease(consumer, 1, 0)
    assert (group.backlog, group.lag) == (1, 2)
    assert grounds.take_all() == [(b"b", 2)]
    grounds.time.sleep(4.9)
    assert grounds.take_all() == []
    grounds.time.sleep(0.2)
    assert grounds.take_all() == [(b"a", 2)]


def test_a_message_that_was_not_touched_was_no_attempt(grounds):
    group = grounds.group
    grounds.publish(b"a", b"b", b"c")
    consumer = lease(grounds, 3)
    assert group.release(consumer, [2, 0, 0, 7]) == [0, 7]
    assert (group.taken_count, group.returned_count, group.leased_count) == (1, 2, 1)
    assert grounds.take_all() == [(b"a", 1), (b"c", 1)]
    group.leave(consumer)
    assert grounds.take_all() == [(b"b", 2)]
    assert grounds.memory.held_bytes == 0


def test_an_extended_lease_ends_at_its_new_time(grounds):
    group = grounds.group
    grounds.publish(b"a", b"b", b"c")
    consumer = lease(grounds, 3)
    assert group.extend(consumer, 0, 30.0)
    assert group.extend(consumer, 1, 1.0)
    assert not group.extend(consumer, 7, 1.0)
    grounds.time.sleep(1.1)
    assert grounds.take_all() == [(b"b", 2)]
    assert group.extend(consumer, 2, None)
    grounds.time.sleep(9.5)
    assert grounds.take_all() == []
    grounds.time.sleep(0.6)
    assert grounds.take_all() == [(b"c", 2)]
    grounds.time.sleep(20)
    assert grounds.take_all() == [(b"a", 2)]


def test_a_message_is_delivered_so_often_and_is_then_dead(grounds):
    grounds.publish(b"a", b"b")
    for attempt in (1, 2, 3):
        consumer = lease(grounds)
        assert consumer.find(0).attempt == attempt
        grounds.time.sleep(10.1)
    assert grounds.buried == [([b"a"], "its lease ended, after 3 attempts")]
    assert grounds.group.dead_count == 1
    assert grounds.take_all() == [(b"b", 1)]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda group, consumer: group.return_lease(consumer, 0, 0), "it was given back, after 1 attempts"),
        (lambda group, consumer: group.return_lease(consumer, 0, 9.0), "it was given back, after 1 attempts"),
        (lambda group, consumer: group.leave(consumer), "its consumer was gone, after 1 attempts"),
        (lambda group, consumer: group.bury(consumer, 0, "why"), "why"),
    ],
)
def test_reasons(make_grounds, end, reason):
    grounds = make_grounds(max_attempts=1)
    grounds.publish(b"a")
    end(grounds.group, lease(grounds))
    assert grounds.buried == [([b"a"], reason)]
    assert (grounds.group.lag, grounds.memory.held_bytes) == (0, 0)


def test_without_a_limit_nothing_dies(make_grounds):
    grounds = make_grounds(max_attempts=0)
    grounds.publish(b"a")
    for _ in range(100):
        lease(grounds)
        grounds.time.sleep(10.1)
    assert grounds.take_all() == [(b"a", 101)]


def test_what_never_reached_its_consumer_was_no_attempt(grounds):
    grounds.publish(b"a", b"b", b"c")
    group = grounds.group
    batch = group.take(3, 100)
    consumer = Consumer(grounds.memory)
    group.lease(consumer, batch)
    assert group.undo_lease(consumer, batch.split(1)[1]) == 2
    group.leave(consumer)
    assert grounds.take_all() == [(b"a", 2), (b"b", 1), (b"c", 1)]


def test_who_leaves_with_many_leases_returns_them_piece_by_piece(grounds):
    count = 3 * PIECE_MESSAGES
    grounds.publish(*(b"%d" % number for number in range(count)))
    consumer = Consumer(grounds.memory)
    for _ in range(count):
        lease(grounds, 1, consumer)
    grounds.group.leave(consumer)
    assert 0 < grounds.group.backlog < count
    assert grounds.group.busy
    assert grounds.group.lag == count
    grounds.time.run()
    assert not grounds.group.busy
    assert grounds.take_all() == [(b"%d" % number, 2) for number in range(count)]
    assert grounds.memory.held_bytes == 0


def test_many_leases_end_piece_by_piece(grounds):
    count = 3 * PIECE_MESSAGES
    grounds.publish(*(b"%d" % number for number in range(count)))
    consumer = Consumer(grounds.memory)
    for _ in range(count):
        lease(grounds, 1, consumer)
    grounds.time.now += 10.1
    assert grounds.time.agenda.run_next() == 0.0
    assert grounds.group.backlog == PIECE_MESSAGES
    grounds.time.run()
    assert grounds.group.backlog == count


def test_thousands_that_leave_together_take_a_time_that_grows_with_their_number(grounds):
    """Looking at all consumers for each that leaves would make this a minute."""
    count = 10_000
    grounds.publish(*[b"x"] * count)
    consumers = [lease(grounds) for _ in range(count)]
    began = time.process_time()
    for consumer in consumers:
        grounds.group.leave(consumer)
    assert grounds.group.backlog == count
    assert time.process_time() - began < 3


def test_ends_that_come_one_after_the_other_are_looked_for_now_and_then(grounds):
    """Each look is at all consumers; a client could have one made for every message that it gives back."""
    looks = 0
    grounds.publish(*(b"%d" % number for number in range(1000)))
    consumer = lease(grounds, 1000)
    for number in range(1000):
        grounds.group.return_lease(consumer, number, 1 + number / 1000)
    while (seconds := grounds.time.agenda.run_next()) is not None:
        looks += 1
        grounds.time.now += seconds
    assert grounds.take_all() == [(b"%d" % number, 2) for number in range(1000)]
    assert looks < 2.2 / RESOLUTION_SECONDS


def test_no_more_is_leased_than_there_is_memory_for(make_grounds):
    grounds = make_grounds(max_bytes=100)
    grounds.publish(*[b"x" * 8] * 10)
    other = grounds.make_group()
    grounds.group.check_leases()
    lease(grounds, 10)
    grounds.group.check_leases()
    other.lease(Consumer(grounds.memory), other.take(1, 0))
    with pytest.raises(FullError, match=r"^too much is leased"):
        other.check_leases()


def test_dead_letters_of_many_groups_do_not_fill_the_memory_beyond_twice_its_limit(make_server):
    server = make_server(max_memory_bytes=1000)
    server.publish(*[b"x" * 8] * 100)
    groups = [server.topic.group(f"{number}") for number in range(20)]
    for group in groups:
        consumer = Consumer(server.memory)
        while group.may_lease and (batch := group.take(1, 0)):
            group.lease(consumer, batch)
            group.bury(consumer, batch.id, "")
    assert server.memory.used_bytes + server.memory.held_bytes < 2 * 1000 + 200


def test_a_removed_group_takes_nothing_back(grounds):
    grounds.publish(b"a", b"b")
    group = grounds.group
    batch = group.take(1, 0)
    group.close()
    group.give_back(batch)
    assert (group.take(1, 0), group.backlog, group.peek(5, 100)) == (None, 0, [])
    assert Mailbox().wait(group, None) is None
    assert grounds.memory.held_bytes == 0


def test_partitions_take_turns_and_keep_their_order(make_grounds):
    grounds = make_grounds(partitions=3)
    for number in range(9):
        grounds.publish(b"%d" % number, partition=number % 3)
    taken = [grounds.take(1)[0] for _ in range(9)]
    assert sorted(taken[:3]) != taken[:3] or len({int(body) % 3 for body in taken[:3]}) == 3
    for partition in range(3):
        assert [int(body) for body in taken if int(body) % 3 == partition] == [partition, partition + 3, partition + 6]
    assert grounds.take(1) is None


# --- remembered


def finish(commit, error=None):
    commit.finish(error)
    gevent.idle()


def test_an_attempt_survives_a_restart(kept):
    kept.publish(b"a", b"b")
    lease(kept, 1)
    kept.restart()
    assert kept.group.backlog == 2
    lease(kept, 1)
    kept.restart()
    assert kept.take_all() == [(b"a", 3), (b"b", 1)]


def test_what_is_acknowledged_does_not_come_again(kept):
    kept.publish(*(b"%d" % number for number in range(6)))
    consumer = lease(kept, 5)
    assert kept.group.acknowledge(consumer, [3, 0, 0, 4, 99]) == [0, 99]
    kept.restart()
    assert (kept.group.backlog, kept.group.lag) == (3, 3)
    assert kept.take_all() == [(b"1", 2), (b"2", 2), (b"5", 1)]


def test_what_others_have_leased_is_not_acknowledged(kept):
    kept.publish(b"a", b"b", b"c")
    lease(kept, 2)
    other = lease(kept, 1)
    assert kept.group.acknowledge(other, [0, 1, 2]) == [0, 1]
    kept.restart()
    assert kept.take_all() == [(b"a", 2), (b"b", 2)]


def test_acknowledged_in_several_partitions(make_kept):
    kept = make_kept(partitions=2)
    for number in range(2):
        kept.publish(b"%d-0" % number, b"%d-1" % number, partition=number)
    consumer = lease(kept, 2)
    lease(kept, 2, consumer)
    assert kept.group.acknowledge(consumer, [1, 1 << PARTITION_SHIFT]) == []
    kept.restart()
    assert sorted(kept.take_all()) == [(b"0-0", 2), (b"1-1", 2)]


@pytest.mark.parametrize("saves", [True, False], ids=["in time", "too late"])
def test_what_was_given_back_for_later_waits_for_its_time(kept, saves):
    kept.publish(b"a", b"b")
    consumer = lease(kept, 2)
    assert kept.group.return_lease(consumer, 0, 5.0)
    kept.group.acknowledge(consumer, [1])
    if not saves:
        kept.restart(saves=False)
        assert kept.take_all() == [(b"a", 1), (b"b", 1)], "twice, and not never"
        return
    kept.restart()
    assert (kept.group.backlog, kept.group.lag) == (0, 1)
    kept.time.sleep(4.9)
    assert kept.take_all() == []
    kept.time.sleep(0.2)
    assert kept.take_all() == [(b"a", 2)]


def test_what_was_given_back_at_once_has_its_attempt_after_a_restart(kept):
    kept.publish(b"a")
    consumer = lease(kept)
    kept.group.return_lease(consumer, 0, 0)
    kept.restart()
    assert kept.take_all() == [(b"a", 2)]


def test_what_was_not_touched_was_no_attempt_after_a_restart_either(kept):
    kept.publish(b"a", b"b")
    consumer = lease(kept, 2)
    kept.group.release(consumer, [1])
    kept.restart()
    assert kept.take_all() == [(b"a", 2), (b"b", 1)]


def test_leases_that_did_not_arrive_were_no_attempt(kept):
    kept.publish(b"a", b"b")
    consumer = Consumer(kept.memory)
    batch = kept.group.take(2, 100)
    kept.group.lease(consumer, batch)
    kept.group.undo_lease(consumer, batch.part(1, 1))
    kept.restart()
    assert kept.take_all() == [(b"a", 2), (b"b", 1)]


def test_a_message_is_dead_when_that_is_stored(kept):
    kept.publish(b"a", b"b")
    kept.bury_commit = Commit()
    consumer = lease(kept, 2)
    assert kept.group.bury(consumer, 0, "why")
    assert kept.group.commit is kept.bury_commit
    assert (kept.group.dead_count, kept.group.leased_count) == (1, 1)
    finish(kept.bury_commit)
    kept.restart()
    assert kept.take_all() == [(b"b", 2)]


def bury_first(kept):
    """The first message is to die; ``finish(kept.bury_commit)`` says that its dead letter is stored."""
    kept.bury_commit = Commit()
    assert kept.group.bury(lease(kept), 0, "why")


def test_a_message_is_not_dead_before_that_is_stored(kept):
    kept.publish(b"a")
    bury_first(kept)
    kept.restart()
    assert kept.take_all() == [(b"a", 2)]


def test_a_dead_letter_that_cannot_be_stored_is_delivered_again(kept):
    kept.publish(b"a")
    bury_first(kept)
    mailbox = Mailbox()
    kept.group.waiting[mailbox] = 1
    finish(kept.bury_commit, DiskFullError("full"))
    assert (kept.group.dead_count, kept.group.lag) == (0, 1)
    kept.time.sleep(1.0)
    batch = mailbox.get_nowait()
    assert (batch.bodies(), batch.attempt) == ([b"a"], 1)


def test_what_dies_after_the_group_was_moved_is_nobodys(kept):
    kept.publish(b"a", b"b")
    bury_first(kept)
    kept.group.seek(lambda _log: 0)
    finish(kept.bury_commit)
    kept.restart()
    assert kept.take_all() == [(b"a", 1), (b"b", 1)]


def test_a_removed_group_buries_nothing(kept):
    kept.publish(b"a")
    bury_first(kept)
    kept.group.close()
    finish(kept.bury_commit, DiskFullError("full"))
    kept.time.sleep(10.0)
    assert kept.memory.held_bytes == 0


def test_attempts_are_counted_to_their_end_over_restarts(kept):
    kept.publish(b"a")
    for attempt in (1, 2, 3):
        lease(kept)
        assert kept.buried == []
        kept.restart()
        assert kept.group.backlog == 1
        assert kept.group.peek(1, 100)[0].attempt == attempt + 1
    kept.group.leave(lease(kept))
    assert [bodies for bodies, _ in kept.buried] == [[b"a"]]
    kept.restart()
    assert kept.take_all() == []


def test_what_is_leased_for_long_does_not_keep_its_log(kept):
    kept.publish(*(b"%d" % number for number in range(5)))
    consumer = lease(kept, 2)
    kept.group.done(kept.group.take(3, 100))
    kept.group.extend(consumer, 1, 1000.0)
    (share,) = kept.log.readers
    share.move_out(3)
    kept.memory.state.save()
    assert share.progress.low == 5
    kept.log.oldest_offset = 5
    kept.group.acknowledge(consumer, [0])
    kept.restart()
    assert kept.take_all() == [(b"1", 2)]


def test_what_is_given_back_keeps_its_log_until_it_is_taken(kept):
    kept.publish(b"a", b"b")
    consumer = lease(kept)
    kept.group.done(kept.group.take(1, 100))
    kept.group.return_lease(consumer, 0, 0)
    (share,) = kept.log.readers
    share.move_out(2)
    kept.memory.state.save()
    assert share.progress.low == 0
    consumer = lease(kept)
    share.move_out(2)
    kept.memory.state.save()
    assert share.progress.low == 2
    kept.group.acknowledge(consumer, [0])
    kept.restart()
    assert kept.take_all() == []


def test_what_waits_for_a_client_that_does_not_read_does_not_keep_its_log(kept):
    inboxes = [Mailbox(), Mailbox()]
    kept.group.waiting.update({inboxes[0]: 4, inboxes[1]: 1})
    kept.publish(*(b"%d" % number for number in range(6)))
    handed = [inbox.look()[0].bodies() for inbox in inboxes]
    kept.group.done(kept.group.take(2, 100))
    assert sorted(handed[0] + handed[1]) == [b"0", b"1", b"2", b"3"]
    (share,) = kept.log.readers
    share.move_out(6)
    kept.memory.state.save()
    assert share.progress.low == 6
    assert sorted(share.progress.kept) == [0, 1, 2, 3]
    kept.group.done(inboxes[1].get())
    kept.log.oldest_offset = 6
    kept.restart()
    assert kept.take_all() == [(body, 1) for body in handed[0]], "that was no delivery"


def test_who_has_nothing_is_not_asked_what_is_to_be_moved_out(kept):
    """Ten thousand wait, and one has leased a thousand messages for long."""

    class Idle(Consumer):
        def find(self, _id):
            raise AssertionError("it has nothing")

    kept.publish(*[b"x"] * 1000)
    consumer = lease(kept, 1000)
    kept.group.consumers.update([Idle(kept.memory) for _ in range(10)])
    (share,) = kept.log.readers
    share.move_out(1000)
    assert len(share.progress.kept) == len(consumer) == 1000


def test_a_moved_group_is_where_it_was_moved_after_a_restart(kept):
    kept.publish(*(b"%d" % number for number in range(5)))
    consumer = lease(kept, 4)
    kept.group.acknowledge(consumer, [0, 1, 3])
    kept.memory.state.save()
    assert kept.group.seek(lambda _log: 1) == [1]
    kept.restart()
    assert kept.take_all() == [(b"1", 1), (b"2", 1), (b"3", 1), (b"4", 1)]
    kept.group.seek(lambda log: log.end_offset)
    kept.restart()
    assert kept.take_all() == []
