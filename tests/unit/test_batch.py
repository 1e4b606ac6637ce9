from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gstream.batch import PACKING_BYTES, Batch, lines_end, pack, unpack

bodies_of_all_sizes = st.lists(
    st.one_of(
        st.binary(max_size=5).map(lambda body: body.replace(b"\n", b"p")),
        st.integers(0, 2000).map(lambda size: b"p" * size),
    ),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize(
    ("bodies", "packed", "unpacked"),
    [
        ([], b"", b""),
        ([b""], b"p\n", b"\n"),
        ([b"Hello"], b"pHello\n", b"Hello\n"),
        ([b"a", b"", b"p", b"pp"], b"pa\np\npp\nppp\n", b"a\n\np\npp\n"),
        ([b"\r", b"\0", b"\xff"], b"p\r\np\0\np\xff\n", b"\r\n\0\n\xff\n"),
    ],
)
def test_packed_lines(bodies, packed, unpacked):
    assert pack(*bodies) == packed
    assert unpack(packed) == unpacked


def test_packing_costs_what_it_says():
    assert len(pack(b"12345", b"")) == 5 + 2 * PACKING_BYTES


@given(bodies_of_all_sizes)
def test_bodies_are_what_was_packed(bodies):
    assert list(Batch(0, len(bodies), pack(*bodies)).bodies()) == bodies
    assert unpack(pack(*bodies)) == b"".join(body + b"\n" for body in bodies)


@given(bodies_of_all_sizes)
def test_split_anywhere(bodies):
    batch = Batch(1000, len(bodies), pack(*bodies))
    for count in range(1, len(bodies)):
        first, others = batch.split(count)
        assert (first.offset, first.count, first.data) == (1000, count, pack(*bodies[:count]))
        assert (others.offset, others.count, others.data) == (1000 + count, len(bodies) - count, pack(*bodies[count:]))
    assert batch.data == pack(*bodies)


@pytest.mark.parametrize("count", [-1, 0, 2, 3])
def test_both_sides_of_a_split_have_a_message(count):
    with pytest.raises(AssertionError):
        Batch(0, 2, b"pa\npb\n").split(count)


def test_a_batch_is_short_in_a_log():
    assert repr(Batch(7, 2, b"pa\npb\n")) == "<Batch 7+2, 6 bytes>"


def naive_lines_end(data, start, count):
    for _ in range(count):
        start = data.index(b"\n", start) + 1
    return start


@given(bodies_of_all_sizes, bodies_of_all_sizes, bodies_of_all_sizes)
def test_lines_end_of_uneven_lines_with_others_around_them(before, bodies, behind):
    start = len(pack(*before))
    stop = start + len(pack(*bodies))
    data = pack(*before, *bodies, *behind)
    for count in range(1, len(bodies) + 1):
        expected = naive_lines_end(data, start, count)
        assert lines_end(data, start, stop, count, len(bodies)) == expected
        assert lines_end(bytearray(data), start, stop, count, len(bodies)) == expected


SHAPES = {
    "even": [b"x" * 16] * 1000,
    "empty": [b""] * 1000,
    "a long one first": [b"x" * 100_000] + [b""] * 1000,
    "a long one last": [b""] * 1000 + [b"x" * 100_000],
    "a long one in the middle": [b"y"] * 500 + [b"x" * 100_000] + [b""] * 500,
    "growing": [b"x" * size for size in range(1000)],
    "shrinking": [b"x" * size for size in range(1000, 0, -1)],
    "long and short by turns": [b"x" * (1000 * (number % 2)) for number in range(500)],
}


@pytest.mark.parametrize("bodies", SHAPES.values(), ids=SHAPES.keys())
def test_lines_end_for_every_count(bodies):
    data = pack(*bodies)
    end = 0
    for count, body in enumerate(bodies, 1):
        end += len(body) + PACKING_BYTES
        assert lines_end(data, 0, len(data), count, len(bodies)) == end
