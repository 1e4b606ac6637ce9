from __future__ import annotations

import pytest

from gstream.agenda import SWEEP_ENTRIES, Agenda


@pytest.fixture
def agenda(time):
    return time.agenda


@pytest.fixture
def done():
    return []


def test_nothing_to_do(agenda):
    assert agenda.run_next() is None


def test_things_are_done_in_the_order_of_their_times(time, agenda, done):
    for seconds in (3, 1, 2):
        agenda.at(time.now + seconds, lambda seconds=seconds: done.append(seconds))
    assert agenda.run_next() == 1.0
    assert done == []
    time.now += 2.5
    assert agenda.run_next() == 0.0
    assert done == [1]
    assert agenda.run_next() == 0.5
    assert done == [1, 2]
    time.now += 0.5
    assert agenda.run_next() is None
    assert done == [1, 2, 3]


def test_those_of_one_time_are_done_in_the_order_in_which_they_were_noted(time, agenda, done):
    for number in range(100):
        agenda.at(time.now, lambda number=number: done.append(number))
    time.run()
    assert done == list(range(100))


def test_one_thing_at_a_time(time, agenda, done):
    for number in range(3):
        agenda.at(time.now, lambda number=number: done.append(number))
    assert agenda.run_next() == 0.0
    assert done == [0]


def test_what_is_cancelled_is_not_done(time, agenda, done):
    agenda.at(time.now, lambda: done.append("first"))
    cancelled = agenda.at(time.now + 1, lambda: done.append("cancelled"))
    agenda.at(time.now + 2, lambda: done.append("last"))
    cancelled.cancel()
    assert agenda.run_next() == 2.0
    time.sleep(5)
    assert done == ["first", "last"]
    assert agenda.run_next() is None


def test_an_action_may_note_new_entries_and_cancel_others(time, agenda, done):
    def act():
        other.cancel()
        agenda.at(time.now, lambda: done.append("new"))

    agenda.at(time.now, act)
    other = agenda.at(time.now, lambda: done.append("other"))
    time.run()
    assert done == ["new"]


def test_whoever_waits_is_told_of_what_comes_before_all_others(time, agenda):
    told = []
    agenda.on_earlier = lambda: told.append(len(told))
    agenda.at(time.now + 5, lambda: None)
    agenda.at(time.now + 6, lambda: None)
    agenda.at(time.now + 5, lambda: None)
    assert len(told) == 1
    agenda.at(time.now + 4, lambda: None)
    assert len(told) == 2


def test_an_action_that_fails_is_not_done_again_and_the_others_are(time, agenda, done):
    def fail():
        raise RuntimeError("a bug of this test")

    agenda.at(time.now, fail)
    agenda.at(time.now, lambda: done.append("other"))
    with pytest.raises(RuntimeError):
        agenda.run_next()
    time.run()
    assert done == ["other"]


def test_what_was_cancelled_is_forgotten_however_far_its_time_is(time, agenda):
    kept = [agenda.at(time.now + 1e9, lambda: None) for _ in range(10)]
    for number in range(20 * SWEEP_ENTRIES):
        agenda.at(time.now + 1e8 - number, lambda: None).cancel()
        assert len(agenda._entries) <= SWEEP_ENTRIES + len(kept)
    assert agenda.run_next() == 1e9


def test_sweeping_loses_nothing(time, agenda, done):
    for number in range(5 * SWEEP_ENTRIES):
        entry = agenda.at(time.now + number % 7, lambda number=number: done.append(number))
        if number % 3:
            entry.cancel()
    time.sleep(10)
    assert done == sorted(range(0, 5 * SWEEP_ENTRIES, 3), key=lambda number: (number % 7, number))


def test_the_clock_is_the_systems_own_unless_told_otherwise():
    agenda = Agenda()
    before = agenda.clock()
    assert before <= agenda.clock()
