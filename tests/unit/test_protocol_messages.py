"""Messages in typed replies: batches of all kinds, and a naive reader that takes the replies apart again."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gstream.batch import Batch, Message, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.protocol import encode_messages

LF, CRLF = b"\n", b"\r\n"


def lines(offset, *bodies, attempt=1, times=0):
    return Batch(offset, len(bodies), pack(*bodies), times=times, attempt=attempt)


def counted(offset, *messages, attempt=1, times=0):
    data = b"".join(pack_counted(*message) for message in messages)
    return CountedBatch(offset, len(messages), data, times=times, attempt=attempt)


@pytest.fixture(params=[LF, CRLF], ids=["LF", "CRLF"])
def eol(request):
    return request.param


def whole(batch, prefix=b"", eol=LF, mode=0):
    """The replies, after a look at where they are said to end."""
    data, ends = encode_messages(batch, prefix, eol, mode)
    if ends is None:
        assert data.count(LF) == batch.count
        assert data.endswith(LF)
    else:
        assert len(ends) == batch.count
        assert [*ends] == sorted(ends)
        assert ends[-1] == len(data)
        assert all(data[:end].endswith(eol) for end in ends)
        assert all(data[end : end + 1] in (b"=", b"$", b"") for end in ends)
    return data


BODIES = [b"", b"Hello", b" two  words ", b"= 1 1 x", b"%b %d %%", b"@", b"\xff\x01\t\x0b\x0c\x85", "é\u2028".encode()]


@pytest.mark.parametrize("body", BODIES)
def test_a_message_is_its_id_its_attempt_and_its_body(body, eol):
    assert whole(lines(7, body), eol=eol) == b"= 7 1 " + body + eol
    assert whole(lines(12345678901, body, attempt=3), b"3:", eol) == b"= 3:12345678901 3 " + body + eol
    assert whole(counted(7, (body,)), eol=eol) == b"= 7 1 " + body + eol
    assert whole(counted(7, (body, b"key", [("name", b"value")])), b"0:", eol) == b"= 0:7 1 " + body + eol


@pytest.mark.parametrize("body", [b"\r", b"\n", b"\0", b"a\rb", b"a\nb\n", b"\0a", b"Hello\r", bytes(1000)])
def test_a_message_that_would_trip_a_reader_of_lines_is_counted(body, eol):
    expected = b"$ 3:12345678901 3 %d%b%b%b" % (len(body), eol, body, eol)
    assert whole(counted(12345678901, (body,), attempt=3), b"3:", eol) == expected
    if LF not in body:
        assert whole(lines(12345678901, body, attempt=3), b"3:", eol) == expected


@pytest.mark.parametrize("make", [lines, lambda offset, *bodies: counted(offset, *((body,) for body in bodies))])
def test_only_those_are_counted_that_have_to_be(make, eol):
    batch = make(9, b"one", b"t\0o", b"", b"\r")
    data, ends = encode_messages(batch, b"", eol, 0)
    replies = [
        b"= 9 1 one" + eol,
        b"$ 10 1 3" + eol + b"t\0o" + eol,
        b"= 11 1 " + eol,
        b"$ 12 1 1" + eol + b"\r" + eol,
    ]
    assert data == b"".join(replies)
    assert [*ends] == [len(b"".join(replies[: at + 1])) for at in range(4)]


def test_every_message_is_counted_when_asked(eol):
    batch = lines(0, b"Hello", b"", attempt=2)
    assert whole(batch, b"1:", eol, 1) == b"$ 1:0 2 5%bHello%b$ 1:1 2 0%b%b" % (eol, eol, eol, eol)
    batch = counted(0, (b"a\nb", b"key", [("name", b"value")]))
    assert whole(batch, b"", eol, 1) == b"$ 0 1 3%ba\nb%b" % (eol, eol)


def test_all_that_is_known_is_said_when_asked(eol):
    batch = lines(5, b"one", b"two", times=([0, 6], [1764020000123, 1764020000456]))
    assert whole(batch, b"", eol, 2) == (
        b"$ 5 1 3 time=1764020000123%bone%b$ 6 1 3 time=1764020000456%btwo%b" % (eol, eol, eol, eol)
    )
    headers = [("dead.reason", b"not a number"), ("é =", b"A-z_0.9~/%\r\n\0\xff"), ("empty", b"")]
    batch = counted(5, (b"", b"user/1", headers), (b"x", b""), attempt=4, times=7)
    assert whole(batch, b"2:", eol, 2) == (
        b"$ 2:5 4 0 time=7 key=user%%2F1 h.dead.reason=not%%20a%%20number"
        b" h.%%C3%%A9%%20%%3D=A-z_0.9~%%2F%%25%%0D%%0A%%00%%FF h.empty=%b%b$ 2:6 4 1 time=7 key=%bx%b"
        % (eol, eol, eol, eol)
    )


OFFSETS = [0, 1, 8, 9, 10, 95, 99, 100, 990, 999, 1000, 1001, 9_999, 10_000, 99_999, 123_456, 999_999, 10**14 - 1]


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 11, 100, 1000, 1001, 2345])
def test_lines_of_any_offsets_are_what_one_by_one_would_give(offset, count):
    bodies = [b"%x" % (at * at) for at in range(count)]
    batch = lines(offset, *bodies)
    for prefix, attempt, eol in ((b"", 1, LF), (b"3:", 2, CRLF), (b"32767:", 100, LF)):
        batch.attempt = attempt
        assert encode_messages(batch, prefix, eol, 0)[0] == b"".join(
            b"= %b%d %d %b%b" % (prefix, offset + at, attempt, body, eol) for at, body in enumerate(bodies)
        )


def test_lines_are_told_by_counting_and_nothing_is_computed_for_it(eol):
    for count in (1, 3, 100):
        assert encode_messages(lines(0, *[b"x"] * count), b"", eol, 0)[1] is None


FIELDS = re.compile(rb"(?: time=(\d+))?(?: key=([^ ]*))?((?: h\.[^ =]+=[^ ]*)*)")


def read_messages(data, prefix, eol):
    """The messages of these replies, each with its attempt."""
    messages = []
    while data:
        head, ending, data = data.partition(eol)
        kind, id, attempt, rest = head.split(b" ", 3)
        assert ending
        assert id.startswith(prefix)
        offset = int(id.removeprefix(prefix))
        if kind == b"=":
            messages.append((int(attempt), Message(offset, rest)))
            continue
        assert kind == b"$"
        size, _, fields = rest.partition(b" ")
        body, data = data[: int(size)], data[int(size) :]
        assert data.startswith(eol)
        data = data.removeprefix(eol)
        time, key, headers = FIELDS.fullmatch(b" " + fields if fields else b"").groups()
        names = [each.partition(b"=") for each in headers.split(b" h.")[1:]]
        message = Message(
            offset,
            body,
            None if key is None else unquote_to_bytes(key),
            tuple((unquote_to_bytes(name).decode(), unquote_to_bytes(value)) for name, _, value in names),
            int(time or 0),
        )
        messages.append((int(attempt), message))
    return messages


any_bytes = st.binary(max_size=20) | st.sampled_from([b"\r", b"\n", b"\0", b" ", b"%", b"a=b", b"\r\n"])
headers = st.lists(st.tuples(st.text(min_size=1, max_size=8), any_bytes), max_size=3)
offsets = st.sampled_from(OFFSETS) | st.integers(0, (1 << 48) - 1000)
prefixes = st.sampled_from([b"", b"0:", b"32767:"])


@settings(max_examples=300)
@given(
    st.lists(st.tuples(any_bytes, st.none() | any_bytes, headers), min_size=1, max_size=8),
    offsets,
    prefixes,
    st.sampled_from([LF, CRLF]),
    st.integers(1, 9),
)
def test_whatever_was_stored_can_be_read_from_the_replies(messages, offset, prefix, eol, attempt):
    batch = counted(offset, *messages, attempt=attempt, times=1764020000123)
    stored = [(attempt, message) for message in batch.messages()]
    assert read_messages(whole(batch, prefix, eol, 2), prefix, eol) == stored
    bodies = [(attempt, Message(message.offset, message.body)) for _, message in stored]
    for mode in (0, 1):
        assert read_messages(whole(batch, prefix, eol, mode), prefix, eol) == bodies


@given(
    st.lists(any_bytes.map(lambda body: body.replace(b"\n", b"")), min_size=1, max_size=30),
    offsets,
    prefixes,
    st.sampled_from([LF, CRLF]),
    st.integers(0, 2),
)
def test_whatever_lines_were_stored_can_be_read_from_the_replies(bodies, offset, prefix, eol, mode):
    batch = lines(offset, *bodies)
    expected = [(1, Message(offset + at, body)) for at, body in enumerate(bodies)]
    assert read_messages(whole(batch, prefix, eol, mode), prefix, eol) == expected
