"""What a group has done: what is remembered of it is what a plain dict would say."""

from __future__ import annotations

import copy

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gstream.batch import Batch, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.progress import CHUNK_MESSAGES, DONE, Progress
from gstream.storage.changes import Changes, KeptMessage

KEY = ("topic", "group", 3)


class Notes:
    """A progress, how often it asked to be collected, and what is stored of it."""

    def __init__(self):
        self.count = 0
        self.progress = Progress(KEY, self.note)
        self.low = None
        self.chunks = {}
        self.kept = {}

    def note(self, progress):
        assert progress is self.progress
        self.count += 1

    def collect(self):
        """Store what has changed; gives it."""
        changes = Changes()
        self.progress.collect(changes)
        assert set(changes.lows) <= {KEY}
        self.low = changes.lows.get(KEY, self.low)
        for table, changed in ((self.chunks, changes.chunks), (self.kept, changes.kept)):
            for (*key, number), value in changed.items():
                assert tuple(key) == KEY
                if value is None:
                    table.pop(number, None)
                else:
                    table[number] = value
        return changes

    def restart(self, oldest=0, end=1 << 40):
        """What comes up after this one was collected."""
        again = Notes()
        again.low, again.chunks, again.kept = self.low, dict(self.chunks), dict(self.kept)
        again.progress.restore(self.low, self.chunks, self.kept, oldest, end)
        return again


@pytest.fixture
def notes():
    return Notes()


def states(progress, first, end):
    """The state of each of these messages."""
    found = []
    while first < end:
        state, count = progress.run_at(first)
        assert count > 0
        count = min(count, end - first)
        found += [state] * count
        first += count
    return found


def kept_message(progress, offset):
    kept = progress.kept[offset]
    return kept.attempt, kept.due_ms, kept.time_ms, kept.kind, kept.data


# --- marks


def test_nothing_is_done_of_what_was_never_delivered(notes):
    assert states(notes.progress, 0, 3000) == [0] * 3000
    assert notes.progress.unfinished(5, 10) == [0, 1, 2, 3, 4]
    assert notes.progress.count_done(0, 3000) == 0
    assert notes.count == 0


def test_marks_over_the_edges_of_chunks(notes):
    progress = notes.progress
    progress.mark(1000, 2 * CHUNK_MESSAGES, 2)
    progress.mark(1020, 10, DONE)
    progress.mark(1025, 1, 1)
    expected = [0] * 1000 + [2] * 2048 + [0] * 100
    expected[1020:1030] = [DONE] * 10
    expected[1025] = 1
    assert states(progress, 0, 3148) == expected
    assert progress.count_done(0, 3148) == 9
    assert progress.count_done(1022, 1027) == 4


def test_marks_of_messages_in_any_order(notes):
    notes.progress.mark_ids([7, 3, 4, 5, 9, 8, 1], DONE)
    notes.progress.mark_ids([], DONE)
    assert [at for at, state in enumerate(states(notes.progress, 0, 12)) if state] == [1, 3, 4, 5, 7, 8, 9]


def test_so_many_attempts_that_they_are_not_counted_further(notes):
    notes.progress.mark(0, 2, 254)
    notes.progress.mark(1, 1, 1_000_000)
    assert states(notes.progress, 0, 2) == [254, 254]


def test_the_first_that_are_not_done(notes):
    notes.progress.mark(0, 2000, DONE)
    notes.progress.mark(5, 1, 1)
    notes.progress.mark(1500, 3, 2)
    assert notes.progress.unfinished(2000, 10) == [5, 1500, 1501, 1502]
    assert notes.progress.unfinished(1501, 10) == [5, 1500]
    assert notes.progress.unfinished(2000, 2) == [5, 1500]
    assert notes.progress.unfinished(0, 2) == []


def test_it_asks_once_until_it_is_collected(notes):
    for _ in range(3):
        notes.progress.mark(0, 1, 1)
    assert notes.count == 1
    notes.collect()
    notes.progress.mark(0, 1, DONE)
    assert notes.count == 2


@pytest.mark.parametrize(
    "act",
    [
        lambda progress: progress.mark(0, 1, 1),
        lambda progress: progress.mark(0, 2000, DONE),
        lambda progress: progress.mark_ids([3, 5], DONE),
        lambda progress: progress.keep(Batch(4, 1, b"pa\n", 0), 0, 1),
        lambda progress: progress.lose(7),
        lambda progress: progress.reset(9),
    ],
)
def test_whatever_changes_it_is_collected(notes, act):
    notes.collect()
    act(notes.progress)
    assert notes.count == 1
    assert notes.collect()


def test_what_has_not_changed_is_not_written_again(notes):
    notes.progress.mark(10, 1, 1)
    assert notes.collect().lows == {KEY: 0}
    assert not notes.collect()
    notes.progress.mark(5000, 1, 1)
    changes = notes.collect()
    assert list(changes.chunks) == [(*KEY, 5000 // CHUNK_MESSAGES)]
    assert changes.lows == {}


# --- low


def test_low_moves_over_what_is_done_and_its_chunks_go(notes):
    progress = notes.progress
    progress.mark(0, 3000, DONE)
    progress.mark(2500, 1, 1)
    notes.collect()
    assert (progress.low, notes.low, list(notes.chunks)) == (2500, 2500, [2])
    progress.mark(2500, 1, DONE)
    notes.collect()
    assert (progress.low, notes.low, notes.chunks) == (3000, 3000, {})


@pytest.mark.parametrize("end", [CHUNK_MESSAGES, 2 * CHUNK_MESSAGES, CHUNK_MESSAGES + 1, CHUNK_MESSAGES - 1])
def test_low_at_the_edge_of_a_chunk(notes, end):
    notes.progress.mark(0, end, DONE)
    notes.collect()
    assert (notes.low, notes.chunks) == (end, {})
    notes.progress.mark(end, 1, 1)
    notes.collect()
    assert (notes.low, list(notes.chunks)) == (end, [end // CHUNK_MESSAGES])
    assert states(notes.restart().progress, end, end + 2) == [1, 0]


def test_what_is_done_stays_done(notes):
    notes.progress.mark(0, 1500, DONE)
    notes.collect()
    notes.progress.mark(0, 10, 1)
    notes.progress.mark(1490, 20, 1)
    notes.collect()
    assert (notes.progress.low, list(notes.chunks)) == (1500, [1])
    assert states(notes.restart().progress, 1500, 1511) == [1] * 10 + [0]


def test_what_is_lost_is_not_waited_for(notes):
    notes.progress.mark(10, 2000, 1)
    notes.collect()
    notes.progress.lose(1500)
    notes.progress.lose(3)
    notes.collect()
    assert (notes.low, list(notes.chunks)) == (1500, [1])
    notes.progress.mark(10, 2000, DONE)
    notes.collect()
    assert (notes.low, notes.chunks) == (2010, {})


@pytest.mark.parametrize("end", [0, 3, 5, 6, 1024, 2000, 2001, 3000])
def test_what_is_taken_back_will_be_other_messages(notes, end):
    progress = notes.progress
    progress.mark(0, 5, DONE)
    progress.keep(Batch(5, 1, b"pa\n"), 99, 1)
    progress.mark(100, 1900, DONE)
    notes.collect()
    progress.take_back(end)
    assert progress.low == min(end, 6)
    assert (
        states(progress, progress.low, 3000)
        == [DONE if 100 <= at < min(end, 2000) else 0 for at in range(3000)][progress.low :]
    )
    assert list(progress.kept) == [5] * (end > 5)
    notes.collect()
    again = notes.restart(end=5000).progress
    assert (again.low, again.kept) == (progress.low, progress.kept)
    assert states(again, again.low, 3000) == states(progress, progress.low, 3000)


def test_a_group_that_is_moved_has_done_what_lies_before(notes):
    notes.progress.mark(0, 100, DONE)
    notes.progress.mark(5000, 1, DONE)
    notes.progress.keep(Batch(200, 1, b"pa\n", 7), 99, 1)
    notes.collect()
    assert notes.kept
    notes.progress.reset(50)
    notes.collect()
    assert (notes.low, notes.chunks, notes.kept, notes.progress.kept) == (50, {}, {}, {})
    assert states(notes.progress, 50, 6000) == [0] * 5950


def test_nothing_is_kept_of_a_closed_one(notes):
    notes.progress.mark(0, 1, 1)
    notes.progress.close()
    assert not notes.collect()


# --- messages outside of the log


def test_a_message_is_kept_with_its_body_and_counts_as_done(notes):
    batch = Batch(5, 2, pack(b"a", b"bc"), ([5, 6], [100, 200]), partition=3)
    notes.progress.keep(batch, 99, 2)
    notes.collect()
    assert kept_message(notes.progress, 5) == (2, 99, 100, Batch.magic, b"pa\n")
    assert kept_message(notes.progress, 6) == (2, 99, 200, Batch.magic, b"pbc\n")
    assert states(notes.progress, 4, 8) == [0, DONE, DONE, 0]
    assert notes.kept == notes.progress.kept


def test_a_counted_message_is_kept_as_it_is(notes):
    data = pack_counted(b"a\n", b"key")
    notes.progress.keep(CountedBatch(5, 1, data, 100), 99, 300)
    assert kept_message(notes.progress, 5) == (254, 99, 100, CountedBatch.magic, data)


def test_a_kept_message_is_marked_outside_of_the_log(notes):
    notes.progress.keep(Batch(5, 2, pack(b"a", b"b")), 99, 1)
    notes.progress.mark(4, 2, 2)
    notes.collect()
    assert notes.kept[5] == KeptMessage(2, 99, 0, Batch.magic, b"pa\n")
    assert states(notes.progress, 4, 7) == [2, DONE, DONE]
    notes.progress.mark(4, 3, DONE)
    notes.collect()
    assert (notes.kept, notes.progress.kept) == ({}, {})
    notes.progress.mark(0, 4, DONE)
    notes.collect()
    assert notes.low == 7


def test_a_message_that_is_kept_again_is_due_then(notes):
    for due_ms in (99, 200):
        notes.progress.keep(Batch(5, 1, b"pa\n"), due_ms, 1)
        notes.collect()
    assert notes.kept[5].due_ms == 200


def test_a_message_that_was_done_can_be_kept(notes):
    notes.progress.mark(0, 10, DONE)
    notes.collect()
    notes.progress.keep(Batch(5, 1, b"pa\n"), 0, 0)
    notes.collect()
    again = notes.restart()
    assert (again.progress.low, list(again.progress.kept)) == (10, [5])
    again.progress.mark(5, 1, DONE)
    again.collect()
    assert (again.low, again.chunks, again.kept) == (10, {}, {})


# --- restarting


def test_it_goes_on_where_it_was(notes):
    notes.progress.mark(0, 100, DONE)
    notes.progress.mark(100, 10, 1)
    notes.progress.mark(105, 1, DONE)
    notes.progress.mark(3000, 1, DONE)
    notes.collect()
    progress = notes.restart(end=4000).progress
    assert states(progress, 100, 112) == [1] * 5 + [DONE] + [1] * 4 + [0, 0]
    assert (progress.low, progress.count_done(100, 4000), progress.restored_end) == (100, 2, 3 * CHUNK_MESSAGES)


@pytest.mark.parametrize("end", [0, 1, 50, 100, 101, 105, 1023, 1024, 1025, 3000, 3001])
def test_what_was_done_behind_the_end_will_be_other_messages(notes, end):
    notes.progress.mark(0, 100, DONE)
    notes.progress.mark(105, 2000, DONE)
    notes.progress.mark(2500, 2000, DONE)
    notes.collect()
    before = [DONE] * 100 + states(notes.progress, 100, 5000)
    again = notes.restart(end=end)
    low = again.progress.low
    assert (low, again.progress.restored_end <= end) == (min(end, 100), True)
    assert states(again.progress, low, 5000) == [*before[low:end], *[0] * (5000 - max(low, end))]
    again.collect()
    assert again.restart(end=5000).progress.low == low, "that is written, too"
    assert states(again.restart(end=5000).progress, low, 5000) == states(again.progress, low, 5000)


def test_what_was_kept_behind_the_end_is_lost_with_its_log(notes):
    notes.progress.keep(Batch(5, 2, pack(b"a", b"b")), 99, 1)
    notes.collect()
    again = notes.restart(end=6)
    assert list(again.progress.kept) == [5]
    again.collect()
    assert list(again.kept) == [5]
    again.progress.mark(6, 1, DONE)
    assert states(again.progress, 6, 7) == [DONE]


@pytest.mark.parametrize("oldest", [0, 90, 105, 1023, 1024, 2999, 3000, 3500])
def test_the_log_may_begin_later(notes, oldest):
    notes.progress.mark(0, 100, DONE)
    notes.progress.mark(105, 2000, DONE)
    notes.progress.keep(Batch(100, 1, b"pa\n"), 99, 1)
    notes.collect()
    again = notes.restart(oldest, 3500)
    first = max(101, oldest)
    expected = 2105 if 105 <= first <= 2105 else first
    assert again.progress.low == expected
    assert states(again.progress, expected, 3500) == states(notes.progress, expected, 3500)
    assert list(again.progress.kept) == [100], "it is not in the log, after all"
    again.collect()
    assert again.restart(oldest, 3500).progress.low == expected


def test_chunks_that_are_of_no_use_are_removed(notes):
    notes.progress.mark(5, 1, DONE)
    notes.progress.mark(3000, 1, DONE)
    notes.collect()
    again = notes.restart(oldest=2000, end=2500)
    again.collect()
    assert (again.low, again.chunks) == (2000, {})


# --- whatever happens

LAST = 5 * CHUNK_MESSAGES
OFFSET = st.integers(0, LAST - 1) | st.sampled_from(
    [edge + more for edge in range(0, LAST, CHUNK_MESSAGES) for more in (-1, 0, 1) if edge + more >= 0]
)
COUNT = st.integers(1, 5) | st.sampled_from([CHUNK_MESSAGES - 1, CHUNK_MESSAGES, CHUNK_MESSAGES + 1, 2500])
ATTEMPTS = st.integers(1, 5)


class ProgressMachine(RuleBasedStateMachine):
    """states: of every message what was said of it last, as far as is known. stored: the same when it was collected.

    A kept message's state is in ``kept``, with when it is due; in ``states`` it is done.
    """

    def __init__(self):
        super().__init__()
        self.notes = Notes()
        self.states = {}
        self.kept = {}
        self.end = 0
        self.store()

    def store(self):
        self.notes.collect()
        self.stored = dict(self.states), dict(self.kept)

    def mark(self, offset, state):
        if offset in self.kept:
            if state == DONE:
                del self.kept[offset]
            else:
                self.kept[offset] = (state, self.kept[offset][1])
        elif offset >= self.notes.progress.low:
            self.states[offset] = state

    @rule(count=COUNT)
    def append(self, count):
        self.end = min(LAST, self.end + count)

    @precondition(lambda self: self.end)
    @rule(offset=OFFSET, count=COUNT, state=ATTEMPTS | st.just(DONE))
    def marks(self, offset, count, state):
        offset %= self.end
        count = min(count, self.end - offset)
        self.notes.progress.mark(offset, count, state)
        for each in range(offset, offset + count):
            self.mark(each, state)

    @precondition(lambda self: self.end)
    @rule(offsets=st.lists(OFFSET, max_size=10), state=ATTEMPTS | st.just(DONE))
    def marks_some(self, offsets, state):
        offsets = [offset % self.end for offset in offsets]
        self.notes.progress.mark_ids(offsets, state)
        for each in offsets:
            self.mark(each, state)

    @precondition(lambda self: self.end)
    @rule(offset=OFFSET, count=st.integers(1, 3), due_ms=st.integers(0, 9), attempts=ATTEMPTS)
    def keeps(self, offset, count, due_ms, attempts):
        offset %= self.end
        count = min(count, self.end - offset)
        data = pack(*(b"%d" % each for each in range(offset, offset + count)))
        self.notes.progress.keep(Batch(offset, count, data), due_ms, attempts)
        for each in range(offset, offset + count):
            if each >= self.notes.progress.low:
                self.states[each] = DONE
            self.kept[each] = (attempts, due_ms)

    @rule()
    def collects(self):
        self.store()

    @precondition(lambda self: self.end)
    @rule(offset=OFFSET)
    def loses(self, offset):
        offset %= self.end + 1
        self.notes.progress.lose(offset)
        for each in range(offset):
            self.states[each] = DONE

    @precondition(lambda self: self.end)
    @rule(offset=OFFSET)
    def is_moved(self, offset):
        offset %= self.end + 1
        self.notes.progress.reset(offset)
        self.states = dict.fromkeys(range(offset), DONE)
        self.kept = {}

    @rule(lost=COUNT)
    def takes_back(self, lost):
        self.end = max(0, self.end - lost)
        self.notes.progress.take_back(self.end)
        self.states = {each: state for each, state in self.states.items() if each < self.end}
        self.kept = {each: kept for each, kept in self.kept.items() if each < self.end}
        self.store()

    @rule(lost=st.just(0) | COUNT, oldest=st.just(0) | OFFSET)
    def restarts(self, lost, oldest):
        """What was said since the last time is not known any more; nor are, perhaps, the newest messages."""
        self.end = max(0, self.end - lost)
        oldest %= self.end + 1
        self.states, self.kept = copy.copy(self.stored[0]), copy.copy(self.stored[1])
        self.states = {each: state for each, state in self.states.items() if each < self.end}
        self.kept = {each: kept for each, kept in self.kept.items() if each < self.end}
        for each in range(oldest):
            self.states[each] = DONE
        self.notes = self.notes.restart(oldest, self.end)
        progress = self.notes.progress
        ahead = range(progress.low, self.end)
        assert progress.count_done(progress.low, self.end) == sum(self.states.get(each, 0) == DONE for each in ahead)
        assert all(not state for each, state in self.states.items() if each >= max(progress.low, progress.restored_end))
        self.store()  # before there are other messages at the places of those that are lost

    @invariant()
    def what_is_done_is_passed_and_nothing_else(self):
        progress = self.notes.progress
        assert all(self.states.get(each, 0) == DONE for each in range(progress.low))
        found = states(progress, progress.low, self.end)
        assert found == [self.states.get(each, 0) for each in range(progress.low, self.end)]
        assert progress.unfinished(self.end, 1 << 30) == [
            progress.low + at for at, state in enumerate(found) if state != DONE
        ]
        kept = {offset: (each.attempt, each.due_ms) for offset, each in progress.kept.items()}
        assert kept == self.kept
        assert all(each.data == b"p%d\n" % offset for offset, each in progress.kept.items())

    @invariant()
    def what_is_collected_is_all_there_is(self):
        """A further restart, of which nothing is lost, knows the same; and little is stored of what is done."""
        notes = copy.deepcopy(self.notes)
        notes.collect()
        low = notes.progress.low
        again = notes.restart(0, self.end).progress
        assert again.low == low
        assert states(again, low, self.end) == states(notes.progress, low, self.end)
        assert again.kept == notes.progress.kept
        assert all(number >= low // CHUNK_MESSAGES and any(chunk) for number, chunk in notes.chunks.items())


TestProgress = ProgressMachine.TestCase
TestProgress.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
