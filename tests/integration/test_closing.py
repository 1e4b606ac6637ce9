"""No reply is lost on close; what does not fit is refused in its place; who speaks something else is turned away."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gstream.errors import ListenError
from gstream.protocol import BANNER
from gstream.testing import TIMEOUT_SECONDS, ServerProcess, ServerThread, Session, wait_until

RUNS = 30
MIB = 1 << 20
EVIL = b"pEvil\n" * 100_000
TOO_BIG = b"- toobig longer than %d bytes, the server's --max-message"


# --- closing


def test_a_client_that_goes_on_sending_after_quit_gets_its_replies(server: ServerThread) -> None:
    for _ in range(RUNS):
        with Session(server) as client:
            client.send(b"pHello\nc\nunknown\nq\n" + b"pEvil\n" * (MIB // 2))
            client.expect(b"ok\r\nHello\n- unknown no such command; h lists them\n")
            client.expect_closed()
    assert backlog(server) == 0


def test_a_client_that_never_stops_sending_gets_its_replies(server: ServerThread) -> None:
    with Session(server) as client:

        def send_for_ever() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    client.send(b"pEvil\n" * 10_000)

        client.send(b"pHello\nq\n")
        sender = threading.Thread(target=send_for_ever)
        sender.start()
        client.expect(b"ok\r\n")
        client.expect_closed()
        sender.join(TIMEOUT_SECONDS)
        assert not sender.is_alive(), "the server reads for ever"
    assert backlog(server) == 1


def test_everything_before_quit_is_answered(server: ServerThread) -> None:
    with Session(server) as client:
        client.send(b"pHello\n" * 10_000 + b"q\npEvil\n")
        assert client.read_all() == b"ok\r\n" * 10_000
    assert backlog(server) == 10_000


def test_a_half_closed_client_gets_everything(server: ServerThread) -> None:
    messages = [b"%d " % number + b"x" * 1000 for number in range(10_000)]
    with Session(server) as client:
        client.send(b"p" + b"\np".join(messages))  # the last line without its ending
        client.half_close()
        assert client.read_all() == b"ok\r\n" * 10_000
    with Session(server) as client:
        client.send(b"c\n" * 10_000)
        client.half_close()
        assert client.read_all() == b"".join(message + b"\n" for message in messages)


# --- other protocols


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_http_request_with_a_large_body(server: ServerThread, ending: bytes) -> None:
    head = ending.join((b"POST /c HTTP/1.1", b"Host: localhost", b"Content-Length: %d" % len(EVIL), b"", b""))
    for _ in range(RUNS):
        with Session(server) as client:
            client.send(head + EVIL)
            check_refusal(client.read_all())
    assert backlog(server) == 0


@pytest.mark.parametrize("line", [b"GET / HTTP/1.0\r\n", b"HEAD /q HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n"])
def test_http_request_line_alone(server: ServerThread, line: bytes) -> None:
    with Session(server) as client:
        client.send(line)
        check_refusal(client.read_all())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_http_client(method: str) -> None:
    with ServerThread(banner=False) as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=TIMEOUT_SECONDS)
        connection.request(method, "/p", body=EVIL if method == "POST" else None)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        assert response.status == 400
        assert response.getheader("Connection") == "close"
        assert b"gstream" in body
        assert backlog(server) == 0


def check_refusal(response: bytes) -> None:
    head, _, body = response.partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")
    assert status == b"HTTP/1.1 400 Bad Request"
    assert b"Content-Length: %d" % len(body) in fields
    assert b"gstream" in body


@pytest.mark.parametrize("banner", [True, False])
def test_tls_client(banner: bool) -> None:
    context = ssl.create_default_context()
    with ServerProcess(*([] if banner else ["--no-banner"])) as process:
        with (
            socket.create_connection((process.host, process.port), TIMEOUT_SECONDS) as plain,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            context.wrap_socket(plain, server_hostname="localhost")
        wait_until(lambda: "client speaks tls, not this protocol" in process.log, "the server logs it")


def test_nothing_behind_a_tls_hello_is_executed(server: ServerThread) -> None:
    with Session(server) as client:
        client.send(b"\x16\x03\x01\x02\x00\x01\npEvil\n")
        client.expect_closed()
    assert backlog(server) == 0


# --- limits


@pytest.mark.parametrize("eol", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_too_long_lines_are_refused_in_their_place(eol: bytes) -> None:
    too_big = TOO_BIG % 1000 + eol
    with ServerThread(max_message_bytes=1000) as server, Session(server) as client:
        for size in (1001, 5000, MIB, 5 * MIB):
            long = b"x" * size
            lines = [b"pone", b"p" + long, b"ptwo", b"c" + long, b"x" + long, b"p" + b"x" * 1000, b"c", b"c", b"znext"]
            client.send(eol.join(lines) + eol)
            client.expect(b"ok\r\n" + too_big + b"ok\r\n" + too_big * 2 + b"ok\r\n")
            client.expect(b"one" + eol + b"two" + eol + b"+ next" + eol)
            client.send(b"c\n")
            client.expect(b"x" * 1000 + b"\n")


def test_a_huge_line_costs_no_memory(process: ServerProcess) -> None:
    piece = b"x" * (4 * MIB)
    with Session(process) as client:
        client.send(b"p" + piece + b"\n")  # what a long line costs at all
        client.expect(TOO_BIG % MIB + b"\n")
        before = process.rss_bytes
        most = 0
        client.send(b"p")
        for _ in range(50):
            client.send(piece)
            most = max(most, process.rss_bytes)
        client.send(b"\n")
        client.expect(TOO_BIG % MIB + b"\n")
        client.expect_nothing()
        assert max(most, process.rss_bytes) - before < 8 * MIB


def test_full_memory_is_said_and_ends() -> None:
    full = b"- full no room within 66 bytes, the server's --max-memory; consume, or raise it\n"
    with ServerThread(max_memory_bytes=66) as server, Session(server) as client, Session(server) as other:
        client.send(b"".join(b"pmessage %d\n" % number for number in range(9)))  # 11 bytes each
        client.expect(b"ok\r\n" * 6 + full * 3)
        other.send(b"p\n")
        other.expect(full)
        client.send(b"c\n")
        client.expect(b"message 0\n")
        other.send(b"plast     \npnever\n")
        other.expect(b"ok\r\n" + full)
        client.send(b"c\n" * 10)
        client.expect(b"message 1\nmessage 2\nmessage 3\nmessage 4\nmessage 5\nlast     \n")
        client.expect_nothing()
        for number in range(100):  # the space comes back every time
            client.send(b"pmessage %02d\n" % number * 5 + b"c\n" * 5)
            client.expect(b"ok\r\n" * 5 + b"message %02d\n" % number * 5)


def test_too_many_connections() -> None:
    with ServerThread(max_connections=2) as server, Session(server) as first:
        for _ in range(RUNS):
            with Session(server) as second:
                with Session(server, banner=b"") as third:
                    third.send(b"pEvil\n")
                    assert third.read_all() == b"- full too many connections\r\n"
                second.expect_nothing()
            wait_until(lambda: count_sessions(server) == 1, "the second client is gone")
        first.send(b"c\n")
        first.expect_nothing()


def test_no_banner() -> None:
    with ServerThread(banner=False) as server, Session(server, banner=b"") as client:
        client.expect_nothing()
        client.send(b"pHello\nc\nq\n")
        assert client.read_all() == b"ok\r\nHello\n"


# --- the unix socket


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path / "gstream.sock")
    assert not (tmp_path / "gstream.sock").exists(), "the file was left behind"


def test_unix_socket(path: str) -> None:
    with ServerThread(socket=path) as server:
        with Session(path) as client, Session(server, banner=BANNER) as other:
            client.expect_nothing()
            client.send(b"pHello\n")
            client.expect(b"ok\r\n")
            other.send(b"c\n")
            other.expect(b"Hello\n")
        mode = os.stat(path).st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600


def test_unix_socket_file_that_was_left_behind(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(path)
    with ServerThread(socket=path), Session(path) as client:
        client.expect_nothing()


def test_unix_socket_after_kill(path: str) -> None:
    with ServerProcess("--socket", path) as killed:
        killed.kill()
    assert os.path.exists(path)
    with ServerProcess("--socket", path) as process:
        with Session(path) as client:
            client.expect_nothing()
        assert process.stop() == 0


def test_unix_socket_of_a_running_server(path: str) -> None:
    with ServerThread(socket=path):
        with pytest.raises(ListenError, match="a server is running there"):
            ServerThread(socket=path)
        with Session(path) as client:
            client.expect_nothing()


def test_unix_socket_where_a_file_is(path: str) -> None:
    Path(path).write_text("precious", encoding="ascii")
    with pytest.raises(ListenError, match="no socket"):
        ServerThread(socket=path)
    assert Path(path).read_text(encoding="ascii") == "precious"
    Path(path).unlink()


def test_unix_client_gets_its_replies_on_close(path: str) -> None:
    with ServerThread(socket=path):
        for _ in range(RUNS):
            with Session(path) as client:
                client.send(b"pHello\nc\nq\n")
                with contextlib.suppress(BrokenPipeError):  # it may be closed already
                    client.send(b"pEvil\n" * 1000)
                assert client.read_all() == b"ok\r\nHello\n"


def backlog(server: ServerThread) -> int:
    return server.call(lambda service: service.broker.topic().group().backlog)


def count_sessions(server: ServerThread) -> int:
    return server.call(lambda service: len(service._sessions.sessions))
