"""What a fetch reads of one partition: from where, how much, and what is wrong with it."""

from __future__ import annotations

import pytest

from gstream.errors import DiskError
from gstream.kafka.codes import Code, KafkaError
from gstream.kafka.reading import Reader, check_epoch
from gstream.storage.placed import OffsetOutOfRangeError
from tests.unit.kafka_logs import FakeTopic

PLENTY = 1 << 20


def reader(topic, offset=0, index=0, max_bytes=PLENTY, epoch=-1, is_committed=False):
    return Reader(topic, index, offset, max_bytes, epoch, is_committed=is_committed)


def topic_of(*counts):
    """A topic with one partition, of batches of so many records."""
    topic = FakeTopic()
    for count in counts:
        topic.partitions[0].add(count)
    return topic


def read(each, room=PLENTY, is_first=True):
    return each.read(room, is_first=is_first)


def test_all_there_is():
    topic = topic_of(3, 1, 2)
    each = reader(topic)
    batches = topic.partitions[0].batches
    assert read(each) == sum(map(len, batches))
    reply = each.finish()
    assert reply.chunks == batches
    assert (reply.code, reply.high_watermark, reply.stable_offset, reply.start_offset) == (0, 6, 6, 0)
    assert reply.aborted is None, "nobody asked"
    assert each.next_offset == 6


def test_from_within_a_batch():
    topic = topic_of(3, 3)
    each = reader(topic, offset=4)
    read(each)
    assert each.finish().chunks == topic.partitions[0].batches[1:]


def test_it_reads_on_where_it_was():
    topic = topic_of(3)
    each = reader(topic)
    first = read(each)
    assert read(each) == 0
    more = topic.partitions[0].add(2)
    assert read(each, is_first=False) == len(more)
    reply = each.finish()
    assert reply.chunks == topic.partitions[0].batches
    assert reply.size == first + len(more)


def test_nothing_new_is_not_looked_for():
    topic = topic_of(3)
    assert read(reader(topic, offset=3)) == 0
    assert not topic.partitions[0].asked


def test_a_partition_has_its_own_limit():
    topic = topic_of(1, 1, 1)
    size = len(topic.partitions[0].batches[0])
    each = reader(topic, max_bytes=2 * size)
    assert read(each) == 2 * size
    assert read(each, is_first=False) == 0, "it is full"
    assert topic.partitions[0].asked == [(0, 2 * size, 3)]


def test_there_is_only_so_much_room():
    topic = topic_of(1, 1, 1)
    size = len(topic.partitions[0].batches[0])
    assert read(reader(topic), room=2 * size + 1) == 2 * size


@pytest.mark.parametrize("limits", [{"max_bytes": 1}, {"max_bytes": 0}, {"max_bytes": -5}])
def test_the_first_batch_comes_however_large_it_is(limits):
    topic = topic_of(1, 1)
    assert read(reader(topic, **limits)) == len(topic.partitions[0].batches[0])
    assert read(reader(topic), room=0) == len(topic.partitions[0].batches[0])


def test_another_ones_batch_that_is_too_large_does_not():
    topic = topic_of(1, 1)
    each = reader(topic)
    assert read(each, room=10, is_first=False) == 0
    assert each.finish().chunks == []
    assert each.next_offset == 0
    topic.partitions[0].asked.clear()
    assert read(each, room=0, is_first=False) == 0
    assert not topic.partitions[0].asked, "there was no room at all"


def test_whether_there_is_more():
    topic = topic_of(2)
    each = reader(topic)
    assert each.is_due
    read(each)
    assert not each.is_due
    topic.partitions[0].add()
    assert each.is_due
    read(each)
    assert not each.is_due
    topic.removed = True
    assert each.is_due, "that is told"
    assert reader(None).is_due


def test_whether_more_is_decided():
    topic = topic_of(2, 2)
    topic.partitions[0].undecided = 2
    each = reader(topic, is_committed=True)
    read(each)
    assert not each.is_due
    topic.partitions[0].undecided = None
    assert each.is_due


# --- isolation


def test_only_what_is_decided():
    topic = topic_of(2, 2, 2)
    log = topic.partitions[0]
    log.undecided = 4
    log.aborts = [(4000, 0), (4001, 2), (4002, 4)]
    each = reader(topic, is_committed=True)
    read(each)
    reply = each.finish()
    assert reply.chunks == log.batches[:2]
    assert (reply.high_watermark, reply.stable_offset) == (6, 4)
    assert reply.aborted == [(4000, 0), (4001, 2)], "of what was read"


@pytest.mark.parametrize("offset", [4, 5, 6])
def test_what_is_not_decided_is_waited_for(offset):
    topic = topic_of(2, 2, 2)
    topic.partitions[0].undecided = 4
    each = reader(topic, offset=offset, is_committed=True)
    assert read(each) == 0
    assert (each.finish().code, each.finish().aborted) == (0, [])


def test_all_for_those_who_want_it():
    topic = topic_of(2, 2)
    topic.partitions[0].undecided = 0
    each = reader(topic)
    read(each)
    assert each.finish().chunks == topic.partitions[0].batches


# --- what is wrong


@pytest.mark.parametrize("offset", [-1, 1, 7, 2**62])
def test_an_offset_out_of_range(offset):
    topic = topic_of(6)
    topic.partitions[0].oldest_offset = 2
    each = reader(topic, offset=offset)
    assert read(each) == 0
    assert each.is_failed
    reply = each.finish()
    assert (reply.code, reply.high_watermark, reply.size) == (Code.OFFSET_OUT_OF_RANGE, -1, 0)


def test_an_offset_that_goes_while_it_is_read():
    topic = topic_of(6)
    topic.partitions[0].error = OffsetOutOfRangeError(0)
    each = reader(topic)
    assert read(each) == 0
    assert each.finish().code == Code.OFFSET_OUT_OF_RANGE


def test_what_was_read_before_it_went_is_good():
    topic = topic_of(1)
    each = reader(topic)
    size = read(each)
    topic.partitions[0].end_offset = topic.partitions[0].oldest_offset = 9
    assert read(each) == 0
    assert (each.finish().code, each.finish().size) == (0, size)


def test_a_disk_that_fails():
    topic = topic_of(1)
    topic.partitions[0].error = DiskError("it is broken")
    each = reader(topic)
    assert read(each) == 0
    assert each.finish().code == Code.KAFKA_STORAGE_ERROR


@pytest.mark.parametrize("index", [-1, 1])
def test_a_partition_that_there_is_not(index):
    each = reader(topic_of(1), index=index)
    assert each.is_failed
    assert read(each) == 0
    assert (each.finish().code, each.finish().index) == (Code.UNKNOWN_TOPIC_OR_PARTITION, index)


def test_a_topic_that_there_is_not():
    assert reader(None).finish().code == Code.UNKNOWN_TOPIC_OR_PARTITION


def test_a_topic_that_is_removed():
    topic = topic_of(1)
    each = reader(topic)
    size = read(each)
    topic.removed = True
    assert read(each) == -size
    assert (each.finish().code, each.finish().chunks) == (Code.UNKNOWN_TOPIC_OR_PARTITION, [])


EPOCHS = {-1: None, 0: None, 1: Code.UNKNOWN_LEADER_EPOCH, -2: Code.FENCED_LEADER_EPOCH}


@pytest.mark.parametrize(("epoch", "code"), EPOCHS.items())
def test_the_leaders_epoch(epoch, code):
    assert reader(topic_of(1), epoch=epoch).finish().code == (code or 0)
    if code is None:
        check_epoch(epoch)
        return
    with pytest.raises(KafkaError) as caught:
        check_epoch(epoch)
    assert caught.value.code is code


def test_what_was_aborted_in_what_went_meanwhile_is_not_known():
    topic = topic_of(2, 2)
    log = topic.partitions[0]
    log.aborts = [(4000, 0)]
    decided, all_of_it = reader(topic, is_committed=True), reader(topic)
    size = read(decided)
    assert read(all_of_it) == size
    log.oldest_offset, log.aborts = 2, []
    assert decided.finish().code == Code.OFFSET_OUT_OF_RANGE
    assert not decided.finish().size
    assert (all_of_it.finish().code, all_of_it.finish().size) == (0, size)
