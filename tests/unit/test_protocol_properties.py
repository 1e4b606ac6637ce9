"""The decoder against a naive model of it, which sees everything at once and knows neither runs nor pieces."""

from __future__ import annotations

import re
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from gstream.protocol import PARTITION_SHIFT, encode_id
from gstream.telnet import TelnetFilter

LF, CRLF = b"\n", b"\r\n"


def model(data, limit):
    """The commands of everything that a client sent, line by line."""
    commands = []
    telnet = False
    while data:
        if data[0] == 255 and not telnet:
            telnet = True
            data = TelnetFilter().feed(data)[0]
            continue
        line, _, data = data.partition(LF)
        counted = re.fullmatch(rb"P([0-9]{1,15})( .*)?", line.removesuffix(b"\r"))
        if counted and len(line.removesuffix(b"\r")) - 1 <= limit:
            command, data = model_counted(int(counted[1]), counted[2], line, data, limit)
        else:
            command = model_line(line, limit)
        commands += [command] if command else []
    return commands


def model_counted(size, fields, line, data, limit):
    """The command, and what follows its body."""
    eol = CRLF if line.endswith(b"\r") else LF
    body, rest = data[:size], data[size:]
    if len(body) < size:
        return None, b""
    ending = re.match(rb"\r?(?:\n|\Z)", rest)
    following = rest[ending.end() :] if ending else rest.partition(LF)[2]
    if size > limit:
        return ("-", "toobig", eol), following
    if not ending or fields not in (None, b" key=a"):
        return ("-", "args", eol), following
    return ("P", body, b"a" if fields else None, 0.0, None, eol), following


def model_line(line, limit):
    eol = CRLF if line.endswith(b"\r") else LF
    line = line.removesuffix(b"\r")
    letter, argument = line[:1], line[1:]
    ids = re.fullmatch(rb"[0-9]+(?: [0-9]+)*", argument) if len(argument) < 9 else None
    wait = re.fullmatch(rb"(?:([0-9]+)(?: ([0-9]*[1-9][0-9]*))?)?", argument) if len(argument) < 9 else None
    if not line:
        return None
    command = "-", "args" if letter in (b"w", b"r", b"a", b"P") else "unknown"
    if len(argument) > limit:
        command = "-", "toobig"
    elif letter in (b"p", b"z"):
        command = letter.decode(), argument
    elif letter in (b"c", b"q", b"h") and not argument:
        command = (letter.decode(),)
    elif letter == b"a" and ids:
        command = "a", [int(each) for each in argument.split(b" ")]
    elif letter in (b"w", b"r") and wait:
        seconds, count = wait.groups()
        command = letter.decode(), None if seconds is None else float(seconds), int(count or 1), count is not None
    return *command, eol


def cut(data, places):
    places = sorted(place % (len(data) + 1) for place in places)
    return [data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True)]


letters = [b"p", b"c", b"q", b"z", b"w", b"r", b"h", b"a", b"j", b"P", b"P", b"P2\n", b"P1 key=a\n"]
text = st.lists(st.sampled_from([*letters, b"\r", b"\n", b"\n", b" ", b"0", b"1", b"\xff"]))
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
            b"j\n",
            b"a1 0\n",
            b"P2\nab\n",
            b"P2\n\n\n\n",
            b"P3\r\na\rb\r\n",
            b"P0\n\n",
            b"P3\njour\n",
            b"P3\nab\n",
            b"P1 key=a\nj\n",
            b"P1 j\nj\n",
            b"P9\nabc\njfghi\n",
            b"P\xff\n",
            b"P2\n\xff\xff\n",
        ]
    ),
    max_size=12,
)
limits = st.integers(1, 8)
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


@settings(max_examples=300)
@given(st.binary(max_size=60), cuts)
def test_any_bytes_are_decoded_without_an_error(decode, data, places):
    assert decode(cut(data, places), 10) == decode([data], 10)


@given(st.lists(st.binary(max_size=30), min_size=1), st.sampled_from([LF, CRLF]), st.sampled_from([LF, CRLF]), cuts)
def test_counted_bodies_come_out_as_they_went_in(decode, bodies, line_eol, body_eol, places):
    data = b"".join(b"P%d%b%b%b" % (len(body), line_eol, body, body_eol) for body in bodies)
    expected = [("P", body, None, 0.0, None, line_eol) for body in bodies]
    assert decode([data], 30).commands == expected
    assert decode(cut(data, places), 30).commands == expected


@given(st.binary(max_size=30), st.binary(max_size=30), st.binary(min_size=1, max_size=30), st.integers(0, 999))
def test_fields_come_out_as_they_went_in(decode, body, key, id, seconds):
    fields = f"key={quote(key)} delay={seconds} id={quote(id, safe='')}"
    data = b"P%d %b\n%b\n" % (len(body), fields.encode(), body)
    assert decode([data]).commands == [("P", body, key, float(seconds), id, LF)]


ids = st.tuples(st.integers(0, (1 << 15) - 1), st.integers(0, (1 << PARTITION_SHIFT) - 1))


@given(st.lists(ids.map(lambda place: place[0] << PARTITION_SHIFT | place[1]), min_size=1), st.booleans())
def test_ids_come_out_as_they_went_in(decode, ids, several):
    data = b"a%b\n" % b" ".join(encode_id(id, several) for id in ids)
    assert decode([data]).commands == [("a", ids, LF)]


@given(st.lists(st.binary(max_size=30).map(lambda body: body.replace(b"\n", b"").rstrip(b"\r")), min_size=1))
def test_published_bodies_come_out_as_they_went_in(decode, bodies):
    for eol in (LF, CRLF):
        data = b"".join(b"p" + body + eol for body in bodies)
        assert decode([data]).commands == [("p", body, eol) for body in bodies]
        assert decode([data], 30).commands == [("p", body, eol) for body in bodies]
