from __future__ import annotations

import os

import pytest

from gstream.batch import Batch, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.storage.files import Files
from gstream.storage.frame import Frame, encode_frame
from gstream.storage.index import Index
from gstream.storage.scan import WINDOW_BYTES, Gap, Window, scan


def encode(batch):
    return b"".join(encode_frame(batch))


def frames(first, count, body=b"message %d"):
    """So many frames of one message each."""
    return [
        encode(Batch(offset, 1, pack(body.replace(b"%d", b"%d" % offset)), 5)) for offset in range(first, first + count)
    ]


@pytest.fixture
def scanned(tmp_path):
    """``scanned(data, ...)``: offsets of the frames found, and the gaps as (offset, next offset, position, size)."""

    def scanned(data, offset=0, index=None, **options):
        path = tmp_path / "segment"
        path.write_bytes(data)
        fd = os.open(path, os.O_RDONLY)
        try:
            found = list(scan(Window(Files(), fd, len(data), **options), 0, offset, index))
        finally:
            os.close(fd)
        for each in found:
            if isinstance(each, Frame):
                assert data[each.position : each.end] == each.stored
        return [
            each.offset if isinstance(each, Frame) else (each.offset, each.next_offset, each.position, each.size)
            for each in found
        ], [each for each in found if isinstance(each, Gap)]

    return scanned


def test_whole_frames(scanned):
    assert scanned(b"".join(frames(5, 4)), 5) == ([5, 6, 7, 8], [])
    assert scanned(b"") == ([], [])


def test_frames_larger_than_the_window(scanned):
    large = encode(Batch(1, 1, pack(b"x" * 5000)))
    data = frames(0, 1)[0] + large + b"".join(frames(2, 2))
    assert scanned(data, window_bytes=100) == ([0, 1, 2, 3], [])
    assert scanned(data, window_bytes=1) == ([0, 1, 2, 3], [])


def test_the_first_frame_is_not_the_one_due(scanned):
    one, two, three = frames(5, 3)
    found, gaps = scanned(one + two + three, 4)
    assert found == [(4, 6, 0, len(one)), 6, 7]
    assert gaps[0].why == "offset 5 where 4 was due"


def test_a_damaged_body_costs_its_frame(scanned):
    parts = frames(0, 5)
    parts[2] = parts[2][:-2] + b"X\n"
    found, gaps = scanned(b"".join(parts))
    assert found == [0, 1, (2, 3, 2 * len(parts[0]), len(parts[0])), 3, 4]
    assert gaps[0].why == "the checksum is wrong"


@pytest.mark.parametrize("length", [b"\0\0\0\1", b"\0\0\1\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff"])
def test_a_damaged_length_costs_its_frame(scanned, length):
    parts = frames(0, 5)
    size = len(parts[0])
    parts[2] = parts[2][:8] + length + parts[2][12:]
    assert scanned(b"".join(parts))[0] == [0, 1, (2, 3, 2 * size, size), 3, 4]


def test_a_damaged_length_and_a_torn_tail(scanned):
    parts = frames(0, 5)
    size = len(parts[0])
    for bit in range(6, 31):  # the frame claims more than it has
        parts[2] = frames(2, 1)[0]
        length = int.from_bytes(parts[2][8:12], "big") | 1 << bit
        if length == size - 12:
            continue
        parts[2] = parts[2][:8] + length.to_bytes(4, "big") + parts[2][12:]
        assert scanned(b"".join(parts)[:-3])[0] == [0, 1, (2, 3, 2 * size, size), 3, (4, None, 4 * size, size - 3)]


def test_neighbours_that_are_damaged_are_one_gap(scanned):
    parts = frames(0, 6)
    size = len(parts[0])
    parts[2:4] = [bytes(2 * size)]
    assert scanned(b"".join(parts))[0] == [0, 1, (2, 4, 2 * size, 2 * size), 4, 5]


def test_several_damages(scanned):
    parts = frames(0, 7)
    size = len(parts[0])
    for at in (1, 3, 4):
        parts[at] = parts[at][:-1] + b"X"
    assert scanned(b"".join(parts))[0] == [0, (1, 2, size, size), 2, (3, 5, 3 * size, 2 * size), 5, 6]


@pytest.mark.parametrize("broken", [16, 21, 64], ids=["magic", "attributes", "body"])
@pytest.mark.parametrize("offset", [4, 5, 300, 1 << 40, 1 << 61])
def test_an_offset_must_be_borne_out(scanned, broken, offset):
    """The checksum does not cover it: a frame that says another one is left out, and not served as another message."""
    parts = frames(0, 6)
    size = len(parts[0])
    parts[2] = parts[2][:broken] + b"?" + parts[2][broken + 1 :]
    parts[3] = offset.to_bytes(8, "big") + parts[3][8:]
    assert scanned(b"".join(parts))[0] == [0, 1, (2, 4, 2 * size, 2 * size), 4, 5]
    found, gaps = scanned(b"".join(parts[:4]))
    assert found == [0, 1, (2, None, 2 * size, 2 * size)]
    assert gaps[0].holds_frames
    assert scanned(b"".join(parts[:4]), limit=offset + 1)[0] == [0, 1, (2, offset, 2 * size, size), offset]


def test_a_repeated_block_is_left_out(scanned):
    parts = frames(0, 5)
    size = len(parts[0])
    inserted = b"".join(parts[:3] + parts[1:3] + parts[3:])
    assert scanned(inserted)[0] == [0, 1, 2, (3, 3, 3 * size, 2 * size), 3, 4]
    written_over = b"".join([*parts[:3], parts[1], *parts[4:]])
    assert scanned(written_over)[0] == [0, 1, 2, (3, 4, 3 * size, size), 4]
    at_the_end = b"".join(parts + parts[3:])
    assert scanned(at_the_end)[0] == [0, 1, 2, 3, 4, (5, None, 5 * size, 2 * size)]


def test_a_torn_tail_is_a_gap_that_nothing_follows(scanned):
    parts = frames(0, 3)
    size = len(parts[0])
    for cut in range(1, size):
        found, gaps = scanned(b"".join(parts)[:-cut])
        assert found == [0, 1, (2, None, 2 * size, size - cut)]
        assert gaps[0].why.startswith("cut off")
        assert not gaps[0].holds_frames


def test_a_long_tail_of_zeros(scanned):
    parts = frames(0, 3)
    size = 3 * len(parts[0])
    zeros = 3 * WINDOW_BYTES + 5
    found, gaps = scanned(b"".join(parts) + bytes(zeros))
    assert found == [0, 1, 2, (3, None, size, zeros)]
    assert gaps[0].why == "no frame begins here"


@pytest.mark.parametrize(
    "before", [WINDOW_BYTES - 30, WINDOW_BYTES - 17, WINDOW_BYTES - 13, WINDOW_BYTES - 1, WINDOW_BYTES]
)
def test_a_frame_is_found_wherever_the_search_has_its_borders(scanned, before):
    data = b"x" * before + b"".join(frames(7, 2))
    assert scanned(data, 0)[0] == [(0, 7, 0, before), 7, 8]


def test_frames_in_a_message_are_no_frames(scanned):
    """A message holds a segment file; its own frame is torn, or damaged in whatever way one bit can do."""
    inner = b"".join(frames(50, 4))
    outer = encode(CountedBatch(1, 1, pack_counted(inner), 5))
    first = frames(0, 1)[0]
    data = first + outer
    for end in range(len(first) + 1, len(data)):
        found, _ = scanned(data[:end])
        assert found == [0, (1, None, len(first), end - len(first))], end
    following = b"".join(frames(2, 2))
    for bit in range(61 * 8):
        flipped = bytearray(data + following)
        flipped[len(first) + bit // 8] ^= 1 << bit % 8
        found, _ = scanned(bytes(flipped))
        assert found in ([0, (1, 2, len(first), len(outer)), 2, 3], [0, 1, 2, 3]), bit


def test_frames_that_cannot_be_placed_are_told_of(scanned):
    parts = frames(0, 6)
    size = len(parts[0])
    parts[2] = parts[2][:8] + b"\0\0\0\1" + parts[2][12:]
    found, gaps = scanned(b"".join(parts)[:-5])
    assert found == [0, 1, (2, None, 2 * size, 4 * size - 5)]
    assert gaps[0].holds_frames


def test_an_index_leads_beyond_two_damages(scanned):
    parts = frames(0, 6)
    size = len(parts[0])
    index = Index(0, 2 * size)
    for at, part in enumerate(parts):
        index.add(Window(OneFile(part), 0, size).header(0), at * size)
    parts[2] = parts[2][:8] + b"\0\0\0\1" + parts[2][12:]
    found, _ = scanned(b"".join(parts)[:-5], index=index)
    assert found == [0, 1, (2, 3, 2 * size, size), 3, 4, (5, None, 5 * size, size - 5)]


class OneFile(Files):
    def __init__(self, data):
        self.data = data

    def read(self, _fd, size, position):
        return self.data[position : position + size]


def test_no_offset_reaches_the_limit(scanned):
    parts = frames(0, 4)
    size = len(parts[0])
    assert scanned(b"".join(parts), limit=4)[0] == [0, 1, 2, 3]
    found, gaps = scanned(b"".join(parts), limit=3)
    assert found == [0, 1, 2, (3, None, 3 * size, size)]
    assert gaps[0].why == "offset 3 in a segment that ends before 3"


def test_a_file_that_becomes_shorter_meanwhile():
    data = b"".join(frames(0, 3))
    window = Window(OneFile(data[:-5]), 0, len(data))
    assert [type(each) for each in scan(window, 0, 0)] == [Frame, Frame, Gap]
