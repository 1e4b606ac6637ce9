"""Requests cut from what a client sends: whole, byte by byte, and glued together; and what is none."""

from __future__ import annotations

import mmap
import struct

import pytest

from gstream.kafka.receiving import MAPPED_BYTES, SMALL_BYTES, ForeignError, Receiver, RefusedError

LIMIT = 8 * MAPPED_BYTES


def frame(size, fill=b"x", key=3):
    return struct.pack(">ih", size, key) + fill * (size - 2)


def body(size, fill=b"x", key=3):
    return frame(size, fill, key)[4:]


@pytest.fixture
def receiver():
    return Receiver(lambda key: LIMIT if key == 3 else 100)


def feed_all(receiver, data, size):
    """Feed it in pieces of that size, as a connection does."""
    requests = []
    while data:
        rest = receiver.rest
        if rest is None:
            requests += map(bytes, receiver.feed(data[:size]))
            data = data[size:]
            if receiver.wanted_bytes:
                receiver.make_buffer()
        else:
            count = min(size, len(rest), len(data))
            rest[:count] = data[:count]
            data = data[count:]
            request = receiver.received(count)
            if request is not None:
                requests.append(bytes(request))
    return requests


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 1000, 1 << 20])
def test_requests_are_the_same_however_they_come(receiver, step):
    sizes = [8, 20, 9, 5000, 10, SMALL_BYTES, SMALL_BYTES + 1, 11]
    data = b"".join(frame(size, bytes([65 + number])) for number, size in enumerate(sizes))
    assert feed_all(receiver, data, step) == [body(size, bytes([65 + number])) for number, size in enumerate(sizes)]
    assert not receiver.is_incomplete
    assert receiver.refused is None


def test_small_requests_are_views_of_what_was_read(receiver):
    data = frame(8) + frame(9)
    assert [request.obj for request in receiver.feed(data)] == [data, data]


def test_an_incomplete_small_request_waits_for_its_rest(receiver):
    assert receiver.feed(frame(8) + frame(20)[:15]) == [body(8)]
    assert receiver.is_incomplete
    assert not receiver.wanted_bytes
    assert receiver.rest is None
    assert receiver.feed(frame(20)[15:]) == [body(20)]
    assert not receiver.is_incomplete


def test_a_large_request_gets_a_buffer_of_its_size(receiver):
    data = frame(10_000)
    assert receiver.feed(data[:100]) == []
    assert (receiver.wanted_bytes, receiver.rest) == (10_000, None)
    receiver.make_buffer()
    assert receiver.wanted_bytes == 0
    assert receiver.is_incomplete
    assert len(receiver.rest) == 10_000 - 96
    receiver.rest[:] = data[100:]
    request = receiver.received(len(data) - 100)
    assert request == data[4:]
    assert isinstance(request.obj, bytearray)
    assert receiver.rest is None
    assert not receiver.is_incomplete


def test_a_very_large_one_is_not_filled_before_it_comes(receiver):
    receiver.feed(frame(20)[:0] + struct.pack(">ih", MAPPED_BYTES + 1, 3))
    receiver.make_buffer()
    assert isinstance(receiver.rest.obj, mmap.mmap)
    assert len(receiver.rest) == MAPPED_BYTES - 1


@pytest.mark.parametrize("size", [-1, 0, 7, LIMIT + 1, 0x7FFFFFFF])
def test_a_length_that_cannot_be_is_refused_before_anything_is_allocated(receiver, size):
    assert receiver.feed(frame(8) + struct.pack(">ih", size, 3) + b"more") == [body(8)]
    assert str(size) in str(receiver.refused)
    assert not receiver.is_incomplete
    assert receiver.feed(frame(8)) == []


def test_each_api_has_its_limit(receiver):
    assert len(receiver.feed(frame(100, key=5))) == 1
    receiver.feed(frame(101, key=5))
    assert isinstance(receiver.refused, RefusedError)
    assert "more than 100" in str(receiver.refused)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
        (b"POST /topics HTTP/1.1\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 100])
def test_other_protocols_are_known_by_their_first_bytes(receiver, data, name, step):
    feed_all(receiver, data, step)
    assert isinstance(receiver.refused, ForeignError)
    assert receiver.refused.name == name


def test_what_looks_like_them_later_is_only_a_length(receiver):
    receiver.feed(frame(8))
    receiver.feed(b"GET / HTTP/1.1\r\n\r\n")
    assert isinstance(receiver.refused, RefusedError)
    assert not isinstance(receiver.refused, ForeignError)
