"""SIGTERM and SIGINT: what was read is answered, those who know typed replies are told, and it ends in time."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from gstream.testing import TIMEOUT_SECONDS, ServerProcess, Session, wait_until

GRACE_SECONDS = 10  # the default
MARGIN_SECONDS = 5  # what a busy machine may add
NOTICE = b"# drain the server is stopping"
MB = 1_000_000

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", SIGNALS)
def test_idle_server(process: ServerProcess, number: signal.Signals) -> None:
    assert process.stop(number) == 0
    assert process.log.endswith(" info stopped\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_clients_that_do_nothing_do_not_hold_it(process: ServerProcess, number: signal.Signals) -> None:
    with Session(process) as silent, Session(process) as half_a_line:
        half_a_line.send(b"pHello")
        started = time.monotonic()
        assert process.stop(number) == 0
        assert time.monotonic() - started < GRACE_SECONDS
        silent.expect_closed()
        half_a_line.expect_closed()


def test_only_clients_that_know_typed_replies_are_told(process: ServerProcess) -> None:
    with (
        Session(process) as silent,
        Session(process) as tutorial,
        Session(process) as typed,
        Session(process) as typed_crlf,
    ):
        tutorial.send(b"pHello\nc\n")
        tutorial.expect(b"ok\r\nHello\n")
        typed.send(b"z\n")
        typed.expect(b"+ \n")
        typed_crlf.send(b"w0\r\n")
        typed_crlf.expect(b".\r\n")
        process.process.send_signal(signal.SIGTERM)
        silent.expect_closed()
        tutorial.expect_closed()
        assert typed.read_all() == NOTICE + b"\n"
        assert typed_crlf.read_all() == NOTICE + b"\r\n"
    assert process.wait() == 0


def test_unix_client_is_told(tmp_path: object) -> None:
    path = f"{tmp_path}/socket"
    with ServerProcess("--socket", path) as process, Session(path) as typed, Session(path) as tutorial:
        typed.send(b"z\n")
        typed.expect(b"+ \n")
        tutorial.send(b"pHello\n")
        tutorial.expect(b"ok\r\n")
        process.process.send_signal(signal.SIGTERM)
        assert typed.read_all() == NOTICE + b"\n"
        tutorial.expect_closed()
        typed.close()
        tutorial.close()
        assert process.wait() == 0


@pytest.mark.parametrize(
    "command",
    [b"w60\n", b"w\n", b"w60 5\n", b"w60\r\n", b"r60\n", b"r\n"],
    ids=["w60", "w", "w60 5", "CRLF", "r60", "r"],
)
def test_waiting_ends_at_once(process: ServerProcess, command: bytes) -> None:
    eol = command.lstrip(b"wr60 5")
    with Session(process) as waiter:
        waiter.send(b"zready\n" + command)
        waiter.expect(b"+ ready\n")
        started = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        assert waiter.read_all() == b"- drain the server is stopping" + eol + NOTICE + eol
        assert time.monotonic() - started < MARGIN_SECONDS
    assert process.wait() == 0


def test_messages_of_a_waiter_are_not_lost_by_stopping(process: ServerProcess) -> None:
    with Session(process) as waiter, Session(process) as producer:
        waiter.send(b"w60 5\n")
        producer.send(b"pHello\n")
        producer.expect(b"ok\r\n")
        waiter.expect(b"= 0 1 Hello\n.\n")
        assert process.stop() == 0
        assert waiter.read_all() == NOTICE + b"\n"
    assert "lost" not in process.log


@pytest.mark.parametrize("after", [0, 1, 20, 60])
def test_what_was_read_is_answered(process: ServerProcess, after: int) -> None:
    """A producer is cut off somewhere: it has as many oks as the server has messages."""
    with Session(process) as producer:
        with contextlib.suppress(ConnectionError):
            for number in range(80):
                if number == after:
                    process.process.send_signal(signal.SIGTERM)
                producer.send(b"pHello\n" * 1000)
            producer.half_close()
        replies = producer.read_all()
    assert process.wait() == 0
    count, rest = divmod(len(replies), len(b"ok\r\n"))
    assert rest == 0
    assert replies == b"ok\r\n" * count
    assert lost_count(process) == count


def test_lost_messages_are_named(process: ServerProcess) -> None:
    with Session(process) as client:
        client.send(b"pone\nptwo\npthree\nc\n")
        client.expect(b"ok\r\nok\r\nok\r\none\n")
    assert process.stop() == 0
    assert " warning stopped; the messages in memory are lost messages=2\n" in process.log


def test_a_consumer_that_gets_its_message_while_stopping_has_it(process: ServerProcess) -> None:
    with Session(process) as client:
        client.send(b"pone\nptwo\nc\n")
        client.expect(b"ok\r\nok\r\none\n")
        assert process.stop() == 0
        client.expect_closed()
    assert lost_count(process) == 1


# --- a client that does not read


@pytest.fixture
def short_grace() -> Iterator[ServerProcess]:
    with ServerProcess("--grace", "1") as process:
        yield process


@pytest.fixture
def long_grace() -> Iterator[ServerProcess]:
    with ServerProcess("--grace", str(10 * TIMEOUT_SECONDS)) as process:
        yield process


@contextlib.contextmanager
def client_that_does_not_read(process: ServerProcess) -> Iterator[Session]:
    """It has asked for far more than the system's buffers take."""
    messages = 40
    with Session(process) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        for _ in range(messages):
            client.send(b"p" + b"x" * MB + b"\n")
            client.expect(b"ok\r\n")
        client.send(b"c\n" * messages)
        assert client.socket.recv(1, socket.MSG_PEEK)
        yield client


def test_a_client_that_does_not_read_holds_it_no_longer_than_the_grace_time(short_grace: ServerProcess) -> None:
    with client_that_does_not_read(short_grace):
        started = time.monotonic()
        assert short_grace.stop() == 0
        assert 1 <= time.monotonic() - started < 1 + MARGIN_SECONDS
    assert " warning the grace time is over: connections closed connections=1\n" in short_grace.log
    assert lost_count(short_grace) >= 30


def test_others_are_not_held_by_it(long_grace: ServerProcess) -> None:
    with client_that_does_not_read(long_grace), Session(long_grace) as other:
        other.send(b"z\n")
        other.expect(b"+ \n")
        long_grace.process.send_signal(signal.SIGTERM)
        assert other.read_all() == NOTICE + b"\n"
        assert long_grace.process.poll() is None


def test_it_ends_when_that_client_reads_at_last(long_grace: ServerProcess) -> None:
    with client_that_does_not_read(long_grace) as client:
        long_grace.process.send_signal(signal.SIGTERM)
        wait_until(lambda: " stopping " in long_grace.log, "it is stopping")
        received = client.read_all()
        assert received == (b"x" * MB + b"\n") * 40
    assert long_grace.wait() == 0
    assert "lost" not in long_grace.log


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_it_at_once(long_grace: ServerProcess, number: signal.Signals) -> None:
    with client_that_does_not_read(long_grace):
        long_grace.process.send_signal(signal.SIGTERM)
        wait_until(lambda: " stopping " in long_grace.log, "it is stopping")
        assert long_grace.stop(number) == -number


def test_new_connections_are_refused(long_grace: ServerProcess) -> None:
    def refused() -> bool:
        try:
            socket.create_connection((long_grace.host, long_grace.port), TIMEOUT_SECONDS).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it came while the listener was being closed: the next one tells
            return False
        return False

    assert not refused()
    with client_that_does_not_read(long_grace):
        long_grace.process.send_signal(signal.SIGTERM)
        wait_until(refused, "connections are refused")
        assert long_grace.process.poll() is None


def lost_count(process: ServerProcess) -> int:
    """How many messages it says that it has lost by stopping."""
    match = re.search(r" messages in memory are lost messages=(\d+)\n", process.log)
    return int(match[1]) if match else 0
