"""Replies to bytes, and the table of commands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gstream import errors, protocol
from gstream.batch import pack

LF, CRLF = b"\n", b"\r\n"


@pytest.fixture(params=[LF, CRLF], ids=["LF", "CRLF"])
def eol(request):
    return request.param


def test_the_banner_is_the_tutorials():
    assert protocol.BANNER == b"pXXX -> publish content XXX\r\nc -> consume new content\r\nq -> close stream\r\n"


@pytest.mark.parametrize("count", [0, 1, 2, 1000, 16383, 16384, 16385, 50_000])
def test_ok_is_said_as_often_as_asked_and_ends_in_crlf(count):
    assert protocol.encode_oks(count) == b"ok\r\n" * count


LINES = [
    ([b""], b"\n"),
    ([b"Hello"], b"Hello\n"),
    ([b"one", b"", b"p", b"pp", b" two "], b"one\n\np\npp\n two \n"),
    ([b"a\0b", b"\xff", b"a\rb"], b"a\0b\n\xff\na\rb\n"),
]


@pytest.mark.parametrize(("bodies", "expected"), LINES)
def test_lines_end_the_way_the_command_did(bodies, expected):
    assert protocol.encode_lines(pack(*bodies), LF) == expected
    assert protocol.encode_lines(pack(*bodies), CRLF) == expected.replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    "body", [b"", b"Hello", b" two  words ", b"= 1 1 x", b"\xff\x01\t\x0b\x0c\x85", "é\u2028".encode()]
)
def test_a_message_is_its_id_its_attempt_and_its_body(body, eol):
    assert protocol.encode_message(7, 1, body, eol) == b"= 7 1 " + body + eol


@pytest.mark.parametrize("body", [b"\r", b"\n", b"\0", b"a\rb", b"a\nb\n", b"\0a", b"Hello\r", bytes(1000)])
def test_a_message_that_would_trip_a_reader_of_lines_is_counted(body, eol):
    expected = b"$ 12345678901 3 " + str(len(body)).encode() + eol + body + eol
    assert protocol.encode_message(12345678901, 3, body, eol) == expected


def test_typed_replies(eol):
    assert protocol.encode_done(b"", eol) == b"+ " + eol
    assert protocol.encode_done(b"any token \xff", eol) == b"+ any token \xff" + eol
    assert protocol.encode_end(eol) == b"." + eol
    assert protocol.encode_notice("drain now", eol) == b"# drain now" + eol


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnknownCommandError, b"unknown"),
        (errors.ArgumentError, b"args"),
        (errors.TooBigError, b"toobig"),
        (errors.FullError, b"full"),
        (errors.InternalError, b"internal"),
    ],
)
def test_a_failure_is_its_code_and_its_text(error, code, eol):
    assert protocol.encode_failure(error("what é is wrong"), eol) == b"- " + code + " what é is wrong".encode() + eol


def test_help_lists_every_command_and_ends(eol):
    *rows, end, nothing = protocol.encode_help(eol).split(eol)
    assert (end, nothing) == (b".", b"")
    assert rows == [
        b"pXXX -> publish content XXX",
        b"c -> consume new content",
        b"q -> close stream",
        b"w[seconds[ n]] -> wait for a message, or for up to n of them",
        b"z[token] -> ping: answers + token",
        b"h -> this list",
    ]


def test_the_refusal_of_http_is_a_whole_response():
    head, _, body = protocol.encode_http_refusal().partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")
    assert status == b"HTTP/1.1 400 Bad Request"
    assert b"Content-Length: %d" % len(body) in fields
    assert b"Connection: close" in fields
    assert b"not HTTP" in body


def test_each_command_is_found_by_its_letter():
    assert bytes(protocol.COMMANDS) == b"pcqwzh"
    for letter, row in protocol.COMMANDS.items():
        assert ord(row.usage[0]) == letter
        assert row.summary
        assert row.summary.isascii()


def test_no_command_has_a_letter_that_tls_consoles_eat():
    assert not set(protocol.COMMANDS) & set(b"QRkK")


def test_every_command_says_h_and_the_banner_says_the_first_three():
    assert protocol.encode_help(CRLF).startswith(protocol.BANNER)


@given(st.lists(st.binary(max_size=20).map(lambda body: body.replace(b"\n", b"")), min_size=1))
def test_lines_are_the_bodies_each_followed_by_an_ending(bodies):
    assert protocol.encode_lines(pack(*bodies), LF) == b"".join(body + LF for body in bodies)
    assert protocol.encode_lines(pack(*bodies), CRLF) == b"".join(body + CRLF for body in bodies)
