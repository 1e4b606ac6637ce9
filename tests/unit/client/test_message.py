"""How messages are decoded from the bytes that come."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gstream.client.message import MAX_BODY_BYTES, Decoded, Message, decode_bodies, decode_messages

CASES = [
    (b"", []),
    (b"= 0 1 Hello\n", [("0", 1, b"Hello")]),
    (b"= 0 1 \n", [("0", 1, b"")]),
    (
        b"= 7 2  two  words \n= 8 1 = 1 1 x\n= 9 1 .\n",
        [("7", 2, b" two  words "), ("8", 1, b"= 1 1 x"), ("9", 1, b".")],
    ),
    (b"$ 0 1 3\na\rb\n= 1 1 b\n", [("0", 1, b"a\rb"), ("1", 1, b"b")]),
    (b"$ 0 1 1\n\0\n$ 1 1 2\n\r\r\n", [("0", 1, b"\0"), ("1", 1, b"\r\r")]),
    (b"$ 0 1 8\n= 0 1 a\n\n", [("0", 1, b"= 0 1 a\n")]),
    (b"$ 0 1 0\n\n", [("0", 1, b"")]),
    (
        b"= 3:17 1 \xff\xfe\n$ 12:345678901234567 12 1\nx\n",
        [("3:17", 1, b"\xff\xfe"), ("12:345678901234567", 12, b"x")],
    ),
]
BEHIND = [
    b"",
    b".\n",
    b"# drain\n",
    b"- internal a bug\n",
    b"=",
    b"= 1 1 unfinished",
    b"$ 1 1 3",
    b"$ 1 1 3\nabc",
    b"\n",
]


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize(("data", "expected"), CASES)
def test_whole_messages_are_decoded_and_what_is_behind_them_left(data, expected, behind):
    messages, bodies = [], []
    assert decode_messages(data + behind, messages).used == len(data)
    assert [(message.id, message.attempt, message.body) for message in messages] == expected
    assert decode_bodies(data + behind, bodies).used == len(data)
    assert bodies == [body for _, _, body in expected]


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_byte_by_byte(data, expected):
    buffer, messages = b"", []
    for byte in data:
        buffer += bytes([byte])
        used, needed = decode_messages(buffer, messages)
        buffer = buffer[used:]
        assert not needed or needed > len(buffer)
    assert buffer == b""
    assert [(message.id, message.attempt, message.body) for message in messages] == expected


def test_how_much_a_counted_message_needs():
    assert decode_messages(b"= 0 1 a\n$ 1 1 500\nabc", []) == Decoded(8, 8 + 10 + 501)
    assert decode_messages(b"$ 1 1 500", []) == Decoded(0, 0)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"$ 0 1 2\nabc", "a body without a line ending"),
        (b"$ 0 1 %d\n" % (MAX_BODY_BYTES + 1), "a body of 1073741825 bytes"),
    ],
)
@pytest.mark.parametrize("decode", [decode_messages, decode_bodies])
def test_a_counted_message_that_is_none(decode, data, error):
    with pytest.raises(ValueError, match=f"^{error}$"):
        decode(data, [])


@pytest.mark.parametrize(
    ("fields", "time", "key", "headers"),
    [
        (b"", None, None, ()),
        (b" time=1764020000500", datetime(2025, 11, 24, 21, 33, 20, 500_000, tzinfo=UTC), None, ()),
        (b" key=user%201", None, b"user 1", ()),
        (b" key=", None, b"", ()),
        (b" key=%00%FF%0a%25", None, b"\0\xff\n%", ()),
        (b" h.a=1 h.a=2 h.%C3%A4=%C3%A4", None, None, (("a", b"1"), ("a", b"2"), ("ä", "ä".encode()))),
        (b" tomorrow=x time=0 key=k h.dead.id=7", datetime(1970, 1, 1, tzinfo=UTC), b"k", (("dead.id", b"7"),)),
        (b" time=999999999999999999 odd", None, None, ()),
    ],
)
def test_details(fields, time, key, headers):
    messages = []
    decode_messages(b"$ 5 2 1" + fields + b"\nx\n", messages)
    assert messages == [Message("5", 2, b"x", time, key, headers)]


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=20))), st.data())
def test_any_pieces_give_the_same(sent, data):
    """However the bytes are cut, and whichever messages are counted."""
    stream = b"".join(
        b"= %d 1 %b\n" % (at, body) if plain and b"\n" not in body else b"$ %d 1 %d\n%b\n" % (at, len(body), body)
        for at, (plain, body) in enumerate(sent)
    )
    buffer, messages = b"", []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        buffer, stream = buffer + stream[:size], stream[size:]
        used, _ = decode_messages(buffer, messages)
        buffer = buffer[used:]
    assert buffer == b""
    assert [message.body for message in messages] == [body for _, body in sent]
    assert [message.id for message in messages] == [str(at) for at in range(len(sent))]


def test_a_message_is_a_value():
    message = Message("0", 1, b"Hello")
    assert bytes(message) == b"Hello"
    assert message == Message("0", 1, b"Hello", None, None, ())
    assert len({message, Message("0", 1, b"Hello")}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.body = b""
    assert not hasattr(message, "__dict__")
