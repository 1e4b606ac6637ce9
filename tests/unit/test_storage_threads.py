"""What is done in an engine's threads, how many there are, and what comes of it."""

from __future__ import annotations

import threading

import gevent
import pytest

from gstream.storage.threads import Threads
from tests.unit.disk_ground import TIMEOUT_SECONDS, until


@pytest.fixture
def threads():
    threads = Threads(2)
    yield threads
    threads.close()


def fail(text):
    raise ValueError(text)


def test_it_is_done_elsewhere_and_returned(threads):
    assert threads.apply(threading.get_ident) != threading.get_ident()
    assert threads.apply(divmod, 7, 2) == (3, 1)
    assert [work.get() for work in threads.map(abs, [-1, 2, -3, 4, -5])] == [1, 2, 3, 4, 5]


def test_errors_are_raised_where_it_was_asked_for_and_printed_nowhere(threads, capsys):
    with pytest.raises(ValueError, match="why"):
        threads.apply(fail, "why")
    assert [str(work.error) for work in threads.map(fail, ["a", "b"])] == ["a", "b"]
    assert capsys.readouterr() == ("", "")


def test_the_hub_is_told_and_may_ask_for_more(threads):
    done = []

    def again(work):
        done.append(work.get())
        if len(done) < 5:
            threads.spawn(abs, -len(done)).then(again)

    threads.spawn(abs, 0).then(again)
    until(lambda: len(done) == 5)
    assert done == [0, 1, 2, 3, 4]


def test_what_finds_no_thread_waits_and_its_caller_does_not(threads):
    gate = threading.Event()
    began = []

    def work(number):
        began.append(number)
        assert gate.wait(TIMEOUT_SECONDS)
        return number

    done = []
    for number in range(8):
        threads.spawn(work, number).then(lambda work: done.append(work.get()))
    until(lambda: len(began) == 2)
    # The hub, too, may ask for something; it would not be let wait.
    gevent.get_hub().loop.run_callback(lambda: threads.spawn(work, 8).then(lambda work: done.append(work.get())))
    gevent.idle()
    assert (sorted(began), done) == ([0, 1], [])
    gate.set()
    until(lambda: len(done) == 9)
    assert sorted(done) == list(range(9))


def test_who_waits_late_is_told_as_well(threads):
    work = threads.spawn(abs, -1)
    threads.apply(abs, 0)
    threads.apply(abs, 0)
    until(lambda: work._is_done)
    assert work.wait().get() == 1
