"""The decoder against a naive model of it, which sees everything at once and knows neither runs nor pieces."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from gstream.telnet import TelnetFilter

LF, CRLF = b"\n", b"\r\n"


def model(data, limit):
    """The commands of everything that a client sent, line by line."""
    telnet = re.match(rb"(?:[^\n\xff][^\n]*\n|\n)*\xff", data)
    if telnet:
        start = telnet.end() - 1
        data = data[:start] + TelnetFilter().feed(data[start:])[0]
    return [command for line in re.findall(rb"[^\n]+", data) if (command := model_line(line, limit))]


def model_line(line, limit):
    eol = CRLF if line.endswith(b"\r") else LF
    line = line.removesuffix(b"\r")
    letter, argument = line[:1], line[1:]
    wait = re.fullmatch(rb"(?:([0-9]+)(?: ([0-9]*[1-9][0-9]*))?)?", argument) if len(argument) < 9 else None
    if not line:
        return None
    if len(argument) > limit:
        return "-", "toobig", eol
    if letter in (b"p", b"z"):
        return letter.decode(), argument, eol
    if letter in (b"c", b"q", b"h") and not argument:
        return letter.decode(), eol
    if letter == b"w" and wait:
        seconds, count = wait.groups()
        return "w", None if seconds is None else float(seconds), int(count or 1), count is not None, eol
    return "-", "args" if letter == b"w" else "unknown", eol


def cut(data, places):
    places = sorted(place % (len(data) + 1) for place in places)
    return [data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True)]


text = st.lists(st.sampled_from([b"p", b"c", b"q", b"z", b"w", b"h", b"\r", b"\n", b" ", b"0", b"1", b"x", b"\xff"]))
lines = st.lists(
    st.sampled_from(
        [
            b"pab\n",
            b"p\r\n",
            b"p\ra\n",
            b"pabcd\n",
            b"pabcdefg\r\n",
            b"c\n",
            b"c\r\n",
            b"z1\n",
            b"w1 1\r\n",
            b"\n",
            b"x\n",
        ]
    ),
    max_size=12,
)
limits = st.integers(1, 6)
cuts = st.lists(st.integers(0, 1000), max_size=8)


@settings(max_examples=1000)
@given(text.map(b"".join), limits)
def test_any_text_is_what_the_model_makes_of_it(decode, data, limit):
    assert decode([data], limit).commands == model(data, limit)


@settings(max_examples=1000)
@given(lines.map(b"".join), limits)
def test_any_commands_are_what_the_model_makes_of_them(decode, data, limit):
    assert decode([data], limit).commands == model(data, limit)
    assert decode([b"\n", data], limit).commands == model(data, limit)


@settings(max_examples=500)
@given(text.map(b"".join), limits, cuts)
def test_any_text_may_be_cut_anywhere(decode, data, limit, places):
    assert decode(cut(data, places), limit).commands == model(data, limit)


@settings(max_examples=500)
@given(lines.map(b"".join), limits, cuts)
def test_commands_may_be_cut_anywhere(decode, data, limit, places):
    assert decode(cut(data, places), limit).commands == model(data, limit)


@settings(max_examples=300)
@given(st.binary(max_size=40))
def test_any_bytes_may_be_cut_in_two_anywhere(decode, data):
    whole = decode([data], 20)
    assert decode([data[at : at + 1] for at in range(len(data))], 20) == whole
    for at in range(len(data)):
        assert decode([data[:at], data[at:]], 20) == whole


@given(lines)
def test_any_commands_may_be_cut_in_two_anywhere(decode, pieces):
    data = b"".join(pieces)
    whole = decode([data], 6)
    assert whole == decode(pieces, 6)
    for at in range(len(data)):
        assert decode([data[:at], data[at:]], 6) == whole


@given(st.lists(st.binary(max_size=30).map(lambda body: body.replace(b"\n", b"").rstrip(b"\r")), min_size=1))
def test_published_bodies_come_out_as_they_went_in(decode, bodies):
    for eol in (LF, CRLF):
        data = b"".join(b"p" + body + eol for body in bodies)
        assert decode([data]).commands == [("p", body, eol) for body in bodies]
        assert decode([data], 30).commands == [("p", body, eol) for body in bodies]
