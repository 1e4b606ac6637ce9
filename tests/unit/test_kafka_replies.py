"""Replies in the order of their requests, however long each has to wait."""

from __future__ import annotations

import gevent
import pytest

from gstream.commit import Commit
from gstream.kafka.replies import ENTRY_BYTES, Replies


@pytest.fixture
def sent():
    return []


@pytest.fixture
def replies(sent):
    return Replies(sent.append)


def done(*commits, error=None):
    for commit in commits:
        commit.finish(error)
    gevent.sleep(0)


def test_a_reply_goes_out_when_it_is_stored(replies, sent):
    commit = Commit()
    replies.add_when(commit, lambda: [b"one", b"two"], 100)
    assert (len(replies), replies.size_bytes, sent) == (1, 100 + ENTRY_BYTES, [])
    done(commit)
    assert (len(replies), replies.size_bytes, sent) == (0, 0, [[b"one", b"two"]])


def test_at_once_when_that_is_so_already(replies, sent):
    commit = Commit()
    done(commit)
    replies.add_when(commit, lambda: [b"one"], 100)
    assert sent == [[b"one"]]


def test_nothing_overtakes(replies, sent):
    first, second = Commit(), Commit()
    replies.add_when(first, lambda: [b"1"], 10)
    replies.add_behind([b"2"], 20)
    replies.add_when(second, lambda: [b"3"], 30)
    replies.add_behind([b"4"], 40)
    assert replies.size_bytes == 100 + 4 * ENTRY_BYTES
    done(second)
    assert sent == []
    done(first)
    assert sent == [[b"1", b"2", b"3", b"4"]]


def test_what_is_stored_together_goes_out_together(replies, sent):
    commit = Commit()
    for text in (b"1", b"2", b"3"):
        replies.add_when(commit, lambda text=text: [text], 1)
    done(commit)
    assert sent == [[b"1", b"2", b"3"]]


def test_what_could_not_be_stored_is_answered_too(replies, sent):
    commit = Commit()
    replies.add_when(commit, lambda: [str(commit.error).encode()], 1)
    done(commit, error=OSError("no room"))
    assert sent == [[b"no room"]]


def test_a_reply_may_be_empty(replies, sent):
    commit = Commit()
    replies.add_when(commit, list, 1)
    done(commit)
    assert (len(replies), sent) == (0, [[]]), "who waits for room is told"


def test_nothing_is_answered_any_more(replies, sent):
    commit = Commit()
    replies.add_when(commit, lambda: [b"1"], 1)
    replies.clear()
    assert (len(replies), replies.size_bytes) == (0, 0)
    done(commit)
    assert sent == []
