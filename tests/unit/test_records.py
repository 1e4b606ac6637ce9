"""Whole batches of records, compared byte for byte with what a client's library writes."""

from __future__ import annotations

import struct
import sys

import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder

from gstream.batch import Batch, Message, pack
from gstream.compression import CODECS
from gstream.counted import CountedBatch, pack_counted
from gstream.errors import StorageError
from gstream.header import unpack_header
from gstream.record import CONTROL, Record, RecordsError, decode_records
from gstream.records import (
    decode_marker,
    encode_batch,
    encode_marker,
    encode_messages,
    open_batch,
    with_append_time,
)
from gstream.storage.frame import decode_frame

TIME_MS = 1764020000000


def library(records, offset=0, codec=0, producer=(-1, -1, -1), transactional=False):
    """What kafka-python makes of the same records; it always begins at offset 0."""
    builder = DefaultRecordBatchBuilder(2, codec, transactional, *producer, 1 << 30)
    for each in records:
        builder.append(each.offset - offset, each.time_ms, each.key, each.value, list(each.headers))
    built = bytes(builder.build())
    return struct.pack(">q", offset) + built[8:12] + struct.pack(">i", 0) + built[16:]


def lines(bodies, offset=0, times=TIME_MS):
    return Batch(offset, len(bodies), pack(*bodies), times)


def as_records(batch):
    return [Record(each.offset, each.time_ms, each.key, each.body, each.headers) for each in batch.messages()]


values = st.none() | st.binary(max_size=100)
headers = st.lists(st.tuples(st.text(max_size=5), values), max_size=3).map(tuple)
deltas = st.integers(-(1 << 33), 1 << 33)
records = st.lists(st.tuples(deltas, values, values, headers), min_size=1, max_size=5).map(
    lambda rows: [Record(7 + at, TIME_MS + delta, *rest) for at, (delta, *rest) in enumerate(rows)]
)


@given(records, st.sampled_from([(-1, -1, -1), (4711, 3, 2_147_483_647)]), st.booleans())
def test_a_batch_is_the_librarys_byte_for_byte(records, producer, transactional):
    producer_id, epoch, sequence = producer
    made = encode_batch(
        records,
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        is_transactional=transactional,
    )
    assert made == library(records, 7, 0, producer, transactional)


@given(records, st.sampled_from(list(CODECS)))
def test_a_batch_is_read_as_it_was_written(records, codec):
    made = encode_batch(records, compression=codec)
    assert list(decode_records(made)) == records
    assert decode_frame(made).header.attributes == codec


@pytest.mark.parametrize("codec", CODECS, ids=CODECS.values())
def test_aiokafka_reads_it(codec):
    written = [Record(at, TIME_MS + at, b"key", b"body" * 50, (("h", None),)) for at in range(20)]
    found = DefaultRecordBatch(encode_batch(written, compression=codec))
    assert found.validate_crc()
    assert [Record(each.offset, each.timestamp, each.key, each.value, tuple(each.headers)) for each in found] == written


def test_offsets_with_holes_are_kept():
    written = [Record(100, TIME_MS, b"k", b"a"), Record(107, TIME_MS, b"k", b"b")]
    made = encode_batch(written)
    assert unpack_header(made).next_offset == 108
    assert list(decode_records(made)) == written


lines_of = st.lists(st.binary(max_size=150).map(lambda body: body.replace(b"\n", b"")), min_size=1, max_size=150)


@given(lines_of, st.integers(0, 1 << 40))
def test_lines_are_the_librarys_byte_for_byte(bodies, offset):
    batch = lines(bodies, offset)
    assert encode_messages(batch) == library(as_records(batch), offset)


@given(lines_of, st.lists(st.tuples(st.integers(0, 160), st.integers(-(1 << 40), 1 << 40)), max_size=6))
def test_lines_of_several_times(bodies, later):
    starts = {0: TIME_MS} | {at: TIME_MS + ms for at, ms in later if at < len(bodies)}
    offsets = sorted(starts)
    batch = lines(bodies, 50, ([50 + at for at in offsets], [starts[at] for at in offsets]))
    assert encode_messages(batch) == library(as_records(batch), 50)
    if len(bodies) > 1:
        part = batch.part(1, len(bodies) - 1)
        assert encode_messages(part) == library(as_records(part), 51)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 8191, 8192, 8193, 20_000])
@pytest.mark.parametrize("sizes", [(0,), (57, 58, 63, 64), (8186, 8191, 8192)], ids=["empty", "small", "large"])
def test_where_numbers_become_longer(count, sizes):
    if sizes[-1] > 100:
        count = min(count, 200)
    batch = lines([b"x" * sizes[at % len(sizes)] for at in range(count)], 9)
    assert encode_messages(batch) == library(as_records(batch), 9)


def test_more_lines_than_have_three_bytes_of_delta():
    count = (1 << 20) + 1
    stored = encode_messages(Batch(0, count, b"p\n" * count, TIME_MS))
    assert stored[-19:].hex(" ") == "10 00 00 fe ff 7f 01 00 00 12 00 00 80 80 80 01 01 00 00"


contents = st.lists(
    st.tuples(
        st.binary(max_size=50),
        st.none() | st.binary(max_size=20) | st.just(b"k" * 40_000),
        st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=9)), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=4,
)


@given(contents, st.booleans())
def test_counted_messages_are_the_librarys_byte_for_byte(contents, same_time):
    times = TIME_MS if same_time else ([9], [TIME_MS]) if len(contents) == 1 else ([9, 10], [TIME_MS, TIME_MS - 5])
    batch = CountedBatch(9, len(contents), b"".join(pack_counted(*each) for each in contents), times)
    assert encode_messages(batch) == library(as_records(batch), 9)


@given(contents, st.sampled_from(list(CODECS)), st.lists(deltas, min_size=4, max_size=4))
def test_records_become_messages(contents, codec, times):
    written = [
        Record(20 + at, TIME_MS + times[at], key, body, headers) for at, (body, key, headers) in enumerate(contents)
    ]
    batch = open_batch(encode_batch(written, compression=codec), 3)
    assert isinstance(batch, CountedBatch)
    assert (batch.offset, batch.partition, batch.count, batch.attempt) == (20, 3, len(contents), 1)
    assert list(batch.messages()) == [
        Message(each.offset, each.value, each.key, each.headers, each.time_ms) for each in written
    ]
    if len(contents) > 1:
        assert list(batch.part(1, 1).messages()) == list(batch.messages())[1:2]


def test_one_time_of_all_is_kept_once():
    same = open_batch(encode_batch([Record(at, TIME_MS, None, b"a") for at in range(3)]), 0)
    assert same.times == TIME_MS
    times = [TIME_MS, TIME_MS, TIME_MS + 5, TIME_MS + 5, TIME_MS]
    batch = open_batch(encode_batch([Record(at, time_ms, None, b"a") for at, time_ms in enumerate(times)]), 0)
    assert [list(each) for each in batch.times] == [[0, 2, 4], [TIME_MS, TIME_MS + 5, TIME_MS]]
    assert [each.time_ms for each in batch.messages()] == times


def test_what_is_missing_is_empty():
    (message,) = open_batch(encode_batch([Record(0, TIME_MS, None, None, (("h", None),))]), 0).messages()
    assert message == Message(0, b"", None, (("h", b""),), TIME_MS)


def test_a_name_that_is_too_long_is_cut():
    names = ("x" * 65_535, "x" * 65_534 + "\u00fc", "\u00fc" * 40_000)
    written = [Record(0, TIME_MS, None, b"a", tuple((name, b"v") for name in names))]
    (message,) = open_batch(encode_batch(written), 0).messages()
    assert [name for name, _ in message.headers] == [names[0], "x" * 65_534, "\u00fc" * 32_767]


@pytest.mark.parametrize("codec", [2, 3, 4], ids=CODECS.get)
def test_a_library_that_is_missing_is_no_reason_to_pass_messages_over(codec, monkeypatch):
    written = encode_batch([Record(0, TIME_MS, None, b"a")], compression=codec)
    monkeypatch.setitem(sys.modules, "cramjam", None)
    with pytest.raises(StorageError, match=r"pip install 'gstream\[kafka\]'"):
        open_batch(written, 0)
    with pytest.raises(RecordsError, match=r"pip install 'gstream\[kafka\]'"):
        decode_records(written)


def test_what_cannot_be_opened():
    with pytest.raises(RecordsError, match="have holes"):
        open_batch(encode_batch([Record(0, TIME_MS, None, b"a"), Record(2, TIME_MS, None, b"b")]), 0)
    with pytest.raises(RecordsError, match="cut off"):
        open_batch(encode_batch([Record(0, TIME_MS, None, b"a")])[:-1], 0)
    with pytest.raises(RecordsError, match="no batch of records"):
        open_batch(b"", 0)


@given(st.data(), st.sampled_from(list(CODECS)))
def test_one_changed_byte_is_messages_or_refused(data, codec):
    written = [Record(at, TIME_MS + at, b"key", b"body" * at, (("h", b"v"),)) for at in range(5)]
    stored = bytearray(encode_batch(written, compression=codec))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        batch = open_batch(stored, 0)
    except RecordsError:
        return
    assert batch is None or len(list(batch.messages())) == batch.count


@pytest.mark.parametrize("commits", [True, False])
def test_markers(commits):
    stored = encode_marker(4711, 3, commits=commits, time_ms=TIME_MS, offset=12)
    header = decode_frame(stored).header
    assert (header.base_offset, header.records, header.last_offset_delta) == (12, 1, 0)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (4711, 3, -1)
    assert (header.attributes, header.base_ms, header.max_ms) == (0x30, TIME_MS, TIME_MS)
    assert decode_marker(stored) is commits
    assert open_batch(stored, 0) is None
    found = MemoryRecords(stored).next_batch()
    assert found.validate_crc()
    assert (found.is_control_batch, found.is_transactional) == (True, True)
    (marker,) = found
    assert (marker.commit, marker.abort, marker.version) == (commits, not commits, 0)
    assert marker.value == struct.pack(">hi", 0, 0)


@pytest.mark.parametrize("key", [None, b"", b"\0\0\0", struct.pack(">hh", 0, 2), struct.pack(">hh", 0, -1)], ids=str)
def test_markers_that_say_nothing(key):
    with pytest.raises(RecordsError, match="do not say how"):
        decode_marker(encode_batch([Record(0, TIME_MS, key, b"")], is_control=True, is_transactional=True))


def test_messages_are_no_marker():
    with pytest.raises(RecordsError, match="end no transaction"):
        decode_marker(encode_batch([Record(0, TIME_MS, struct.pack(">hh", 0, 1), b"")]))


@pytest.mark.parametrize("codec", CODECS, ids=CODECS.values())
def test_the_time_of_appending(codec):
    written = [Record(5 + at, TIME_MS + at, b"k", b"a" * 50) for at in range(3)]
    stored = encode_batch(written, compression=codec, producer_id=9, producer_epoch=1, base_sequence=2)
    moved = with_append_time(memoryview(stored), TIME_MS + 99)
    before, after = decode_frame(stored).header, decode_frame(moved).header
    assert after == before._replace(attributes=codec | 8, max_ms=TIME_MS + 99, crc=after.crc)
    assert moved[61:] == stored[61:]
    assert list(decode_records(moved)) == [each._replace(time_ms=TIME_MS + 99) for each in written]
    assert open_batch(moved, 0).times == TIME_MS + 99


def test_checksums_are_right():
    for stored in (
        encode_messages(lines([b"a", b"b"])),
        encode_messages(CountedBatch(0, 1, pack_counted(b"a\n"), TIME_MS)),
        encode_batch([Record(0, 0)]),
    ):
        assert crc32c(stored[21:]) == int.from_bytes(stored[17:21], "big")
        assert not unpack_header(stored).attributes & CONTROL


def test_lines_need_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "cramjam", None)
    assert open_batch(encode_messages(lines([b"a", b"b"])), 0).bodies() == [b"a", b"b"]
