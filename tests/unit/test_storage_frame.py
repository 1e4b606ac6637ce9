from __future__ import annotations

import struct

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from gstream.batch import Batch, Message, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.header import HEADER_BYTES
from gstream.storage.frame import (
    COUNTED,
    LINES,
    RECORDS,
    FrameError,
    decode_frame,
    decode_header,
    encode_frame,
)


def lines(*bodies, offset=0, time_ms=1000):
    return Batch(offset, len(bodies), pack(*bodies), time_ms)


def frame_bytes(batch):
    return b"".join(encode_frame(batch))


def records(offset=0, count=3, attributes=0, data=b"\x02\xff", delta=None, length=None, magic=RECORDS):
    """A frame of Kafka's records, made without the code that is tested."""
    delta = count - 1 if delta is None else delta
    checked = struct.pack(">hiqqqhii", attributes, delta, 100, 105, 9, 1, 40, count) + data
    length = 9 + len(checked) if length is None else length
    return struct.pack(">qiibI", offset, length, 5, magic, crc32c(checked)) + checked


def test_the_checksum_is_the_standard_one():
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, and every catalogue of checksums


def test_a_header_is_laid_out_as_kafkas_is():
    header, data = encode_frame(lines(b"one", b"two", offset=5, time_ms=77))
    assert len(header) == HEADER_BYTES == 61
    assert data == b"pone\nptwo\n"
    fields = struct.unpack(">qiibIhiqqqhii", header)
    assert fields == (5, 49 + 10, 0, LINES, crc32c(header[21:] + data), LINES, 1, 77, 77, -1, -1, -1, 2)
    assert tuple(decode_header(header)) == fields


def test_lines_become_lines_again():
    stored = b"before" + frame_bytes(lines(b"one", b"", b"three", offset=5)) + b"behind"
    frame = decode_frame(stored, 6)
    assert (frame.offset, frame.next_offset, frame.position) == (5, 8, 0)
    assert frame.size == frame.end == len(stored) - 12
    assert frame.stored == stored[6:-6]
    assert not frame.is_records
    batch = frame.batch(partition=2)
    assert type(batch) is Batch
    assert (batch.offset, batch.count, batch.partition, batch.attempt, batch.times) == (5, 3, 2, 1, 1000)
    assert batch.bodies() == [b"one", b"", b"three"]


def test_counted_messages_become_counted_messages_again():
    packed = pack_counted(b"a\nb", b"key", [("h", b"v")]) + pack_counted(b"")
    frame = decode_frame(frame_bytes(CountedBatch(3, 2, packed, 50)))
    assert frame.header.magic == COUNTED
    batch = frame.batch()
    assert type(batch) is CountedBatch
    assert list(batch.messages()) == [
        Message(3, b"a\nb", b"key", (("h", b"v"),), 50),
        Message(4, b"", None, (), 50),
    ]


@pytest.mark.parametrize(
    ("offset", "bodies"),
    [(0, [b"a", b"b", b"c"]), (5, [b"a", b"b", b"c"]), (6, [b"b", b"c"]), (7, [b"c"])],
)
def test_a_batch_begins_where_it_is_asked_to(offset, bodies):
    batch = decode_frame(frame_bytes(lines(b"a", b"b", b"c", offset=5))).batch(offset=offset)
    assert batch.bodies() == bodies
    assert batch.offset == 8 - len(bodies)


OFFSETS = st.integers(0, (1 << 48) - 1)


@given(bodies=st.lists(st.binary().filter(lambda body: b"\n" not in body), min_size=1), offset=OFFSETS)
def test_any_lines_come_back(bodies, offset):
    frame = decode_frame(frame_bytes(lines(*bodies, offset=offset)))
    assert frame.offset == offset
    assert frame.batch().bodies() == bodies


def test_kafkas_records_stay_what_they_are():
    stored = records(offset=11, count=3, attributes=0x54)
    frame = decode_frame(stored)
    assert frame.is_records
    assert frame.stored == stored
    assert (frame.header.base_ms, frame.header.max_ms, frame.header.producer_id) == (100, 105, 9)
    with pytest.raises(ValueError, match="Kafka"):
        frame.batch()


def test_records_may_have_gaps():
    frame = decode_frame(records(count=2, delta=9))
    assert (frame.next_offset, frame.header.records) == (10, 2)


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        (b"", "cut off: 0 bytes"),
        (bytes(60), "cut off: 60 bytes"),
        (bytes(61), "no frame begins here"),
        (records(magic=1), "no frame begins here"),
        (records(magic=-2), "no frame begins here"),
        (records(offset=-1), "contradicts itself"),
        (records(length=48), "contradicts itself"),
        (records(count=0, delta=0), "contradicts itself"),
        (records(count=3, delta=1), "contradicts itself"),
        (records(attributes=0x80), "contradicts itself"),
        (records(attributes=0, magic=LINES), "contradicts itself"),
        (records(attributes=LINES, magic=COUNTED), "contradicts itself"),
        (records(attributes=LINES, magic=LINES, count=2, delta=2), "contradicts itself"),
        (records(attributes=LINES, magic=LINES, count=0), "contradicts itself"),
        (records()[:-1], "cut off: 62 of 63 bytes"),
        (records()[:-1] + b"\0", "checksum"),
    ],
)
def test_what_is_no_frame_is_none(stored, why):
    with pytest.raises(FrameError, match=why):
        decode_frame(stored)


def test_an_offset_that_was_not_due():
    assert decode_header(records(offset=4), 0, 4).base_offset == 4
    with pytest.raises(FrameError, match="offset 4 where 5 was due"):
        decode_header(records(offset=4), 0, 5)


@pytest.mark.parametrize(
    "stored",
    [frame_bytes(lines(b"one", b"two", offset=5)), frame_bytes(CountedBatch(5, 1, pack_counted(b"a\nb", b"k"), 9))],
    ids=["lines", "counted"],
)
def test_no_flipped_bit_is_believed(stored):
    frame = decode_frame(stored)
    for bit in range(len(stored) * 8):
        flipped = bytearray(stored)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            decode_header(bytes(flipped), 0, frame.offset)  # the offset is known to those who scan
            found = decode_frame(bytes(flipped))
        except FrameError:
            continue
        assert 12 <= bit // 8 < 16, "only the leader epoch means nothing"
        assert found.data == frame.data


def test_a_batch_of_several_times_is_no_frame():
    batch = Batch(0, 2, pack(b"a", b"b"), ([0, 1], [5, 6]))
    with pytest.raises(AssertionError):
        encode_frame(batch)
