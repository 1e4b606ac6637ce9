from __future__ import annotations

import pytest

from gstream.batch import PARTITION_SHIFT
from gstream.consumer import Consumer
from gstream.errors import ArgumentError
from gstream.mailbox import Mailbox
from gstream.seeking import seek


def id_of(partition, offset):
    return partition << PARTITION_SHIFT | offset


@pytest.fixture
def grounds(make_grounds):
    """Five messages, one a second, of which two were taken."""
    grounds = make_grounds(retain_bytes=1000)
    for number in range(5):
        grounds.publish(b"%d" % number)
        grounds.time.now += 1
    grounds.take(2)
    return grounds


@pytest.mark.parametrize(
    ("to", "value", "place"),
    [
        ("id", 0, 0),
        ("id", 3, 3),
        ("id", 4, 4),
        ("id", 5, 5),
        ("id", 99, 5),
        ("before-end", 0, 5),
        ("before-end", 2, 3),
        ("before-end", 99, 0),
        ("oldest", 0, 0),
        ("end", 0, 5),
        ("time", 0, 0),
        ("time", 1_000_000.5, 0),
        ("time", 1_000_000.501, 1),
        ("time", 1_000_003.5, 3),
        ("time", 1_000_004.6, 5),
        ("time", 1e12, 5),
        ("ago", 0, 5),
        ("ago", 1, 4),
        ("ago", 3.5, 2),
        ("ago", 1e9, 0),
    ],
)
def test_places(grounds, to, value, place):
    assert seek(grounds.group, to, value, grounds.time.now) == [place]
    assert grounds.take_all() == [(b"%d" % number, 1) for number in range(place, 5)]


def test_the_other_forms_move_all_partitions(make_grounds):
    grounds = make_grounds(partitions=3, retain_bytes=1000)
    for number in range(6):
        grounds.publish(b"%d" % number, partition=number % 2)
    grounds.take_all()
    assert seek(grounds.group, "before-end", 1, 0) == [id_of(0, 2), id_of(1, 2), id_of(2, 0)]
    assert sorted(grounds.take_all()) == [(b"4", 1), (b"5", 1)]
    assert seek(grounds.group, "id", id_of(1, 1), 0) == [id_of(1, 1)]
    assert grounds.take_all() == [(b"3", 1), (b"5", 1)]


def test_a_partition_that_does_not_exist(grounds):
    with pytest.raises(ArgumentError, match=r"^there are only 1 partitions, counted from 0$"):
        seek(grounds.group, "id", id_of(1, 0), 0)
    assert grounds.group.seeks == [0]


def test_what_is_not_kept_any_more_is_replaced_by_the_oldest(make_grounds):
    grounds = make_grounds()
    for _ in range(3):
        grounds.publish(bytes(40_000))
    grounds.take_all()
    oldest = grounds.log.oldest_offset
    assert oldest == 3
    for to, value in (("id", 0), ("before-end", 99), ("time", 0), ("oldest", 0)):
        assert seek(grounds.group, to, value, 0) == [oldest]


def test_what_was_leased_or_given_back_is_forgotten(grounds):
    group = grounds.group
    consumer = Consumer(grounds.memory)
    group.lease(consumer, group.take(1, 0))
    group.lease(consumer, group.take(1, 0))
    group.return_lease(consumer, 2, 0)
    assert seek(group, "end", 0, 0) == [5]
    assert group.acknowledge(consumer, [3]) == [3]
    assert grounds.memory.held_bytes == 0
    grounds.time.sleep(1000)
    assert (group.backlog, group.lag, grounds.take_all()) == (0, 0, [])


def test_what_somebody_was_handed_and_has_not_fetched_is_forgotten_and_he_stays_the_first(grounds):
    group = grounds.group
    grounds.take_all()
    first, second = Mailbox(), Mailbox()
    group.waiting[first] = group.waiting[second] = 1
    grounds.publish(b"5")
    assert (first.qsize(), list(group.waiting)) == (1, [second])
    seek(group, "id", 1, 0)
    assert [inbox.get_nowait().bodies() for inbox in (first, second)] == [[b"1"], [b"2"]]
    assert first.empty()
    assert second.empty()
    assert grounds.take_all() == [(b"3", 1), (b"4", 1), (b"5", 1)]


def test_who_was_told_to_stop_and_was_handed_a_message_at_once_is_still_told_to_stop(grounds):
    grounds.take_all()
    mailbox = Mailbox()
    grounds.group.waiting[mailbox] = 1
    grounds.publish(b"5")
    mailbox.put(None)
    seek(grounds.group, "end", 0, 0)
    assert mailbox.get_nowait() is None
    assert mailbox.empty()


def test_a_partition_that_is_added_while_the_others_are_looked_at_is_at_its_beginning(grounds):
    def find_time(_time_ms):
        grounds.group.add_log(grounds.memory.open_log(partition=1))
        return 3

    grounds.log.find_time = find_time
    assert seek(grounds.group, "time", 5.0, grounds.time.now) == [3, id_of(1, 0)]
