from __future__ import annotations

import pytest

from gstream.batch import Batch, pack
from gstream.consumer import Consumer
from gstream.counted import CountedBatch, pack_counted
from gstream.outgoing import IN_FLIGHT_BATCHES, Outgoing


class Wire:
    """What Outgoing uses of a connection. arrived_bytes: what the client is known to have."""

    def __init__(self):
        self.written = b""
        self.arrived_bytes = 0
        self.looks = 0

    @property
    def place(self):
        return len(self.written)

    def write(self, data):
        self.written += data

    def perhaps_seen(self):
        return self.arrived_bytes

    def arrived(self):
        self.looks += 1
        return self.arrived_bytes


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def outgoing(wire):
    return Outgoing(wire)


def fill(grounds, *messages):
    for body, key in messages:
        grounds.log.append(pack_counted(body, key), 1, CountedBatch)


def test_plain_bodies(grounds, outgoing, wire):
    grounds.publish(b"a", b"")
    outgoing.send_plain(grounds.group, grounds.group.take(2, 100), b"\r\n")
    assert wire.written == b"a\r\n\r\n"


def test_plain_bodies_that_lines_cannot_carry_arrive_one_by_one(grounds, outgoing, wire):
    fill(grounds, (b"a\nb", None), (b"", b"key"), (b"c", None))
    outgoing.send_plain(grounds.group, grounds.group.take(3, 1000), b"\n")
    assert wire.written == b"a\nb\n\nc\n"
    wire.arrived_bytes = 5
    assert outgoing.give_back() == 1
    assert grounds.take_all() == [(b"c", 1)]


def test_typed_messages(grounds, outgoing, wire):
    grounds.publish(b"a", b"b\0")
    outgoing.send(grounds.group, grounds.group.take(2, 100), b"\n")
    assert wire.written == b"= 0 1 a\n$ 1 1 2\nb\0\n"
    assert outgoing.any_on_the_way
    wire.arrived_bytes = len(wire.written)
    outgoing.look()
    assert not outgoing.any_on_the_way
    assert outgoing.give_back() == 0


def test_the_modes_of_counting(grounds, outgoing, wire):
    fill(grounds, (b"a", b"k k"))
    batch = grounds.log.peek(0, 1, 100)[0]
    replies = []
    for outgoing.mode in (0, 1, 2):
        replies.append(outgoing.encode(batch, b"\n", several=False)[0])
    assert replies == [b"= 0 1 a\n", b"$ 0 1 1\na\n", b"$ 0 1 1 time=1000000500 key=k%20k\na\n"]
    assert wire.written == b""


def test_ids_name_their_partition_where_there_are_several(outgoing):
    two, late = Batch(7, 2, pack(b"a", b"b"), partition=0), Batch(7, 1, pack(b"a"), partition=12, attempt=3)
    assert outgoing.encode(two, b"\n", several=True)[0] == b"= 0:7 1 a\n= 0:8 1 b\n"
    assert outgoing.encode(late, b"\n", several=True)[0] == b"= 12:7 3 a\n"


def test_whether_there_are_several_is_each_groups(make_grounds, outgoing, wire):
    for grounds in (make_grounds(), make_grounds(partitions=2), make_grounds()):
        grounds.publish(b"a")
        outgoing.send(grounds.group, grounds.group.take(1, 0), b"\n")
    assert wire.written == b"= 0 1 a\n= 0:0 1 a\n= 0 1 a\n"


def test_what_is_taken_for_good_counts_as_acknowledged_unless_it_goes_back(grounds, outgoing, wire):
    group = grounds.group
    grounds.publish(b"a", b"b")
    outgoing.send(group, group.take(1, 0), b"\n")
    outgoing.send_plain(group, group.take(1, 0), b"\n")
    assert group.acknowledged_count == 2
    wire.arrived_bytes = len(b"= 0 1 a\n")
    outgoing.give_back()
    assert group.acknowledged_count == 1
    assert grounds.take_all() == [(b"b", 1)]


def test_what_is_leased_does_not(grounds, outgoing, wire):
    group = grounds.group
    grounds.publish(b"a", b"b")
    consumer = Consumer(grounds.memory)
    batch = group.take(2, 100)
    group.lease(consumer, batch)
    outgoing.send(group, batch, b"\n", consumer)
    assert group.acknowledged_count == 0
    wire.arrived_bytes = len(b"= 0 1 a\n")
    assert outgoing.give_back() == 1
    assert (len(consumer), grounds.take_all()) == (1, [(b"b", 1)])


def test_the_kernel_is_asked_now_and_then(grounds, outgoing, wire):
    group = grounds.group
    for number in range(10 * IN_FLIGHT_BATCHES):
        grounds.publish(b"%d" % number)
        outgoing.send(group, group.take(1, 0), b"\n")
        wire.arrived_bytes = len(wire.written)
    assert 5 < wire.looks < 20
    assert len(outgoing._in_flight.deliveries) <= IN_FLIGHT_BATCHES
