"""When what goes from a log in memory, by its limits."""

from __future__ import annotations

import pytest

from gstream.storage.expiry import PER_LIMIT, SHORTEST_SECONDS, Expiry


class FakeLog:
    """A log of messages of a byte each; any of them can go. times: when they were stored."""

    def __init__(self, time):
        self.time = time
        self.oldest_offset = 0
        self.times = []
        self.pieces = 0

    @property
    def end_offset(self):
        return len(self.times)

    @property
    def kept(self):
        return self.times[self.oldest_offset :]

    def store(self, expiry, count=1):
        self.times += [self.time.now] * count
        expiry.note()

    def end_piece(self):
        self.pieces += 1

    def find_excess(self, size):
        end = self.end_offset - size
        return end if end > self.oldest_offset else 0

    def lose_before(self, end):
        assert end > self.oldest_offset
        self.oldest_offset = end


def pass_by(time, seconds):
    """Let time pass, so that whoever looks does it in time."""
    for _ in range(round(seconds * 10)):
        time.sleep(0.1)


@pytest.fixture
def log(time):
    return FakeLog(time)


@pytest.fixture
def expiry(log, time):
    return Expiry(log, time.agenda)


def test_without_a_limit_everything_stays(log, expiry, time):
    assert not expiry.set((0, 0.0))
    log.store(expiry, 1000)
    assert time.agenda.run_next() is None
    assert log.oldest_offset == 0


def test_what_is_too_much_goes_at_once(log, expiry, time):
    assert expiry.set((100, 0.0))
    log.store(expiry, 100)
    assert log.oldest_offset == 0
    log.store(expiry, 50)
    assert log.oldest_offset == 50
    expiry.set((10, 0.0))
    assert log.oldest_offset == 140
    expiry.set((0, 0.0))
    log.store(expiry, 1000)
    assert log.oldest_offset == 140
    assert time.agenda.run_next() is None


@pytest.mark.parametrize("seconds", [1.0, 60.0, 0.3, 7 * 86_400.0])
def test_what_is_too_old_goes_when_a_quarter_more_is_over(log, expiry, time, seconds):
    assert expiry.set((0, seconds))
    for _ in range(300):
        log.store(expiry)
        time.sleep(seconds / 23)
        ages = [time.now - when for when in log.times]
        assert all(age >= seconds * 0.999 for age in ages[: log.oldest_offset]), "not before its time"
        assert all(age <= seconds * (1 + 1.5 / PER_LIMIT) for age in ages[log.oldest_offset :])
    assert log.oldest_offset > 200
    time.sleep(seconds)
    for _ in range(2 * PER_LIMIT):
        time.sleep(seconds / PER_LIMIT)
    assert log.kept == []
    assert time.agenda.run_next() is None, "nobody looks at what is empty"
    log.store(expiry)
    assert time.agenda.run_next() is not None


def test_however_short_a_limit_is_it_is_not_looked_for_all_the_time(log, expiry, time):
    expiry.set((0, 0.001))
    log.store(expiry)
    time.agenda.run_next()
    assert time.agenda.run_next() == pytest.approx(SHORTEST_SECONDS, abs=1e-6)
    while log.kept:
        time.sleep(SHORTEST_SECONDS)
    assert log.pieces == 1


def test_what_was_there_before_there_was_a_limit_counts_from_then(log, expiry, time):
    log.store(expiry, 10)
    time.sleep(1000)
    expiry.set((0, 8.0))
    log.store(expiry)
    pass_by(time, 7.8)
    assert log.oldest_offset == 0
    pass_by(time, 1)
    assert log.oldest_offset == 10
    pass_by(time, 3)
    assert log.oldest_offset == 11


def test_another_limit_counts_what_is_there_from_when_it_was_stored(log, expiry, time):
    expiry.set((0, 1000.0))
    log.store(expiry, 10)
    time.sleep(250)
    log.store(expiry, 10)
    time.sleep(250)
    expiry.set((0, 300.0))
    pass_by(time, 80)
    assert log.oldest_offset == 10
    expiry.set((0, 0.0))
    time.sleep(10_000)
    assert log.oldest_offset == 10
    assert time.agenda.run_next() is None


def test_whoever_stops_looks_no_more(log, expiry, time):
    expiry.set((0, 5.0))
    log.store(expiry)
    expiry.stop()
    expiry.stop()
    time.sleep(100)
    assert log.oldest_offset == 0
