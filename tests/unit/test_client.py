"""The client, with a socket that is none."""

from __future__ import annotations

import io
import socket

import pytest

import gstream
from gstream.client import CONNECT_SECONDS, WINDOW_BYTES, WINDOW_MESSAGES, Client
from gstream.errors import DisconnectedError, RefusedError, ServerUnreachableError
from gstream.protocol import BANNER

READY = b"+ ready\n"


class FakeSocket:
    """What a Client uses of a socket. Its replies are written beforehand; behind them comes ``end``.

    end: b"" for a server that has closed, or an error to be raised.
    """

    def __init__(self, replies, end=b"", send_error=None):
        self.replies = io.BytesIO(replies)
        self.end = end
        self.send_error = send_error
        self.sent = bytearray()
        self.windows = []
        self.timeouts = []
        self.closed = False

    def settimeout(self, seconds):
        self.timeouts.append(seconds)

    def setsockopt(self, *option):
        self.option = option

    def sendall(self, data):
        if self.send_error is not None and self.sent:
            raise self.send_error
        self.sent += data
        self.windows.append(bytes(data))

    def makefile(self, mode):
        assert mode == "rb"
        return self

    def recv(self, size):
        return self._or_end(self.replies.read(size))

    def readline(self):
        return self._or_end(self.replies.readline())

    def _or_end(self, data):
        if not data and isinstance(self.end, Exception):
            raise self.end
        return data

    def read(self, size):
        return self.replies.read(size)

    def close(self):
        self.closed = True


@pytest.fixture
def connect(monkeypatch):
    """``connect(replies)``: a client and its socket, greeted."""

    def connect(replies, greeting=BANNER + READY, *, timeout=10.0, **fake):
        sock = FakeSocket(greeting + replies, **fake)
        monkeypatch.setattr(socket, "create_connection", lambda *_, **__: sock)
        client = Client("queue.example", 9000, timeout=timeout)
        assert bytes(sock.sent) == b"zready\n"
        sock.sent.clear()
        sock.windows.clear()
        return client, sock

    return connect


@pytest.mark.parametrize(
    "greeting",
    [READY, BANNER + READY, b"# drain the server is stopping\n" + BANNER + READY, b"any other banner\n" * 10 + READY],
    ids=["no banner", "banner", "a notice", "another banner"],
)
def test_the_banner_is_skipped_if_there_is_one(connect, greeting):
    client, sock = connect(b"+ \n", greeting)
    assert max(sock.timeouts[:-1]) == CONNECT_SECONDS
    assert sock.timeouts[-1] == 10.0
    client.ping()
    assert bytes(sock.sent) == b"z\n"


@pytest.mark.parametrize(
    ("greeting", "error", "text"),
    [
        (b"", DisconnectedError, "queue.example:9000 closed the connection"),
        (BANNER, DisconnectedError, "queue.example:9000 closed the connection"),
        (b"+ rea", DisconnectedError, "queue.example:9000 closed the connection"),
        (
            b"220 mail.example\r\n" * 100,
            ServerUnreachableError,
            "what answers at queue.example:9000 is no gstream server",
        ),
        (b"# x\n" * 100_000, ServerUnreachableError, "what answers at queue.example:9000 is no gstream server"),
        (b"x" * 100_000, ServerUnreachableError, "what answers at queue.example:9000 is no gstream server"),
        (b"- full too many connections\r\n", RefusedError, "full: too many connections"),
    ],
    ids=[
        "closed",
        "closed behind the banner",
        "closed within a line",
        "another server",
        "notices",
        "a line",
        "refused",
    ],
)
def test_who_is_not_greeted_is_told_and_the_socket_closed(monkeypatch, greeting, error, text):
    sock = FakeSocket(greeting)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: sock)
    with pytest.raises(error) as caught:
        Client("queue.example", 9000)
    assert type(caught.value) is error
    assert str(caught.value) == text
    assert sock.closed


def test_a_server_that_says_nothing(monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: FakeSocket(b"", TimeoutError("timed out")))
    with pytest.raises(DisconnectedError, match=r"^queue\.example:9000 did not answer in time"):
        Client("queue.example", 9000)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError("timed out"), "timed out"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
    ],
)
def test_nobody_there(monkeypatch, error, reason):
    def fail(address, timeout):
        assert (address, timeout) == (("queue.example", 9000), CONNECT_SECONDS)
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    with pytest.raises(ServerUnreachableError) as caught:
        Client("queue.example", 9000)
    assert str(caught.value) == f"no gstream server at queue.example:9000: {reason}"
    assert isinstance(caught.value, gstream.ClientError)


def test_small_messages_are_sent_at_once(connect):
    _, sock = connect(b"")
    assert sock.option == (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def test_leaving_the_block_closes(connect):
    client, sock = connect(b"")
    with client as entered:
        assert entered is client
        assert not sock.closed
    assert sock.closed


# --- publish


@pytest.mark.parametrize(
    ("bodies", "sent"),
    [
        ([], b""),
        ([b""], b"p\n"),
        ([b"Hello"], b"pHello\n"),
        ([b"one", b"", b"p\0\xff", b"a\rb"], b"pone\np\npp\0\xff\npa\rb\n"),
    ],
)
def test_publish_sends_lines_and_counts_the_oks(connect, bodies, sent):
    client, sock = connect(b"ok\r\n" * len(bodies))
    assert client.publish(bodies) == len(bodies)
    assert bytes(sock.sent) == sent


def test_publish_sends_no_more_than_its_window_before_it_reads(connect):
    client, sock = connect(b"ok\r\n" * 2500)
    assert client.publish(iter([b"x"] * 2500)) == 2500
    assert [window.count(b"\n") for window in sock.windows] == [WINDOW_MESSAGES, WINDOW_MESSAGES, 500]


def test_a_window_is_bounded_in_bytes_too(connect):
    client, sock = connect(b"ok\r\n" * 7)
    bodies = [bytes(100_000)] * 5 + [bytes(1_000_000), b"x"]
    assert client.publish(bodies) == 7
    assert bytes(sock.sent) == b"".join(b"p" + body + b"\n" for body in bodies)
    assert [window.count(b"\n") for window in sock.windows] == [2, 2, 1, 1, 1]
    assert all(len(window) <= WINDOW_BYTES + 100 or window.count(b"\n") == 1 for window in sock.windows)


@pytest.mark.parametrize("body", [b"\n", b"a\nb", b"a\n", b"\r", b"a\r"])
def test_a_body_that_a_line_cannot_carry_is_refused_before_it_is_sent(connect, body):
    client, sock = connect(b"")
    with pytest.raises(ValueError, match="cannot hold LF or end in CR"):
        client.publish([b"good", body])
    assert sock.sent == b""


def test_a_refusal_tells_how_many_were_stored(connect):
    client, _ = connect(b"ok\r\n" * 1002 + b"- full no room\n" + b"ok\r\n" + b"- toobig too long\n" + b"+ \n")
    with pytest.raises(RefusedError) as caught:
        client.publish([b"x"] * 1005)
    assert (caught.value.code, str(caught.value), caught.value.confirmed) == ("full", "full: no room", 1003)
    client.ping()  # it is still in step


def test_nothing_is_sent_behind_a_window_that_was_refused(connect):
    client, sock = connect(b"- full no room\n" * 1000)
    with pytest.raises(RefusedError) as caught:
        client.publish([b"x"] * 3000)
    assert caught.value.confirmed == 0
    assert len(sock.windows) == 1


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (b"- full no room here\r\n", "full", "full: no room here"),
        (b"- drain\n", "drain", "drain: "),
        (b"- odd \xff\n", "odd", "odd: \ufffd"),
    ],
)
def test_refusals_are_read_however_they_look(connect, line, code, text):
    client, _ = connect(line)
    with pytest.raises(RefusedError) as caught:
        client.publish([b"x"])
    assert (caught.value.code, str(caught.value)) == (code, text)


def test_an_answer_that_is_no_ok(connect):
    client, _ = connect(b"ko\r\n")
    with pytest.raises(DisconnectedError, match=r"queue.example:9000 answered b'ko\\r\\n' where ok was expected"):
        client.publish([b"x"])


def test_notices_are_skipped(connect):
    client, _ = connect(b"ok\r\n# drain the server is stopping\nok\r\n")
    assert client.publish([b"a", b"b"]) == 2


@pytest.mark.parametrize("replies", [b"ok\r\n", b"ok\r\nok"])
def test_a_server_that_closes_while_it_is_published_to(connect, replies):
    client, _ = connect(replies)
    with pytest.raises(DisconnectedError, match=r"^queue\.example:9000 closed the connection"):
        client.publish([b"a", b"b"])


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (TimeoutError("timed out"), "queue.example:9000 did not answer in time"),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            "queue.example:9000 closed the connection: Connection reset by peer",
        ),
    ],
)
def test_a_server_that_is_lost(connect, end, text):
    client, _ = connect(b"ok\r\n", end=end)
    with pytest.raises(DisconnectedError) as caught:
        client.publish([b"a", b"b"])
    assert str(caught.value) == text


def test_a_server_that_cannot_be_sent_to(connect):
    client, sock = connect(b"")
    sock.sent += b"."
    sock.send_error = BrokenPipeError(32, "Broken pipe")
    with pytest.raises(DisconnectedError, match=r"^queue\.example:9000 closed the connection: Broken pipe"):
        client.publish([b"a"])


# --- consume


@pytest.mark.parametrize(
    ("replies", "bodies"),
    [
        (b".\n", []),
        (b"= 0 1 Hello\n.\n", [b"Hello"]),
        (b"= 0 1 \n.\n", [b""]),
        (b"= 7 2  two  words \n= 8 1 = 1 1 x\n= 9 1 .\n.\n", [b" two  words ", b"= 1 1 x", b"."]),
        (b"$ 0 1 3\na\rb\n= 1 1 b\n.\n", [b"a\rb", b"b"]),
        (b"$ 0 1 1\n\0\n$ 1 1 2\n\r\r\n.\n", [b"\0", b"\r\r"]),
        (b"= 0 1 a\n# drain now\n= 1 1 b\n.\n", [b"a", b"b"]),
        (b"= 0 1 \xff\xfe\n.\n", [b"\xff\xfe"]),
    ],
)
def test_consume_gives_the_bodies(connect, replies, bodies):
    client, sock = connect(replies)
    assert client.consume(10) == bodies
    assert bytes(sock.sent) == b"w0.000 10\n"


@pytest.mark.parametrize(
    ("arguments", "sent", "timeout"),
    [
        ({}, b"w0.000 1\n", 3.0),
        ({"count": 100}, b"w0.000 100\n", 3.0),
        ({"wait_seconds": 5}, b"w5.000 1\n", 8.0),
        ({"count": 2, "wait_seconds": 0.25}, b"w0.250 2\n", 3.25),
    ],
)
def test_how_long_consume_waits(connect, arguments, sent, timeout):
    client, sock = connect(b".\n", timeout=3.0)
    sock.timeouts.clear()
    assert client.consume(**arguments) == []
    assert bytes(sock.sent) == sent
    assert sock.timeouts == [timeout, 3.0]


def test_what_consume_sends_is_what_the_server_takes(connect, decode):
    client, sock = connect(b"= 0 1 a\n.\n.\n")
    client.consume(5, wait_seconds=None)
    client.consume(1, wait_seconds=0.0004)
    assert decode([bytes(sock.sent)]).commands == [("w", 3600.0, 5, True, b"\n"), ("w", 0.0, 1, True, b"\n")]


@pytest.mark.parametrize("seconds", [None, 1e8], ids=str)
def test_a_long_wait_is_made_of_several(connect, seconds):
    client, sock = connect(b".\n.\n= 0 1 a\n.\n", timeout=3.0)
    sock.timeouts.clear()
    assert client.consume(2, wait_seconds=seconds) == [b"a"]
    assert bytes(sock.sent) == b"w3600.000 2\n" * 3
    assert sock.timeouts == [3603.0] * 3 + [3.0]


def test_several_waits_take_the_time_that_was_given(connect):
    client, sock = connect(b".\n.\n.\n")
    assert client.consume(wait_seconds=7200.5) == []
    assert bytes(sock.sent) == b"w3600.000 1\nw3600.000 1\nw0.500 1\n"


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        (b"", DisconnectedError),
        (b"= 0 1 a\n", DisconnectedError),
        (b"= 0 1 a\n= 1 1 b", DisconnectedError),
        (b"+ odd\n", DisconnectedError),
        (b"- internal a bug\n", RefusedError),
    ],
)
def test_a_list_that_does_not_end_well(connect, replies, error):
    client, sock = connect(replies)
    with pytest.raises(error):
        client.consume(10)
    assert sock.timeouts[-1] == 10.0


@pytest.mark.parametrize("rest", [b"", b"a", b"a\r", b"a\rb", b"a\rb."])
def test_a_counted_message_that_does_not_end_well(connect, rest):
    client, _ = connect(b"$ 0 1 3\n" + rest)
    with pytest.raises(DisconnectedError):
        client.consume(10)
