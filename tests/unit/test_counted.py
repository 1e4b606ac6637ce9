from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gstream.batch import PARTITION_SHIFT, Message
from gstream.counted import CountedBatch, pack_counted

messages = st.tuples(
    st.binary(max_size=30),
    st.none() | st.binary(max_size=10) | st.just(b"k" * 33_000),
    st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=3).map(tuple),
)


def batch_of(messages, offset=0, times=0):
    return CountedBatch(offset, len(messages), b"".join(pack_counted(*each) for each in messages), times)


@given(st.lists(messages, min_size=1, max_size=8))
def test_messages_are_what_was_packed(packed):
    batch = batch_of(packed, 7, 1000)
    assert list(batch.messages()) == [
        Message(offset, body, key, headers, 1000) for offset, (body, key, headers) in enumerate(packed, 7)
    ]
    assert batch.bodies() == [body for body, _, _ in packed]


@given(st.lists(messages, min_size=2, max_size=8), st.data())
def test_parts_of_it_and_others_put_together_mean_the_same(packed, data):
    batch = batch_of(packed, 100)
    first = data.draw(st.integers(0, len(packed) - 1))
    count = data.draw(st.integers(1, len(packed) - first))
    part = batch.part(first, count)
    assert type(part) is CountedBatch
    assert (part.offset, part.count) == (100 + first, count)
    assert list(part.messages()) == list(batch.messages())[first : first + count]
    again = CountedBatch(0, count * 2, part.data + part.data)
    assert again.bodies() == part.bodies() * 2


@given(st.lists(messages, min_size=1, max_size=8), st.integers(0, 200) | st.integers(0, 99_000), st.integers(0, 7))
def test_what_fits_into_so_many_bytes_but_always_one(packed, max_bytes, skipped):
    sizes = [len(pack_counted(*each)) for each in packed]
    skipped = min(skipped, len(packed) - 1)
    start = sum(sizes[:skipped])
    data = batch_of(packed).data
    count, end = CountedBatch.find_fitting(data, start, max_bytes)
    assert end == sum(sizes[: skipped + count])
    assert count == 1 or end - start <= max_bytes
    if skipped + count < len(sizes):
        assert end - start + sizes[skipped + count] > max_bytes


@given(st.lists(messages, min_size=1, max_size=8))
def test_the_end_of_every_message(packed):
    data = batch_of(packed).data
    end = 0
    for count, each in enumerate(packed, 1):
        end += len(pack_counted(*each))
        assert CountedBatch.find_end(data, 0, len(data), count, len(packed)) == end
        assert CountedBatch.find_end(bytearray(data), 0, len(data), count, len(packed)) == end


def test_a_message_with_everything():
    batch = CountedBatch(
        3, 1, pack_counted(b"a\nb\r\0", b"", [("h\u00fc", b"\n"), ("", b"")]), 5, partition=2, attempt=4
    )
    assert list(batch.messages()) == [Message(3, b"a\nb\r\0", b"", (("h\u00fc", b"\n"), ("", b"")), 5)]
    assert batch.id == 2 << PARTITION_SHIFT | 3
    assert not batch.is_lines


def test_no_key_is_not_an_empty_one():
    (none,) = batch_of([(b"a", None, ())]).messages()
    (empty,) = batch_of([(b"a", b"", ())]).messages()
    assert (none.key, empty.key) == (None, b"")


@pytest.mark.parametrize("key_bytes", [1024, 32_767, 32_768, 65_536, 1 << 20])
def test_long_keys(key_bytes):
    key = b"k" * key_bytes
    packed = [(b"a", key, (("h", b"v"),)), (b"b", None, ()), (b"", key, ())]
    batch = batch_of(packed, 5)
    assert [(each.body, each.key, each.headers) for each in batch.messages()] == packed
    assert batch.bodies() == [b"a", b"b", b""]
    assert list(batch.part(1, 2).messages()) == list(batch.messages())[1:]
    sizes = [len(pack_counted(*each)) for each in packed]
    assert CountedBatch.find_fitting(batch.data, 0, sizes[0] + sizes[1]) == (2, sizes[0] + sizes[1])


def test_the_size_of_a_long_key_follows_the_others():
    short, long = pack_counted(b"body", b"k" * 32_767), pack_counted(b"body", b"k" * 32_768)
    assert short[:10].hex(" ") == "00 00 00 04 7f ff 00 00 00 00"
    assert long[:14].hex(" ") == "00 00 00 04 ff fe 00 00 00 00 00 00 80 00"
    assert (len(short), len(long)) == (10 + 32_767 + 4, 14 + 32_768 + 4)


def test_times_are_each_messages_own():
    batch = batch_of([(b"a", None, ()), (b"b", None, ()), (b"c", None, ())], 10, ([10, 12], [1000, 2000]))
    assert [message.time_ms for message in batch.messages()] == [1000, 1000, 2000]
    assert [message.time_ms for message in batch.part(1, 2).messages()] == [1000, 2000]


def test_many_headers_take_no_longer_than_their_bytes():
    headers = [("", b"")] * 100_000
    began = time.process_time()
    packed = pack_counted(b"body", None, headers)
    assert time.process_time() - began < 2, "it was seven seconds, when they were put together one by one"
    ((body, _, found),) = CountedBatch(0, 1, packed).contents()
    assert (body, len(found)) == (b"body", 100_000)
