"""The commands in processes of their own, and the server that they find."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gstream import Client
from gstream.testing import TIMEOUT_SECONDS, ServerThread, wait_until

GSTREAM = (sys.executable, "-m", "gstream")


class Running:
    """A command that runs: what it prints is read at its end, or line by line."""

    def __init__(self, *arguments: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*GSTREAM, *arguments], stdin=pipe, stdout=pipe, stderr=pipe)

    def read_line(self) -> bytes:
        """The next line of its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def read_error(self) -> bytes:
        """The next line of its standard error."""
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, data: bytes = b"") -> tuple[int, bytes, bytes]:
        """Give it the rest of its input and wait for its end: exit code, and what it has printed where."""
        printed, errors = self.process.communicate(data, timeout=TIMEOUT_SECONDS)
        return self.process.returncode, printed, errors

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class Queue:
    """A server that the commands find by GSTREAM_PORT, and commands that talk with it."""

    def __init__(self, server: ServerThread, stack: ExitStack) -> None:
        self.server = server
        self._stack = stack

    def run(self, *arguments: str, input: bytes = b"", redirect: str = "") -> tuple[int, bytes, bytes]:
        """``gstream`` with these arguments, to its end: exit code, and what it has printed where."""
        command = ["sh", "-c", f'exec "$@" {redirect}', "sh", *GSTREAM, *arguments]
        ended = subprocess.run(command, input=input, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
        return ended.returncode, ended.stdout, ended.stderr

    def output(self, *arguments: str, input: bytes = b"") -> bytes:
        """What it prints, when all goes well."""
        code, printed, errors = self.run(*arguments, input=input)
        assert (code, errors) == (0, b"")
        return printed

    def error(self, *arguments: str, input: bytes = b"", redirect: str = "") -> str:
        """The one line that it says when it fails."""
        code, printed, errors = self.run(*arguments, input=input, redirect=redirect)
        text = errors.decode()
        assert (code, printed, text[:9], text.count("\n")) == (2, b"", "gstream: ", 1), text
        return text[9:-1]

    def start(self, *arguments: str) -> Running:
        running = Running(*arguments)
        self._stack.callback(running.close)
        return running

    def client(self, **arguments: Any) -> Client:
        return self._stack.enter_context(Client(port=self.server.port, **arguments))

    def put(self, *bodies: bytes, topic: str = "default") -> None:
        self.client(topic=topic).publish(bodies)

    def wait_for(self, figure: str, value: float, topic: str = "default") -> None:
        """Wait until the server tells that a figure of a topic has this value."""
        client = self.client()
        wait_until(
            lambda: topic in client.topics() and client.stats(topic).get(figure) == value, f"{figure} is {value}"
        )


@pytest.fixture
def queue(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """A Queue; its parameter: settings of the server."""
    for name in [name for name in os.environ if name.startswith("GSTREAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "xterm")
    with ServerThread(**getattr(request, "param", {})) as server, ExitStack() as stack:
        monkeypatch.setenv("GSTREAM_PORT", str(server.port))
        yield Queue(server, stack)


@pytest.fixture
def on_terminal(program: Callable[..., Any]) -> Callable[..., Any]:
    """Starts a command on a terminal of its own: a Program."""
    return lambda *arguments: program(*GSTREAM, *arguments, on_terminal=True)
