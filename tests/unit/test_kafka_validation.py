"""What a producer's batch has to be: each fault has its code, and a batch of any client has none."""

from __future__ import annotations

import pytest
from crc32c import crc32c
from kafka.record.default_records import DefaultRecordBatchBuilder

from gstream.header import CHECKED_FROM, HEADER_BYTES, unpack_header
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.validation import MAX_RECORDS, check_batch, max_batch_bytes
from gstream.record import Record
from gstream.records import encode_batch, encode_marker
from gstream.storage.frame import FrameError, decode_header

PLENTY = 1 << 20
RECORDS = [Record(number, 1_795_512_600_000 + number, b"key", b"value %d" % number, ()) for number in range(3)]


def batch(**options):
    return bytearray(encode_batch(RECORDS, **options))


def changed(position, field, data=None):
    """A batch of which some bytes were set, with the checksum that belongs to them."""
    data = batch() if data is None else data
    data[position : position + len(field)] = field
    data[17:21] = crc32c(memoryview(data)[CHECKED_FROM:]).to_bytes(4, "big")
    return data


def check(data, version=9, max_bytes=PLENTY):
    return check_batch(None if data is None else memoryview(data), version, max_bytes)


def refusal(data, version=9, max_bytes=PLENTY):
    with pytest.raises(KafkaError) as caught:
        check(data, version, max_bytes)
    assert caught.value.message, "the producer is told what is wrong"
    return caught.value.code


@pytest.mark.parametrize("codec", range(5))
def test_a_batch_of_each_codec(codec):
    data = batch(compression=codec)
    assert check(data) == unpack_header(data)


def test_batches_of_a_client():
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=True,
        producer_id=4000,
        producer_epoch=1,
        base_sequence=7,
        batch_size=9999,
    )
    builder.append(0, timestamp=1_795_512_600_000, key=None, value=b"v", headers=[])
    header = check(bytes(builder.build()))
    assert (header.records, header.producer_id, header.base_sequence) == (1, 4000, 7)


@pytest.mark.parametrize("size", [1, 16, HEADER_BYTES - 1])
def test_too_few_bytes_for_a_header(size):
    assert refusal(batch()[:size]) is Code.CORRUPT_MESSAGE


def test_a_batch_that_is_cut_off():
    data = batch()
    for size in range(HEADER_BYTES, len(data)):
        assert refusal(data[:size]) is Code.CORRUPT_MESSAGE


def test_every_bit_that_is_flipped_is_noticed():
    whole = batch()
    for position in range(8, len(whole)):
        if 12 <= position < 16:  # the leader's epoch, which is the broker's to write
            continue
        for bit in range(8):
            data = bytearray(whole)
            data[position] ^= 1 << bit
            assert refusal(data) in {Code.CORRUPT_MESSAGE, Code.INVALID_RECORD}


def claiming(count, **options):
    """A batch of three records that says that it has so many."""
    changed(23, (count - 1).to_bytes(4, "big"), data := batch(**options))
    return changed(57, count.to_bytes(4, "big"), data)


FAULTS = {
    "nothing": (None, Code.INVALID_RECORD),
    "no bytes": (b"", Code.INVALID_RECORD),
    "two batches": (batch() + batch(), Code.INVALID_RECORD),
    "something behind it": (batch() + b"x", Code.INVALID_RECORD),
    "a length less than a header's": (changed(8, b"\0\0\0\x30"), Code.CORRUPT_MESSAGE),
    "a length below zero": (changed(8, b"\xff\xff\xff\xff"), Code.CORRUPT_MESSAGE),
    "an older version": (changed(16, b"\1"), Code.INVALID_RECORD),
    "packed lines": (changed(16, b"p"), Code.INVALID_RECORD),
    "the wrong checksum": (batch()[:-1] + b"\xff", Code.CORRUPT_MESSAGE),
    "a control batch": (encode_marker(4000, 0, commits=True, time_ms=0), Code.INVALID_RECORD),
    "the broker's times": (changed(21, b"\0\x08"), Code.INVALID_TIMESTAMP),
    "a transaction of nobody": (batch(is_transactional=True), Code.INVALID_RECORD),
    "a codec that there is not": (changed(21, b"\0\5"), Code.UNSUPPORTED_COMPRESSION_TYPE),
    "fewer offsets than records": (changed(23, b"\0\0\0\1"), Code.INVALID_RECORD),
    "more offsets than records": (changed(23, b"\0\0\0\3"), Code.INVALID_RECORD),
    "fewer than no offsets": (changed(23, b"\xff\xff\xff\xff"), Code.INVALID_RECORD),
    "no records": (changed(57, b"\0\0\0\0", changed(23, b"\xff\xff\xff\xff")), Code.INVALID_RECORD),
    "fewer than no records": (changed(57, b"\xff\xff\xff\xff", changed(23, b"\xff\xff\xff\xfe")), Code.INVALID_RECORD),
    "no sequence": (batch(producer_id=4000, producer_epoch=0), Code.INVALID_RECORD),
    "no epoch": (batch(producer_id=4000, base_sequence=0), Code.INVALID_RECORD),
    "more records than there is room for": (claiming(8), Code.INVALID_RECORD),
    "as many as numbers go": (claiming(2**31 - 1, compression=4), Code.MESSAGE_TOO_LARGE),
    "a header only": (changed(8, b"\0\0\0\x31", batch()[:HEADER_BYTES]), Code.INVALID_RECORD),
}
"""Name: what is sent, and the code of its error."""


@pytest.mark.parametrize(("data", "code"), FAULTS.values(), ids=FAULTS)
def test_faults(data, code):
    assert refusal(data) is code


def test_zstd_is_for_those_who_know_it():
    data = batch(compression=4)
    assert refusal(data, version=6) is Code.UNSUPPORTED_COMPRESSION_TYPE
    assert check(data, version=7).attributes == 4


def test_the_limit_is_of_the_whole_batch():
    data = batch()
    assert check(data, max_bytes=len(data)).size == len(data)
    assert refusal(data, max_bytes=len(data) - 1) is Code.MESSAGE_TOO_LARGE


def test_the_limit_is_kafkas_where_messages_may_have_one_mebibyte():
    assert max_batch_bytes(1 << 20) == 1_048_588


@pytest.mark.parametrize("codec", range(1, 5))
def test_how_many_records_may_be_in_what_is_compressed(codec):
    assert check(claiming(MAX_RECORDS, compression=codec)).records == MAX_RECORDS
    assert refusal(claiming(MAX_RECORDS + 1, compression=codec)) is Code.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("bit", range(16))
def test_what_is_taken_can_be_read_again(bit):
    """A log would take a batch with other attributes for damage, and cut it off when it is opened."""
    data = changed(21, (1 << bit).to_bytes(2, "big"))
    try:
        decode_header(bytes(data))
    except FrameError:
        assert refusal(data) is Code.INVALID_RECORD
