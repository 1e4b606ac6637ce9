"""Replies that go out when something is stored."""

from __future__ import annotations

import pytest

from gstream.commit import Commit
from gstream.pending import ENTRY_BYTES, Pending


@pytest.fixture
def out():
    return []


@pytest.fixture
def pending(out):
    return Pending(out.append)


def refuse(error):
    return b"- disk %b\n" % str(error).encode()


def finish(commit, error=None):
    """As the hub would: from here the commit would only note it."""
    commit.error, commit.is_done = error, True
    links, commit._links = commit._links, []
    for link in links:
        link()


def test_nothing_goes_out_before_it_is_stored(pending, out):
    commit = Commit()
    pending.add(commit, b"ok\n", refuse, 5)
    assert (len(pending), pending.size_bytes, out) == (1, 5 + 3 + ENTRY_BYTES, [])
    finish(commit)
    assert (len(pending), pending.size_bytes, out) == (0, 0, [[b"ok\n"]])


def test_what_is_stored_together_goes_out_together(pending, out):
    commit = Commit()
    for number in range(3):
        pending.add(commit, b"%d\n" % number, refuse, 1)
    finish(commit)
    assert out == [[b"0\n", b"1\n", b"2\n"]]


def test_what_is_written_afterwards_goes_out_afterwards(pending, out):
    commit = Commit()
    pending.add(commit, b"ok\n", refuse, 1)
    pending.add_behind(b"+ pong\n")
    assert out == []
    finish(commit)
    assert out == [[b"ok\n", b"+ pong\n"]]


def test_replies_keep_their_order_whatever_is_stored_first(pending, out):
    first, second = Commit(), Commit()
    pending.add(first, b"1\n", refuse, 1)
    pending.add(second, b"2\n", refuse, 1)
    pending.add(first, b"3\n", refuse, 1)
    finish(second)
    assert out == []
    finish(first)
    assert out == [[b"1\n", b"2\n", b"3\n"]]
    assert pending.size_bytes == 0


def test_a_part_goes_out_while_the_rest_is_stored(pending, out):
    first, second = Commit(), Commit()
    pending.add(first, b"1\n", refuse, 10)
    pending.add(second, b"2\n", refuse, 20)
    pending.add_behind(b"3\n")
    finish(first)
    assert (out, pending.size_bytes) == ([[b"1\n"]], 20 + 2 * (2 + ENTRY_BYTES))
    finish(second)
    assert out == [[b"1\n"], [b"2\n", b"3\n"]]


def test_who_could_not_be_served_is_told_so_in_his_place(pending, out):
    first, second = Commit(), Commit()
    pending.add(first, b"1\n", refuse, 1)
    pending.add(second, b"2\n", refuse, 1)
    finish(first, OSError("no room"))
    finish(second)
    assert out == [[b"- disk no room\n"], [b"2\n"]]


def test_what_is_stored_already_goes_out_at_once(pending, out):
    commit = Commit()
    finish(commit)
    pending.add(commit, b"ok\n", refuse, 1)
    assert (out, len(pending)) == ([[b"ok\n"]], 0)


def test_what_becomes_stored_while_others_are_told_goes_out_too(pending, out):
    commit = Commit()
    commit.then(lambda: pending.add(commit, b"2\n", refuse, 1))
    pending.add(commit, b"1\n", refuse, 1)
    finish(commit)
    assert (out, len(pending)) == ([[b"1\n", b"2\n"]], 0)
    pending.add(commit, b"3\n", refuse, 1)
    assert out[1:] == [[b"3\n"]]


def test_who_is_gone_is_told_nothing(pending, out):
    commit = Commit()
    pending.add(commit, b"ok\n", refuse, 7)
    pending.clear()
    finish(commit)
    assert (out, len(pending), pending.size_bytes) == ([], 0, 0)
