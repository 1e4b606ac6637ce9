"""The operations of ``gstream bench``, and its percentiles."""

from __future__ import annotations

from array import array

import pytest

from gstream.cli.load import KINDS, Result


def result(*latencies):
    return Result("ping", len(latencies), 1.0, 0.5, 0, array("d", latencies))


def test_percentiles_are_of_the_nearest_rank():
    hundred = result(*range(1, 101))
    assert [hundred.percentile(percent) for percent in (50, 90, 99, 99.9, 100)] == [50, 90, 99, 100, 100]
    assert [result(3.0).percentile(percent) for percent in (0, 50, 100)] == [3.0] * 3


def test_a_body_is_its_number_and_as_long_as_told():
    assert KINDS["publish"](10, 8).body(7) == b"7......."


REPLIES = {
    "ping": [b"+ 0"],
    "publish": [b"ok\r"],
    "consume": [b"= 5 1 0......."],
    "lease": [b"= 5 1 0.......", b"+ 1"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_replies(kind):
    made = KINDS[kind](1, 8)
    assert made.command(0).endswith(b"\n")
    *first, last = REPLIES[kind]
    assert [made.answer(0, line, step) for step, line in enumerate(first)] == [b"a5\n"] * len(first)
    assert made.answer(0, last, len(first)) is None


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("ping", b"+ 1"),
        ("ping", b""),
        ("publish", b"ok"),
        ("consume", b"."),
        ("consume", b"= 5 1 1......."),
        ("consume", b"= 5 1 0......"),
        ("consume", b"= 5 1 theirs"),
        ("consume", b"$ 5 1 8"),
        ("lease", b"."),
    ],
)
def test_a_wrong_reply(kind, line):
    with pytest.raises((ValueError, IndexError)):
        KINDS[kind](1, 8).answer(0, line, 0)


def test_a_message_that_comes_twice_and_an_acknowledgement_that_is_refused():
    made = KINDS["lease"](2, 8)
    assert made.answer(0, b"= 0 1 1.......", 0) == b"a0\n"
    with pytest.raises(ValueError):  # noqa: PT011  # it says no more
        made.answer(1, b"= 1 1 1.......", 0)
    with pytest.raises(ValueError):  # noqa: PT011
        made.answer(0, b"+ 0", 1)
