"""A chain of pieces, and cursors that read it: as a list of messages would be read, whatever lies in which piece."""

from __future__ import annotations

from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gstream.batch import Batch, pack
from gstream.counted import CountedBatch, pack_counted
from gstream.storage.budget import Budget
from gstream.storage.chain import (
    LARGE_BATCH_BYTES,
    NEVER,
    NOWHERE,
    OPEN_PIECE_BYTES,
    SMALL_BATCH_BYTES,
    Chain,
    Cursor,
    Piece,
)

PLENTY = 1 << 40


@pytest.fixture
def chain():
    return Chain(Budget(PLENTY), 0)


def add(chain, *bodies, time_ms=0):
    chain.add(pack(*bodies), len(bodies), Batch, time_ms)


def add_counted(chain, *bodies, time_ms=0):
    chain.add(b"".join(map(pack_counted, bodies)), len(bodies), CountedBatch, time_ms)


def cursor_at(chain, offset):
    cursor = Cursor(chain, Piece(0, 0, 0, b"", Batch, 0))
    cursor.seek(offset)
    cursor.place = NOWHERE
    return cursor


def read(cursor, max_messages=PLENTY, max_bytes=PLENTY):
    """(offset, body, time) of every message from the cursor on."""
    found = []
    while batch := cursor.read(max_messages, max_bytes):
        assert type(batch.data) is bytes
        found += [(message.offset, message.body, message.time_ms) for message in batch.messages()]
    return found


def linked(chain, *pieces):
    """A cursor before these pieces, which are no part of the chain."""
    for piece, following in pairwise(pieces):
        piece.following = following
    return Cursor(chain, pieces[0])


# --- adding


def test_an_empty_chain(chain):
    assert (chain.first_offset, chain.end_offset, chain.kept_bytes, chain.piece_count) == (0, 0, 0, 1)
    assert read(cursor_at(chain, 0)) == []
    assert chain.read_on(0, 10, 10) == []
    assert chain.find_time(0) == 0


def test_a_chain_may_begin_anywhere():
    chain = Chain(Budget(PLENTY), 3, 1000)
    assert (chain.first_offset, chain.end_offset) == (1000, 1000)
    add(chain, b"a", b"b")
    assert (chain.first_offset, chain.end_offset) == (1000, 1002)
    (batch,) = chain.read_on(0, 10, 100)
    assert (batch.offset, batch.partition, batch.bodies()) == (1000, 3, [b"a", b"b"])


def test_small_batches_share_a_piece_and_large_ones_are_kept_as_they_came(chain):
    for _ in range(10):
        add(chain, b"a", b"b")
    assert chain.piece_count == 1
    large = pack(bytes(LARGE_BATCH_BYTES))
    chain.add(large, 1, Batch, 0)
    add(chain, b"c")
    assert chain.piece_count == 3
    batch = chain.read_on(20, 1, PLENTY)[0]
    assert batch.data is large
    assert [body for _, body, _ in read(cursor_at(chain, 18))] == [b"a", b"b", bytes(LARGE_BATCH_BYTES), b"c"]


def test_a_full_piece_grows_no_more(chain):
    body = bytes(1022)
    for _ in range(OPEN_PIECE_BYTES // 1024):
        assert chain.first_end == NEVER
        add(chain, body)
    assert chain.piece_count == 1
    add(chain, body)
    assert (chain.piece_count, chain.first_end) == (2, OPEN_PIECE_BYTES)
    assert chain.kept_bytes == OPEN_PIECE_BYTES + 1024


def test_kinds_do_not_share_a_piece(chain):
    add(chain, b"a")
    add_counted(chain, b"b\n")
    add(chain, b"c")
    assert chain.piece_count == 3
    assert [body for _, body, _ in read(cursor_at(chain, 0))] == [b"a", b"b\n", b"c"]


def test_few_lines_behind_counted_messages_are_counted_too(chain):
    data = pack(b"a", b"b")
    assert chain.recounted(data, 2, Batch) == (data, Batch)
    add_counted(chain, b"x\n")
    again, kind = chain.recounted(data, 2, Batch)
    assert (kind, kind(0, 2, again).bodies()) == (CountedBatch, [b"a", b"b"])
    many = pack(bytes(SMALL_BATCH_BYTES))
    assert chain.recounted(many, 1, Batch) == (many, Batch)


# --- times


def test_times_never_go_back(chain):
    for body, time_ms in ((b"a", 10), (b"b", 5), (b"c", 20), (b"d", 20), (b"e", 19)):
        add(chain, body, time_ms=time_ms)
    assert [time for _, _, time in read(cursor_at(chain, 0))] == [10, 10, 20, 20, 20]
    assert [time for _, _, time in read(cursor_at(chain, 0), 1)] == [10, 10, 20, 20, 20]
    assert [time for _, _, time in read(cursor_at(chain, 1), 2)] == [10, 20, 20, 20]


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3), st.sampled_from([1, 9000, 20_000]), st.booleans())),
    st.integers(0, 5),
)
def test_a_time_is_found_in_any_piece(batches, step):
    chain = Chain(Budget(PLENTY), 0)
    times = []
    now = 100
    for count, later, size, counted in batches:
        now += later
        (add_counted if counted else add)(chain, *[bytes(size)] * count, time_ms=now)
        times += [now] * count
    for time_ms in range(99, now + 2, step or 1):
        expected = next((at for at, each in enumerate(times) if each >= time_ms), len(times))
        assert chain.find_time(time_ms) == expected
    for most in (1, 2, PLENTY):
        assert [time for _, _, time in read(cursor_at(chain, 0), most)] == times


# --- dropping


def test_pieces_are_dropped_oldest_first(chain):
    for number in range(10):
        chain.add(pack(bytes(LARGE_BATCH_BYTES + number)), 1, Batch, 0)
    for number in range(9):
        dropped = chain.drop_first()
        assert (dropped.offset, len(dropped.data)) == (number, LARGE_BATCH_BYTES + number + 2)
        assert (chain.first_offset, chain.piece_count) == (number + 1, 9 - number)
        assert chain.find(0)[2] == number + 1
    chain.drop_first()
    assert (chain.first_offset, chain.end_offset, chain.kept_bytes) == (10, 10, 0)
    add(chain, b"a")
    assert read(cursor_at(chain, 0)) == [(10, b"a", 0)]
    assert chain.piece_count == 1


def test_a_piece_that_grows_can_be_dropped(chain):
    add(chain, b"a", time_ms=7)
    cursor = cursor_at(chain, 1)
    chain.drop_first()
    add(chain, b"b", time_ms=3)
    assert read(cursor) == [(1, b"b", 7)]


# --- cursors


@pytest.mark.parametrize(("offset", "expected"), [(-5, 0), (0, 0), (1, 1), (4, 4), (5, 5), (99, 5)])
def test_a_cursor_goes_to_the_nearest_that_is_there(chain, offset, expected):
    add(chain, b"a", b"b")
    add_counted(chain, b"c", b"d")
    add(chain, b"e")
    cursor = cursor_at(chain, offset)
    assert (cursor.offset, cursor.lag) == (expected, 5 - expected)
    assert "".join(body.decode() for _, body, _ in read(cursor)) == "abcde"[expected:]
    assert cursor.lag == 0


def test_no_more_bytes_than_asked_for_but_always_a_message(chain):
    add(chain, b"a" * 10, b"b" * 10, b"c" * 50)
    cursor = cursor_at(chain, 0)
    assert [cursor.read(9, 30).bodies(), cursor.read(9, 30).bodies()] == [[b"a" * 10, b"b" * 10], [b"c" * 50]]
    assert cursor.read(9, 30) is None


def test_a_cursor_at_the_end_goes_on_with_what_is_added(chain):
    cursor = cursor_at(chain, 0)
    for number in range(3):
        assert cursor.read(1, 1) is None
        chain.add(pack(bytes(LARGE_BATCH_BYTES)), 1, Batch, number)
        assert cursor.read(9, 1).offset == number


def test_reading_on_stops_at_so_many_messages_or_bytes(chain):
    for number in range(5):
        chain.add(pack(b"%d" % number, bytes(LARGE_BATCH_BYTES)), 2, Batch, 0)
    assert [batch.offset for batch in chain.read_on(1, 4, PLENTY)] == [1, 2, 4]
    assert sum(batch.count for batch in chain.read_on(1, 4, PLENTY)) == 4
    assert [batch.offset for batch in chain.read_on(1, 100, 1)] == [1]
    assert chain.read_on(10, 100, 100) == []


def test_reading_on_moves_nobody(chain):
    chain.low_place = 0
    add(chain, b"a")
    assert chain.read_on(0, 1, 100)
    assert (chain.low_place, chain.cursors) == (0, [])


# --- gaps, as between what was read of a damaged file


def test_a_cursor_passes_over_what_is_not_there(chain):
    cursor = linked(
        chain,
        Piece(5, 0, 2, pack(b"5", b"6"), Batch, 1),
        Piece(10, 0, 1, pack_counted(b"10\n"), CountedBatch, 2),
        Piece(11, 0, 0, b"", Batch, 0),
        Piece(20, 0, 2, pack(b"20", b"21"), Batch, 3),
    )
    assert cursor.offset == 5
    batches = [(batch.offset, batch.bodies()) for batch in iter(lambda: cursor.read(PLENTY, PLENTY), None)]
    assert batches == [(5, [b"5", b"6"]), (10, [b"10\n"]), (20, [b"20", b"21"])]
    assert cursor.offset == 22


def test_no_batch_reaches_over_a_gap(chain):
    cursor = linked(chain, Piece(0, 0, 2, pack(b"0", b"1"), Batch, 0), Piece(3, 0, 2, pack(b"3", b"4"), Batch, 0))
    assert [(batch.offset, batch.count) for batch in iter(lambda: cursor.read(3, PLENTY), None)] == [(0, 2), (3, 2)]


def test_a_cursor_stays_before_a_gap_until_it_has_to_pass(chain):
    cursor = linked(chain, Piece(0, 0, 1, pack(b"0"), Batch, 0), Piece(3, 0, 1, pack(b"3"), Batch, 0))
    cursor.read(1, 1)
    assert cursor.offset == 1
    assert cursor.read(1, 1).offset == 3
    assert cursor.offset == 4


def test_times_behind_a_gap_are_those_of_their_piece(chain):
    times = array("q", (10, 12)), array("q", (500, 600))
    cursor = linked(
        chain,
        Piece(0, 0, 2, pack(b"0", b"1"), Batch, 400),
        Piece(10, 0, 3, pack(b"10", b"11", b"12"), Batch, 0),
        Piece(15, 0, 2, pack(b"15", b"16"), Batch, 700),
    )
    cursor._piece.following.times = times
    assert [(offset, time) for offset, _, time in read(cursor, 1)] == [
        (0, 400),
        (1, 400),
        (10, 500),
        (11, 500),
        (12, 600),
        (15, 700),
        (16, 700),
    ]


PIECES = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.lists(st.binary(max_size=6).map(lambda body: body.replace(b"\n", b"")), max_size=5),
        st.booleans(),
    ),
    max_size=6,
)


@given(PIECES, st.integers(1, 6), st.integers(0, 30))
def test_whatever_the_pieces_everything_is_read_once_and_in_order(layout, max_messages, max_bytes):
    pieces = [Piece(0, 0, 0, b"", Batch, 0)]
    expected = []
    offset = 0
    for gap, bodies, counted in layout:
        offset += gap
        data = b"".join(map(pack_counted, bodies)) if counted else pack(*bodies)
        pieces.append(Piece(offset, 0, len(bodies), data, CountedBatch if counted else Batch, offset))
        expected += [(at, body, offset) for at, body in enumerate(bodies, offset)]
        offset += len(bodies)
    cursor = linked(Chain(Budget(PLENTY), 0), *pieces)
    assert read(cursor, max_messages, max_bytes) == expected
