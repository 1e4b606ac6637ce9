from __future__ import annotations

import pytest

from gstream.alarm import Alarm

INFINITY = float("inf")


class Clockwork:
    """An alarm that rings once in ten seconds at the most. rang: when it did, from its beginning."""

    def __init__(self, time):
        self.time = time
        self.began = time.now
        self.rang = []
        self.following = []  # what is to be expected when it rings
        self.alarm = Alarm(time.agenda, 10.0, self.ring)

    def ring(self):
        assert self.alarm.ring() == self.time.now
        self.rang.append(self.time.now - self.began)
        if self.following:
            self.expect(self.following.pop(0))

    def expect(self, seconds):
        self.alarm.expect(self.began + seconds)

    def expect_at(self, seconds):
        self.alarm.expect_at(self.began + seconds)

    def pass_to(self, seconds):
        """Let the time pass, a second at a time."""
        while self.time.now < self.began + seconds:
            self.time.sleep(1)


@pytest.fixture
def clockwork(time):
    return Clockwork(time)


def test_it_rings_when_something_is_due(clockwork):
    assert clockwork.alarm.when == INFINITY
    clockwork.expect(5)
    assert clockwork.alarm.when == clockwork.began + 5
    clockwork.pass_to(4)
    assert clockwork.rang == []
    clockwork.pass_to(100)
    assert clockwork.rang == [5]
    assert clockwork.alarm.when == INFINITY


def test_of_many_things_the_first_counts(clockwork):
    for seconds in (7, 3, 5, 3, 9):
        clockwork.expect(seconds)
    assert clockwork.alarm.when == clockwork.began + 3
    clockwork.pass_to(100)
    assert clockwork.rang == [3]


def test_what_is_due_soon_after_another_thing_waits_for_more(clockwork):
    clockwork.following = [4, 14, 30]
    clockwork.expect(3)
    clockwork.pass_to(100)
    assert clockwork.rang == [3, 13, 23, 33]


def test_what_is_due_later_than_that_does_not_wait(clockwork):
    clockwork.following = [50]
    clockwork.expect(3)
    clockwork.pass_to(100)
    assert clockwork.rang == [3, 50]


def test_some_things_do_not_wait(clockwork):
    clockwork.expect(3)
    clockwork.pass_to(3)
    clockwork.expect(4)
    clockwork.expect_at(5)
    clockwork.pass_to(100)
    assert clockwork.rang == [3, 5]


def test_what_is_overdue_is_done_in_this_turn_or_the_next(clockwork):
    clockwork.expect(-7)
    clockwork.time.run()
    assert clockwork.rang == [0]


def test_a_cancelled_alarm_does_not_ring(clockwork):
    clockwork.alarm.cancel()
    clockwork.expect(3)
    clockwork.alarm.cancel()
    assert clockwork.alarm.when == INFINITY
    clockwork.pass_to(10)
    assert clockwork.rang == []
    clockwork.expect(12)
    clockwork.pass_to(20)
    assert clockwork.rang == [12]
