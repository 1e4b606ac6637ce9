"""Kafka's primitive types: numbers, strings and bytes as the library has them; nothing behind the end is read."""

from __future__ import annotations

import pytest

from gstream.kafka.encoding import (
    MalformedError,
    encode_compact_string,
    encode_string,
    encode_unsigned,
    read_compact_bytes,
    read_compact_string,
    read_string,
    read_unsigned,
    skip_tags,
)

NUMBERS = {
    0: b"\x00",
    1: b"\x01",
    127: b"\x7f",
    128: b"\x80\x01",
    300: b"\xac\x02",
    (1 << 14) - 1: b"\xff\x7f",
    1 << 14: b"\x80\x80\x01",
    (1 << 32) - 1: b"\xff\xff\xff\xff\x0f",
}
"""As in the documentation of protocol buffers, whose varints these are."""

STRINGS = ["", "a", "jobs", "é", "x" * 126, "x" * 127, "x" * 128, "x" * 20_000]


def view(data):
    return memoryview(b"before" + data + b"behind")


@pytest.mark.parametrize(("value", "data"), NUMBERS.items())
def test_a_number(value, data):
    assert encode_unsigned(value) == data
    assert read_unsigned(view(data), 6) == (value, 6 + len(data))


def test_a_number_that_does_not_end():
    with pytest.raises(MalformedError, match="varint"):
        read_unsigned(memoryview(b"\xff" * 6), 0)


@pytest.mark.parametrize("text", [*STRINGS, None])
@pytest.mark.parametrize(
    ("encode", "read"), [(encode_string, read_string), (encode_compact_string, read_compact_string)]
)
def test_a_string(encode, read, text):
    data = encode(text)
    assert read(view(data), 6) == (text, 6 + len(data))


@pytest.mark.parametrize("text", STRINGS[1:])
@pytest.mark.parametrize(
    ("encode", "read"), [(encode_string, read_string), (encode_compact_string, read_compact_string)]
)
def test_a_string_that_goes_on_behind_the_end(encode, read, text):
    with pytest.raises(MalformedError, match="behind the end"):
        read(memoryview(encode(text)[:-1]), 0)


@pytest.mark.parametrize("data", [b"", b"abc", b"x" * 300])
def test_bytes_are_not_copied(data):
    whole = view(encode_unsigned(len(data) + 1) + data)
    found, end = read_compact_bytes(whole, 6)
    assert found == data
    assert found.obj is whole.obj
    assert whole[end:] == b"behind"


def test_bytes_that_are_null():
    assert read_compact_bytes(view(b"\0"), 6) == (None, 7)


def test_bytes_that_go_on_behind_the_end():
    with pytest.raises(MalformedError, match="behind the end"):
        read_compact_bytes(memoryview(b"\x05abc"), 0)


@pytest.mark.parametrize("tags", [b"\0", b"\x01\x00\x00", b"\x02\x00\x03abc\x81\x01\x01z"])
def test_tags_are_passed_over(tags):
    assert skip_tags(view(tags), 6) == 6 + len(tags)


def test_a_tag_that_goes_on_behind_the_end():
    with pytest.raises(MalformedError, match="behind the end"):
        skip_tags(memoryview(b"\x01\x00\x05abc"), 0)
