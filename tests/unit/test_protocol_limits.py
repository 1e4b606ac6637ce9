"""The longest line: what is within the limit, what is beyond, and what it costs."""

from __future__ import annotations

import tracemalloc

import pytest

from gstream.protocol import Decoder, Failure, Negotiate, Ping, Publish

LF, CRLF = b"\n", b"\r\n"
LIMIT = 8
FITS, TOO_LONG = b"12345678", b"123456789"
TOO_BIG = "toobig"


def lines(eol):
    """Lines at the edge, and the commands they are."""
    return {
        "publish, the longest": (b"p" + FITS + eol, [("p", FITS, eol)]),
        "publish, one too many": (b"p" + TOO_LONG + eol, [("-", TOO_BIG, eol)]),
        "publish, far too long": (b"p" + TOO_LONG * 10 + eol, [("-", TOO_BIG, eol)]),
        "publish, the longest ends in CR": (b"p1234567\r\r\n", [("p", b"1234567\r", CRLF)]),
        "publish, too long by a CR": (b"p12345678\r\r\n", [("-", TOO_BIG, CRLF)]),
        "publish, CRs only": (b"p" + b"\r" * 8 + eol, [("p", (b"\r" * 8 + eol)[:-2], CRLF)]),
        "ping, the longest": (b"z" + FITS + eol, [("z", FITS, eol)]),
        "ping, one too many": (b"z" + TOO_LONG + eol, [("-", TOO_BIG, eol)]),
        "consume with an argument, the longest": (b"c" + FITS + eol, [("-", "unknown", eol)]),
        "consume with an argument, one too many": (b"c" + TOO_LONG + eol, [("-", TOO_BIG, eol)]),
        "unknown, the longest": (b"j" + FITS + eol, [("-", "unknown", eol)]),
        "unknown, one too many": (b"y" + TOO_LONG + eol, [("-", TOO_BIG, eol)]),
        "run, too long as a whole": (b"p" + FITS + eol + b"p" + FITS + eol, [("p", FITS, eol)] * 2),
        "run, too long in the middle": (
            b"p1" + eol + b"p" + TOO_LONG + eol + b"p" + TOO_LONG + eol + b"p2" + eol,
            [("p", b"1", eol), ("-", TOO_BIG, eol), ("-", TOO_BIG, eol), ("p", b"2", eol)],
        ),
        "run, too long at its end": (b"p1" + eol + b"p" + TOO_LONG + eol, [("p", b"1", eol), ("-", TOO_BIG, eol)]),
        "run, too long first": (b"p" + TOO_LONG + eol + b"p1" + eol, [("-", TOO_BIG, eol), ("p", b"1", eol)]),
        "run, mixed endings": (
            b"p" + FITS + b"\r\np" + TOO_LONG + b"\np" + FITS + b"\np" + TOO_LONG + eol,
            [("p", FITS, CRLF), ("-", TOO_BIG, LF), ("p", FITS, LF), ("-", TOO_BIG, eol)],
        ),
        "between others": (
            b"c" + eol + b"p" + TOO_LONG * 3 + eol + b"c" + eol + b"z" + eol,
            [("c", eol), ("-", TOO_BIG, eol), ("c", eol), ("z", b"", eol)],
        ),
        "a CR where LF would have to follow": (
            b"p" + FITS + b"\rx" + eol + b"c" + eol,
            [("-", TOO_BIG, eol), ("c", eol)],
        ),
        "CRs all along": (b"p" + b"\r" * 30 + b"x" + eol, [("-", TOO_BIG, eol)]),
        "an HTTP request that is too long is no HTTP request": (
            b"GET /" + b"x" * 30 + b" HTTP/1.1" + eol + b"GET / HTTP/1.1" + eol,
            [("-", TOO_BIG, eol)] * 2,
        ),
    }


CASES = {f"{name}, {ending}": case for ending, eol in (("LF", LF), ("CRLF", CRLF)) for name, case in lines(eol).items()}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def test_whole(case, decode):
    data, expected = case
    assert decode([b"\n", data], LIMIT).commands == expected


def test_byte_by_byte(case, decode):
    data, expected = case
    assert decode([b"\n", *(data[at : at + 1] for at in range(len(data)))], LIMIT).commands == expected


def test_cut_anywhere(case, decode):
    data, expected = case
    for at in range(len(data)):
        assert decode([b"\n", data[:at], data[at:]], LIMIT).commands == expected, at
        assert decode([b"\n" + data[:at], data[at:]], LIMIT).commands == expected, at


def test_cut_in_three(case, decode):
    data, expected = case
    for at in range(len(data)):
        pieces = [b"\n", data[:at], data[at : at + 1], data[at + 1 :]]
        assert decode(pieces, LIMIT).commands == expected, at


def test_with_the_next_command_glued_on(case, decode):
    data, expected = case
    assert decode([b"\n", data + b"pglued\r\n"], LIMIT).commands == [*expected, ("p", b"glued", CRLF)]


def test_the_last_line_without_its_ending(case, decode):
    data, expected = case
    data = data.removesuffix(LF)
    assert decode([b"\n", data], LIMIT).commands == expected
    assert decode([b"\n", *(data[at : at + 1] for at in range(len(data)))], LIMIT).commands == expected


def test_a_first_line_that_is_too_long_is_followed_by_commands(decode):
    data = b"p" + TOO_LONG * 10 + b"\nc\n"
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        assert decode(pieces, LIMIT).commands == [("-", TOO_BIG, LF), ("c", LF)]


def test_a_first_line_that_is_too_long_was_the_first_line(decode):
    expected = [("-", TOO_BIG, LF), ("-", "unknown", LF)]
    assert decode([b"p" + TOO_LONG * 10, b"\nGET / HTTP/1.1\n"], 16).commands == expected


@pytest.mark.parametrize("line", [b"POST /a/long/path HTTP/1.1\r\n", b"GET http://host/ HTTP/1.0\n"])
def test_a_request_line_that_is_too_long_is_http_however_it_is_cut(decode, line):
    for at in range(len(line)):
        assert decode([line[:at], line[at:] + b"pEvil\n"], 8).commands == [("foreign", "http")]


def test_a_limit_of_one_byte(decode):
    data = b"p\np1\np12\r\np1\r\nz12\nc\nc\r\n"
    expected = [
        ("p", b"", LF),
        ("p", b"1", LF),
        ("-", TOO_BIG, CRLF),
        ("p", b"1", CRLF),
        ("-", TOO_BIG, LF),
        ("c", LF),
        ("c", CRLF),
    ]
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        assert decode(pieces, 1).commands == expected


def test_the_failure_names_the_limit_and_its_option():
    (failure,) = Decoder(LIMIT).feed(b"p" + TOO_LONG + b"\n")
    assert isinstance(failure, Failure)
    assert str(failure.error) == "longer than 8 bytes, the server's --max-message"


def test_a_run_as_long_as_many_messages_is_one_command():
    run = b"p12345678\n" * 1000
    commands = list(Decoder(LIMIT).feed(run))
    assert commands == [Publish(run, 1000, LF)]


PIECE = bytes(64 * 1024)


@pytest.mark.parametrize("letter", [b"p", b"z", b"y", b"\xff\xf1p"], ids=["p", "z", "y", "telnet"])
def test_skipping_takes_no_memory(letter):
    decoder = Decoder(1 << 20)
    assert not [command for command in decoder.feed(letter) if not isinstance(command, Negotiate)]
    tracemalloc.start()
    try:
        for _ in range(100 * 16):  # 100 MiB
            assert list(decoder.feed(PIECE)) == []
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
    assert left < 1 << 20  # what was held of it is free again
    commands = list(decoder.feed(b"\nz\n"))
    assert [type(command) for command in commands] == [Failure, Ping]


def test_an_endless_tls_hello_takes_no_memory():
    decoder = Decoder(1 << 20)
    assert len(list(decoder.feed(b"\x16\x03\x01"))) == 1
    tracemalloc.start()
    try:
        for _ in range(20 * 16):
            assert list(decoder.feed(PIECE)) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_a_long_line_in_small_pieces_is_gathered_once():
    decoder = Decoder(1 << 20)
    body = bytes(1 << 20)
    assert list(decoder.feed(b"p")) == []
    for start in range(0, len(body), 1024):
        assert list(decoder.feed(body[start : start + 1024])) == []
    assert list(decoder.feed(b"\n")) == [Publish(b"p" + body + b"\n", 1, LF)]
