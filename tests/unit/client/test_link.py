"""Connections that are lost, and what is done about it."""

from __future__ import annotations

import pytest

from gstream.client import Client
from gstream.client.link import FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, Backoff
from gstream.errors import ClientError, DisconnectedError, RefusedError, ServerUnreachableError

END = b""
REFUSED = ConnectionRefusedError(111, "Connection refused")
RESET = ConnectionResetError(104, "Connection reset by peer")
PING = (b"z\n", b"+ \n")

LOSSES = [[END], [b"# drain the server is stopping\n", END], [], [RESET], [b"garbage\n"], [b"- drain stopping\n"]]
NAMES = ["closed", "drained", "silent", "reset", "garbage", "refused for draining"]

REPEATED = [
    (lambda client: client.stats(), b"i\n", b".\n", {}),
    (lambda client: client.topics(), b"l\n", b".\n", {}),
    (lambda client: client.peek(), b"v1\n", b".\n", []),
    (lambda client: client.seek(7), b"f7\n", b"+ 7\n", ["7"]),
    (lambda client: client.seek("oldest"), b"f^\n", b"+ 0\n", ["0"]),
    (lambda client: client.consume(2), b"w0.000 2\n", b"= 0 1 a\n.\n", [b"a"]),
    (lambda client: client.lease(2).messages, b"r0.000 2\n", b".\n", []),
    (lambda client: client.publish(b"a", id="7"), b"P1 id=7\na\n", b"+ 0\n", 1),
    (lambda client: client.use("news"), b"tnews\n", b"+ news\n", None),
    (lambda client: client.use(group="a"), b"ga\n", b"+ a\n", None),
]
NOT_REPEATED = [
    (lambda client: client.publish(b"a"), b"pa\n"),
    (lambda client: client.publish(b"a", key="k"), b"P1 key=k\na\n"),
    (lambda client: client.seek(-7), b"f-7\n"),
    (lambda client: client.seek("end"), b"f$\n"),
    (lambda client: client.forget_group("a"), b"xa\n"),
]


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
@pytest.mark.parametrize(("call", "sent", "reply", "result"), REPEATED)
def test_what_can_be_repeated_is(reconnect, call, sent, reply, result, loss):
    client, (first, _) = reconnect([(sent, loss)], [(sent, reply)])
    assert call(client) == result
    assert first.closed


@pytest.mark.parametrize("loss", LOSSES[:5], ids=NAMES[:5])
@pytest.mark.parametrize(("call", "sent"), NOT_REPEATED)
def test_what_cannot_be_repeated_is_told_and_the_next_call_connects_again(reconnect, clock, call, sent, loss):
    client, (first, _) = reconnect([(sent, loss)], [PING])
    with pytest.raises(DisconnectedError) as caught:
        call(client)
    assert caught.value.confirmed == 0
    assert first.closed
    assert clock.sleeps == []
    client.ping()


@pytest.mark.parametrize(
    "signs", [[END], [RESET], [b"# drain\n"], [b"# x\n", b"# drain\n", END], [b"out of step\n"], [b"#"]]
)
@pytest.mark.parametrize(("call", "sent"), NOT_REPEATED)
def test_an_end_that_is_seen_before_anything_is_sent_is_nobodys_loss(reconnect, call, sent, signs):
    client, (first, _) = reconnect([], [(sent, b"ok\r\n" if sent[:1] == b"p" else b"+ 0\n")])
    first.say(*signs)
    call(client)
    assert first.closed
    first.pieces.clear()


def test_a_publish_is_not_sent_twice_but_what_follows_is(reconnect):
    """A connection that ends between two windows is replaced; a window that was sent is not sent again."""
    window = (b"px\n" * 1000, b"ok\r\n" * 1000)
    client, (first, second, _) = reconnect([window], [window, (b"px\n" * 1000, [b"ok\r\n" * 10, END])], [PING])

    def bodies():
        for number in range(3000):
            if number == 1001:  # of the second window
                first.say(END)
            yield b"x"

    with pytest.raises(DisconnectedError) as caught:
        client.publish(bodies())
    assert caught.value.confirmed == 2010
    assert first.closed
    assert second.closed
    client.ping()


def test_a_server_that_does_not_come_back_between_two_windows(reconnect, clock):
    client, (first, *_) = reconnect([(b"px\n" * 1000, [b"ok\r\n" * 1000, END])], *[REFUSED] * 3, reconnect_seconds=0.06)
    with pytest.raises(ServerUnreachableError) as caught:
        client.publish([b"x"] * 1001)
    assert caught.value.confirmed == 1000
    assert clock.sleeps == pytest.approx([0.05, 0.01])
    assert first.closed


def test_pauses_grow_until_it_is_there(reconnect, clock):
    client, _ = reconnect([(b"z\n", [END])], *[REFUSED] * 8, [PING])
    client.ping()
    assert clock.sleeps == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0])


@pytest.mark.parametrize(("loss", "error"), [(END, DisconnectedError), (b"- drain stopping\n", RefusedError)])
def test_after_so_many_seconds_it_gives_up(reconnect, clock, loss, error):
    client, _ = reconnect([(b"z\n", [loss])], [(b"z\n", [loss])], [(b"z\n", [loss])], [PING], reconnect_seconds=0.12)
    with pytest.raises(error):
        client.ping()
    assert sum(clock.sleeps) == pytest.approx(0.12)
    client.ping()


def test_nobody_comes_back(reconnect):
    client, _ = reconnect([(b"z\n", [END])], REFUSED, REFUSED, reconnect_seconds=0.1)
    with pytest.raises(ServerUnreachableError, match="Connection refused"):
        client.ping()


@pytest.mark.parametrize("call", ["ping", "stats", "topics", "peek", "consume", "lease"])
def test_0_seconds_turn_it_off(reconnect, clock, call):
    client, (peer,) = reconnect([], reconnect_seconds=0)
    peer.say(END)
    for _ in range(2):
        with pytest.raises(DisconnectedError, match=r"^queue\.example:9000 closed the connection$"):
            getattr(client, call)()
    assert clock.sleeps == []


def test_what_was_chosen_is_chosen_again(reconnect):
    again = [(b"tnews\n", b"+ news\n"), (b"ga\n", b"+ a\n"), (b"b2\n", b"+ \n")]
    first = [(b"b2\n", b"+ \n"), (b"tnews\n", b"+ news\n"), (b"ga\n", b"+ a\n"), (b"z\n", [END])]
    client, _ = reconnect(first, [*again, PING], details=True)
    client.use("news", "a")
    client.ping()


def test_a_topic_that_is_refused_the_second_time(reconnect):
    client, (_, second, _) = reconnect(
        [(b"ga\n", b"+ a\n"), (b"z\n", [END])],
        [(b"ga\n", b"- full too many groups\n")],
        [(b"ga\n", b"+ a\n"), PING],
        group="a",
    )
    with pytest.raises(RefusedError, match=r"^full: too many groups$"):
        client.ping()
    assert second.closed
    client.ping()


def test_a_wait_is_not_begun_anew_by_a_new_connection(reconnect, clock):
    client, _ = reconnect([(b"w60.000 1\n", [END])], REFUSED, [(b"w59.850 1\n", b".\n")], reconnect_seconds=30)
    assert client.consume(wait_seconds=60) == []
    assert clock.sleeps == pytest.approx([0.05, 0.1])


def test_a_wait_that_is_over_by_then_asks_once_more(reconnect):
    client, _ = reconnect([(b"w0.010 1\n", [END])], [(b"w0.000 1\n", b"= 0 1 a\n.\n")])
    assert client.consume(wait_seconds=0.01) == [b"a"]


def test_the_time_to_reconnect_runs_from_the_loss(reconnect, clock):
    """Not from the start of a call that waited for longer than that."""

    def end_later():
        clock.now += 40
        return END

    client, _ = reconnect(
        [(b"w60.000 1\n", [end_later])], [(b"w19.950 1\n", [end_later])], REFUSED, [(b"w0.000 1\n", b".\n")]
    )
    assert client.consume(wait_seconds=60) == []
    assert clock.sleeps == pytest.approx([0.05, 0.05, 0.1])


def test_silence_is_not_waited_for_again_and_again(reconnect, clock):
    def say_nothing():
        clock.now += 10
        raise TimeoutError

    silent = [(b"z\n", [say_nothing])]
    client, _ = reconnect(silent, silent, silent, silent, reconnect_seconds=25)
    with pytest.raises(DisconnectedError, match="did not answer in time"):
        client.ping()


def test_a_server_that_is_full_is_tried_again(network, clock):
    first, full, third = network([(b"z\n", [END])], [], [PING])
    full.exchanges[0] = (b"zready\n", b"- full too many connections\r\n")
    client = Client("queue.example", 9000)
    client.ping()
    assert first.closed
    assert full.closed
    assert not third.closed
    assert clock.sleeps == pytest.approx([0.05, 0.1])


def test_a_server_that_stays_full(network):
    scripts = network([(b"z\n", [END])], [], [])
    for full in scripts[1:]:
        full.exchanges[0] = (b"zready\n", b"- full too many connections\r\n")
    client = Client("queue.example", 9000, reconnect_seconds=0.06)
    with pytest.raises(RefusedError, match=r"^full: too many connections$"):
        client.ping()


def test_jitter(monkeypatch, clock):
    monkeypatch.setattr("random.uniform", lambda least, _most: least)
    backoff = Backoff(100)
    for _ in range(8):
        assert backoff.wait()
    assert clock.sleeps[0] == FIRST_PAUSE_SECONDS / 2
    assert clock.sleeps[-1] == LAST_PAUSE_SECONDS / 2


def test_an_interrupt_is_not_waited_with(reconnect, clock):
    client, (first, _) = reconnect([(b"z\n", [KeyboardInterrupt()])], [PING])
    with pytest.raises(KeyboardInterrupt):
        client.ping()
    assert first.closed
    assert clock.sleeps == []
    client.ping()


def test_all_that_a_client_meets_is_a_client_error():
    assert {DisconnectedError.__base__, RefusedError.__base__, ServerUnreachableError.__base__} == {ClientError}
