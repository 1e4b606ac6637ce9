"""Kafka's records out of frames that are made here, without the code that is tested."""

from __future__ import annotations

import gzip
import struct

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from gstream.cli import kafka_records
from gstream.cli.kafka_records import KafkaRecord, NotDecodedError, decode_records
from gstream.storage.frame import decode_frame

BASE_MS = 1000
MAX_MS = 2000


def varint(number):
    number = number << 1 if number >= 0 else (-number << 1) - 1
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def value(data):
    return varint(-1) if data is None else varint(len(data)) + data


def record(delta, key, body, headers, ms=0):
    packed = b"".join(value(name.encode()) + value(each) for name, each in headers)
    content = b"\0" + varint(ms) + varint(delta) + value(key) + value(body) + varint(len(headers)) + packed
    return varint(len(content)) + content


def frame(*records, attributes=0, count=None, pack=bytes):
    count = len(records) if count is None else count
    checked = struct.pack(">hiqqqhii", attributes, count - 1, BASE_MS, MAX_MS, -1, -1, -1, count)
    checked += pack(b"".join(records))
    return decode_frame(struct.pack(">qiibI", 40, 9 + len(checked), 0, 2, crc32c(checked)) + checked)


values = st.none() | st.binary(max_size=200)
header = st.tuples(st.text(max_size=5), values)
content = st.tuples(values, values, st.lists(header, max_size=3), st.integers(-(1 << 40), 1 << 40))


@given(st.lists(content, min_size=1, max_size=5), st.sampled_from([(0, bytes), (1, gzip.compress)]))
def test_there_and_back(contents, how):
    attributes, pack = how
    records = [record(at, key, body, headers, ms) for at, (key, body, headers, ms) in enumerate(contents)]
    assert list(decode_records(frame(*records, attributes=attributes, pack=pack))) == [
        KafkaRecord(40 + at, body, key, tuple(headers), BASE_MS + ms)
        for at, (key, body, headers, ms) in enumerate(contents)
    ]


def test_the_time_of_appending_is_that_of_all():
    (found,) = decode_records(frame(record(0, None, b"a", [], ms=7), attributes=8))
    assert found.time_ms == MAX_MS


@pytest.mark.parametrize(
    ("attributes", "why"), [(2, "with snappy"), (3, "with lz4"), (4, "with zstd"), (5, "with method 5")], ids=str
)
def test_other_compressions_are_named(attributes, why):
    with pytest.raises(NotDecodedError, match=why):
        list(decode_records(frame(b"packed", attributes=attributes)))


def test_what_cannot_be_unpacked(monkeypatch):
    with pytest.raises(NotDecodedError, match="cannot be unpacked"):
        list(decode_records(frame(b"no gzip", attributes=1)))
    whole = record(0, None, b"x" * 1000, [])
    with pytest.raises(NotDecodedError, match="cut off"):
        list(decode_records(frame(whole, attributes=1, pack=lambda data: gzip.compress(data)[:-1])))
    monkeypatch.setattr(kafka_records, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(NotDecodedError, match="become larger"):
        list(decode_records(frame(whole, attributes=1, pack=gzip.compress)))


WHOLE = record(0, b"key", b"body", [("name", b"value")])


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_a_record_that_is_cut_anywhere(size):
    with pytest.raises(NotDecodedError, match="not laid out"):
        list(decode_records(frame(WHOLE[:size], count=1)))


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 20, varint(-5), varint(1 << 60), varint(len(WHOLE)) + WHOLE[1:]],
    ids=["a number without an end", "a size below 0", "a huge size", "another size"],
)
def test_what_is_no_record(data):
    with pytest.raises(NotDecodedError, match="not laid out"):
        list(decode_records(frame(data, count=1)))
