from __future__ import annotations

import time as system_time

import pytest

from gstream.batch import PARTITION_SHIFT, Batch, pack
from gstream.consumer import FEW_ENDS, Consumer
from gstream.storage.memory import Memory


@pytest.fixture
def memory():
    return Memory(1 << 30)


@pytest.fixture
def consumer(memory):
    return Consumer(memory)


def batch_of(offset, count, partition=0):
    return Batch(offset, count, pack(*[b"%d" % (offset + at) for at in range(count)]), partition=partition)


def offsets(batches):
    return [(batch.offset, batch.count) for batch in batches]


def test_messages_of_a_batch_are_settled_one_by_one(consumer, memory):
    consumer.lease(batch_of(0, 3), 10.0)
    assert (len(consumer), memory.held_bytes) == (3, 9)
    assert consumer.settle([1]) == []
    assert consumer.settle([1, 0, 7]) == [1, 7]
    assert (len(consumer), memory.held_bytes) == (1, 9), "its bytes are there until the last one is done"
    assert consumer.settle([2]) == []
    assert (len(consumer), memory.held_bytes) == (0, 0)


def test_an_id_given_twice_is_there_once(consumer):
    consumer.lease(batch_of(0, 1), 10.0)
    assert consumer.settle([0, 0]) == [0]


def test_ids_of_partitions_are_not_confused(consumer):
    consumer.lease(batch_of(5, 1, partition=1), 10.0)
    assert consumer.find(5) is None
    assert consumer.settle([5, 1 << PARTITION_SHIFT | 5]) == [5]


def test_a_leased_message_is_found_as_a_batch_of_its_own(consumer):
    consumer.lease(batch_of(4, 3), 10.0)
    found = consumer.find(5)
    assert (found.offset, found.count, found.data) == (5, 1, b"p5\n")
    assert consumer.find(7) is None
    assert len(consumer) == 3


def test_leases_end_in_their_order_the_same_batch_together(consumer, memory):
    consumer.lease(batch_of(0, 2), 10.0)
    consumer.lease(batch_of(5, 1), 11.0)
    consumer.settle([0])
    assert consumer.next_end == 10.0
    assert offsets(consumer.take_ended(9.9, 100)) == []
    assert offsets(consumer.take_ended(10.0, 100)) == [(1, 1)]
    assert consumer.next_end == 11.0
    assert offsets(consumer.take_ended(100.0, 100)) == [(5, 1)]
    assert (consumer.next_end, len(consumer), memory.held_bytes) == (None, 0, 0)


def test_what_ends_comes_as_batches_without_what_was_settled(consumer, memory):
    consumer.lease(batch_of(0, 10), 10.0)
    consumer.settle([0, 3, 4, 9])
    assert offsets(consumer.take_ended(10.0, 100)) == [(1, 2), (5, 4)]
    assert memory.held_bytes == 0


def test_no_more_than_about_so_many_end_at_once(consumer):
    for offset in range(0, 100, 10):
        consumer.lease(batch_of(offset, 10), 10.0)
    assert offsets(consumer.take_ended(10.0, 25)) == [(0, 10), (10, 10), (20, 10)]
    assert len(consumer) == 70
    assert len(offsets(consumer.take_ended(10.0, 1000))) == 7


def test_an_extended_lease_ends_at_its_own_time(consumer, memory):
    consumer.lease(batch_of(0, 3), 10.0)
    assert consumer.extend(1, 20.0)
    assert not consumer.extend(9, 20.0)
    assert len(consumer) == 3
    assert offsets(consumer.take_ended(10.0, 100)) == [(0, 1), (2, 1)]
    assert consumer.next_end == 20.0
    assert consumer.extend(1, 5.0), "sooner, too"
    assert consumer.next_end == 5.0
    assert offsets(consumer.take_ended(5.0, 100)) == [(1, 1)]
    assert offsets(consumer.take_ended(100.0, 100)) == []
    assert (len(consumer), memory.held_bytes) == (0, 0)


def test_an_extended_lease_can_be_settled(consumer, memory):
    consumer.lease(batch_of(0, 1), 10.0)
    assert consumer.extend(0, 20.0)
    assert consumer.extend(0, 30.0)
    assert consumer.settle([0]) == []
    assert offsets(consumer.take_ended(100.0, 100)) == []
    assert (len(consumer), memory.held_bytes, consumer.next_end) == (0, 0, None)


def test_a_lease_may_be_extended_again_to_the_same_time(consumer, memory):
    consumer.lease(batch_of(0, 2), 10.0)
    assert consumer.extend(0, 20.0)
    assert consumer.extend(0, 20.0)
    assert consumer.extend(1, 20.0)
    assert sorted(offsets(consumer.take_ended(20.0, 100))) == [(0, 1), (1, 1)]
    assert (len(consumer), memory.held_bytes, consumer.next_end) == (0, 0, None)


def test_extending_again_and_again_does_not_fill_the_memory(consumer, memory):
    consumer.lease(batch_of(0, 2), 10.0)
    for number in range(10_000):
        assert consumer.extend(0, 1e6 + number)
    assert len(consumer._ends) <= FEW_ENDS + 3
    assert memory.held_bytes == 6 + 3
    assert offsets(consumer.take_ended(1e6 + 9_998, 100)) == [(1, 1)]
    assert offsets(consumer.take_ended(1e6 + 9_999, 100)) == [(0, 1)]


def test_what_is_still_leased_of_a_batch_by_that_lease(consumer):
    batch = batch_of(0, 6)
    consumer.lease(batch, 10.0)
    consumer.settle([0, 3])
    consumer.extend(5, 20.0)
    assert offsets(consumer.held(batch)) == [(1, 2), (4, 1)]
    assert len(consumer) == 4
    list(consumer.take_ended(10.0, 100))
    assert offsets(consumer.held(batch)) == []
    consumer.lease(batch_of(0, 5), 30.0)
    assert offsets(consumer.held(batch)) == [], "a later lease of the same messages is another"


def test_taking_those_of_a_part_that_are_leased(consumer, memory):
    consumer.lease(batch_of(0, 6), 10.0)
    consumer.settle([2])
    consumer.extend(4, 20.0)
    assert offsets(consumer.take_some(batch_of(1, 4))) == [(1, 1), (3, 2)]
    assert len(consumer) == 2
    assert offsets(consumer.take_some(batch_of(0, 6))) == [(0, 1), (5, 1)]
    assert memory.held_bytes == 0


def test_dropping_everything(consumer, memory):
    consumer.lease(batch_of(0, 6), 10.0)
    consumer.extend(4, 20.0)
    consumer.drop(None)
    assert (len(consumer), memory.held_bytes, consumer.next_end) == (0, 0, None)
    assert offsets(consumer.take_ended(100.0, 100)) == []


def test_dropping_a_partition(consumer, memory):
    for partition in (0, 1, 2):
        consumer.lease(batch_of(0, 2, partition=partition), 10.0)
        consumer.extend(partition << PARTITION_SHIFT, 20.0)
    consumer.drop(1)
    assert len(consumer) == 4
    assert sorted(batch.partition for batch in consumer.take_ended(100.0, 100)) == [0, 0, 2, 2]
    assert memory.held_bytes == 0


def test_a_hundred_thousand_leases_end_in_a_time_that_grows_with_their_number(consumer):
    """Looking for a dict's first entry behind all that were removed would make this a matter of minutes."""
    for offset in range(100_000):
        consumer.lease(batch_of(offset, 1), 10.0)
    began = system_time.process_time()
    ended = 0
    while count := sum(batch.count for batch in consumer.take_ended(10.0, 1000)):
        ended += count
    assert ended == 100_000
    assert system_time.process_time() - began < 3


def test_those_of_many_that_are_leased_are_found():
    consumer = Consumer(Memory(1000))
    consumer.lease(Batch(3, 3, pack(b"a", b"b", b"c")), 5.0)
    consumer.extend(4, 9.0)
    assert [(batch.offset, batch.bodies()) for batch in consumer.find_all({1, 3, 4, 9})] == [(3, [b"a"]), (4, [b"b"])]
    assert consumer.find_all({7}) == []


def test_the_lowest_that_is_leased_in_each_partition(consumer):
    consumer.lease(batch_of(5, 2), 10.0)
    consumer.lease(batch_of(3, 1), 10.0)
    consumer.lease(batch_of(8, 2, partition=2), 10.0)
    consumer.extend(3, 50.0)
    lows = [4, 4, 9]
    consumer.lower(lows)
    assert lows == [3, 4, 8]
    lows = [2, 4, 4]
    consumer.lower(lows)
    assert lows == [2, 4, 4]
