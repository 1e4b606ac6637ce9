"""Telnet's sequences in the line protocol: when they count, and what becomes of the commands around them."""

from __future__ import annotations

import pytest

LF, CRLF = b"\n", b"\r\n"
CTRL_C = b"\xff\xf4\xff\xfd\x06"
WONT_TIMING_MARK = b"\xff\xfc\x06"

CASES = {
    "Ctrl-C": (CTRL_C, [], WONT_TIMING_MARK),
    "Ctrl-C between commands": (
        b"pa\r\n" + CTRL_C + b"c\r\n",
        [("p", b"a", CRLF), ("c", CRLF)],
        WONT_TIMING_MARK,
    ),
    "Ctrl-C twice": (CTRL_C * 2, [], WONT_TIMING_MARK * 2),
    "Ctrl-C within a line, of a telnet client": (
        b"\xff\xf1pHe" + CTRL_C + b"llo\r\n",
        [("p", b"Hello", CRLF)],
        WONT_TIMING_MARK,
    ),
    "negotiation first": (
        b"\xff\xfd\x03\xff\xfb\x18\xff\xfb\x1fpHello\r\n",
        [("p", b"Hello", CRLF)],
        b"\xff\xfc\x03\xff\xfe\x18\xff\xfe\x1f",
    ),
    "refusals are not refused": (b"\xff\xfe\x03\xff\xfc\x18c\n", [("c", LF)], b""),
    "subnegotiation is dropped": (b"\xff\xfa\x18\x00xterm\nq\n\xff\xf0z1\n", [("z", b"1", LF)], b""),
    "doubled 255 is one": (b"\xff\xf1pa\xff\xff\n", [("p", b"a\xff", LF)], b""),
    "many doubled": (b"\xff\xf1p\xff\xff\xff\xff\xff\xff\n", [("p", b"\xff\xff\xff", LF)], b""),
    "doubled, and then a verb's number": (b"\xff\xf1pa\xff\xff\xfd\x06\n", [("p", b"a\xff\xfd\x06", LF)], b""),
    "doubled at the beginning of a line is data": (b"\xff\xff\n", [("-", "unknown", LF)], b""),
    "bare return": (b"\xff\xf1pa\r\0c\r\0", [("p", b"a", CRLF), ("c", CRLF)], b""),
    "before it is a telnet client, 255 is data": (
        b"pa\xff\xfd\x06\npb\xff\xff\n\xff\xf1pb\xff\xff\n",
        [("p", b"a\xff\xfd\x06", LF), ("p", b"b\xff\xff", LF), ("p", b"b\xff", LF)],
        b"",
    ),
    "within any line, 255 is data": (b"z\xff\xfd\x06\r\n", [("z", b"\xff\xfd\x06", CRLF)], b""),
    "behind a blank line": (b"\r\n" + CTRL_C + b"z\r\n", [("z", b"", CRLF)], WONT_TIMING_MARK),
    "an HTTP request as the first line": (b"\xff\xf1GET / HTTP/1.1\r\nc\n", [("foreign", "http")], b""),
    "an unfinished line": (b"\xff\xf1pHello", [("p", b"Hello", LF)], b""),
    "an unfinished line, half a CRLF": (b"\xff\xf1pHello\r", [("p", b"Hello", CRLF)], b""),
    "an unfinished line, then half a sequence": (b"\xff\xf1pHello\xff", [("p", b"Hello", LF)], b""),
    "an unfinished line, then two thirds of one": (b"\xff\xf1pHello\xff\xfd", [("p", b"Hello", LF)], b""),
    "an unfinished line, then an unfinished subnegotiation": (
        b"\xff\xf1pHello\xff\xfa\x18",
        [("p", b"Hello", LF)],
        b"",
    ),
}
"""Name: what is sent, the commands it is, and what is answered to the telnet client."""


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def test_whole(case, decode):
    data, commands, answers = case
    decoded = decode([data])
    assert (decoded.commands, decoded.answers) == (commands, answers)


def test_byte_by_byte(case, decode):
    data, commands, answers = case
    decoded = decode([data[at : at + 1] for at in range(len(data))])
    assert (decoded.commands, decoded.answers) == (commands, answers)


def test_cut_in_two_anywhere(case, decode):
    data, commands, answers = case
    for at in range(len(data) + 1):
        decoded = decode([data[:at], data[at:]])
        assert (decoded.commands, decoded.answers) == (commands, answers), at


def test_with_the_next_command_glued_on(case, decode):
    data, commands, answers = case
    if data.endswith((LF, CTRL_C)) and ("foreign", "http") not in commands:
        decoded = decode([data + b"pglued\r\n"])
        assert (decoded.commands, decoded.answers) == ([*commands, ("p", b"glued", CRLF)], answers)


def test_the_answer_is_there_as_soon_as_the_request_is(decode):
    assert decode([CTRL_C]).answers == WONT_TIMING_MARK


def test_a_line_is_measured_without_telnets_sequences(decode):
    line = b"\xff\xf1" + b"p12" + CTRL_C + b"\xff\xff" + b"4\r\n"
    assert decode([line], 4).commands == [("p", b"12\xff4", CRLF)]
    assert decode([line], 3).commands == [("-", "toobig", CRLF)]
