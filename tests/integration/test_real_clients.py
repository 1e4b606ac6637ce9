"""The programs that people really connect with, byte for byte; each scenario many times."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from gstream.protocol import BANNER
from gstream.testing import TIMEOUT_SECONDS, ServerThread, Session, wait_until

RUNS = 20
BASH_CLIENT = 'exec 3<>"/dev/tcp/$0/$1"; cat <&3 & cat >&3; wait'
TELNET_GREETING = b"Trying 127.0.0.1...\r\nConnected to 127.0.0.1.\r\nEscape character is '^]'.\r\n"
CTRL_C = b"\x03"

Start = Callable[..., Any]  # the program fixture


@dataclass(frozen=True)
class Client:
    """A program that copies its standard input to a connection, and what comes back to its standard output.

    half_closes: at the end of its input it closes its sending side and goes on receiving.
    waits: ... for as long as the server needs.
    """

    name: str
    command: tuple[str, ...]
    half_closes: bool
    waits: bool = True

    def __str__(self) -> str:
        return self.name

    def for_server(self, server: ServerThread) -> list[str]:
        return [part.format(host=server.host, port=server.port) for part in self.command]

    def run(self, server: ServerThread, data: bytes) -> bytes:
        """What it prints when it is given this input."""
        command = self.for_server(server)
        return subprocess.run(command, input=data, stdout=subprocess.PIPE, timeout=TIMEOUT_SECONDS, check=True).stdout


CLIENTS = [
    Client("nc.openbsd", ("nc.openbsd", "{host}", "{port}"), half_closes=False),
    Client("nc.openbsd -N", ("nc.openbsd", "-N", "{host}", "{port}"), half_closes=True),
    Client("nc.traditional", ("nc.traditional", "{host}", "{port}"), half_closes=False),
    Client("busybox nc", ("busybox", "nc", "{host}", "{port}"), half_closes=True),
    Client("ncat", ("ncat", "{host}", "{port}"), half_closes=True),
    Client("socat", ("socat", "-", "TCP:{host}:{port}"), half_closes=True, waits=False),
    Client("socat -t30", ("socat", "-t30", "-", "TCP:{host}:{port}"), half_closes=True),
    Client("bash", ("bash", "-c", BASH_CLIENT, "{host}", "{port}"), half_closes=False),
]
ONE_LINERS = [client for client in CLIENTS if client.half_closes]
WAITERS = [client for client in ONE_LINERS if client.waits]

every_client = pytest.mark.parametrize("client", CLIENTS, ids=str)
every_one_liner = pytest.mark.parametrize("client", ONE_LINERS, ids=str)
every_waiter = pytest.mark.parametrize("client", WAITERS, ids=str)


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    client = request.node.callspec.params.get("client") if hasattr(request.node, "callspec") else None
    if client is not None:
        skip_unless_installed(client.name, client.command[0])


def skip_unless_installed(name: str, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{name} is not installed")


@every_client
def test_publish_and_quit(server: ServerThread, client: Client) -> None:
    outputs = [client.run(server, b"pHello\nq\n") for _ in range(RUNS)]
    assert outputs == [BANNER + b"ok\r\n"] * RUNS
    assert backlog(server) == RUNS


@every_client
def test_everything_at_once(server: ServerThread, client: Client) -> None:
    outputs = [client.run(server, b"pone\nptwo\nc\nc\nc\nq\n") for _ in range(RUNS)]
    assert outputs == [BANNER + b"ok\r\nok\r\none\ntwo\n"] * RUNS


@every_client
def test_dialogue(server: ServerThread, client: Client, program: Start) -> None:
    for _ in range(RUNS):
        talk = program(*client.for_server(server))
        talk.expect(BANNER)
        for sent, reply in ((b"pone\n", b"ok\r\n"), (b"ptwo\n", b"ok\r\n"), (b"c\n", b"one\n"), (b"c\n", b"two\n")):
            talk.send(sent)
            talk.expect(reply)
        talk.send(b"q\n")
        talk.end_input()
        assert talk.read_all() == b""
        assert talk.wait() == 0


@every_client
def test_crlf(server: ServerThread, client: Client) -> None:
    outputs = [client.run(server, b"pHello\r\nc\r\nq\r\n") for _ in range(RUNS)]
    assert outputs == [BANNER + b"ok\r\nHello\r\n"] * RUNS


@every_one_liner
def test_publish_in_one_line(server: ServerThread, client: Client) -> None:
    outputs = [client.run(server, b"pHello\n") for _ in range(RUNS)]
    assert outputs == [BANNER + b"ok\r\n"] * RUNS
    with Session(server) as session:
        session.send(b"c\n" * (RUNS + 1))
        session.expect(b"Hello\n" * RUNS)
        session.expect_nothing()


@every_one_liner
def test_publish_without_a_line_ending(server: ServerThread, client: Client) -> None:
    outputs = [client.run(server, b"pHello") for _ in range(RUNS)]
    assert outputs == [BANNER + b"ok\r\n"] * RUNS
    assert backlog(server) == RUNS


@every_one_liner
def test_consume_in_one_line(server: ServerThread, client: Client) -> None:
    with Session(server) as session:
        session.send(b"".join(b"pmessage %d\n" % number for number in range(RUNS)))
        session.expect(b"ok\r\n" * RUNS)
    outputs = [client.run(server, b"c\n") for _ in range(RUNS)]
    assert outputs == [BANNER + b"message %d\n" % number for number in range(RUNS)]


@every_one_liner
def test_consume_when_nothing_is_there(server: ServerThread, client: Client) -> None:
    outputs = [client.run(server, b"c\n") for _ in range(RUNS)]
    assert outputs == [BANNER] * RUNS


@every_waiter
def test_wait_in_one_line(server: ServerThread, client: Client, program: Start) -> None:
    with Session(server) as producer:
        for number in range(RUNS):
            waiter = program(*client.for_server(server))
            waiter.send(b"w%g\n" % TIMEOUT_SECONDS)
            waiter.end_input()
            wait_until(lambda: count_waiting(server) == 1, "the client waits")
            producer.send(b"pHello\n")
            producer.expect(b"ok\r\n")
            assert waiter.read_all() == BANNER + b"= %d 1 Hello\n" % number
            assert waiter.wait() == 0


@every_one_liner
def test_wait_in_vain(server: ServerThread, client: Client) -> None:
    outputs = [client.run(server, b"w0.01\n") for _ in range(RUNS)]
    assert outputs == [BANNER + b".\n"] * RUNS


def test_bash_as_a_session(server: ServerThread) -> None:
    skip_unless_installed("bash", "bash")
    script = r"""
        exec 3<>"/dev/tcp/$0/$1"
        printf 'pHello\nc\n' >&3
        for _ in 1 2 3 4 5; do read -r line <&3; printf '%s\n' "$line"; done
        printf 'w0\n' >&3
        read -r kind <&3; printf 'kind %s\n' "$kind"
        printf 'pA message  with words\nw5\n' >&3
        read -r line <&3
        read -r kind id attempt body <&3; printf '%s|%s|%s|%s\n' "$kind" "$id" "$attempt" "$body"
        printf 'q\n' >&3
        cat <&3
    """
    client = Client("bash", ("bash", "-c", script, "{host}", "{port}"), half_closes=False)
    for number in range(RUNS):
        id = 2 * number + 1
        assert client.run(server, b"") == BANNER + b"ok\r\nHello\nkind .\n=|%d|1|A message  with words\n" % id


# --- telnet, which needs a terminal


@pytest.fixture
def telnet(server: ServerThread, program: Start) -> Start:
    """Starts telnet, connected and greeted."""
    skip_unless_installed("telnet", "telnet")

    def start() -> Any:
        started = program("telnet", server.host, str(server.port), on_terminal=True)
        started.expect(TELNET_GREETING + BANNER)
        return started

    return start


def quit_telnet(typist: Any) -> None:
    type_line(typist, b"q", b"Connection closed by foreign host.\r\n")
    typist.wait()


def type_line(typist: Any, line: bytes, reply: bytes) -> None:
    """Type a line; the terminal shows it, and then the reply, exactly."""
    typist.send(line + b"\n")
    typist.expect(line + b"\r\n" + reply)


def test_telnet(telnet: Start) -> None:
    for _ in range(RUNS):
        typist = telnet()
        type_line(typist, b"pHello", b"ok\r\n")
        type_line(typist, b"ptwo  words", b"ok\r\n")
        type_line(typist, b"c", b"Hello\r\n")
        type_line(typist, b"c", b"two  words\r\n")
        type_line(typist, b"w0", b".\r\n")
        quit_telnet(typist)


def test_telnet_shows_replies_after_ctrl_c(telnet: Start) -> None:
    for _ in range(RUNS):
        typist = telnet()
        type_line(typist, b"pHello", b"ok\r\n")
        type_line(typist, b"c", b"Hello\r\n")
        typist.send(CTRL_C)
        typist.expect(b"^C")
        type_line(typist, b"pAgain", b"ok\r\n")
        type_line(typist, b"c", b"Again\r\n")
        quit_telnet(typist)


def test_ctrl_c_ends_the_waiting_of_telnet(server: ServerThread, telnet: Start) -> None:
    for _ in range(RUNS):
        typist = telnet()
        type_line(typist, b"w", b"")
        wait_until(lambda: count_waiting(server) == 1, "telnet waits")
        typist.send(CTRL_C)
        typist.expect(b"^C")
        wait_until(lambda: count_waiting(server) == 0, "telnet waits no more")
        typist.send(b"pHello\n")
        typist.expect_somewhere(b"ok\r\n")
        type_line(typist, b"c", b"Hello\r\n")
        quit_telnet(typist)


def test_byte_255_typed_in_telnet_is_one(server: ServerThread, telnet: Start) -> None:
    with Session(server) as consumer:
        for _ in range(RUNS):
            typist = telnet()
            typist.send(CTRL_C)  # from here on, the server knows that this is telnet
            typist.expect(b"^C")
            type_line(typist, b"pone \xff, two \xff\xff", b"ok\r\n")
            consumer.send(b"c\n")
            consumer.expect(b"one \xff, two \xff\xff\n")
            quit_telnet(typist)


def count_waiting(server: ServerThread) -> int:
    return server.call(lambda service: len(service.broker.topic().group().waiting))


def backlog(server: ServerThread) -> int:
    return server.call(lambda service: service.broker.topic().group().backlog)
