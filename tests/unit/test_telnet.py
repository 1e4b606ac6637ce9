"""The telnet filter by itself: data and answers, however the bytes are cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gstream.telnet import IAC, TelnetFilter

CASES = {
    "nothing": (b"", b"", b""),
    "plain data": (b"pHello\r\n", b"pHello\r\n", b""),
    "doubled 255": (b"a\xff\xffb", b"a\xffb", b""),
    "do": (b"\xff\xfd\x01", b"", b"\xff\xfc\x01"),
    "will": (b"\xff\xfb\x01", b"", b"\xff\xfe\x01"),
    "dont and wont need no answer": (b"\xff\xfe\x01\xff\xfc\x01", b"", b""),
    "option 255": (b"\xff\xfd\xffa", b"a", b"\xff\xfc\xff"),
    "option LF": (b"\xff\xfd\na", b"a", b"\xff\xfc\n"),
    "two-byte commands": (b"a\xff\xf1b\xff\xf4c\xff\xf9", b"abc", b""),
    "Ctrl-C": (b"\xff\xf4\xff\xfd\x06", b"", b"\xff\xfc\x06"),
    "subnegotiation": (b"a\xff\xfa\x18\x00xterm\xff\xf0b", b"ab", b""),
    "subnegotiation with a doubled 255": (b"a\xff\xfa\xff\xff\xf0\xff\xf0b", b"ab", b""),
    "subnegotiation is not answered": (b"\xff\xfa\xff\xfd\x01\xff\xf0b", b"b", b""),
    "unfinished": (b"a\xff", b"a", b""),
    "unfinished request": (b"a\xff\xfd", b"a", b""),
    "CR NUL": (b"a\r\0b", b"a\r\nb", b""),
    "CR NUL NUL": (b"\r\0\0", b"\r\n\0", b""),
    "CR LF NUL": (b"\r\n\0", b"\r\n\0", b""),
    "NUL": (b"\0a\0", b"\0a\0", b""),
    "CR, a command, NUL": (b"\r\xff\xf1\0", b"\r\n", b""),
    "CR, 255, NUL": (b"\r\xff\xff\0", b"\r\xff\0", b""),
}


def feed(pieces):
    telnet = TelnetFilter()
    fed = [telnet.feed(piece) for piece in pieces]
    return b"".join(data for data, _ in fed), b"".join(answer for _, answer in fed)


@pytest.mark.parametrize(("sent", "data", "answer"), CASES.values(), ids=CASES.keys())
def test_data_and_answer_however_it_is_cut(sent, data, answer):
    assert feed([sent]) == (data, answer)
    assert feed(sent[at : at + 1] for at in range(len(sent))) == (data, answer)
    for at in range(len(sent)):
        assert feed([sent[:at], sent[at:]]) == (data, answer)


SEQUENCE = re.compile(
    rb"\xff(?:(?P<doubled>\xff)|\xfa(?:[^\xff]|\xff[^\xf0])*(?:\xff\xf0|\xff?\Z)"
    rb"|(?P<verb>[\xfb-\xfe])(?P<option>.?)|.?)",
    re.DOTALL,
)


def naive(data):
    """The same with a regular expression over everything that was sent."""
    answers = b""

    def replace(match):
        nonlocal answers
        if match["option"] and match["verb"] in b"\xfd\xfb":
            answers += b"\xff" + {b"\xfd": b"\xfc", b"\xfb": b"\xfe"}[match["verb"]] + match["option"]
        return b"\xff" if match["doubled"] else b""

    return SEQUENCE.sub(replace, data).replace(b"\r\0", b"\r\n"), answers


bytes_of_interest = st.lists(st.sampled_from(b"\xff\xfa\xf0\xfb\xfc\xfd\xfe\xf4\r\n\0a")).map(bytes)


@given(bytes_of_interest)
def test_as_a_naive_filter_of_the_whole(data):
    assert feed([data]) == naive(data)


@given(st.lists(bytes_of_interest))
def test_the_cuts_do_not_matter(pieces):
    assert feed(pieces) == naive(b"".join(pieces))


def test_ordinary_text_passes_as_it_is():
    data = bytes(set(range(256)) - {IAC}) * 100
    assert feed([data]) == (data, b"")
