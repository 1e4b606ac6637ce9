from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gstream.agenda import Agenda
from gstream.batch import pack
from gstream.consumer import Consumer
from gstream.group import Group
from gstream.inflight import Delivery, InFlight
from gstream.storage.memory import Memory


def fill(*bodies):
    """A group that has these messages before it."""
    log = Memory(1 << 20).open_log()
    group = Group("default", [log], Agenda(lambda: 100.0), lease_seconds=10.0, max_attempts=3, bury=bury)
    log.append(pack(*bodies), len(bodies))
    return group


def bury(_group, batch, reason):
    pytest.fail(f"{batch!r} is dead: {reason}")


def deliver(group, start, count, eol=b"\n", *, with_ends=False, consumer=None):
    """What a session does with the next messages."""
    batch = group.take(count, 1 << 20)
    bodies = list(batch.bodies())
    reply = b"".join(body + eol for body in bodies)
    ends = [len(b"".join(body + eol for body in bodies[: at + 1])) for at in range(len(bodies))]
    if consumer is not None:
        group.lease(consumer, batch)
    else:
        group.acknowledged_count += batch.count
    return Delivery(start, reply, batch, group, consumer, ends if with_ends else None, group.seeks[0])


def left(group):
    bodies = []
    while batch := group.take(1000, 1 << 20):
        bodies += batch.bodies()
    return bodies


@pytest.mark.parametrize("with_ends", [False, True], ids=["lines", "ends"])
@pytest.mark.parametrize(
    ("place", "arrived"),
    [
        (0, 0),
        (99, 0),
        (100, 0),
        (101, 1),
        (102, 1),
        (104, 1),
        (105, 2),
        (106, 3),
        (107, 3),
        (111, 3),
        (112, 4),
        (999, 4),
    ],
)
def test_a_message_has_arrived_with_its_last_byte(place, arrived, with_ends):
    # Their LFs are the bytes 100, 104, 105 and 111 of the stream.
    delivery = deliver(fill(b"", b"abc", b"", b"abcde"), 100, 4, with_ends=with_ends)
    assert delivery.arrived(place) == arrived


def test_messages_that_end_in_crlf_have_arrived_with_their_lf():
    delivery = deliver(fill(b"ab", b"c"), 10, 2, b"\r\n")
    assert [delivery.arrived(place) for place in range(9, 19)] == [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]


def test_a_body_that_holds_cr_is_one_line_all_the_same():
    delivery = deliver(fill(b"a\rb", b"\r"), 0, 2)
    assert [delivery.arrived(place) for place in range(8)] == [0, 0, 0, 0, 1, 1, 2, 2]


def test_counted_messages_are_measured_by_their_ends():
    group = fill(b"a\r", b"b")
    batch = group.take(2, 100)
    reply = b"$ 0 1 2\na\r\n= 1 1 b\n"
    delivery = Delivery(0, reply, batch, group, ends=[11, 19])
    assert [delivery.arrived(place) for place in (0, 8, 10, 11, 18, 19)] == [0, 0, 0, 1, 1, 2]


def test_what_has_arrived_is_forgotten():
    group = fill(b"a", b"b", b"c")
    in_flight = InFlight()
    for start in (0, 2, 10):
        in_flight.add(deliver(group, start, 1))
    assert (len(in_flight.deliveries), in_flight.size_bytes) == (3, 6)
    in_flight.acknowledged(1)
    assert (len(in_flight.deliveries), in_flight.size_bytes) == (3, 6)
    in_flight.acknowledged(4)
    assert (len(in_flight.deliveries), in_flight.size_bytes) == (1, 2)
    in_flight.acknowledged(11)
    assert (len(in_flight.deliveries), in_flight.size_bytes) == (1, 2)
    in_flight.acknowledged(12)
    assert (len(in_flight.deliveries), in_flight.size_bytes) == (0, 0)
    assert in_flight.give_back(0) == 0
    assert left(group) == []


def test_what_has_not_arrived_goes_back_to_its_place():
    group = fill(b"a", b"b", b"c", b"d")
    in_flight = InFlight()
    in_flight.add(deliver(group, 0, 1))
    in_flight.add(deliver(group, 2, 2))
    assert in_flight.give_back(2) == 2
    assert (len(in_flight.deliveries), in_flight.size_bytes) == (0, 0)
    assert left(group) == [b"b", b"c", b"d"]


def test_it_goes_back_once():
    group = fill(b"a")
    in_flight = InFlight()
    in_flight.add(deliver(group, 0, 1))
    assert in_flight.give_back(0) == 1
    assert in_flight.give_back(0) == 0
    assert left(group) == [b"a"]


def test_a_message_of_which_a_part_arrived_goes_back():
    group = fill(b"abc", b"def", b"ghi")
    in_flight = InFlight()
    in_flight.add(deliver(group, 0, 3))
    assert in_flight.give_back(6) == 2
    assert left(group) == [b"def", b"ghi"]


def test_messages_go_back_to_the_group_that_each_came_from():
    one, other = fill(b"a1", b"a2"), fill(b"b1", b"b2")
    in_flight = InFlight()
    in_flight.add(deliver(one, 0, 1))
    in_flight.add(deliver(other, 3, 1))
    in_flight.add(deliver(one, 6, 1))
    assert in_flight.give_back(3) == 2
    assert left(one) == [b"a2"]
    assert left(other) == [b"b1", b"b2"]


@settings(max_examples=100)
@given(
    st.lists(st.binary(max_size=5).map(lambda body: body.replace(b"\n", b"")), min_size=1, max_size=12),
    st.lists(st.integers(1, 4), min_size=12, max_size=12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
    st.integers(0, 10),
    st.data(),
)
def test_what_arrived_and_what_goes_back_is_everything_once(bodies, counts, eol, with_ends, gap, data):
    group = fill(*bodies)
    in_flight = InFlight()
    place = 0
    ends = []
    while group.backlog:
        place += gap  # replies that are no messages
        delivery = deliver(group, place, counts[len(in_flight.deliveries)], eol, with_ends=with_ends)
        for body in delivery.batch.bodies():
            place += len(body + eol)
            ends.append(place)
        in_flight.add(delivery)
    arrived = data.draw(st.integers(0, place))
    in_flight.acknowledged(data.draw(st.integers(0, arrived)))
    expected = [body for body, end in zip(bodies, ends, strict=True) if end > arrived]
    assert in_flight.give_back(arrived) == len(expected)
    assert left(group) == expected


def memory_of(group):
    return group._budget


def test_what_goes_back_was_neither_taken_nor_acknowledged():
    group = fill(b"a", b"b", b"c")
    in_flight = InFlight()
    in_flight.add(deliver(group, 0, 3))
    assert (group.taken_count, group.acknowledged_count, group.returned_count) == (3, 3, 0)
    in_flight.give_back(2)
    assert (group.taken_count, group.acknowledged_count, group.returned_count) == (1, 1, 2)


def test_leased_messages_that_never_arrived_were_no_attempt():
    group = fill(b"a", b"b", b"c")
    consumer = Consumer(memory_of(group))
    in_flight = InFlight()
    in_flight.add(deliver(group, 0, 3, consumer=consumer))
    assert in_flight.give_back(2) == 2
    assert len(consumer) == 1, "what arrived stays leased"
    batch = group.take(10, 100)
    assert (batch.offset, batch.count, batch.attempt) == (1, 2, 1)
    assert group.acknowledge(consumer, [0]) == []
    assert memory_of(group).held_bytes == 0


def test_what_was_leased_and_is_done_does_not_go_back():
    group = fill(b"a", b"b", b"c")
    consumer = Consumer(memory_of(group))
    in_flight = InFlight()
    in_flight.add(deliver(group, 0, 3, consumer=consumer))
    group.acknowledge(consumer, [1])
    assert in_flight.give_back(0) == 2
    assert left(group) == [b"a", b"c"]
    assert memory_of(group).held_bytes == 0


@pytest.mark.parametrize("leased", [False, True])
def test_nothing_goes_back_to_a_group_that_was_moved(leased):
    group = fill(b"a", b"b")
    consumer = Consumer(memory_of(group)) if leased else None
    in_flight = InFlight()
    in_flight.add(deliver(group, 0, 2, consumer=consumer))
    group.seek(lambda log: log.end_offset)
    assert in_flight.give_back(0) == 0
    assert left(group) == []
    assert memory_of(group).held_bytes == 0


def test_nothing_goes_back_to_a_group_that_was_removed():
    group = fill(b"a", b"b")
    in_flight = InFlight()
    in_flight.add(deliver(group, 0, 2))
    group.close()
    assert in_flight.give_back(0) == 0
    assert memory_of(group).held_bytes == 0
