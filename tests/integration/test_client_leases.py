"""Leases and subscriptions of the Python client, with a real server."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from gstream import Client, Message, RefusedError
from gstream.testing import ServerThread, wait_until

EVERY_BYTE = bytes(range(256))


@pytest.fixture
def client(server):
    with Client(server.host, server.port) as client:
        yield client


def another(server, **arguments):
    return Client(server.host, server.port, **arguments)


class Oops(Exception):
    """What went wrong in a program."""


def test_a_lease_is_acknowledged_at_its_end(server, client):
    client.publish([b"one", b"two"])
    with client.lease(10) as lease:
        assert [(message.id, message.attempt, message.body) for message in lease] == [
            ("0", 1, b"one"),
            ("1", 1, b"two"),
        ]
        assert client.stats("default")["group.default.leased"] == 2
        assert client.consume() == []
    stats = client.stats("default")
    assert (stats["group.default.leased"], stats["group.default.acknowledged"]) == (0, 2)


def test_a_lease_is_given_back_if_the_block_raises(server, client):
    client.publish([b"one", b"two"])
    """The message at hand was tried; what nobody has touched was not."""

    def work():
        with client.lease(10) as lease:
            for _ in lease:
                raise Oops

    with pytest.raises(Oops):
        work()
    with another(server) as other, other.lease(10) as lease:
        assert [(message.attempt, message.body) for message in lease] == [(2, b"one"), (1, b"two")]


def test_nothing_to_lease(client):
    with client.lease(10, wait_seconds=0.001) as lease:
        assert not lease


def test_messages_are_settled_one_by_one(client):
    client.publish([b"done", b"again", b"later", b"bad", b"rest"])
    with client.lease(5) as lease:
        done, again, later, bad, _ = lease
        lease.acknowledge(done)
        lease.give_back(again)
        lease.give_back(later, delay_seconds=0.01)
        lease.bury(bad, "no such\nuser")
    with client.lease(wait_seconds=30) as lease:
        assert [(message.id, message.attempt) for message in lease] == [(again.id, 2)]
    with client.lease(wait_seconds=30) as lease:
        assert [(message.id, message.attempt) for message in lease] == [(later.id, 2)]
    assert client.consume() == []


def test_a_dead_letter_tells_why(server):
    with another(server, details=True) as client:
        client.publish(EVERY_BYTE, key="k")
        with client.lease() as lease:
            lease.bury(lease.messages[0], "no such user")
        client.use("default.dlq")
        (letter,) = client.peek()
    assert (letter.body, letter.key) == (EVERY_BYTE, b"k")
    headers = dict(letter.headers)
    assert headers["dead.reason"] == b"no such user"
    assert (headers["dead.topic"], headers["dead.group"], headers["dead.id"]) == (b"default", b"default", b"0")


def test_an_acknowledgement_that_comes_too_late(server, client):
    client.publish([b"one", b"two"])
    with pytest.raises(RefusedError) as caught, client.lease(2), another(server) as other:
        other.seek("oldest")
    assert (caught.value.code, str(caught.value)) == ("gone", "gone: 0 1")
    assert client.consume(9) == [b"one", b"two"]


def test_a_lease_that_runs_out():
    with ServerThread(lease_seconds=0.05) as server, another(server) as client, another(server) as other:
        client.publish(b"one")
        lease = client.lease()
        assert other.lease(wait_seconds=30).messages == [Message("0", 2, b"one")]
        with pytest.raises(RefusedError, match=r"^gone: 0$"):
            lease.extend(lease.messages[0])
        with lease:
            pass


def test_a_lease_that_is_extended():
    with ServerThread(lease_seconds=0.5) as server, another(server) as client, another(server) as other:
        client.publish([b"one", b"two"])
        with client.lease(2) as lease:
            lease.extend(lease.messages[0], 60)
            assert other.lease(2, wait_seconds=30).messages == [Message("1", 2, b"two")]
            lease.acknowledge(lease.messages[0])
            with pytest.raises(RefusedError, match="gone: 1"):
                lease.acknowledge(lease.messages[1])


def test_a_lease_is_settled_in_its_own_topic(client):
    client.publish([b"1", b"2"])
    with client.lease(2) as lease:
        client.use("results", "a")
        client.publish([body * 2 for body in map(bytes, lease)])
        with client.lease(2) as results:
            assert [bytes(message) for message in results] == [b"11", b"22"]
        client.use("other")
    assert (client.topic, client.group) == ("other", "a")
    client.publish(b"here")
    assert client.stats("default")["group.default.acknowledged"] == 2
    assert client.stats("results")["group.a.acknowledged"] == 2
    assert client.stats("other")["messages"] == 1


def test_thousands_are_leased_and_acknowledged(client):
    bodies = [b"%d" % number for number in range(5000)]
    client.publish(bodies)
    with client.lease(5000) as lease:
        assert [message.body for message in lease] == bodies
    assert client.stats("default")["group.default.acknowledged"] == 5000


# --- subscriptions


def test_a_subscription_hands_out_what_comes(server, client):
    bodies = [b"%d" % number for number in range(1000)]
    with another(server) as producer, client.subscribe(credit=10) as messages:
        producer.publish(bodies[:500])
        assert [bytes(message) for message in islice(messages, 500)] == bodies[:500]
        producer.publish(bodies[500:])
        assert [bytes(message) for message in islice(messages, 499)] == bodies[500:999]
        last = next(messages)
        assert bytes(last) == bodies[999]
        messages.acknowledge(last)
    assert client.stats("default")["group.default.acknowledged"] == 1000
    assert client.consume() == []


def test_no_more_than_the_credit_is_leased(server, client):
    with another(server) as producer, client.subscribe(credit=3, wait_seconds=30) as messages:
        producer.publish([b"%d" % number for number in range(10)])
        next(messages)
        wait_until(lambda: producer.stats("default")["group.default.leased"] == 3, "the credit is used up")
        assert producer.stats("default")["group.default.backlog"] == 7
    with another(server) as other:
        assert other.stats("default")["group.default.leased"] == 0


def test_a_message_is_acknowledged_when_the_next_one_is_asked_for(server, client):
    with another(server) as other, client.subscribe(wait_seconds=30) as messages:
        other.publish([b"one", b"two"])
        assert [next(messages).body, next(messages).body] == [b"one", b"two"]
        other.publish(b"three")
        next(messages)
        wait_until(lambda: other.stats("default")["group.default.acknowledged"] == 2, "both are acknowledged")


def test_what_is_not_done_is_delivered_again(server, client):
    client.publish([b"one", b"two", b"three"])

    def work():
        with client.subscribe() as messages:
            for message in messages:
                if message.body == b"two":
                    raise Oops

    with pytest.raises(Oops):
        work()
    with client.lease(9) as lease:
        assert [(message.attempt, message.body) for message in lease] == [(2, b"two"), (1, b"three")]


def test_messages_of_a_subscription_are_settled_one_by_one(client):
    client.publish([b"done", b"again", b"bad", b"rest"])
    seen = []
    with client.subscribe(wait_seconds=30) as messages:
        for message in messages:
            seen.append((message.body, message.attempt))
            if message.body == b"bad":
                messages.bury(message, "why")
            elif message.body == b"rest":
                messages.extend(message, 60)
            elif message == Message("1", 1, b"again"):
                messages.give_back(message)
            if len(seen) == 5:
                break
    assert Counter(seen) == Counter([(b"done", 1), (b"again", 1), (b"bad", 1), (b"rest", 1), (b"again", 2)])
    stats = client.stats("default")
    assert (stats["group.default.acknowledged"], stats["group.default.dead"]) == (2, 1)


def test_without_a_credit_messages_are_taken_for_good(client):
    client.publish([b"one", b"two\n"])
    with client.subscribe(credit=None, wait_seconds=30) as messages:
        assert [bytes(message) for message in islice(messages, 2)] == [b"one", b"two\n"]
    assert client.stats("default")["group.default.leased"] == 0
    assert client.consume() == []


def test_two_subscriptions_share(server, client):
    bodies = [b"%d" % number for number in range(200)]
    with another(server) as other, another(server) as producer:
        taken = []
        with (
            client.subscribe(credit=5, wait_seconds=0.05) as mine,
            other.subscribe(credit=5, wait_seconds=0.05) as yours,
        ):
            producer.publish(bodies)
            while len(taken) < len(bodies):
                taken += [bytes(message) for message in islice(mine, 10)]
                taken += [bytes(message) for message in islice(yours, 10)]
        assert sorted(taken) == sorted(bodies)


def test_what_is_released_comes_again_and_was_no_attempt(client):
    client.publish([b"one", b"two"])
    with client.lease(2) as lease:
        one, two = lease
        lease.release(two, one)
    with client.lease(2) as lease:
        assert [(message.body, message.attempt) for message in lease] == [(b"one", 1), (b"two", 1)]
    with pytest.raises(RefusedError, match="gone"):
        lease.release(one)
