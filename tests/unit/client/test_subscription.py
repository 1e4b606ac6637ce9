"""A subscription: what it hands out, and when it acknowledges."""

from __future__ import annotations

import pytest

from gstream.client.message import Message
from gstream.client.subscription import PING_SECONDS
from gstream.errors import DisconnectedError, RefusedError, ServerUnreachableError

END = b""
PING = (b"z\n", b"+ \n")
REFUSED = ConnectionRefusedError(111, "Connection refused")
START = (b"s100\nz\n", b"+ \n")
STOP = (b"s0\n", b".\n")


class Oops(Exception):
    """What went wrong in the loop."""


def lines(*numbers, attempt=1):
    return b"".join(b"= %d %d %c\n" % (number, attempt, ord("a") + number) for number in numbers)


def bodies(messages):
    return [message.body for message in messages]


def test_a_message_is_acknowledged_when_the_next_one_is_asked_for(connect):
    client, peer = connect(START, (b"a0\n", [b"+ 1\n", lines(1)]), (b"a1\n", b"+ 1\n"), STOP, PING)
    with client.subscribe(wait_seconds=0) as messages:
        peer.say(lines(0))
        assert next(messages) == Message("0", 1, b"a")
        assert len(peer.windows) == 1
        assert next(messages) == Message("1", 1, b"b")
        assert len(peer.windows) == 2
        assert list(messages) == []
    client.ping()


def test_what_has_come_is_acknowledged_together(connect):
    client, _ = connect((b"s100\nz\n", lines(0, 1, 2) + b"+ \n"), (b"a0 1 2\n", b"+ 3\n"), STOP, PING)
    with client.subscribe(wait_seconds=0) as messages:
        assert bodies(messages) == [b"a", b"b", b"c"]
    client.ping()


def test_half_of_the_credit_is_acknowledged_though_more_has_come(connect):
    client, peer = connect(
        (b"s4\nz\n", b"+ \n" + lines(0, 1, 2, 3)),
        (b"a0 1\n", [b"+ 2\n" + lines(4, 5)]),
        (b"a2 3\n", b"+ 2\n"),
        (b"a4 5\n", b"+ 2\n"),
        STOP,
    )
    with client.subscribe(credit=4, wait_seconds=0) as messages:
        next(messages)
        next(messages)
        assert len(peer.windows) == 1
        next(messages)
        assert len(peer.windows) == 2
        assert bodies(messages) == [b"d", b"e", b"f"]


def test_a_credit_of_one(connect):
    client, _ = connect((b"s1\nz\n", b"+ \n" + lines(0)), (b"a0\n", b"+ 1\n" + lines(1)), (b"a1\n", b"+ 1\n"), STOP)
    with client.subscribe(credit=1, wait_seconds=0) as messages:
        assert bodies(messages) == [b"a", b"b"]


def test_messages_in_pieces_and_counted(connect):
    client, peer = connect(START, (b"a0\n", [b"+ 1\n$ 1 1 3\nb\n", b"b\n# a notice\n"]), (b"a1\n", b"+ 1\n"), STOP)
    with client.subscribe(wait_seconds=0) as messages:
        peer.say(b"= 0", b" 1 a", b"\n")
        peer.timeouts.clear()
        assert bodies(messages) == [b"a", b"b\nb"]


@pytest.mark.parametrize("error", [None, Oops()])
def test_what_is_not_done_is_given_back(connect, error):
    client, _ = connect(
        (b"s100\nz\n", b"+ \n" + lines(0)),
        (b"a0\n", b"+ 1\n" + lines(1, 2, 3)),
        (b"s0\n", lines(4) + b".\n"),
        (b"n1\no2 3 4\n", b"+ 1\n- gone 3\n"),
        PING,
    )

    def work():
        with client.subscribe() as messages:
            for message in messages:
                if message.id == "1":
                    if error is not None:
                        raise error
                    break

    if error is None:
        work()
    else:
        with pytest.raises(Oops):
            work()
    client.ping()


def test_who_breaks_and_is_done_says_so(connect):
    client, _ = connect((b"s100\nz\n", b"+ \n" + lines(0, 1)), (b"a0\n", b"+ 1\n"), STOP, (b"o1\n", b"+ 1\n"), PING)
    with client.subscribe() as messages:
        for message in messages:
            messages.acknowledge(message)
            break
    client.ping()


@pytest.mark.parametrize(
    ("settle", "sent"),
    [
        (lambda messages, message: messages.give_back(message, 5), b"n1 5.000\n"),
        (lambda messages, message: messages.bury(message, "why"), b"d1 why\n"),
    ],
)
def test_the_message_at_hand_can_be_settled_otherwise(connect, settle, sent):
    """What was done before goes with it, and what comes meanwhile is not lost."""
    client, _ = connect(
        (b"s100\nz\n", b"+ \n" + lines(0, 1)),
        (b"a0\n", b""),
        (sent, [b"+ 1\n" + lines(2), b"+ 1\n"]),
        (b"a2\n", b"+ 1\n"),
        STOP,
    )
    with client.subscribe(wait_seconds=0) as messages:
        next(messages)
        settle(messages, next(messages))
        assert bodies(messages) == [b"c"]


def test_the_message_at_hand_can_be_extended(connect):
    client, _ = connect((b"s100\nz\n", b"+ \n" + lines(0)), (b"e0 60.000\n", b"+ 0\n"), (b"a0\n", b"+ 1\n"), STOP)
    with client.subscribe(wait_seconds=0) as messages:
        for message in messages:
            messages.extend(message, 60)


def test_too_late_for_the_message_at_hand(connect):
    client, _ = connect((b"s100\nz\n", b"+ \n" + lines(0)), (b"e0\n", b"- gone 0\n"), STOP)
    with client.subscribe(wait_seconds=0) as messages:
        message = next(messages)
        with pytest.raises(RefusedError, match=r"^gone: 0$"):
            messages.extend(message)
        assert list(messages) == []


def test_an_acknowledgement_that_is_too_late_is_told_and_the_stream_goes_on(connect):
    client, _ = connect(
        (b"s100\nz\n", b"+ \n" + lines(0, 1)), (b"a0 1\n", b"- gone 0\n" + lines(2)), (b"a2\n", b"+ 1\n"), STOP, PING
    )
    with client.subscribe(wait_seconds=0) as messages:
        next(messages)
        next(messages)
        with pytest.raises(RefusedError, match=r"^gone: 0$"):
            next(messages)
        assert bodies(messages) == [b"c"]
    client.ping()


def test_too_late_at_the_end(connect):
    client, _ = connect(
        (b"s2\nz\n", b"+ \n" + lines(0, 1)), (b"a0\n", b""), (b"s0\n", b"- gone 0\n.\n"), (b"n1\n", b"+ 1\n"), PING
    )
    messages = client.subscribe(credit=2)
    assert [next(messages).id, next(messages).id] == ["0", "1"]
    with pytest.raises(RefusedError, match=r"^gone: 0$"), messages:
        pass
    client.ping()


def test_without_a_credit_nothing_is_settled(connect):
    client, _ = connect((b"s\nz\n", b"+ \n" + lines(0, 1)), (b"s0\n", lines(2) + b".\n"), PING)
    with client.subscribe(credit=None) as messages:
        assert next(messages).body == b"a"
    client.ping()
    assert bodies(messages) == [b"b", b"c"], "those that were taken are not lost"
    assert list(messages) == []


def test_other_calls_are_refused_until_it_is_closed(connect):
    client, _ = connect((b"r0.000 1\n", b"= 7 1 x\n.\n"), START, STOP, (b"a7\n", b"+ 1\n"), PING)
    lease = client.lease()
    with client.subscribe() as messages:
        for call in (client.ping, client.consume, client.stats, client.subscribe, lambda: client.publish(b"a")):
            with pytest.raises(RuntimeError, match="open subscription: close that first, or use another client"):
                call()
        with pytest.raises(RuntimeError, match="open subscription"):
            lease.acknowledge(*lease.messages)
    messages.close()
    lease.acknowledge(*lease.messages)
    client.ping()
    with pytest.raises(RuntimeError, match="this subscription is closed"):
        messages.acknowledge(Message("0", 1, b""))


def test_closing_the_client_ends_it(connect):
    client, peer = connect(
        (b"s100\nz\n", b"+ \n" + lines(0, 1)), (b"a0\n", b""), (b"s0\n", b"+ 1\n.\n"), (b"n1\n", b"+ 1\n")
    )
    with client:
        messages = client.subscribe()
        next(messages)
        next(messages)
    assert peer.closed
    assert list(messages) == []


def test_closing_the_client_of_a_lost_connection(connect):
    client, peer = connect(START, (b"s0\n", [END]))
    client.subscribe()
    client.close()
    assert peer.closed


def test_closing_the_client_of_a_subscription_that_is_waited_on(connect):
    """As a signal's handler may do it, or another thread: it is closed, and who waits is told."""

    def close():
        client.close()
        raise OSError(9, "Bad file descriptor")

    client, peer = connect(START)
    messages = client.subscribe()
    peer.say(close)
    assert list(messages) == []
    assert peer.closed


@pytest.mark.parametrize("credit", [0, -1, 1_000_000_000])
def test_what_is_no_credit(connect, credit):
    client, _ = connect(PING)
    with pytest.raises(ValueError, match="a credit is 1 to 999999999, or None"):
        client.subscribe(credit=credit)
    with pytest.raises(ValueError, match="seconds are 0 or more"):
        client.subscribe(wait_seconds=-1)
    client.ping()


def test_a_stream_that_is_refused(connect):
    client, _ = connect((b"s100\nz\n", b"- full too many\n+ \n"), PING)
    with pytest.raises(RefusedError, match=r"^full: too many$"):
        client.subscribe()
    client.ping()


@pytest.mark.parametrize("loss", [[END], [b"# drain\n", END], [b".\n"], [b"+ 2\n+ 2\n"], [b"garbage\n"]])
def test_a_lost_stream_goes_on_and_what_was_not_acknowledged_comes_again(reconnect, clock, loss):
    client, (first, second) = reconnect(
        [(b"s4\nz\n", b"+ \n" + lines(0, 1)), (b"a0 1\n", loss)],
        [(b"s4\nz\n", lines(0, attempt=2) + b"+ \n"), (b"a0\n", b"+ 1\n"), STOP, PING],
    )
    with client.subscribe(credit=4, wait_seconds=0) as messages:
        assert [(message.id, message.attempt) for message in messages] == [("0", 1), ("1", 1), ("0", 2)]
    assert clock.sleeps == pytest.approx([0.05])
    assert first.closed
    client.ping()
    assert not second.closed


def test_what_came_over_a_lost_connection_is_not_handed_out(reconnect):
    client, _ = reconnect(
        [(b"s2\nz\n", b"+ \n" + lines(0, 1)), (BrokenPipeError(32, "Broken pipe"), b"")],
        [(b"s2\nz\n", lines(1, attempt=2) + b"+ \n"), (b"a1\n", b"+ 1\n"), STOP],
    )
    with client.subscribe(credit=2, wait_seconds=0) as messages:
        assert [(message.id, message.attempt) for message in messages] == [("0", 1), ("1", 2)]


def test_what_was_taken_for_good_over_a_lost_connection_is(reconnect):
    client, _ = reconnect([(b"s\nz\n", [b"+ \n" + lines(0, 1), END])], [(b"s\nz\n", lines(2) + b"+ \n"), STOP, PING])
    with client.subscribe(credit=None, wait_seconds=0) as messages:
        assert bodies(messages) == [b"a", b"b", b"c"]
    client.ping()


def test_a_server_that_is_lost_again_and_again(reconnect, clock):
    """The pauses grow as long as no message comes."""
    losing = [(b"s100\nz\n", [b"+ \n", END])]
    client, _ = reconnect(losing, losing, losing, [(b"s100\nz\n", b"+ \n" + lines(0)), (b"a0\n", [END])], [START, STOP])
    with client.subscribe(wait_seconds=0) as messages:
        assert bodies(messages) == [b"a"]
    assert clock.sleeps == pytest.approx([0.05, 0.1, 0.2, 0.05])


def test_a_server_that_does_not_come_back(reconnect):
    client, _ = reconnect([(b"s100\nz\n", [b"+ \n", END])], *[REFUSED] * 3, [PING], reconnect_seconds=0.1)
    messages = client.subscribe()
    with pytest.raises(ServerUnreachableError):
        next(messages)
    client.ping()


def test_nothing_is_made_anew_if_that_is_turned_off(connect):
    client, _ = connect((b"s100\nz\n", [b"+ \n", END]))
    messages = client.subscribe()
    with pytest.raises(DisconnectedError, match="closed the connection"):
        next(messages)
    messages.close()
    assert list(messages) == []


def test_a_connection_that_is_lost_at_the_end(reconnect):
    client, _ = reconnect([(b"s100\nz\n", b"+ \n" + lines(0)), (b"a0\n", b"+ 1\n"), (b"s0\n", [END])], [PING])
    with pytest.raises(DisconnectedError), client.subscribe(wait_seconds=0) as messages:
        list(messages)
    client.ping()


def test_silence_is_asked_about(connect):
    """A server that is gone without a word is noticed."""
    client, peer = connect(START, PING, PING, (b"z\n", b""), timeout=3.0)
    messages = client.subscribe()
    peer.timeouts.clear()
    with pytest.raises(DisconnectedError, match="did not answer in time"):
        next(messages)
    assert [seconds for seconds in peer.timeouts if seconds == PING_SECONDS] == [PING_SECONDS] * 3
    assert peer.timeouts[-1] == 3.0


def test_a_message_is_waited_for_as_long_as_was_said(connect):
    client, peer = connect(START, STOP)
    with client.subscribe(wait_seconds=5) as messages:
        peer.timeouts.clear()
        assert list(messages) == []
        assert peer.timeouts == [5]


def test_a_message_that_is_not_at_hand(connect):
    """Nothing is sent, since the id may be another message's; the one at hand stays at hand."""
    client, _ = connect((b"s100\nz\n", b"+ \n" + lines(0, 1)), (b"a0 1\n", b"+ 2\n"), STOP)
    with client.subscribe(wait_seconds=0) as messages:
        first = next(messages)
        next(messages)
        for message in (first, Message("7", 1, b""), Message("1", 1, b"b")):
            with pytest.raises(RefusedError, match=f"^gone: {message.id}$"):
                messages.acknowledge(message)
        assert list(messages) == []


def test_a_message_of_an_earlier_connection_does_not_settle_another_one(reconnect):
    client, _ = reconnect(
        [(b"s1\nz\n", b"+ \n" + lines(0)), (b"a0\n", [END])],
        [(b"s1\nz\n", lines(0) + b"+ \n"), (b"e0\n", b"+ 0\n"), (b"a0\n", b"+ 1\n"), STOP],
    )
    with client.subscribe(credit=1, wait_seconds=0) as messages:
        stale = next(messages)
        again = next(messages)
        with pytest.raises(RefusedError, match=r"^gone: 0$"):
            messages.acknowledge(stale)
        messages.extend(again)
        assert list(messages) == []


def test_nothing_of_a_lost_connection_is_handed_out_behind_a_settlement(reconnect):
    client, _ = reconnect(
        [(b"s100\nz\n", b"+ \n" + lines(0, 1, 2)), (b"n0\n", [END])],
        [(b"s100\nz\n", lines(0, attempt=2) + b"+ \n"), (b"a0\n", b"+ 1\n"), STOP],
    )
    with client.subscribe(wait_seconds=0) as messages:
        message = next(messages)
        with pytest.raises(DisconnectedError):
            messages.give_back(message)
        assert [(message.id, message.attempt) for message in messages] == [("0", 2)]


def test_another_message_that_is_gone_does_not_make_the_one_at_hand_forgotten(connect):
    """What was too late is told when the next message is asked for."""
    client, _ = connect(
        (b"s100\nz\n", b"+ \n" + lines(0, 1)),
        (b"a0\n", b""),
        (b"e1\n", b"- gone 0\n+ 1\n"),
        (b"a1\n", b"+ 1\n"),
        STOP,
    )
    with client.subscribe(wait_seconds=0) as messages:
        next(messages)
        messages.extend(next(messages))
        with pytest.raises(RefusedError, match=r"^gone: 0$"):
            next(messages)
        assert list(messages) == []


def test_it_does_not_end_while_an_answer_is_owed(connect):
    """With the answer, more may come: nothing to wait for is no reason to leave it."""
    client, peer = connect((b"s1\nz\n", b"+ \n" + lines(0)), (b"a0\n", b""), (b"a1\n", b"+ 1\n"), STOP)
    with client.subscribe(credit=1, wait_seconds=0) as messages:
        next(messages)
        peer.recv, recv = (lambda size: peer.say(b"+ 1\n" + lines(1)) or recv(size)), peer.recv
        assert next(messages).body == b"b"
        peer.recv = recv
        assert list(messages) == []


def test_garbage_where_a_stream_should_start(connect):
    client, _ = connect((b"s100\nz\n", b".\n"))
    with pytest.raises(DisconnectedError, match="where a message was expected"):
        client.subscribe()
