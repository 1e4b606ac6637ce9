"""How a client connects, and how it reads."""

from __future__ import annotations

import socket

import pytest

import gstream
from gstream.client import Client
from gstream.client.message import MAX_BODY_BYTES
from gstream.client.wire import CONNECT_SECONDS, LINE_BYTES, WHOLE_BYTES, where
from gstream.errors import DisconnectedError, RefusedError, ServerUnreachableError

BANNER = b"pXXX -> publish content XXX\r\nc -> consume new content\r\nq -> close stream\r\n"
READY = b"+ ready\n"
END = b""


@pytest.mark.parametrize(
    "greeting",
    [
        READY,
        BANNER + READY,
        [BANNER[:40], BANNER[40:], READY],
        b"# hello\n" + BANNER + READY,
        b"any other banner\n" * 10 + READY,
    ],
    ids=["no banner", "banner", "in pieces", "a notice", "another banner"],
)
def test_the_banner_is_skipped_if_there_is_one(connect, greeting):
    client, _ = connect((b"z\n", b"+ \n"), greeting=(b"zready\n", greeting))
    client.ping()


@pytest.mark.parametrize(
    ("greeting", "error", "text"),
    [
        ([END], ServerUnreachableError, "queue.example:9000 closed the connection"),
        ([BANNER, END], ServerUnreachableError, "queue.example:9000 closed the connection"),
        ([b"+ rea", END], ServerUnreachableError, "queue.example:9000 closed the connection"),
        ([BANNER], ServerUnreachableError, "queue.example:9000 did not answer in time"),
        (
            [ConnectionResetError(104, "Connection reset by peer")],
            ServerUnreachableError,
            "queue.example:9000 closed the connection: Connection reset by peer",
        ),
        (b"- full too many connections\r\n", RefusedError, "full: too many connections"),
    ],
    ids=["closed", "closed behind the banner", "closed within a line", "silent", "reset", "refused"],
)
def test_who_is_not_greeted_is_told_and_the_socket_closed(network, greeting, error, text):
    (peer,) = network([], greeting=(b"zready\n", greeting))
    with pytest.raises(error) as caught:
        Client("queue.example", 9000)
    assert type(caught.value) is error
    assert str(caught.value) == text
    assert peer.closed


@pytest.mark.parametrize(
    "greeting", [b"220 mail.example\r\n" * 100, b"# x\n" * 100_000, b"x" * 100_000], ids=["lines", "notices", "a line"]
)
def test_another_server_is_told_from_ours_whatever_it_says(monkeypatch, network, greeting):
    (peer,) = network([], greeting=(b"zready\n", greeting))
    with pytest.raises(ServerUnreachableError, match=r"^what answers at queue\.example:9000 is no gstream server$"):
        Client("queue.example", 9000)
    assert peer.closed
    peer.pieces.clear()  # the rest of it


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError("timed out"), "timed out"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
    ],
)
def test_nobody_there_is_told_at_once(network, clock, error, reason):
    network(error)
    with pytest.raises(ServerUnreachableError) as caught:
        Client("queue.example", 9000)
    assert str(caught.value) == f"no gstream server at queue.example:9000: {reason}"
    assert isinstance(caught.value, gstream.ClientError)
    assert clock.sleeps == []


def test_a_unix_socket_is_named_by_its_path(tmp_path):
    with pytest.raises(ServerUnreachableError, match=f"^no gstream server at {tmp_path}/none: No such file"):
        Client(socket_path=f"{tmp_path}/none")


def test_small_messages_are_sent_at_once(connect):
    _, peer = connect()
    assert peer.options[0] == (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@pytest.mark.parametrize(("timeout", "seconds"), [(60, 60), (0.1, CONNECT_SECONDS)])
def test_the_greeting_is_waited_for_as_long_as_any_answer(network, timeout, seconds):
    (peer,) = network([], greeting=(b"zready\n", []))
    with pytest.raises(ServerUnreachableError, match="did not answer in time"):
        Client("queue.example", 9000, timeout=timeout)
    assert peer.timeouts[-1] == pytest.approx(seconds)


def test_the_address_of_a_text_can_be_read():
    assert where(("::1", 8080)) == "[::1]:8080"
    assert where(("queue.example", 8080)) == "queue.example:8080"
    assert where("/run/gstream.sock") == "/run/gstream.sock"


@pytest.mark.parametrize(
    ("body", "taken", "ending"),
    [
        (b"a", [], None),
        (b"a" * WHOLE_BYTES, [], b"reset"),
        (b"a", [(b"p", b"")], b"reset"),
        (b"a", [(b"pa\n", b"")], None),
        (b"a" * WHOLE_BYTES, [(b"p" + b"a" * WHOLE_BYTES + b"\n", b"")], None),
    ],
    ids=["nothing", "nothing of much", "a part", "all", "all of much"],
)
def test_who_gives_up_on_the_way_resets_and_nobody_else(connect, body, taken, ending):
    """At an orderly end the server takes an unfinished line for a command; after a reset it forgets what was read."""
    whole = bool(taken) and taken[0][0].endswith(b"\n")
    client, peer = connect(*taken, *([] if whole else [(TimeoutError("timed out"), b"")]))
    peer.chunk = None if whole else 1
    with pytest.raises(DisconnectedError, match="did not answer in time"):
        client.publish(body)
    assert peer.closed_with == ending


def test_much_is_sent_so_that_who_is_killed_resets(connect):
    client, peer = connect((b"p" + b"a" * WHOLE_BYTES + b"\n", b"ok\r\n"), (b"z\n", b"+ \n"))
    peer.sent_with.clear()
    client.publish(b"a" * WHOLE_BYTES)
    client.ping()
    assert peer.sent_with == [b"reset", None]


def test_what_is_taken_in_parts_is_sent_whole(connect):
    """Each part has the timeout for itself."""
    client, peer = connect((b"pHello\npworld\n", b"ok\r\nok\r\n"))
    peer.chunk = 5
    assert client.publish([b"Hello", b"world"]) == 2
    assert len(peer.windows) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, []),
        ({"topic": "default", "group": "default"}, []),
        ({"topic": "news"}, [(b"tnews\n", b"+ news\n")]),
        ({"group": "a"}, [(b"ga\n", b"+ a\n")]),
        ({"details": True}, [(b"b2\n", b"+ \n")]),
        (
            {"topic": "news", "group": "a", "details": True},
            [(b"tnews\n", b"+ news\n"), (b"ga\n", b"+ a\n"), (b"b2\n", b"+ \n")],
        ),
    ],
    ids=["nothing", "what is usual", "topic", "group", "details", "all"],
)
def test_only_what_is_not_usual_is_told(connect, arguments, said):
    client, _ = connect(*said, **arguments)
    assert (client.topic, client.group) == (arguments.get("topic", "default"), arguments.get("group", "default"))


def test_a_topic_that_is_refused(network):
    (peer,) = network([(b"tno spaces\n", b"- name a name is letters\n")])
    with pytest.raises(RefusedError, match=r"^name: a name is letters$"):
        Client("queue.example", 9000, topic="no spaces")
    assert peer.closed


@pytest.mark.parametrize("name", ["", "a\nb", "a\r"])
def test_a_name_that_would_not_stay_a_line_is_not_sent(name):
    with pytest.raises(ValueError, match="a name is 1 to 249 letters"):
        Client("queue.example", 9000, topic=name)


# --- reading


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (b"- full no room here\r\n", "full", "full: no room here"),
        (b"- busy\n", "busy", "busy: "),
        (b"- odd \xff\n", "odd", "odd: \ufffd"),
    ],
)
def test_refusals_are_read_however_they_look(connect, line, code, text):
    client, _ = connect((b"z\n", line), (b"z\n", b"+ \n"))
    with pytest.raises(RefusedError) as caught:
        client.ping()
    assert (caught.value.code, str(caught.value)) == (code, text)
    client.ping()


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ([END], "closed the connection"),
        ([b"+", END], "closed the connection"),
        ([], "did not answer in time"),
        ([b"+ "], "did not answer in time"),
        ([ConnectionResetError(104, "Connection reset by peer")], "closed the connection: Connection reset by peer"),
    ],
)
def test_a_server_that_is_lost(connect, reply, text):
    client, peer = connect((b"z\n", reply), timeout=3.0)
    with pytest.raises(DisconnectedError) as caught:
        client.ping()
    assert str(caught.value) == f"queue.example:9000 {text}"
    assert peer.closed
    assert peer.timeouts[-1] == 3.0
    with pytest.raises(DisconnectedError, match=r"^the connection to queue.example:9000 is lost$"):
        client.ping()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (BrokenPipeError(32, "Broken pipe"), "closed the connection: Broken pipe"),
        (TimeoutError("timed out"), "did not answer in time"),
    ],
)
def test_a_server_that_cannot_be_sent_to(connect, error, text):
    client, peer = connect((error, b""))
    with pytest.raises(DisconnectedError, match=f"^queue.example:9000 {text}$"):
        client.publish(b"a")
    assert peer.closed


def test_a_line_without_an_end_is_not_collected_for_ever(connect):
    client, peer = connect((b"z\n", [b"x" * (LINE_BYTES + 1), b"y" * 100]))
    with pytest.raises(DisconnectedError, match="where the end of a line was expected"):
        client.ping()
    assert peer.closed
    peer.pieces.clear()


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"$ 0 1 %d\n" % (MAX_BODY_BYTES + 1), "answered b'a body of 1073741825 bytes' where a message was expected"),
        (b"$ 0 1 3\nabcd\n", "answered b'a body without a line ending' where a message was expected"),
        (b"$ 0 1 x\n", r"answered b'\$ 0 1 x\\n' where a message was expected"),
        (b"$ 0 1 1234567890123456789\n", "where a message was expected"),
        (b"= a 1 x\n", r"answered b'= a 1 x\\n' where a message was expected"),
        (b"= 0 1\n", "where a message was expected"),
        (b"+ odd\n", "where a message was expected"),
        (b"HTTP/1.1 200 OK\r\n", "where a message was expected"),
        (b"= 0 1 a\n= 1 1 b\n.\n", "answered b'more than 1 messages' where their end was expected"),
    ],
)
def test_garbage_ends_the_connection(connect, reply, text):
    client, peer = connect((b"v1\n", reply))
    with pytest.raises(DisconnectedError, match=text):
        client.peek()
    assert peer.closed


def test_an_answer_to_nothing_ends_the_connection(connect):
    client, peer = connect()
    peer.say(b"+ what?\n")
    with pytest.raises(DisconnectedError, match=r"answered b'\+ what\?\\n' where nothing was expected"):
        client.ping()
    assert peer.closed


def test_notices_are_skipped_wherever_they_come(connect):
    client, peer = connect((b"v9\n", b"# a\n= 0 1 a\n# b\n= 1 1 b\n# c\n.\n"), (b"z\n", b"# d\n+ \n"))
    assert [message.body for message in client.peek(9)] == [b"a", b"b"]
    peer.say(b"# e\n", b"# f\n")
    client.ping()


def test_a_long_counted_body_is_received_in_big_pieces(connect):
    body = bytes(range(256)) * 40_000
    client, peer = connect((b"v1\n", b"$ 0 1 %d\n%b\n.\n" % (len(body), body)))
    assert client.peek()[0].body == body
    assert len(peer.timeouts) < 20


def test_a_closed_client_says_so(connect):
    client, peer = connect()
    with client as entered:
        assert entered is client
        assert not peer.closed
    assert peer.closed
    client.close()
    with pytest.raises(RuntimeError, match=r"^this client is closed$"):
        client.ping()


def test_an_interrupt_leaves_no_reply_behind(connect):
    client, peer = connect((b"z\n", [InterruptedByUser()]))
    with pytest.raises(InterruptedByUser):
        client.ping()
    assert peer.closed


class InterruptedByUser(Exception):
    """What a signal's handler may raise anywhere."""
