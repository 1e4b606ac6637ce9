"""Replies to bytes, and the table of commands; messages in typed replies are in ``test_protocol_messages.py``."""

from __future__ import annotations

import re
from pathlib import Path

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


def test_bodies_that_are_no_lines_end_the_way_the_command_did(eol):
    assert protocol.encode_bodies([], eol) == b""
    assert protocol.encode_bodies([b""], eol) == eol
    assert protocol.encode_bodies(iter([b"a\nb", b"", b"\r\n"]), eol) == b"a\nb" + eol + eol + b"\r\n" + eol


def test_typed_replies(eol):
    assert protocol.encode_done(b"", eol) == b"+ " + eol
    assert protocol.encode_done(b"any token \xff", eol) == b"+ any token \xff" + eol
    assert protocol.encode_end(eol) == b"." + eol
    assert protocol.encode_notice("drain now", eol) == b"# drain now" + eol


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("first", [0, 98, 3 << 48, (3 << 48) + 5])
@pytest.mark.parametrize("count", [1, 3])
def test_done_with_many_ids_is_done_with_each(several, first, count, eol):
    ids = range(first, first + count)
    each = [protocol.encode_done(protocol.encode_id(id, several), eol) for id in ids]
    assert protocol.encode_done_ids(ids, several, eol) == b"".join(each)


def test_rows_are_a_name_and_a_value_a_line_and_an_end(eol):
    assert protocol.encode_rows([], eol) == b"." + eol
    rows = [("messages", 7), ("group.a.lag", 0.5), ("topic.é", "some text")]
    lines = [b"messages 7", b"group.a.lag 0.5", "topic.é some text".encode(), b"."]
    assert protocol.encode_rows(iter(rows), eol) == b"".join(line + eol for line in lines)


def test_an_id_names_its_partition_where_there_are_several():
    assert protocol.encode_id(5, False) == b"5"
    assert protocol.encode_id(5, True) == b"0:5"
    assert protocol.encode_id(1 << protocol.PARTITION_SHIFT | 5, True) == b"1:5"
    assert protocol.encode_id((1 << 15) - 1 << 48 | (1 << 48) - 1, True) == b"32767:281474976710655"


def test_an_id_in_a_partition_that_is_not_there_is_named_as_it_came():
    assert protocol.encode_id(1 << protocol.PARTITION_SHIFT | 5, False) == b"1:5"


def test_ids_that_are_gone(eol):
    assert protocol.encode_ids_gone([5, 7], False, eol) == b"- gone 5 7" + eol
    assert protocol.encode_ids_gone(iter([1 << protocol.PARTITION_SHIFT | 5]), True, eol) == b"- gone 1:5" + eol


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnknownCommandError, b"unknown"),
        (errors.ArgumentError, b"args"),
        (errors.TooBigError, b"toobig"),
        (errors.FullError, b"full"),
        (errors.UnknownNameError, b"name"),
        (errors.GoneError, b"gone"),
        (errors.BusyError, b"busy"),
        (errors.DrainError, b"drain"),
        (errors.InternalError, b"internal"),
    ],
)
def test_a_failure_is_its_code_and_its_text(error, code, eol):
    assert protocol.encode_failure(error("what é is wrong"), eol) == b"- " + code + " what é is wrong".encode() + eol


def test_help_lists_every_command_and_ends(eol):
    *rows, end, nothing = protocol.encode_help(eol).split(eol)
    assert (end, nothing) == (b".", b"")
    document = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    session = re.search(r"^> h\n((?:< .* -> .*\n)+)< \.$", document, re.MULTILINE)
    assert session
    assert rows == [line.removeprefix("< ").encode() for line in session[1].splitlines()]
    assert len(rows) == len(protocol.COMMANDS)


def test_the_refusal_of_http_is_a_whole_response():
    head, _, body = protocol.encode_http_refusal().partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")
    assert status == b"HTTP/1.1 400 Bad Request"
    assert b"Content-Length: %d" % len(body) in fields
    assert b"Connection: close" in fields
    assert b"not HTTP" in body


def test_each_command_is_found_by_its_letter():
    assert bytes(protocol.COMMANDS) == b"pcqtgPwranoedsfvxmylibzh"
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
