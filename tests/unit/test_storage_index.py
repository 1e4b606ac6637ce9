from __future__ import annotations

import pytest

from gstream.batch import Batch, pack
from gstream.storage.frame import decode_header, encode_frame
from gstream.storage.index import ENTRY_BYTES, INDEX_HEADER_BYTES, NEVER, Index, IndexFileError

BASE = 100


def make_index(frames=20, interval_bytes=200, base=BASE):
    """An index of frames of two messages and 69 bytes, each 10 ms after the one before; and where they begin."""
    index = Index(base, interval_bytes)
    places = []
    position = 0
    for number in range(frames):
        header = decode_header(encode_frame(Batch(base + 2 * number, 2, pack(b"ab", b"cd"), 1000 + 10 * number))[0])
        index.add(header, position)
        places.append((header.base_offset, position))
        position += header.size
    return index, places


def test_it_is_sparse_and_begins_with_the_first_frame():
    index, places = make_index()
    entries = list(index)
    assert entries == places[::3]  # three frames are the first 200 bytes and more
    assert len(index) == 7
    assert (index.end, index.end_offset) == (20 * 69, BASE + 40)
    assert (index.first_ms, index.last_ms) == (1000, 1190)


def test_an_offset_is_found_at_or_before_its_frame():
    index, places = make_index()
    for number, (offset, position) in enumerate(places):
        expected = places[number - number % 3]
        assert index.find(offset) == index.find(offset + 1) == expected[::-1]
        assert position - index.find(offset)[0] < 3 * 69
    assert index.find(BASE - 1) == (0, BASE)
    assert index.find(1 << 60) == places[18][::-1]


def test_a_time_is_found_at_or_before_its_frame():
    index, places = make_index()
    assert index.find_time(0) == index.find_time(1000) == index.find_time(1020) == (0, BASE)
    assert index.find_time(1021) == index.find_time(1030) == places[3][::-1]
    assert index.find_time(5000) == places[18][::-1]


def test_a_time_that_goes_back_hides_nothing():
    index = Index(0, 1)
    position = 0
    for offset, time_ms in enumerate((50, 10, 60, 20)):
        header = decode_header(encode_frame(Batch(offset, 1, b"p\n", time_ms))[0])
        index.add(header, position)
        position += header.size
    assert index.find_time(50)[1] == 0
    assert index.find_time(51)[1] == 2
    assert index.find_time(60)[1] == 2
    assert index.last_ms == 60


def test_what_lies_behind_a_position():
    index, places = make_index()
    assert list(index.after(-1)) == [place[::-1] for place in places[::3]]
    assert list(index.after(0)) == [place[::-1] for place in places[3::3]]
    assert list(index.after(places[18][1])) == []


def test_an_empty_index():
    index = Index(BASE)
    assert len(index) == 0
    assert index.find(BASE + 5) == index.find_time(5) == (0, BASE)
    assert (index.first_ms, index.last_ms, index.end) == (NEVER, NEVER, 0)
    assert list(Index.decode(index.encode(), BASE)) == []


def test_its_file_gives_it_back():
    index, _ = make_index()
    data = index.encode()
    assert len(data) == INDEX_HEADER_BYTES + 7 * ENTRY_BYTES
    again = Index.decode(data, BASE)
    assert list(again) == list(index)
    assert (again.end, again.end_offset, again.first_ms, again.last_ms) == (20 * 69, BASE + 40, 1000, 1190)
    assert [again.find_time(each) for each in (0, 1021, 5000)] == [index.find_time(each) for each in (0, 1021, 5000)]
    assert index.is_built
    assert not again.is_built
    assert again.encode() == data


def test_no_cut_and_no_flipped_bit_is_believed():
    data = make_index(frames=5)[0].encode()
    for length in range(len(data)):
        with pytest.raises(IndexFileError):
            Index.decode(data[:length], BASE)
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IndexFileError):
            Index.decode(bytes(flipped), BASE)


def test_the_index_of_another_segment():
    with pytest.raises(IndexFileError, match="another segment, 100"):
        Index.decode(make_index()[0].encode(), BASE + 1)
