"""However a client ends: nothing half is executed, nothing that it got comes twice, nobody waits for ever."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

import gstream.connection
import gstream.watch
from gstream.testing import TIMEOUT_SECONDS, ServerThread, Session, wait_until

TIMES = 20


@pytest.mark.parametrize("before", [b"", b"z\n" * 50, b"w0\n", b"w\n", b"w60\n"], ids=["", "z", "w0", "w", "w60"])
def test_the_beginning_of_a_line_is_no_command_after_a_reset(server: ServerThread, before: bytes) -> None:
    for _ in range(TIMES):
        with Session(server) as client:
            client.send(before + b"pHalf a mess")
            client.reset()
    wait_until_nobody_is_there(server)
    assert backlog(server) == 0


@pytest.mark.parametrize("ask", [b"c\n" * 2000 + b"q\n", b"w0 2000\nq\n", b"c\n" * 2000], ids=["c", "w", "half close"])
def test_a_slow_reader_gets_everything_once(server: ServerThread, ask: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstream.connection, "LINGER_SECONDS", 0.01)
    publish(server, 2000, b"x" * 1000)
    with Session(server) as client:
        client.send(ask)
        client.half_close()
        wait_until(lambda: backlog(server) == 0, "all is on its way")
        after = time.monotonic() + 20 * gstream.connection.LINGER_SECONDS
        wait_until(lambda: time.monotonic() > after, "it has been waited for")
        received = client.read_all()
    wait_until_nobody_is_there(server)
    assert received.count(b"x" * 1000) == 2000
    assert backlog(server) == 0


def test_a_unix_client_that_never_reads_takes_nothing(tmp_path: object) -> None:
    with ServerThread(socket=f"{tmp_path}/socket") as server:
        publish(server, 1000)
        with Session(f"{tmp_path}/socket") as client:
            client.send(b"c\nz\n" * 1000)
            assert client.socket.recv(1, socket.MSG_PEEK)
        wait_until_nobody_is_there(server)
        assert backlog(server) == 1000


def test_little_is_remembered_of_what_a_unix_client_has_read(tmp_path: object) -> None:
    with ServerThread(socket=f"{tmp_path}/socket") as server:
        publish(server, 400_000)
        with Session(f"{tmp_path}/socket") as client:
            client.send(b"w0 400000\n")
            for number in range(200_000):  # the rest stays unread
                assert client.read_line() == b"= %d 1 x\n" % number
        wait_until_nobody_is_there(server)
        assert backlog(server) < 250_000


@pytest.mark.parametrize("leave", [Session.half_close, Session.close, Session.reset], ids=["half", "close", "reset"])
@pytest.mark.parametrize("ahead", [b"", b"z\n", b"pmore\n" * 20_000], ids=["nothing", "a command", "much"])
def test_a_wait_without_limit_ends_with_its_client(
    server: ServerThread, leave: Callable[[Session], None], ahead: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gstream.watch, "LOOK_SECONDS", 0.01)
    with Session(server) as client:
        client.send(b"w\n")
        wait_until(lambda: count_waiting(server) == 1, "it waits")
        client.send(ahead)
        leave(client)
        wait_until(lambda: count_waiting(server) == 0, "it waits no more")
    wait_until_nobody_is_there(server)


def test_any_wait_ends_when_its_client_is_gone(server: ServerThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstream.watch, "LOOK_SECONDS", 0.01)
    with Session(server) as client:
        client.send(b"w1000\nz\n")
        wait_until(lambda: count_waiting(server) == 1, "it waits")
        client.reset()
        wait_until(lambda: count_waiting(server) == 0, "it waits no more")


@pytest.mark.parametrize("ahead", [b"", b"z\r\n"], ids=["at once", "after a command"])
def test_ctrl_c_ends_a_wait(server: ServerThread, ahead: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstream.watch, "LOOK_SECONDS", 0.01)
    with Session(server) as client:
        client.send(b"w\r\n")
        wait_until(lambda: count_waiting(server) == 1, "it waits")
        client.send(ahead)
        client.send(b"\xff\xf4\xff\xfd\x06")
        client.expect(b".\r\n" + b"+ \r\n" * bool(ahead) + b"\xff\xfc\x06")


def test_a_client_that_comes_in_the_last_moment_does_not_hold_the_server() -> None:
    with ServerThread(grace_seconds=TIMEOUT_SECONDS) as server:
        clients = []

        def connect_and_stop(service: object) -> None:
            clients.append(socket.create_connection((server.host, server.port)))
            server.service.request_stop()

        started = time.monotonic()
        server.call(connect_and_stop)
        server.stop()
        assert time.monotonic() - started < TIMEOUT_SECONDS / 2
        for client in clients:
            client.close()


def test_stopping_again_is_harmless() -> None:
    with ServerThread() as server:
        server.stop()
        server.service.request_stop()
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port))


PATCHED = """
from gevent import monkey
monkey.patch_all()
import gevent
from gstream import Client, Config, Service
with Service(Config(port=0)) as service:
    def talk():
        with Client(port=service.port) as client:
            client.publish([b"one", b"two"])
            return client.consume(2)
    print(gevent.spawn(talk).get())
"""


def test_a_program_that_is_monkey_patched_can_embed_it() -> None:
    command = [sys.executable, "-c", PATCHED]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[b'one', b'two']\n", "", 0)


def publish(server: ServerThread, count: int, body: bytes = b"x") -> None:
    with Session(server) as producer:
        producer.send((b"p" + body + b"\n") * count)
        producer.expect(b"ok\r\n" * count)


def backlog(server: ServerThread) -> int:
    return server.call(lambda service: service.broker.topic().group().backlog)


def count_waiting(server: ServerThread) -> int:
    return server.call(lambda service: len(service.broker.topic().group().waiting))


def wait_until_nobody_is_there(server: ServerThread) -> None:
    wait_until(lambda: server.call(lambda service: service.connection_count) == 0, "all clients are gone")
