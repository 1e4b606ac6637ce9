"""A client that is gone takes no message with it, and a client that reads what it asked for gets it once."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gstream.testing import TIMEOUT_SECONDS, ServerThread, Session, wait_until

TIMES = 20

Leave = Callable[[Session], None]

LEAVING: dict[str, Leave] = {"close": Session.close, "reset": Session.reset}

every_way_to_leave = pytest.mark.parametrize("leave", LEAVING.values(), ids=list(LEAVING))
every_command = pytest.mark.parametrize("command", [b"c\n", b"w0\n", b"w0 1\n"], ids=["c", "w0", "w0 1"])


@pytest.fixture
def messages(server: ServerThread) -> list[bytes]:
    """Twenty messages, published."""
    return publish(server, TIMES)


def test_nc_that_does_not_wait_for_the_reply(server: ServerThread, messages: list[bytes]) -> None:
    if shutil.which("nc.traditional") is None:
        pytest.skip("nc.traditional is not installed")
    command = ["nc.traditional", "-q0", server.host, str(server.port)]
    for _ in messages:
        # Within the server's turn: nc is gone before the reply. Otherwise it may read the reply, and drop it.
        server.call(lambda _: subprocess.run(command, input=b"c\n", timeout=TIMEOUT_SECONDS, check=True))
        wait_until_all_are_gone(server)
    assert returned_count(server) == TIMES
    assert take_all(server) == messages


@every_way_to_leave
@every_command
def test_gone_right_after_asking(server: ServerThread, messages: list[bytes], command: bytes, leave: Leave) -> None:
    for _ in messages:
        with Session(server) as client:
            client.send(command)
            leave(client)
    wait_until_all_are_gone(server)
    assert take_all(server) == messages


@every_way_to_leave
@every_command
def test_gone_with_the_reply_unread(server: ServerThread, messages: list[bytes], command: bytes, leave: Leave) -> None:
    for _ in messages:
        with Session(server) as client:
            client.send(command)
            wait_until_something_came(client.socket)
            leave(client)
        wait_until_all_are_gone(server)
    assert returned_count(server) == TIMES
    assert take_all(server) == messages


def test_gone_with_the_banner_unread(server: ServerThread, messages: list[bytes]) -> None:
    for _ in messages:
        with socket.create_connection((server.host, server.port), timeout=TIMEOUT_SECONDS) as client:
            client.sendall(b"c\n")
            wait_until(lambda: taken_count(server) == 1, "the message is on its way")
        wait_until_all_are_gone(server)
    assert take_all(server) == messages


@every_way_to_leave
def test_gone_from_a_pipeline(server: ServerThread, messages: list[bytes], leave: Leave) -> None:
    for _ in messages:
        with Session(server) as client:
            client.send(b"c\n" * TIMES)
            wait_until_something_came(client.socket)
            leave(client)
        wait_until_all_are_gone(server)
    assert take_all(server) == messages


@every_way_to_leave
@pytest.mark.parametrize("size", [1, 100, 5_000, 11_000])
@pytest.mark.parametrize("command", [b"c\n" * 1000, b"w0 1000\n"], ids=["c", "w"])
def test_gone_after_a_part(server: ServerThread, command: bytes, size: int, leave: Leave) -> None:
    messages = publish(server, 1000)
    data = b""
    with Session(server) as client:
        client.send(command)
        while len(data) < size:  # past the session, which would read all there is
            data += client.socket.recv(size - len(data))
        leave(client)
    wait_until_all_are_gone(server)
    received = [line.rpartition(b" ")[2] for line in data.split(b"\n")[:-1]]
    assert received == messages[: len(received)]
    left = take_all(server)
    assert left == messages[len(messages) - len(left) :]
    assert len(left) >= len(messages) - len(received), "messages are lost"


@every_way_to_leave
def test_gone_in_the_middle_of_a_large_message(server: ServerThread, leave: Leave) -> None:
    messages = [b"%d " % number + b"x" * 1_000_000 for number in range(TIMES)]
    with Session(server) as producer:
        for message in messages:
            producer.send(b"p" + message + b"\n")
            producer.expect(b"ok\r\n")
    for _ in range(TIMES):
        with Session(server) as client:
            client.send(b"c\n")
            client.expect(b"0 " + b"x" * 1000)
            leave(client)
        wait_until_all_are_gone(server)
    assert take_all(server) == messages


@pytest.mark.parametrize("command", [b"c\n", b"c\n" * TIMES, b"w0\n"], ids=["c", "pipeline", "w0"])
def test_unix_socket_closed_with_unread_data(tmp_path: Any, command: bytes) -> None:
    with ServerThread(socket=str(tmp_path / "socket")) as server:
        messages = publish(server, TIMES)
        for _ in messages:
            with Session(str(server.config.socket)) as client:
                client.send(command)
                wait_until_something_came(client.socket)
            wait_until_all_are_gone(server)
        assert returned_count(server) >= TIMES
        assert take_all(server) == messages


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_client(server: ServerThread, program: Callable[..., Any], number: signal.Signals) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    messages = publish(server, TIMES)
    script = 'exec 3<>"/dev/tcp/$0/$1"; for _ in 1 2 3; do read -r line <&3; done; echo c >&3; read -r line'
    for _ in messages:
        client = program("bash", "-c", script, server.host, str(server.port))
        wait_until(lambda: taken_count(server) == 1, "the client has asked")
        client.process.send_signal(number)
        assert client.wait() == -number
        wait_until_all_are_gone(server)
    assert take_all(server) == messages


@every_way_to_leave
@pytest.mark.parametrize("command", [b"w\n", b"w60\n", b"w60 10\n"], ids=["w", "w60", "w60 10"])
def test_gone_while_it_waits(server: ServerThread, command: bytes, leave: Leave) -> None:
    with Session(server) as producer, Session(server) as consumer:
        for number in range(TIMES):
            with Session(server) as waiter:
                waiter.send(command)
                wait_until(lambda: count_waiting(server) == 1, "the client waits")
                leave(waiter)
            producer.send(b"pmessage %d\n" % number)
            producer.expect(b"ok\r\n")
            consumer.send(b"w%g\n" % TIMEOUT_SECONDS)
            consumer.expect(b"= %d 1 message %d\n" % (number, number))
            wait_until_all_are_gone(server, but=2)
        consumer.send(b"c\n")
        consumer.expect_nothing()


def test_gone_while_many_wait(server: ServerThread) -> None:
    """The message goes on to the next one in the queue, until somebody is there."""
    waiters = []
    for number in range(TIMES):
        waiters.append(Session(server))
        waiters[-1].send(b"w60\n")
        wait_until(lambda: count_waiting(server) == number + 1, "the client waits")  # noqa: B023  # called at once
    for waiter in waiters[:-1]:
        waiter.close()
    publish(server, 1)
    with waiters[-1] as last:
        last.expect(b"= 0 1 message 0\n")
    wait_until_all_are_gone(server)
    assert take_all(server) == []


def test_order_is_kept(server: ServerThread) -> None:
    messages = publish(server, 100)
    clients = [Session(server) for _ in range(10)]
    for client in clients:
        client.send(b"c\n" * 10)
        wait_until_something_came(client.socket)
    for number in (3, 9, 0, 5, 1, 8, 2, 7, 6, 4):
        (Session.reset if number % 2 else Session.close)(clients[number])
        wait_until_all_are_gone(server, but=sum(client.socket.fileno() >= 0 for client in clients))
    assert returned_count(server) == 100
    assert take_all(server) == messages


def test_what_came_back_is_taken_before_what_came_later(server: ServerThread) -> None:
    first = publish(server, 3)
    with Session(server) as client, Session(server) as producer:
        client.send(b"c\nc\n")
        wait_until_something_came(client.socket)
        producer.send(b"plater\n")
        producer.expect(b"ok\r\n")
        client.reset()
    wait_until_all_are_gone(server)
    assert take_all(server) == [*first, b"later"]


# --- clients that are well


def read_and_close(client: Session, line: bytes) -> None:
    client.send(b"c\n")
    client.expect(line)


def read_and_quit(client: Session, line: bytes) -> None:
    client.send(b"c\nq\n")
    client.expect(line)
    client.expect_closed()


def half_close_and_read(client: Session, line: bytes) -> None:
    client.send(b"c")
    client.half_close()
    client.expect(line)
    client.expect_closed()


def read_and_ask_for_more(client: Session, line: bytes) -> None:
    client.send(b"c\n")
    client.expect(line)
    client.expect_nothing()
    client.reset()


@pytest.mark.parametrize("over", ["tcp", "unix"])
@pytest.mark.parametrize("use", [read_and_close, read_and_quit, half_close_and_read, read_and_ask_for_more])
def test_no_duplicates(tmp_path: Any, over: str, use: Callable[[Session, bytes], None]) -> None:
    with ServerThread(socket=str(tmp_path / "socket")) as server:
        for number in range(200):
            with Session(server) as producer:
                producer.send(b"p%d\n" % number)
                producer.expect(b"ok\r\n")
            with Session(server if over == "tcp" else str(server.config.socket)) as client:
                use(client, b"%d\n" % number)
        wait_until_all_are_gone(server)
        assert returned_count(server) == 0
        assert take_all(server) == []


def test_no_duplicates_of_a_pipeline(server: ServerThread) -> None:
    for _ in range(20):
        messages = publish(server, 10_000)
        with Session(server) as client:
            client.send(b"c\n" * 10_000)
            client.expect(b"".join(message + b"\n" for message in messages))
    wait_until_all_are_gone(server)
    assert returned_count(server) == 0
    assert take_all(server) == []


# --- helpers


def publish(server: ServerThread, count: int) -> list[bytes]:
    messages = [b"message-%d" % number for number in range(count)]
    if count == 1:
        messages = [b"message 0"]
    with Session(server) as producer:
        producer.send(b"".join(b"p%b\n" % message for message in messages))
        producer.expect(b"ok\r\n" * count)
    return messages


def take_all(server: ServerThread) -> list[bytes]:
    def lines(session: Session) -> Iterator[bytes]:
        count = server.call(lambda service: service.broker.topic().group().backlog)
        session.send(b"c\n" * (count + 1) + b"zend of messages\n")
        return iter(session.read_line, b"+ end of messages\n")

    with Session(server) as session:
        return [line.removesuffix(b"\n") for line in lines(session)]


def wait_until_something_came(sock: socket.socket) -> None:
    assert sock.recv(1, socket.MSG_PEEK)


def wait_until_all_are_gone(server: ServerThread, but: int = 0) -> None:
    """The server has noticed that all clients (but so many) are gone."""
    with Session(server):  # once it is greeted, all clients before it have been accepted
        wait_until(lambda: server.call(lambda service: len(service._sessions.sessions)) == but + 1, "they are gone")


def count_waiting(server: ServerThread) -> int:
    return server.call(lambda service: len(service.broker.topic().group().waiting))


def taken_count(server: ServerThread) -> int:
    return server.call(lambda service: service.broker.topic().group().taken_count)


def returned_count(server: ServerThread) -> int:
    return server.call(lambda service: service.broker.topic().group().returned_count)
