"""Who waits until something is stored, and what he is told."""

from __future__ import annotations

import gevent
import pytest

from gstream.commit import Commit, chained, together
from gstream.errors import DiskError, DiskFullError

FULL = DiskFullError("/data: No space left on device")


@pytest.fixture
def commit():
    return Commit()


def finish(commit, error=None):
    """It is done, and everybody has been told."""
    commit.finish(error)
    gevent.idle()
    assert commit.is_done


class Waiter:
    """A greenlet that waits for a commit. said: what became of it."""

    def __init__(self, commit, order=None):
        self.said = None
        self.order = [] if order is None else order
        self.greenlet = gevent.spawn(self.wait, commit)

    def wait(self, commit):
        try:
            commit.wait()
            self.said = "stored"
        except DiskError as error:
            self.said = str(error)
        self.order.append(self)


def test_nobody_is_told_before_it_is_stored(commit):
    waiter = Waiter(commit)
    gevent.idle()
    assert (commit.is_done, commit.error, waiter.said) == (False, None, None)
    finish(commit)
    assert (commit.error, waiter.said) == (None, "stored")


def test_who_comes_later_is_told_at_once(commit):
    finish(commit)
    commit.wait()
    told = []
    commit.then(lambda: told.append(1))
    assert told == [1]


def test_a_failure_is_told_to_all(commit):
    told = []
    waiters = [Waiter(commit) for _ in range(3)]
    commit.then(lambda: told.append(commit.error))
    gevent.idle()
    finish(commit, FULL)
    assert [waiter.said for waiter in waiters] == [str(FULL)] * 3
    assert told == [FULL]
    with pytest.raises(DiskError, match=r"^/data: No space left on device$") as caught:
        commit.wait()
    assert caught.value.__cause__ is FULL


def test_they_are_told_in_the_order_in_which_they_came(commit):
    order = []
    first = Waiter(commit, order)
    gevent.idle()
    commit.then(lambda: order.append("second"))
    third = Waiter(commit, order)
    gevent.idle()
    commit.then(lambda: order.append("fourth"))
    finish(commit)
    assert order == [first, "second", third, "fourth"]


def test_actions_are_called_in_the_hub(commit):
    where = []
    commit.then(lambda: where.append(gevent.getcurrent()))
    finish(commit)
    assert where == [gevent.get_hub()]


def test_it_is_not_done_before_the_hub_says_so(commit):
    commit.finish()
    assert not commit.is_done, "greenlets are switched to from the hub"
    commit.wait()
    assert commit.is_done


def test_who_is_killed_waits_no_more(commit):
    killed, other = Waiter(commit), Waiter(commit)
    gevent.idle()
    killed.greenlet.kill()
    finish(commit)
    assert (killed.said, other.said) == (None, "stored")


def test_who_is_killed_in_the_turn_in_which_it_is_stored(commit):
    killed, other = Waiter(commit), Waiter(commit)
    gevent.idle()
    commit.then(lambda: killed.greenlet.kill(block=False))
    finish(commit)
    gevent.joinall([killed.greenlet, other.greenlet])
    assert other.said == "stored"


def test_who_waits_may_wait_for_another(commit):
    other = Commit()
    told = []
    commit.then(lambda: other.then(lambda: told.append("other")))
    finish(commit)
    assert told == []
    finish(other)
    assert told == ["other"]


def test_an_action_that_fails_keeps_nobody_waiting(commit, caplog):
    def fail():
        raise RuntimeError("a bug")

    commit.then(fail)
    waiter = Waiter(commit)
    gevent.idle()
    finish(commit)
    assert waiter.said == "stored"
    assert "a bug" in caplog.text


# --- several


def test_what_is_stored_already_needs_no_commit(commit):
    assert together([]) is None
    assert together([None, None]) is None
    assert together([None, commit, commit]) is commit


def test_all_of_them_are_waited_for():
    commits = [Commit() for _ in range(3)]
    whole = together([*commits, None, commits[0]])
    waiter = Waiter(whole)
    for each in (commits[1], commits[0]):
        finish(each)
        assert (whole.is_done, waiter.said) == (False, None)
    finish(commits[2])
    gevent.idle()
    assert (whole.is_done, waiter.said) == (True, "stored")


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_one_that_fails_is_a_failure_of_all_once_all_have_ended(failing):
    commits = [Commit() for _ in range(3)]
    whole = together(commits)
    waiter = Waiter(whole)
    for number, each in enumerate(commits):
        assert waiter.said is None
        finish(each, FULL if number == failing else None)
    gevent.idle()
    assert (whole.error, waiter.said) == (FULL, str(FULL))


def test_those_that_have_ended_are_together_done():
    commits = [Commit() for _ in range(2)]
    for each in commits:
        finish(each, FULL)
    whole = together(commits)
    gevent.idle()
    assert (whole.is_done, whole.error) == (True, FULL)


# --- one after the other


def test_the_second_begins_when_the_first_is_stored(commit):
    other, started = Commit(), []
    whole = chained(commit, lambda: started.append(True) or other)
    assert not started
    finish(commit)
    assert (started, whole.is_done) == ([True], False)
    finish(other, DiskFullError("full"))
    assert (whole.is_done, whole.error) == (True, None), "what counts is the first"


def test_the_second_does_not_begin_when_the_first_fails(commit):
    error = DiskFullError("full")
    whole = chained(commit, lambda: pytest.fail("begun"))
    finish(commit, error)
    assert whole.error is error


def test_a_second_that_cannot_begin_keeps_nobody_waiting(commit, caplog):
    error = ValueError("why")

    def start():
        raise error

    whole = chained(commit, start)
    finish(commit)
    assert whole.error is error
    assert "bug" in caplog.text
