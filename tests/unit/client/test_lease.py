"""Leased messages, and how they are settled."""

from __future__ import annotations

import pytest

from gstream.client.lease import SETTLING_BYTES
from gstream.client.message import Message
from gstream.errors import DisconnectedError, RefusedError

END = b""
PING = (b"z\n", b"+ \n")
THREE = (b"r0.000 3\n", b"= 0 1 a\n= 1 1 b\n= 2 2 c\n.\n")
MESSAGES = [Message("0", 1, b"a"), Message("1", 1, b"b"), Message("2", 2, b"c")]


class Oops(Exception):
    """What went wrong in the block."""


def test_all_are_acknowledged_at_once_at_the_end(connect):
    client, peer = connect(THREE, (b"a0 1 2\n", b"+ 3\n"), PING)
    with client.lease(3) as lease:
        assert lease.messages == list(lease) == MESSAGES
        assert len(lease) == 3
        assert lease
        assert peer.windows == [THREE[0]]
    client.ping()


def test_nothing_there(connect):
    client, peer = connect((b"r5.000 1\n", b".\n"))
    with client.lease(wait_seconds=5) as lease:
        assert not lease
        assert lease.messages == []
    assert len(peer.windows) == 1


def test_all_are_given_back_if_the_block_raises(connect):
    """Those that were handed out one by one: an attempt. The others: none."""
    client, _ = connect(THREE, (b"n0\nn1\no2\n", b"+ 0\n- gone 1\n+ 1\n"), PING)

    def work():
        with client.lease(3) as lease:
            for message in lease:
                if message.id == "1":
                    raise Oops

    with pytest.raises(Oops):
        work()
    client.ping()


def test_looking_at_the_messages_is_no_attempt(connect):
    client, _ = connect(THREE, (b"a1\n", b"+ 1\n"), (b"o0 2\n", b"+ 2\n"), PING)

    def work():
        with client.lease(3) as lease:
            lease.acknowledge(lease.messages[1])
            raise Oops

    with pytest.raises(Oops):
        work()
    client.ping()


def test_a_message_of_an_earlier_lease_does_not_settle_another_one(connect):
    """Not even if it is its equal; the others of the call are settled."""
    client, peer = connect(
        (b"r0.000 1\n", b"= 0 1 a\n.\n"), (b"n0\n", b"+ 0\n"), THREE, (b"a1\n", b"+ 1\n"), (b"a0 2\n", b"+ 2\n")
    )
    with client.lease() as earlier:
        earlier.give_back(earlier.messages[0])
    with client.lease(3) as lease:
        sent = len(peer.windows)
        for settle in (lease.acknowledge, lease.give_back, lease.extend, lease.bury, lease.release):
            with pytest.raises(RefusedError, match=r"^gone: 0$"):
                settle(earlier.messages[0])
        assert len(peer.windows) == sent
        with pytest.raises(RefusedError, match=r"^gone: 0$"):
            lease.acknowledge(earlier.messages[0], lease.messages[1])


def test_acknowledging_nothing_is_a_mistake(connect):
    client, _ = connect(THREE, (b"a0 1 2\n", b"+ 3\n"))
    with client.lease(3) as lease, pytest.raises(TypeError, match=r"^acknowledge takes the messages that are done"):
        lease.acknowledge()


def test_those_that_are_settled_one_by_one_are_not_settled_again(connect):
    client, _ = connect(
        THREE,
        (b"a1\n", b"+ 1\n"),
        (b"n0 1.500\n", b"+ 0\n"),
        (b"a2\n", b"+ 1\n"),
        PING,
    )
    with client.lease(3) as lease:
        lease.acknowledge(lease.messages[1])
        lease.give_back(lease.messages[0], 1.5)
    client.ping()


def test_several_at_once(connect):
    client, _ = connect(THREE, (b"a2 0\n", b"+ 2\n"), (b"a1\n", b"+ 1\n"))
    with client.lease(3) as lease:
        lease.acknowledge(lease.messages[2], lease.messages[0])


@pytest.mark.parametrize(
    ("settle", "sent"),
    [
        (lambda lease, message: lease.give_back(message), b"n0\n"),
        (lambda lease, message: lease.give_back(message, delay_seconds=60), b"n0 60.000\n"),
        (lambda lease, message: lease.bury(message), b"d0\n"),
        (lambda lease, message: lease.bury(message, "no such user"), b"d0 no such user\n"),
        (lambda lease, message: lease.bury(message, "Traceback:\r\n  line\n\ud800"), b"d0 Traceback:   line \\ud800\n"),
    ],
)
def test_ways_to_settle(connect, settle, sent):
    client, _ = connect(THREE, (sent, b"+ 0\n"), (b"a1 2\n", b"+ 2\n"))
    with client.lease(3) as lease:
        settle(lease, lease.messages[0])


def test_what_is_extended_is_still_to_be_settled(connect):
    client, _ = connect(THREE, (b"e0\n", b"+ 0\n"), (b"e1 60.000\n", b"+ 1\n"), (b"a0 1 2\n", b"+ 3\n"))
    with client.lease(3) as lease:
        lease.extend(lease.messages[0])
        lease.extend(lease.messages[1], 60)


@pytest.mark.parametrize(
    ("settle", "sent"),
    [
        (lambda lease, message: lease.acknowledge(message), b"a0\n"),
        (lambda lease, message: lease.give_back(message), b"n0\n"),
        (lambda lease, message: lease.extend(message), b"e0\n"),
        (lambda lease, message: lease.bury(message), b"d0\n"),
    ],
)
def test_too_late_is_told_and_not_tried_again(connect, settle, sent):
    client, _ = connect(THREE, (sent, b"- gone 0\n"), (b"a1 2\n", b"+ 2\n"))
    with client.lease(3) as lease, pytest.raises(RefusedError) as caught:
        settle(lease, lease.messages[0])
    assert (caught.value.code, str(caught.value)) == ("gone", "gone: 0")


def test_what_cannot_be_settled_so_is_still_to_be_settled(connect):
    client, _ = connect(THREE, (b"d0\n", b"- args these are dead letters already\n"), (b"a0 1 2\n", b"+ 3\n"))
    with client.lease(3) as lease, pytest.raises(RefusedError, match="dead letters already"):
        lease.bury(lease.messages[0])


def test_too_late_at_the_end(connect):
    client, _ = connect(THREE, (b"a0 1 2\n", b"- gone 1\n"), PING)
    with pytest.raises(RefusedError, match=r"^gone: 1$"), client.lease(3):
        pass
    client.ping()


def test_no_line_has_more_than_a_thousand_ids_and_all_that_are_gone_are_told(connect):
    count = 2500
    messages = b"".join(b"= %d 1 x\n" % number for number in range(count))
    lines = [
        b"a" + b" ".join(b"%d" % number for number in range(first, min(first + 1000, count))) + b"\n"
        for first in range(0, count, 1000)
    ]
    client, _ = connect(
        (b"r0.000 %d\n" % count, messages + b".\n"), (b"".join(lines), b"- gone 7 8\n+ 1000\n- gone 2001\n"), PING
    )
    with pytest.raises(RefusedError, match=r"^gone: 7 8 2001$"), client.lease(count):
        pass
    client.ping()


def test_many_are_given_back_in_windows(connect):
    count = 20_000
    messages = b"".join(b"= %d 1 x\n" % number for number in range(count))
    back = b"".join(b"n%d\n" % number for number in range(count))
    first = back[: back.rfind(b"\n", 0, SETTLING_BYTES) + 1]
    rest = back[len(first) :]
    client, peer = connect(
        (b"r0.000 %d\n" % count, messages + b".\n"),
        (first, b"+ 0\n" * first.count(b"\n")),
        (rest, b"+ 0\n" * rest.count(b"\n")),
        PING,
    )

    def work():
        with client.lease(count) as lease:
            assert len(list(lease)) == count
            raise Oops

    with pytest.raises(Oops):
        work()
    assert peer.windows[1:] == [first, rest]
    client.ping()


def test_messages_are_settled_where_they_came_from(connect):
    client, _ = connect(
        THREE,
        (b"tresults\n", b"+ results\n"),
        (b"pdone\n", b"ok\r\n"),
        (b"tdefault\ngdefault\n", b"+ default\n+ default\n"),
        (b"a0 1 2\n", b"- gone 2\n"),
        (b"tresults\ngdefault\n", b"+ results\n+ default\n"),
        (b"pmore\n", b"ok\r\n"),
    )

    def work():
        with client.lease(3):
            client.use("results")
            client.publish(b"done")

    with pytest.raises(RefusedError, match="gone: 2"):
        work()
    assert client.topic == "results"
    client.publish(b"more")


def test_where_they_came_from_is_not_there_any_more(connect):
    client, peer = connect(
        THREE, (b"tresults\n", b"+ results\n"), (b"tdefault\ngdefault\n", b"+ default\n- full too many groups\n")
    )
    with pytest.raises(DisconnectedError, match="where another topic was expected"), client.lease(3):
        client.use("results")
    assert peer.closed


@pytest.mark.parametrize("sign", [END, b"# drain\n", ConnectionResetError(104, "Connection reset by peer")])
def test_a_lease_ends_with_its_connection(reconnect, sign):
    client, (first, _) = reconnect([THREE], [PING])
    with pytest.raises(RefusedError, match=r"^gone: the connection that leased this is lost"), client.lease(3):
        first.say(sign)
    client.ping()


def test_a_lease_of_another_connection_is_not_asked_for(reconnect):
    client, (first, _) = reconnect([THREE], [PING, PING])
    lease = client.lease(3)
    first.say(END)
    client.ping()
    with pytest.raises(RefusedError, match=r"^gone: "):
        lease.extend(lease.messages[0])
    with pytest.raises(RefusedError, match=r"^gone: "), lease:
        pass
    client.ping()


def test_what_the_block_raised_goes_on_whatever_becomes_of_the_lease(reconnect):
    client, (first, _) = reconnect([THREE], [PING])
    lease = client.lease(3)
    first.say(END)
    with pytest.raises(Oops), lease:
        raise Oops
    client.ping()


def test_what_the_block_raised_goes_on_though_the_client_is_closed(connect):
    client, _ = connect(THREE)
    lease = client.lease(3)
    client.close()
    with pytest.raises(Oops), lease:
        raise Oops


def test_an_acknowledgement_whose_answer_is_lost(reconnect):
    client, _ = reconnect([THREE, (b"a0 1 2\n", [END])], [PING])
    with pytest.raises(DisconnectedError), client.lease(3):
        pass
    client.ping()


def test_a_lease_that_came_in_part_is_asked_for_again(reconnect):
    client, _ = reconnect([(b"r0.000 3\n", [b"= 0 1 a\n", END])], [THREE, (b"a0 1 2\n", b"+ 3\n")])
    with client.lease(3) as lease:
        assert lease.messages == MESSAGES
