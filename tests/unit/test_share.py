from __future__ import annotations

import pytest

from gstream.agenda import Agenda
from gstream.batch import pack
from gstream.errors import StorageError
from gstream.progress import CHUNK_MESSAGES, DONE
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


# --- on an engine that remembers


class Kept:
    """A share whose progress is remembered. reads: how often it said that more was read."""

    def __init__(self, disk, time, partition=0):
        self.disk, self.time = disk, time
        self.log = disk.open_log("t", partition)
        self.reads = 0
        self.progress = disk.progress(self.log, "g")
        self.share = Share(self.log, time.agenda, self.on_read, self.progress)

    def on_read(self):
        self.reads += 1

    def fill(self, count, first=0):
        fill(self.log, *(b"%d" % number for number in range(first, first + count)))

    def restart(self, later=0.0, end=None):
        """What comes up so much later, with a log that ends there."""
        self.disk.state.save()
        self.time.now += later
        return Kept(self.disk.restart({} if end is None else {("t", 0): end}), self.time)

    def lease(self, count=1):
        batch = self.share.take(count, 1 << 20)
        self.share.mark(batch, batch.attempt)
        return batch

    def saved_low(self):
        self.disk.state.save()
        return self.disk.state.saved.lows["t", "g", 0]


@pytest.fixture
def kept_share(disk, time):
    return Kept(disk, time)


def test_after_a_restart_it_goes_on_behind_what_is_done(kept_share):
    kept_share.fill(5)
    kept_share.share.mark(kept_share.share.take(3, 100), DONE)
    again = kept_share.restart()
    assert (again.share.offset, again.share.backlog) == (3, 2)
    assert drain(again.share) == [(3, 1), (4, 1)]


def test_after_a_restart_what_was_leased_comes_again_with_its_attempt(kept_share):
    kept_share.fill(8)
    for count in (1, 2, 3):
        kept_share.lease(count)
    kept_share.share.mark_ids([1, 4], DONE)
    again = kept_share.restart()
    assert again.share.backlog == 6
    assert drain(again.share) == [(0, 2), (2, 2), (3, 2), (5, 2), (6, 1), (7, 1)]
    assert again.share.backlog == 0


def test_backlog_counts_down_while_what_is_done_is_passed(kept_share):
    kept_share.fill(3000)
    kept_share.lease(3000)
    kept_share.share.mark_ids([*range(5, 1000), *range(1500, 2500), 2999], DONE)
    again = kept_share.restart()
    again.fill(10, 3000)
    left = 3010 - 995 - 1000 - 1
    assert again.share.backlog == left
    while batch := again.share.take(7, 1 << 20):
        left -= batch.count
        if again.share.offset < 2999:
            assert left <= again.share.backlog <= left + 1
    assert (left, again.share.backlog) == (0, 0)


def test_no_batch_has_messages_of_different_attempts(kept_share):
    kept_share.fill(6)
    first = kept_share.lease(2)
    kept_share.lease(2)
    kept_share.share.mark(first, 2)
    again = kept_share.restart()
    batches = list(iter(lambda: again.share.take(10, 1 << 20), None))
    assert [(batch.offset, batch.count, batch.attempt) for batch in batches] == [(0, 2, 3), (2, 2, 2), (4, 2, 1)]


def test_looking_after_a_restart_shows_what_will_come(kept_share):
    kept_share.fill(12)
    kept_share.lease(8)
    kept_share.share.mark_ids([0, 2, 3, 7], DONE)
    again = kept_share.restart()
    expected = [(1, 2), (4, 2), (5, 2), (6, 2), (8, 1), (9, 1), (10, 1), (11, 1)]
    for most in range(1, 10):
        batches = again.share.peek(most, 1000)
        assert [(each.offset + at, each.attempt) for each in batches for at in range(each.count)] == expected[:most]
        assert [each.bodies()[0] for each in batches] == [b"%d" % each.offset for each in batches]
    assert sum(each.count for each in again.share.peek(10, 1)) == 1
    assert drain(again.share) == expected
    assert again.share.peek(10, 1000) == []


def test_what_was_given_back_for_later_has_its_time_after_a_restart(kept_share):
    kept_share.fill(3)
    batches = [kept_share.lease() for _ in range(3)]
    for batch, seconds in zip(batches, (5.0, 20.0), strict=False):
        batch.attempt += 1
        kept_share.share.give_back_later(batch, kept_share.time.now + seconds, keep=True)
    again = kept_share.restart(later=10.0)
    share = again.share
    assert (share.backlog, share.later_count, share.next_return) == (2, 1, kept_share.time.now + 10)
    assert drain(share) == [(0, 2), (2, 2)]
    share.bring_back(again.time.now + 10, 10)
    (batch,) = iter(lambda: share.take(1, 0), None)
    assert (batch.offset, batch.attempt, batch.bodies()) == (1, 2, [b"1"])


def test_a_kept_message_is_done_once_and_for_all(kept_share):
    kept_share.fill(1)
    batch = kept_share.lease()
    batch.attempt = 2
    kept_share.share.give_back_later(batch, kept_share.time.now + 5, keep=True)
    assert kept_share.saved_low() == 1
    kept_share.share.bring_back(kept_share.time.now + 5, 1)
    batch = kept_share.lease()
    again = kept_share.restart()
    assert drain(again.share) == [(0, 3)]
    again.share.mark_ids([0], DONE)
    assert drain(again.restart().share) == []


def test_what_was_done_and_did_not_arrive_survives_a_restart(kept_share):
    """Low has moved on, and the file in which the message lies may be gone."""
    kept_share.fill(5)
    batch = kept_share.share.take(2, 100)
    kept_share.share.mark(batch, DONE)
    assert kept_share.saved_low() == 2
    kept_share.share.mark(batch, batch.attempt - 1)
    kept_share.share.give_back(batch)
    again = kept_share.restart()
    assert drain(again.share) == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]
    again.share.mark_ids([0], DONE)
    assert drain(again.restart().share) == [(1, 1), (2, 1), (3, 1), (4, 1)]


def test_a_part_of_what_was_done_lies_behind_low(kept_share):
    kept_share.fill(5)
    batch = kept_share.share.take(4, 100)
    kept_share.share.mark(batch.part(0, 2), DONE)
    assert kept_share.saved_low() == 2
    kept_share.share.mark(batch.part(2, 2), DONE)
    kept_share.share.mark(batch, 0)
    kept_share.share.give_back(batch)
    again = kept_share.restart()
    assert drain(again.share) == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]


@pytest.mark.parametrize("end", [0, 1, 3, 4, 6, 8])
def test_after_a_loss_of_power_other_messages_are_in_the_place_of_those_lost(kept_share, end):
    kept_share.fill(8)
    kept_share.share.mark(kept_share.share.take(3, 100), DONE)
    kept_share.lease(3)
    kept_share.share.mark_ids([4, 5], DONE)
    again = kept_share.restart(end=end)
    expected = [(3, 2), (6, 1), (7, 1)]
    expected = [each for each in expected if each[0] < end] + [(at, 1) for at in range(end, end + 4)]
    again.fill(4, 100)
    assert again.share.backlog == len(expected)
    assert drain(again.share) == expected


# --- what cannot be read


def test_what_cannot_be_read_is_done(kept_share):
    kept_share.fill(2)
    kept_share.log.miss(3)
    kept_share.fill(2, 5)
    share = kept_share.share
    share._cursor.on_missing(2, 5)
    assert drain(share) == [(0, 1), (1, 1), (5, 1), (6, 1)]
    share.mark_ids([0, 1, 5, 6], DONE)
    assert kept_share.saved_low() == 7


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("done", [(), (1,), (1, 2, 3), (0, 1, 2), (6, 7), (1, 5), tuple(range(4)), tuple(range(8))])
def test_what_lies_behind_what_cannot_be_read_is_not_passed_over(kept_share, done, told):
    """The states of missing messages are not those of the messages that come in their place."""
    kept_share.fill(2)
    kept_share.log.miss(3)
    kept_share.fill(5, 5)
    leased = [kept_share.share.take(10, 100) for _ in range(2)]
    for batch in leased[:2]:
        kept_share.share.mark(batch, 1)
    kept_share.share.mark_ids(done, DONE)
    again = kept_share.restart()
    if told:
        again.share._cursor.on_missing(2, 5)
    expected = [(at, 2) for at in (0, 1, 5, 6, 7, 8, 9) if at not in done]
    assert drain(again.share) == expected
    assert again.share.backlog == 0


def test_backlog_does_not_count_what_is_missing_and_was_done(kept_share):
    kept_share.fill(2)
    kept_share.log.miss(3)
    kept_share.fill(2, 5)
    kept_share.progress.mark(1, 3, DONE)
    again = kept_share.restart()
    again.share._cursor.on_missing(2, 5)
    assert again.share.backlog == 3
    assert drain(again.share) == [(0, 1), (5, 1), (6, 1)]


def test_what_is_not_read_yet_is_waited_for(kept_share):
    kept_share.fill(2)
    kept_share.log.is_away = True
    share = kept_share.share
    assert (share.take(1, 0), share.is_loading, share.error) == (None, True, None)
    assert share.backlog == 2
    share._cursor.load()
    assert (share.is_loading, kept_share.reads) == (False, 1)
    assert drain(share) == [(0, 1), (1, 1)]


def test_what_is_passed_over_is_waited_for_too(kept_share):
    kept_share.fill(4)
    kept_share.lease(4)
    kept_share.share.mark_ids([1, 2], DONE)
    again = kept_share.restart()
    assert drain(again.share)[:1] == [(0, 2)]
    again = again.restart()
    again.share.take(1, 0)
    again.log.is_away = True
    assert (again.share.take(1, 0), again.share.is_loading) == (None, True)
    again.share._cursor.load()
    assert drain(again.share) == [(3, 2)]


def test_an_error_says_why_nothing_comes(kept_share):
    kept_share.fill(1)
    kept_share.log.is_away = True
    share = kept_share.share
    share.take(1, 0)
    error = StorageError("/data: Input/output error")
    share._cursor.load(error)
    assert (share.is_loading, share.error) == (False, error)
    share._cursor.load()
    assert (share.error, drain(share)) == (None, [(0, 1)])


# --- what goes


def test_what_goes_by_a_limit_is_lost_and_counted(kept_share):
    kept_share.fill(10)
    kept_share.share.mark(kept_share.share.take(3, 100), DONE)
    assert kept_share.log.drop_before(7) == 4
    assert kept_share.log.drop_before(7) == 0
    assert (kept_share.share.offset, kept_share.share.backlog) == (7, 3)
    assert kept_share.saved_low() == 7
    assert drain(kept_share.share) == [(7, 1), (8, 1), (9, 1)]


def test_nothing_is_lost_of_what_was_done_before_a_restart(kept_share):
    kept_share.fill(10)
    kept_share.lease(10)
    kept_share.share.mark_ids([1, 2, 5, 8], DONE)
    again = kept_share.restart()
    assert again.share.backlog == 6
    assert again.log.drop_before(6) == 3
    assert again.share.backlog == 3
    assert drain(again.share) == [(6, 2), (7, 2), (9, 2)]
    assert again.share.backlog == 0


def test_what_was_leased_when_it_went_leaves_nothing_behind(kept_share):
    kept_share.fill(3 * CHUNK_MESSAGES)
    batch = kept_share.lease(CHUNK_MESSAGES)
    kept_share.log.drop_before(2 * CHUNK_MESSAGES)
    assert kept_share.saved_low() == 2 * CHUNK_MESSAGES
    kept_share.share.mark(batch, DONE)
    kept_share.disk.state.save()
    assert kept_share.disk.state.saved.chunks == {}


def test_messages_are_moved_out_of_a_log_that_is_to_go(kept_share):
    kept_share.fill(6)
    kept_share.lease(4)
    kept_share.share.mark_ids([1], DONE)
    stuck = []
    kept_share.share.on_stuck = lambda share, offsets: stuck.append((share, offsets))
    kept_share.share.move_out(3)
    assert stuck == [(kept_share.share, [0, 2])]


def test_what_a_log_takes_back_is_not_done(kept_share):
    kept_share.fill(10)
    kept_share.lease(10)
    kept_share.share.mark_ids([1, 5, 8], DONE)
    again = kept_share.restart()
    assert again.share.backlog == 7
    again.log.restart_at(4)
    assert again.share.backlog == 3
    again.fill(6, 4)
    assert again.share.backlog == 9
    assert drain(again.share) == [(0, 2), (2, 2), (3, 2), *((at, 1) for at in range(4, 10))]


def test_a_message_that_was_moved_out_is_there_without_its_log(kept_share):
    kept_share.fill(3)
    batch = kept_share.lease(2)
    kept_share.share.keep(batch, delivered=True)
    kept_share.share.mark(kept_share.share.take(1, 0), DONE)
    assert kept_share.saved_low() == 3
    kept_share.log.oldest_offset = 3
    again = kept_share.restart()
    batches = list(iter(lambda: again.share.take(10, 100), None))
    assert [(each.offset, each.attempt, each.bodies()) for each in batches] == [(0, 2, [b"0"]), (1, 2, [b"1"])]


def test_seeking_forgets_what_was_done(kept_share):
    kept_share.fill(10)
    kept_share.lease(10)
    kept_share.share.mark_ids([2, 5, 9], DONE)
    again = kept_share.restart()
    assert again.share.seek(4) == 4
    assert again.share.backlog == 6
    assert drain(again.share) == [(at, 1) for at in range(4, 10)]
    assert drain(again.restart().share) == [(at, 1) for at in range(4, 10)]


def test_a_closed_share_is_no_reader_of_its_log(kept_share):
    kept_share.fill(1)
    kept_share.lease()
    assert kept_share.log.readers == [kept_share.share]
    kept_share.share.close()
    assert (kept_share.log.readers, kept_share.log.cursors) == ([], [])
    kept_share.disk.state.save()
    assert kept_share.disk.state.saved.chunks == {}


def test_kept_messages_are_counted_as_held(kept_share):
    kept_share.fill(1)
    batch = kept_share.lease()
    kept_share.share.give_back_later(batch, kept_share.time.now + 5, keep=True)
    again = kept_share.restart()
    assert again.disk.held_bytes == len(b"p0\n")
    again.share.bring_back(again.time.now + 5, 1)
    assert again.share.take(1, 0).data == b"p0\n"
    assert again.disk.held_bytes == 0


def test_batches_of_a_partition_have_its_number_after_a_restart(disk, time):
    kept = Kept(disk, time, partition=3)
    kept.fill(2)
    batch = kept.lease()
    kept.share.give_back_later(batch, time.now, keep=True)
    kept.lease()
    disk.state.save()
    again = Kept(disk.restart(), time, partition=3)
    assert [batch.partition for batch in iter(lambda: again.share.take(1, 0), None)] == [3, 3]


def test_what_was_given_back_of_messages_that_are_lost_is_not_in_the_way_of_others(log, share, memory):
    fill(log, *[b"%d" % number for number in range(6)])
    early, rest = share.take(6, 100).split(1)
    straddling, late = rest.split(2)
    third, fourth = late.split(1)
    for batch in (early, straddling, fourth):
        share.give_back(batch)
    share.give_back_later(third, 10.0)
    share.take_back(2)
    assert (share.backlog, share.later_count, share.next_return) == (2, 0, None)
    assert memory.held_bytes == 2 * len(b"p0\n")
    others = log.peek(2, 4, 100)
    for batch in others:  # they are new, and come back, too
        share.give_back(batch)
    assert [offset for offset, _ in drain(share)] == [0, 1, 2, 3, 4, 5]
    assert memory.held_bytes == 0


def test_the_first_message_that_is_not_done_or_leased(log, share):
    assert share.low == 0
    fill(log, b"a", b"b", b"c", b"d")
    first, second, third = share.take(1, 0), share.take(1, 0), share.take(1, 0)
    assert share.low == 3
    share.give_back_later(third, 20.0)
    assert share.low == 2
    share.give_back_later(first, 30.0)
    assert share.low == 0
    share.bring_back(30.0, 10)
    assert (share.low, drain(share)[0]) == (0, (0, 1))
    share.give_back(second)
    assert share.low == 1


def test_the_first_message_that_is_not_done_where_that_is_kept(kept_share):
    assert kept_share.share.low == 0
    kept_share.fill(5)
    share = kept_share.share
    share.mark(share.take(1, 0), DONE)
    leased = kept_share.lease()
    share.mark(share.take(2, 100), DONE)
    assert share.low == 1
    assert kept_share.restart().share.low == 1
    leased.attempt = 2
    share.give_back_later(leased, kept_share.time.now + 5, keep=True)
    assert share.low == 1
    share.mark_ids([1], DONE)
    assert share.low == 4
    share.mark(share.take(1, 100), DONE)
    assert share.low == kept_share.restart().share.low == 5
