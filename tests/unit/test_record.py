"""Records as they lie in a batch; the batches are made here, or were made by others."""

from __future__ import annotations

import gzip
import re
import struct
import tracemalloc

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from gstream.compression import CODECS, GZIP, SNAPPY, ZSTD, compress
from gstream.record import (
    APPEND_TIME,
    CODEC_BITS,
    CONTROL,
    TRANSACTIONAL,
    Record,
    RecordsError,
    decode_records,
    encode_number,
    encode_records,
    records_header,
    unpack_records,
    unpacked_records,
)

BASE_MS = 1000
MAX_MS = 2000
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


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


def batch(*records, attributes=0, count=None, last_delta=None, pack=bytes, base_ms=BASE_MS, max_ms=MAX_MS):
    """Its checksum is wrong: nobody here looks at it."""
    count = len(records) if count is None else count
    last_delta = count - 1 if last_delta is None else last_delta
    checked = struct.pack(">hiqqqhii", attributes, last_delta, base_ms, max_ms, -1, -1, -1, count)
    checked += pack(b"".join(records))
    return struct.pack(">qiibI", 40, 9 + len(checked), 0, 2, 0) + checked


values = st.none() | st.binary(max_size=200)
headers = st.lists(st.tuples(st.text(max_size=5), values), max_size=3).map(tuple)
contents = st.lists(st.tuples(values, values, headers, st.integers(-(1 << 40), 1 << 40)), min_size=1, max_size=5)


@given(contents, st.sampled_from([(0, bytes), (1, gzip.compress)]))
def test_each_field_is_found(contents, how):
    attributes, pack = how
    records = [record(at, key, body, headers, ms) for at, (key, body, headers, ms) in enumerate(contents)]
    assert list(decode_records(batch(*records, attributes=attributes, pack=pack))) == [
        Record(40 + at, BASE_MS + ms, key, body, headers) for at, (key, body, headers, ms) in enumerate(contents)
    ]


@given(contents, st.integers(0, 1 << 40))
def test_they_are_written_as_they_are_read(contents, offset):
    records = [Record(offset + at, ms, key, body, headers) for at, (key, body, headers, ms) in enumerate(contents)]
    first_ms = records[0].time_ms
    assert encode_records(records) == b"".join(
        record(at, each.key, each.value, each.headers, each.time_ms - first_ms) for at, each in enumerate(records)
    )


@given(INT64 | st.integers(-300, 300))
def test_numbers(number):
    assert encode_number(number) == varint(number)


@pytest.mark.parametrize("codec", CODECS, ids=CODECS.values())
def test_what_aiokafka_writes(codec):
    builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 1 << 20)
    written = [
        Record(0, 1764020000000, b"key", b"body" * 50, (("name", b"value"), ("none", None))),
        Record(1, 1764020000500, None, b"", ()),
        Record(2, 1764020000400, b"", None, (("h\u00fc", b""),)),
    ]
    for offset, time_ms, key, body, headers in written:
        assert builder.append(offset, time_ms, key, body, list(headers)) is not None
    assert list(decode_records(bytes(builder.build()))) == written


LIBRDKAFKA = {
    "none": "0000000000000000000001780000000002767466ab0000000000020000019ab7c915000000019ab7c91505ffffffffffffffffffff"
    "ffffffff00000003ee04000000066f6e65b004"
    + "48656c6c6f2c204b61666b612120" * 20
    + "060a747261636506616263086e6f6e65010668c3bc000c000a020001000c000504010000",
    "gzip": "0000000000000000000000840000000002af92e8840001000000020000019ab7c915000000019ab7c91505ffffffffffffffffffff"
    "ffffffff000000031f8b08000000000000037bc7c2c0c0c0969f97ba81c5233527275f47c13b312d3b5151619407e3b17195142526a7b22526"
    "2573e401438a912de3f01e061e062e26064620c5cac2c8c00000527fdcf147010000",
    "snappy": "0000000000000000000000800000000002f4e4707d0002000000020000019ab7c915000000019ab7c91505ffffffffffffffffff"
    "ffffffffff00000003c70260ee04000000066f6e65b00448656c6c6f2c204b61666b612120fe0e00fe0e00fe0e00fe0e00190e8c060a747261"
    "636506616263086e6f6e65010668c3bc000c000a020001000c000504010000",
    "lz4": "0000000000000000000000840000000002050f001f0003000000020000019ab7c915000000019ab7c91505ffffffffffffffffffff"
    "ffffffff0000000304224d1860408244000000ff0aee04000000066f6e65b00448656c6c6f2c204b61666b6121200e00f7f015060a74726163"
    "6506616263086e6f6e65010668c3bc000c000a020001000c00050401000000000000",
    "zstd": "00000000000000000000007f000000000277802d860004000000020000019ab7c915000000019ab7c91505ffffffffffffffffffff"
    "ffffffff0000000328b52ffd00582d0200d403ee04000000066f6e65b00448656c6c6f2c204b61666b612120060a747261636506616263086e"
    "6f6e65010668c3bc000c000a020001000c00050401000001001d843ac7",
}
"""The same three records, as librdkafka 2.16 sends them with each of its codecs."""


@pytest.mark.parametrize("stored", [bytes.fromhex(each) for each in LIBRDKAFKA.values()], ids=LIBRDKAFKA)
def test_what_librdkafka_writes(stored):
    named = (("trace", b"abc"), ("none", None), ("h\u00fc", b""))
    assert list(decode_records(stored)) == [
        Record(0, 1764020000000, b"one", b"Hello, Kafka! " * 20, named),
        Record(1, 1764020000005, b"", None),
        Record(2, 1764019999997, None, b""),
    ]


def test_a_batch_is_found_where_it_begins():
    stored = batch(record(0, None, b"a", []))
    for buffer in (b"before" + stored + b"behind", bytearray(b"before" + stored), memoryview(b"before" + stored)):
        assert [each.value for each in decode_records(buffer, 6)] == [b"a"]


def test_the_time_of_appending_is_that_of_all():
    (found,) = decode_records(batch(record(0, None, b"a", [], ms=7), attributes=APPEND_TIME))
    assert found.time_ms == MAX_MS


def test_offsets_may_have_holes():
    stored = batch(record(1, None, b"a", []), record(7, None, b"b", []), last_delta=9)
    assert [each.offset for each in decode_records(stored)] == [41, 47]


@pytest.mark.parametrize(("deltas", "last_delta"), [((0, 0), 1), ((1, 0), 1), ((0, 2), 1), ((-1, 0), 1)], ids=str)
def test_offsets_that_do_not_rise_or_lie_outside(deltas, last_delta):
    stored = batch(*(record(delta, None, b"a", []) for delta in deltas), last_delta=last_delta)
    with pytest.raises(RecordsError, match="not laid out"):
        list(decode_records(stored))


def test_a_time_that_is_none():
    fits = batch(record(0, None, b"a", [], ms=5), base_ms=(1 << 63) - 6)
    assert [each.time_ms for each in decode_records(fits)] == [(1 << 63) - 1]
    with pytest.raises(RecordsError, match="not laid out"):
        list(decode_records(batch(record(0, None, b"a", [], ms=6), base_ms=(1 << 63) - 6)))


def test_a_name_that_is_no_text():
    (found,) = decode_records(batch(record(0, None, b"a", [("h-", b"v")]).replace(b"h-", b"h\xff")))
    assert found.headers == ((r"h\xff", b"v"),)


def test_records_before_what_is_broken_are_there():
    found = decode_records(batch(record(0, None, b"a", []), b"\x0c\0\0\2\1\x7e\0", count=2))
    assert next(found).value == b"a"
    with pytest.raises(RecordsError, match="not laid out"):
        next(found)


def test_attributes_lie_where_kafka_has_them():
    assert (CODEC_BITS, APPEND_TIME, TRANSACTIONAL, CONTROL) == (0b111, 1 << 3, 1 << 4, 1 << 5)


WHOLE = record(0, b"key", b"body", [("name", b"value")])


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_a_record_that_is_cut_anywhere(size):
    with pytest.raises(RecordsError, match=r"not laid out|no room for 1 records"):
        list(decode_records(batch(WHOLE[:size], count=1)))


@pytest.mark.parametrize("size", range(61 + len(WHOLE)))
def test_a_batch_that_is_cut_anywhere(size):
    with pytest.raises(RecordsError, match=r"no batch of records begins|batch is cut off"):
        decode_records(batch(WHOLE)[:size])


def longer(field, by):
    """A record of which one number says more, or less, than there is."""
    fields = [b"\0", varint(0), varint(0), varint(3), b"key", varint(4), b"body", varint(1), varint(1), b"h", varint(1)]
    fields[field] = varint(int(fields[field][0] >> 1) + by)
    content = b"".join(fields) + b"v"
    return varint(len(content)) + content


NO_RECORDS = {
    "a number without an end": b"\xff" * 20,
    "a number of more than 64 bits": b"\xff" * 9 + b"\x7f" + WHOLE,
    "a size below 0": varint(-5) + WHOLE,
    "a huge size": varint(1 << 60) + WHOLE,
    "another size": varint(len(WHOLE)) + WHOLE[1:],
    "a huge key": longer(3, 1 << 60),
    "a key that takes some of the body": longer(3, 1),
    "a huge body": longer(5, 1 << 31),
    "one header more": longer(7, 1),
    "one header less": longer(7, -1),
    "fewer than no headers": longer(7, -5),
    "a header without a name": longer(8, -2),
    "a huge name": longer(8, 1 << 40),
    "a huge value of a header": longer(10, 1 << 40),
}


@pytest.mark.parametrize("data", NO_RECORDS.values(), ids=NO_RECORDS)
def test_what_is_no_record(data):
    with pytest.raises(RecordsError, match=r"not laid out|cannot have -4 headers"):
        list(decode_records(batch(data, count=1)))


def test_more_behind_them():
    with pytest.raises(RecordsError, match="there is more behind them"):
        list(decode_records(batch(WHOLE, b"\0", count=1)))


@pytest.mark.parametrize("count", [(1 << 31) - 1, 4, 0, -1])
def test_more_records_than_there_is_room_for(count):
    with pytest.raises(RecordsError, match=re.escape(f"no room for {count:,} records")):
        decode_records(batch(WHOLE, count=count, last_delta=(1 << 31) - 1))


def test_more_headers_than_anybody_has():
    content = b"\0" * 3 + b"\1\1" + varint(5_001) + b"\0\0" * 5_001
    with pytest.raises(RecordsError, match="cannot have 5,001 headers"):
        list(decode_records(batch(varint(len(content)) + content)))


def test_another_magic():
    stored = bytearray(batch(WHOLE))
    stored[16] = 1
    with pytest.raises(RecordsError, match="no batch of records begins"):
        records_header(stored)


def test_what_cannot_be_unpacked():
    with pytest.raises(RecordsError, match="cannot be unpacked: it is no gzip"):
        decode_records(batch(b"no gzip", count=1, attributes=GZIP))
    with pytest.raises(RecordsError, match="no codec has the number 5"):
        decode_records(batch(WHOLE, attributes=5))


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, ZSTD])
def test_what_becomes_too_large_takes_no_memory(codec):
    packed = compress(codec, bytes(8 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(RecordsError, match="larger than 1,000 bytes"):
            decode_records(batch(packed, count=1, attributes=codec), max_bytes=1000)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=100), st.integers(0, 5), st.sampled_from([*CODECS, 7]))
def test_any_bytes_are_records_or_refused(data, count, codec):
    try:
        found = list(decode_records(batch(data, count=count, attributes=codec)))
    except RecordsError:
        return
    assert len(found) == count


@given(st.data())
def test_one_changed_byte_is_records_or_refused(data):
    stored = bytearray(batch(WHOLE, record(1, None, b"b" * 200, [], 70), record(2, b"", None, [("", None)], -3)))
    stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = list(decode_records(stored))
    except RecordsError:
        return
    assert 1 <= len(found) <= 3


@pytest.mark.parametrize("first", [0, 1, 63, 64, 99, 100])
def test_records_are_read_from_one_of_them_on(first):
    records = [Record(at, BASE_MS + at, b"k" * at, b"v" * (at % 70)) for at in range(100)]
    whole = batch(compress(GZIP, encode_records(records)), count=100, attributes=GZIP)
    header = records_header(whole)
    found = list(unpacked_records(unpack_records(whole, header), header, first))
    assert found == list(decode_records(whole))[first:]
    assert [each.value for each in found] == [each.value for each in records[first:]]


@pytest.mark.parametrize("data", [b"\x0e", b"\x01" * 100, b"\xff" * 100, b""])
def test_records_that_cannot_be_passed_over(data):
    header = records_header(batch(WHOLE, count=9))
    with pytest.raises(RecordsError):
        list(unpacked_records(data, header, 8))
