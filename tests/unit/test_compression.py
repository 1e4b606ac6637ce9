"""Kafka's codecs: there and back, what others wrote, what is broken, and what claims to be larger than it may be."""

from __future__ import annotations

import gzip
import sys
import zlib

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gstream.compression import CODECS, GZIP, LZ4, NONE, SNAPPY, ZSTD, CompressionError, compress, decompress

LIMIT = 1 << 20
TEXT = b"Hello, Kafka! " * 100
PACKING = [GZIP, SNAPPY, LZ4, ZSTD]


def named(codecs):
    return pytest.mark.parametrize("codec", codecs, ids=[CODECS[codec] for codec in codecs])


@given(st.sampled_from(list(CODECS)), st.binary(max_size=300), st.integers(1, 400))
def test_there_and_back(codec, data, times):
    packed = compress(codec, data * times)
    assert decompress(codec, packed, LIMIT) == data * times
    assert decompress(codec, memoryview(bytearray(b"before" + packed))[6:], LIMIT) == data * times


@named(PACKING)
def test_it_becomes_smaller(codec):
    assert len(compress(codec, TEXT)) < len(TEXT) // 4


OTHERS = {
    "gzip's own module": (GZIP, gzip.compress(TEXT)),
    "raw snappy, as librdkafka": (SNAPPY, bytes(cramjam.snappy.compress_raw(TEXT))),
    "snappy in a block, as Java": (
        SNAPPY,
        b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"
        + len(cramjam.snappy.compress_raw(TEXT)).to_bytes(4, "big")
        + bytes(cramjam.snappy.compress_raw(TEXT)),
    ),
    "zstd in two frames": (ZSTD, bytes(cramjam.zstd.compress(TEXT[:99])) + bytes(cramjam.zstd.compress(TEXT[99:]))),
}


@pytest.mark.parametrize(("codec", "packed"), OTHERS.values(), ids=OTHERS)
def test_what_others_write(codec, packed):
    assert decompress(codec, packed, LIMIT) == TEXT


def test_lz4_that_does_not_say_its_size():
    packed = bytes.fromhex("04224d186040820d0000805061636b6564206c696e65730000000000")
    assert decompress(LZ4, packed, LIMIT) == b"Packed lines\0"


def test_snappy_is_written_in_blocks_that_java_reads():
    data = bytes(range(256)) * 300
    packed = compress(SNAPPY, data)
    assert packed[:16] == b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"
    position, blocks = 16, []
    while position < len(packed):
        size = int.from_bytes(packed[position : position + 4], "big")
        blocks.append(bytes(cramjam.snappy.decompress_raw(packed[position + 4 : position + 4 + size])))
        position += 4 + size
    assert position == len(packed)
    assert [len(block) for block in blocks] == [32768, 32768, 11264]
    assert b"".join(blocks) == data


@named(CODECS)
def test_the_bound_is_exact(codec):
    packed = compress(codec, TEXT)
    assert decompress(codec, packed, len(TEXT)) == TEXT
    with pytest.raises(CompressionError, match="larger than 1,399 bytes"):
        decompress(codec, packed, len(TEXT) - 1)
    with pytest.raises(CompressionError, match="larger than 0 bytes"):
        decompress(codec, compress(codec, b"xx"), 0)


@named(CODECS)
def test_nothing_is_no_more_than_nothing(codec):
    assert decompress(codec, compress(codec, b""), 0) == b""


@named(PACKING)
def test_what_is_cut_anywhere(codec):
    packed = compress(codec, TEXT + bytes(range(256)))
    if codec == SNAPPY:  # behind its head, it has no end of its own
        assert decompress(codec, packed[:16], LIMIT) == b""
    for size in range(len(packed)):
        if codec != SNAPPY or size != 16:
            with pytest.raises(CompressionError, match=f"it is no {CODECS[codec]}: "):
                decompress(codec, packed[:size], LIMIT)


@named(PACKING)
@pytest.mark.parametrize("data", [b"no such thing", b"\xff" * 40, b"\0" * 40], ids=str)
def test_what_never_was_packed(codec, data):
    with pytest.raises(CompressionError, match=f"it is no {CODECS[codec]}: "):
        decompress(codec, data, LIMIT)


@given(st.sampled_from(PACKING), st.binary(max_size=200))
def test_any_bytes_are_unpacked_or_refused(codec, data):
    try:
        unpacked = decompress(codec, data, 1000)
    except CompressionError:
        return
    assert len(unpacked) <= 1000


@given(st.sampled_from(PACKING), st.data())
def test_one_changed_byte_never_makes_it_larger_than_it_may_be(codec, data):
    packed = bytearray(compress(codec, TEXT))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        unpacked = decompress(codec, packed, len(TEXT))
    except CompressionError:
        return
    assert len(unpacked) <= len(TEXT)


def test_a_second_gzip_stream_is_refused():
    with pytest.raises(CompressionError, match="there is more behind it"):
        decompress(GZIP, gzip.compress(b"one") * 2, LIMIT)


def test_snappy_that_claims_gigabytes():
    for claim in (b"\xff\xff\xff\xff\x0f", b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x05\xff\xff\xff\xff\x0f"):
        with pytest.raises(CompressionError, match="larger than 1,048,576 bytes"):
            decompress(SNAPPY, claim, LIMIT)


def test_a_block_that_is_longer_than_all():
    with pytest.raises(CompressionError, match="cut off"):
        decompress(SNAPPY, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\xff\xff\xff\xffabc", LIMIT)


@pytest.mark.parametrize("codec", [5, 6, 7, -1])
def test_codecs_that_there_are_not(codec):
    with pytest.raises(CompressionError, match=f"no codec has the number {codec}"):
        decompress(codec, b"", LIMIT)
    with pytest.raises(CompressionError, match=f"no codec has the number {codec}"):
        compress(codec, b"")


@named([SNAPPY, LZ4, ZSTD])
def test_without_the_library_it_is_said_what_to_install(codec, monkeypatch):
    monkeypatch.setitem(sys.modules, "cramjam", None)
    with pytest.raises(CompressionError, match=rf"{CODECS[codec]} needs .*: pip install 'gstream\[kafka\]'"):
        decompress(codec, b"", LIMIT)
    with pytest.raises(CompressionError, match=r"pip install 'gstream\[kafka\]'"):
        compress(codec, b"")


@named([NONE, GZIP])
def test_without_the_library_the_others_work(codec, monkeypatch):
    monkeypatch.setitem(sys.modules, "cramjam", None)
    assert decompress(codec, compress(codec, TEXT), LIMIT) == TEXT


def test_gzip_is_what_zlib_reads():
    assert zlib.decompress(compress(GZIP, TEXT), 31) == TEXT
