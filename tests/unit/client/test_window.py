"""What is sent at once to publish."""

from __future__ import annotations

from decimal import Decimal
from math import inf, nan

import pytest

from gstream.client.window import WINDOW_BYTES, WINDOW_MESSAGES, encode_fields, encode_seconds, windows


@pytest.mark.parametrize(
    ("bodies", "sent"),
    [
        ([], b""),
        ([b""], b"p\n"),
        (b"Hello", b"pHello\n"),
        (b"", b"p\n"),
        ([b"one", b"", b"p\0\xff", b"a\rb"], b"pone\np\npp\0\xff\npa\rb\n"),
        ([b"\r"], b"P1\n\r\n"),
        ([b"\n"], b"P1\n\n\n"),
        ([b"a", b"b\nc\r", b"d"], b"pa\nP4\nb\nc\r\npd\n"),
        ([b"a\r", b"\nb"], b"P2\na\r\nP2\n\nb\n"),
        (bytearray(b"x"), b"px\n"),
        (memoryview(b"xyz")[1:], b"pyz\n"),
        ([bytearray(b"x"), memoryview(b"a\n")], b"px\nP2\na\n\n"),
        (iter([b"x"]), b"px\n"),
    ],
)
def test_lines_where_lines_can_carry_them_else_counted(bodies, sent):
    assert b"".join(data for _, data in windows(bodies)) == sent


def test_every_byte_can_be_published():
    body = bytes(range(256))
    assert list(windows(body)) == [(1, b"P256\n" + body + b"\n")]
    assert list(windows([bytes([byte]) for byte in range(256)])) == [
        (256, b"".join(b"P1\n%c\n" % byte if byte in b"\r\n" else b"p%c\n" % byte for byte in range(256)))
    ]


def test_with_fields_all_are_counted():
    assert list(windows([b"a", b""], b" key=k")) == [(2, b"P1 key=k\na\nP0 key=k\n\n")]


def test_a_window_is_bounded_in_messages():
    assert [count for count, _ in windows([b"x"] * 2500)] == [WINDOW_MESSAGES, WINDOW_MESSAGES, 500]


def test_a_window_is_bounded_in_bytes():
    sizes = [100_000] * 5 + [1_000_000, 1]
    sent = list(windows(bytes(size) for size in sizes))
    assert [count for count, _ in sent] == [2, 2, 1, 1, 1]
    assert all(count == 1 or len(data) <= WINDOW_BYTES for count, data in sent)


def test_bodies_are_taken_when_they_are_needed():
    taken = []

    def bodies():
        for number in range(10_000):
            taken.append(number)
            yield b"x"

    next(windows(bodies()))
    assert len(taken) == WINDOW_MESSAGES + 1


@pytest.mark.parametrize(
    ("bodies", "error"),
    [
        ("Hello", "a message is bytes, not str: encode it, as in text.encode()"),
        ("", "a message is bytes, not str: encode it, as in text.encode()"),
        ([b"a", "b"], "a message is bytes, not str: encode it, as in text.encode()"),
        ([5], "a message is bytes, not int"),
        ([None], "a message is bytes, not NoneType"),
        (5, "a message is bytes, not int"),
    ],
)
def test_what_is_no_bytes(bodies, error):
    with pytest.raises(TypeError) as caught:
        list(windows(bodies))
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("key", "delay", "id", "fields"),
    [
        (None, 0, None, b""),
        (b"a", 0, None, b" key=a"),
        ("user 1", 0, None, b" key=user%201"),
        (b"", 0, None, b" key="),
        (b"%\r\n\0\xff/=", 0, None, b" key=%25%0D%0A%00%FF%2F%3D"),
        ("ä", 0, None, b" key=%C3%A4"),
        (None, 1.5, None, b" delay=1.500"),
        (None, 0, "7", b" id=7"),
        (None, 0, "\udcff", b" id=%FF"),
        ("k", 60, b"i d", b" key=k delay=60.000 id=i%20d"),
    ],
)
def test_fields(key, delay, id, fields):
    assert encode_fields(key, delay, id) == fields


@pytest.mark.parametrize(
    ("key", "delay", "id", "error", "text"),
    [
        (None, 0, "", ValueError, "an id is 1 to 255 bytes: leave it out, or give it some"),
        (None, 0, b"", ValueError, "an id is 1 to 255 bytes: leave it out, or give it some"),
        (None, 0, "a\ud800", ValueError, r"an id has a lone surrogate: 'a\ud800' is no text; give bytes"),
        ("\ud800", 0, None, ValueError, r"a key has a lone surrogate: '\ud800' is no text; give bytes"),
        (5, 0, None, TypeError, "a key is bytes or str, not int: give str(5)"),
        (None, 0, 5, TypeError, "an id is bytes or str, not int: give str(5)"),
        (None, 1e9, None, ValueError, "a delay is up to 999999999 seconds, not 1000000000.0"),
    ],
)
def test_what_are_no_fields(key, delay, id, error, text):
    with pytest.raises(error) as caught:
        encode_fields(key, delay, id)
    assert str(caught.value) == text


def test_where_nothing_may_break_off_all_are_counted():
    assert list(windows([b"a", b"b\n"], counted=True)) == [(2, b"P1\na\nP2\nb\n\n")]


@pytest.mark.parametrize(
    ("seconds", "encoded"),
    [
        (0, b"0.000"),
        (5, b"5.000"),
        (0.25, b"0.250"),
        (0.0001, b"0.001"),
        (1e8, b"100000000.000"),
        (Decimal(1), b"1.000"),
    ],
)
def test_seconds(seconds, encoded):
    assert encode_seconds(seconds) == encoded


@pytest.mark.parametrize("seconds", [-1, -0.001, inf, nan])
def test_what_are_no_seconds(seconds):
    with pytest.raises(ValueError, match=f"^seconds are 0 or more, not {seconds!r}$"):
        encode_seconds(seconds)
    with pytest.raises(ValueError, match=r"^seconds are 0 or more"):
        encode_fields(None, seconds, None)
