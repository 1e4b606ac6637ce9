"""The judge of the traffic tests must itself be able to say no."""

from __future__ import annotations

import pytest

from gstream.traffic import Traffic


@pytest.fixture
def traffic():
    """Two producers of ten messages each, and two consumers that got all of them."""
    traffic = Traffic("nowhere", producers=2, consumers=2, messages=20)
    assert traffic.published == 20
    everything = [b"%d:%d" % (producer, number) for number in range(10) for producer in range(2)]
    traffic.consumed[0] += everything[:11]
    traffic.consumed[1] += everything[11:]
    return traffic


def test_everything_once_in_order_is_right(traffic):
    traffic.check()


def test_any_interleaving_of_producers_is_right(traffic):
    traffic.consumed[:] = [[b"0:%d" % number for number in range(10)], [b"1:%d" % number for number in range(10)]]
    traffic.check()


@pytest.mark.parametrize("consumer", [0, 1])
@pytest.mark.parametrize("at", [0, 5, -1])
def test_lost(traffic, consumer, at):
    del traffic.consumed[consumer][at]
    with pytest.raises(AssertionError, match="lost 1, unknown 0, more than once 0"):
        traffic.check()


def test_everything_lost(traffic):
    traffic.consumed[:] = [[], []]
    with pytest.raises(AssertionError, match="lost 20, unknown 0, more than once 0"):
        traffic.check()


def test_doubled_to_the_same_consumer(traffic):
    traffic.consumed[0].insert(1, traffic.consumed[0][0])
    with pytest.raises(AssertionError, match="lost 0, unknown 0, more than once 1"):
        traffic.check()


def test_doubled_to_another_consumer(traffic):
    traffic.consumed[1].append(traffic.consumed[0][0])
    with pytest.raises(AssertionError, match="lost 0, unknown 0, more than once 1"):
        traffic.check()


@pytest.mark.parametrize("body", [b"", b"0:10", b"2:0", b"0:00", b"1:9\r", b"ok"])
def test_a_message_that_nobody_sent(traffic, body):
    traffic.consumed[0].append(body)
    with pytest.raises(AssertionError, match="lost 0, unknown 1, more than once 0"):
        traffic.check()


def test_a_message_that_is_damaged(traffic):
    traffic.consumed[0][3] = b"damaged"
    with pytest.raises(AssertionError, match="lost 1, unknown 1, more than once 0"):
        traffic.check()


def test_reordered(traffic):
    bodies = traffic.consumed[0]
    assert (bodies[0], bodies[2]) == (b"0:0", b"0:1")
    bodies[0], bodies[2] = bodies[2], bodies[0]
    with pytest.raises(AssertionError, match="consumer 0 got b'0:0' after 1"):
        traffic.check()


def test_reordered_at_the_end_of_the_last_consumer(traffic):
    bodies = traffic.consumed[1]
    bodies[-1], bodies[-3] = bodies[-3], bodies[-1]
    with pytest.raises(AssertionError, match="consumer 1 got b'1:8' after 9"):
        traffic.check()


def test_starved(traffic):
    traffic.consumed[:] = [traffic.consumed[0] + traffic.consumed[1], []]
    with pytest.raises(AssertionError, match=r"a consumer was starved: \[20, 0\]"):
        traffic.check()


def test_starved_means_less_than_the_least_share(traffic):
    everything = traffic.consumed[0] + traffic.consumed[1]
    traffic.consumed[:] = [everything[1:], everything[:1]]
    traffic.check(least_share=0.1)
    with pytest.raises(AssertionError, match=r"a consumer was starved: \[19, 1\]"):
        traffic.check(least_share=0.11)
    traffic.consumed[:] = [everything, []]
    traffic.check(least_share=0)


def test_messages_are_the_producers_even_shares():
    assert Traffic("nowhere", producers=3, consumers=1, messages=20).published == 18
