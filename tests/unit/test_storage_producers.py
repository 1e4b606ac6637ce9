from __future__ import annotations

import pytest

from gstream.header import Header
from gstream.record import CONTROL, TRANSACTIONAL
from gstream.storage.producers import (
    EXPIRE_MS,
    MOST_PRODUCERS,
    DuplicateSequenceError,
    OutOfOrderError,
    ProducerError,
    ProducerStates,
    StaleEpochError,
)

LAST = (1 << 31) - 1


def header(first, count=1, *, id=7, epoch=0, attributes=0):
    return Header(0, 100, 0, 2, 0, attributes, count - 1, 0, 0, id, epoch, first, count)


def marker(*, id=7, epoch=0):
    return header(-1, id=id, epoch=epoch, attributes=CONTROL | TRANSACTIONAL)


@pytest.fixture
def states():
    return ProducerStates()


@pytest.fixture
def note(states):
    """Store batches of a producer, whose offsets follow each other."""
    end = 0

    def note(first, count=1, **fields):
        nonlocal end
        each = header(first, count, **fields)
        assert states.check(each) is None
        states.note(each, end)
        end += count
        return end - count

    return note


# --- which batch is due


@pytest.mark.parametrize("first", [0, 1, 4711, LAST])
def test_the_first_batch_of_a_producer_may_have_any_number(states, note, first):
    note(first)
    with pytest.raises(OutOfOrderError):
        states.check(header((first + 2) & LAST))
    assert states.check(header((first + 1) & LAST)) is None


def test_records_of_nobody_are_always_due(states):
    for _ in range(3):
        assert states.check(header(-1, id=-1)) is None
    assert len(states) == 0


def test_a_gap_is_missed(states, note):
    note(0, 3)
    with pytest.raises(OutOfOrderError, match="4 where 3 was due from producer 7"):
        states.check(header(4))


def test_numbers_begin_again_after_the_last(states, note):
    note(LAST - 1, 3)
    assert states.check(header(LAST - 1, 3)) == 0
    note(1)
    assert states.check(header(1)) == 3


def test_the_last_five_batches_are_known_again(states, note):
    offsets = {first: note(first, 2) for first in range(0, 14, 2)}
    for first in range(4, 14, 2):
        assert states.check(header(first, 2)) == offsets[first]
    for first in (0, 2):
        with pytest.raises(DuplicateSequenceError):
            states.check(header(first, 2))


@pytest.mark.parametrize(("first", "count"), [(4, 1), (4, 3), (5, 1), (13, 1), (13, 2), (3, 2), (2, 3), (12, 3)])
def test_a_batch_that_was_cut_differently_is_not_taken_for_another(states, note, first, count):
    for each in range(0, 14, 2):
        note(each, 2)
    with pytest.raises(OutOfOrderError):
        states.check(header(first, count))


def test_what_was_never_stored_is_not_taken_for_stored(states, note):
    note(100)
    with pytest.raises(OutOfOrderError):
        states.check(header(50))


def test_producers_do_not_disturb_each_other(states, note):
    note(0, 3, id=1)
    note(0, 2, id=2)
    assert states.check(header(3, id=1)) is None
    assert states.check(header(2, id=2)) is None


# --- epochs


def test_who_comes_later_shuts_out_who_was_there(states, note):
    note(0, 3, epoch=1)
    note(0, 1, epoch=2)
    for number in (0, 3):
        with pytest.raises(StaleEpochError, match="has epoch 2, and not 1"):
            states.check(header(number, epoch=1))
    assert states.check(header(0, 1, epoch=2)) == 3
    assert states.check(header(1, 1, epoch=2)) is None


def test_a_later_epoch_begins_with_0(states, note):
    note(0, 3, epoch=1)
    with pytest.raises(OutOfOrderError, match="3 where 0 was due from producer 7 in epoch 2"):
        states.check(header(3, epoch=2))


def test_after_the_end_of_a_transaction_in_a_later_epoch_any_number_is_due(states, note):
    note(0, 3, attributes=TRANSACTIONAL)
    states.note(marker(epoch=1), 3, commits=False)
    assert states.check(header(3, epoch=1)) is None
    with pytest.raises(StaleEpochError):
        states.check(marker(epoch=0))
    with pytest.raises(StaleEpochError):
        states.check(header(3, epoch=0))


def test_the_end_of_a_transaction_takes_no_number(states, note):
    note(0, 3, attributes=TRANSACTIONAL)
    assert states.check(marker()) is None
    states.note(marker(), 3, commits=True)
    assert states.check(header(3)) is None
    assert states.check(header(0, 3)) == 0


# --- what is placed, and not stored yet


def test_what_is_placed_is_known_again(states):
    states.place(header(0, 2), 10)
    states.place(header(2), 12)
    assert states.check(header(0, 2)) == 10
    assert states.check(header(2)) == 12
    assert states.check(header(3)) is None
    states.note(header(0, 2), 10)
    assert states.check(header(2)) == 12
    states.note(header(2), 12)
    assert states.check(header(2)) == 12
    assert states.check(header(3)) is None


def test_what_is_taken_back_may_come_again(states):
    states.note(header(0), 9)
    states.place(header(1), 10)
    states.place(header(2), 11)
    states.take_back()
    assert states.check(header(0)) == 9
    assert states.check(header(1)) is None
    with pytest.raises(OutOfOrderError):
        states.check(header(2))


def test_some_of_it_may_still_be_stored(states):
    for number in range(3):
        states.place(header(number), 10 + number)
    states.take_back([(header(0), 10)])
    assert states.check(header(0)) == 10
    assert states.check(header(1)) is None
    states.note(header(0), 10)
    states.take_back()
    assert states.check(header(0)) == 10


def test_nobody_sees_what_is_only_placed(states):
    states.place(header(0, attributes=TRANSACTIONAL), 10)
    assert states.stable_offset(10) == 10
    states.note(header(0, attributes=TRANSACTIONAL), 10)
    states.place(marker(), 11)
    assert states.stable_offset(11) == 10
    assert states.aborted(0, 11) == []


# --- transactions


def test_what_is_stable_ends_where_the_oldest_open_transaction_begins(states, note):
    note(0, 5)
    assert states.stable_offset(5) == 5
    note(0, 2, id=1, attributes=TRANSACTIONAL)
    note(0, 2, id=2, attributes=TRANSACTIONAL)
    note(2, 2, id=1, attributes=TRANSACTIONAL)
    assert states.stable_offset(11) == 5
    states.note(marker(id=1), 11, commits=True)
    assert states.stable_offset(12) == 7
    states.note(marker(id=2), 12, commits=False)
    assert states.stable_offset(13) == 13


def test_it_is_known_whose_transactions_are_open(states, note):
    note(0, 2, id=1, epoch=3, attributes=TRANSACTIONAL)
    note(0, id=2)
    note(0, id=3, attributes=TRANSACTIONAL)
    assert states.open_producers() == {1: 3, 3: 0}
    states.note(marker(id=1, epoch=3), 4, commits=True)
    assert states.open_producers() == {3: 0}


def test_the_end_of_no_transaction_changes_nothing(states):
    states.note(marker(), 0, commits=False)
    assert (states.stable_offset(1), states.aborted(0, 1)) == (1, [])


def test_aborted_transactions_are_told_where_they_have_messages(states):
    for offset, id in ((0, 1), (1, 2), (2, 3)):
        states.note(header(0, id=id, attributes=TRANSACTIONAL), offset)
    states.note(marker(id=2), 3, commits=False)
    states.note(marker(id=3), 4, commits=True)
    states.note(marker(id=1), 5, commits=False)
    assert states.aborted(0, 6) == [(2, 1), (1, 0)]
    assert states.aborted(0, 1) == [(1, 0)]
    assert states.aborted(4, 6) == [(1, 0)]
    assert states.aborted(6, 9) == []
    states.drop_before(3)
    assert states.aborted(0, 6) == [(2, 1), (1, 0)]
    states.drop_before(4)
    assert states.aborted(0, 6) == [(1, 0)]


def test_a_few_of_many_that_were_aborted_are_found_without_looking_at_all(states):
    """The others are told as well as if each had been looked at, whichever are open for how long."""
    ended = []
    opened = {}
    for offset in range(2000):
        id = offset * 7919 % 97
        if id in opened and offset % 3:
            states.note(marker(id=id), offset, commits=offset % 5 == 0)
            if offset % 5:
                ended.append((id, opened[id], offset))
            del opened[id]
        else:
            states.note(header(0, id=id, attributes=TRANSACTIONAL), offset)
            opened.setdefault(id, offset)
    assert len(ended) > 400
    for again in (states, states.copy(), ProducerStates.decode(states.encode())):
        for first in range(0, 2000, 37):
            for end in (first + 1, first + 50, 2000):
                due = {(id, opening) for id, opening, last in ended if last >= first and opening < end}
                found = again.aborted(first, end)
                assert due == {each for each in found if each in due}
                assert all(opening < end for _, opening in found)


# --- forgetting


def test_producers_are_not_remembered_without_limit(states):
    open_id, busy_id = MOST_PRODUCERS + 100, MOST_PRODUCERS + 101
    states.note(header(0, id=open_id, attributes=TRANSACTIONAL), 0)
    for number in range(MOST_PRODUCERS + 20):
        states.place(header(0, id=number), number)
        states.note(header(0, id=number), number)
        states.note(header(number, id=busy_id), number)
    assert len(states) == MOST_PRODUCERS
    for id in (open_id, busy_id):
        with pytest.raises(OutOfOrderError):
            states.check(header(1 << 20, id=id))
    assert states.check(header(9, id=0)) is None, "it was silent for longest"
    assert states.check(header(0, id=MOST_PRODUCERS)) == MOST_PRODUCERS
    assert len(ProducerStates.decode(states.encode())) == MOST_PRODUCERS


def test_producers_whose_transactions_are_open_are_not_forgotten(states):
    for number in range(MOST_PRODUCERS + 20):
        states.note(header(0, id=number, attributes=TRANSACTIONAL), number)
    assert len(states.open_producers()) == len(states) == MOST_PRODUCERS + 20


def test_who_was_silent_for_long_is_forgotten(states):
    states.note(header(0, id=1), 0, now_ms=1000)
    states.note(header(0, id=2, attributes=TRANSACTIONAL), 1, now_ms=1000)
    states.note(header(0, id=3), 2, now_ms=2000)
    states.expire(EXPIRE_MS + 1001)
    assert states.check(header(5, id=1)) is None
    for id in (2, 3):
        with pytest.raises(OutOfOrderError):
            states.check(header(5, id=id))


def test_who_was_found_in_the_log_counts_from_now(states):
    states.note(header(0), 0)
    now_ms = 10 * EXPIRE_MS
    states.expire(now_ms)
    states.expire(now_ms + EXPIRE_MS)
    assert states.check(header(0)) == 0
    states.expire(now_ms + EXPIRE_MS + 1)
    assert states.check(header(5)) is None


def test_who_is_silent_is_looked_for_while_others_come(states):
    states.note(header(0, id=1), 0, now_ms=1_000_000)
    states.note(header(0, id=2), 1, now_ms=1_000_001 + EXPIRE_MS)
    assert len(states) == 1


# --- keeping


def state_of(states, end):
    return [states.encode(), states.stable_offset(end), states.aborted(0, end)]


def test_all_of_it_can_be_kept(states, note):
    for number in range(7):
        note(number, id=1, epoch=3)
    note(LAST, 3, id=2, attributes=TRANSACTIONAL)
    note(0, 3, id=3, attributes=TRANSACTIONAL)
    states.note(marker(id=3), 13, commits=False)
    for again in (ProducerStates.decode(states.encode()), states.copy()):
        assert state_of(again, 14) == state_of(states, 14)
        assert again.check(header(6, id=1, epoch=3)) == 6
        with pytest.raises(DuplicateSequenceError):
            again.check(header(0, id=1, epoch=3))
        again.note(marker(id=2), 14, commits=False)
        assert again.stable_offset(15) == 15
    assert states.stable_offset(14) == 7, "a copy is one's own"


def test_what_is_only_placed_is_not_kept(states):
    states.place(header(0), 0)
    for again in (ProducerStates.decode(states.encode()), states.copy()):
        assert again.check(header(7)) is None


def test_bytes_that_are_none_are_refused(states, note):
    for number in range(3):
        note(number, id=number, attributes=TRANSACTIONAL)
    data = states.encode()
    for size in range(len(data)):
        with pytest.raises(ValueError, match="cut off"):
            ProducerStates.decode(data[:size])
    with pytest.raises(ValueError, match="more behind"):
        ProducerStates.decode(data + b"\0")


def test_all_errors_are_of_one_kind():
    assert all(issubclass(kind, ProducerError) for kind in (OutOfOrderError, DuplicateSequenceError, StaleEpochError))
