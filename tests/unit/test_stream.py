from __future__ import annotations

import pytest

from gstream.consumer import Consumer
from gstream.mailbox import Mailbox
from gstream.outgoing import Outgoing
from gstream.stream import Stream


class Wire:
    """What a stream and its Outgoing use of a connection."""

    place = 0
    wakes = 0

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(data)

    write_soon = write

    def wake(self):
        self.wakes += 1

    def arrived(self):
        return 1 << 40


class Subscriber:
    """A stream and the client that it sends to."""

    def __init__(self, grounds, credit=None):
        self.grounds = grounds
        self.wire = Wire()
        self.consumer = Consumer(grounds.memory)
        outgoing = Outgoing(self.wire)
        self.stream = Stream(self.wire, outgoing, grounds.group, self.consumer, credit, b"\n")

    def receive(self):
        """What the session's greenlet would send, coming round once; gives the bodies."""
        self.stream.send()
        bodies = [line.split(b" ", 3)[3] for line in b"".join(self.wire.written).splitlines()]
        self.wire.written.clear()
        return bodies

    def acknowledge(self, *ids):
        assert self.grounds.group.acknowledge(self.consumer, ids) == []


@pytest.fixture
def subscribe(grounds):
    return lambda credit=None: Subscriber(grounds, credit)


def numbers(first, stop):
    return [b"%d" % number for number in range(first, stop)]


def test_what_is_there_and_what_comes(grounds, subscribe):
    grounds.publish(b"0")
    subscriber = subscribe()
    assert subscriber.wire.wakes == 1
    assert subscriber.receive() == [b"0"]
    assert subscriber.receive() == []
    grounds.publish(b"1", b"2")
    assert subscriber.wire.wakes == 2
    assert subscriber.receive() == [b"1", b"2"]
    assert (grounds.group.acknowledged_count, grounds.memory.used_bytes, grounds.memory.held_bytes) == (3, 0, 0)


def test_no_more_than_the_credit_is_leased(grounds, subscribe):
    grounds.publish(*numbers(0, 10))
    subscriber = subscribe(3)
    assert subscriber.receive() == numbers(0, 3)
    assert subscriber.receive() == []
    subscriber.acknowledge(1)
    assert subscriber.receive() == []
    assert subscriber.receive() == [b"3"]
    subscriber.acknowledge(0, 2, 3)
    subscriber.receive()
    assert subscriber.receive() == numbers(4, 7)
    assert (len(subscriber.consumer), grounds.group.leased_count, grounds.group.backlog) == (3, 3, 3)


def test_a_lease_that_ends_makes_room(grounds, subscribe):
    grounds.publish(b"0", b"1", b"2")
    subscriber = subscribe(2)
    assert subscriber.receive() == [b"0", b"1"]
    grounds.time.sleep(10.1)
    assert subscriber.receive() == [b"0", b"1"], "in their old place"
    assert grounds.group.leased_count == 2


def test_a_message_given_back_later_makes_room(grounds, subscribe):
    grounds.publish(b"0", b"1")
    subscriber = subscribe(1)
    assert subscriber.receive() == [b"0"]
    grounds.group.return_lease(subscriber.consumer, 0, 5.0)
    subscriber.receive()
    assert subscriber.receive() == [b"1"]


def test_streams_that_keep_up_share_evenly(grounds, subscribe):
    for count in (2, 4, 8):
        subscribers = [subscribe() for _ in range(count)]
        got = [0] * count
        for burst in range(10):
            grounds.publish(*numbers(1000 * burst, 1000 * burst + 1000))
            for number, subscriber in enumerate(subscribers):
                got[number] += len(subscriber.receive())
        while grounds.group.backlog:
            for number, subscriber in enumerate(subscribers):
                got[number] += len(subscriber.receive())
        for number, subscriber in enumerate(subscribers):
            got[number] += len(subscriber.receive())
            subscriber.stream.stop()
        assert sum(got) == 10_000
        assert max(got) <= 2 * 10_000 / count


def test_a_stream_and_who_waits_for_one_message_take_turns(grounds, subscribe):
    subscriber = subscribe(1)
    mailbox = Mailbox()
    grounds.group.waiting[mailbox] = 1
    grounds.publish(b"0", b"1", b"2")
    assert mailbox.get().bodies() == [b"1"]
    assert subscriber.receive() == [b"0"]
    subscriber.acknowledge(0)
    subscriber.receive()
    assert subscriber.receive() == [b"2"]


@pytest.mark.parametrize("credit", [None, 5])
def test_what_was_not_sent_when_it_stops_goes_back_and_was_no_attempt(grounds, subscribe, credit):
    subscriber = subscribe(credit)
    grounds.publish(b"0", b"1")
    subscriber.stream.stop()
    assert not grounds.group.busy
    assert grounds.take_all() == [(b"0", 1), (b"1", 1)]
    assert grounds.memory.held_bytes == 0
    grounds.publish(b"2")
    assert subscriber.wire.written == []
    assert grounds.take_all() == [(b"2", 1)]


def test_what_was_sent_stays_leased_when_it_stops(grounds, subscribe):
    subscriber = subscribe(5)
    grounds.publish(b"0", b"1")
    subscriber.receive()
    subscriber.stream.stop()
    assert grounds.group.leased_count == 2
    subscriber.acknowledge(0, 1)


def test_a_client_that_does_not_read_keeps_no_message_from_the_others(grounds, subscribe):
    """Its session's greenlet does not come round: what it was handed is leased, and that ends."""
    stuck = subscribe(1)
    grounds.publish(b"0")
    assert grounds.group.leased_count == 1
    grounds.time.sleep(10.1)
    assert grounds.take_all() == [(b"0", 2)]
    assert stuck.receive() == [], "it is not this client's any more"
    grounds.publish(b"1")
    assert stuck.receive() == [b"1"], "it goes on when the client reads"


def test_what_it_was_handed_can_be_looked_at_until_it_is_sent(grounds, subscribe):
    subscriber = subscribe()
    assert subscriber.stream.look() == []
    grounds.publish(b"0", b"1")
    assert [batch.bodies() for batch in subscriber.stream.look()] == [[b"0", b"1"]]
    assert subscriber.receive() == [b"0", b"1"]
    assert subscriber.stream.look() == []


def test_a_group_that_is_moved_moves_its_streams(grounds, subscribe):
    full, handed = subscribe(1), subscribe(2)
    grounds.publish(*numbers(0, 7))
    assert full.receive() == [b"0"], "its credit is used up"
    assert grounds.group.leased_count == 3, "the other was handed messages that it has not sent"
    grounds.group.seek(lambda log: log.end_offset - 3)
    got = [handed.receive(), full.receive()]
    assert sorted(got[0] + got[1]) == numbers(4, 7), "nothing from before, and the credit is free again"
    assert (grounds.group.leased_count, grounds.memory.held_bytes) == (3, 9)


def test_streams_lease_no_more_than_there_is_memory_for(make_grounds):
    grounds = make_grounds(max_bytes=100)
    others = [grounds.make_group() for _ in range(4)]
    grounds.publish(*[b"x" * 8] * 10)
    holders = []
    for group in others[:2]:
        holders.append((group, Consumer(grounds.memory)))
        group.lease(holders[-1][1], group.take(10, 1000))
    assert grounds.memory.held_bytes == 200
    subscriber = Subscriber(grounds, 10)
    assert subscriber.receive() == []
    group, consumer = holders[0]
    group.acknowledge(consumer, range(10))
    group, consumer = holders[1]
    group.acknowledge(consumer, range(10))
    grounds.time.sleep(0.2)
    assert len(subscriber.receive()) == 10
