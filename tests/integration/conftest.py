"""Servers, and programs to talk with, for the tests of this folder."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from gstream.testing import TIMEOUT_SECONDS, ServerProcess, ServerThread


class Program:
    """A program that is talked with while it runs: through pipes, or on a terminal of its own.

    On a terminal, what is typed is echoed, Ctrl-C is SIGINT, and standard error is seen, too.
    """

    def __init__(self, *command: str, on_terminal: bool = False) -> None:
        self._received = b""
        if on_terminal:
            self._input, self._terminal = pty.openpty()
            self._output = os.dup(self._input)
            # The leader of a session gets the first terminal that it opens as its controlling one.
            opening = ["sh", "-c", 'exec "$@" <>"$0" >&0 2>&0', os.ttyname(self._terminal)]
            self.process = subprocess.Popen([*opening, *command], start_new_session=True)
        else:
            theirs, self._input = os.pipe()
            self._output, theirs_too = os.pipe()
            self._terminal = -1
            self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs_too)
            os.close(theirs)
            os.close(theirs_too)

    def send(self, data: bytes) -> None:
        """Type these bytes."""
        while data:
            data = data[os.write(self._input, data) :]

    def end_input(self) -> None:
        """Let it see the end of its standard input."""
        os.close(self._input)
        self._input = -1

    def expect(self, data: bytes) -> None:
        """The next bytes that it prints are these."""
        while len(self._received) < len(data) and self._receive():
            pass
        got = self._received[: len(data)]
        assert got == data, f"expected {data!r}, got {self._received!r}"
        self._received = self._received[len(data) :]

    def expect_somewhere(self, data: bytes) -> None:
        """It prints these bytes, whatever comes before."""
        while data not in self._received and self._receive():
            pass
        assert data in self._received, f"expected {data!r}, got {self._received!r}"
        self._received = self._received.partition(data)[2]

    def read_all(self) -> bytes:
        """Everything that it prints until it closes its standard output; not on a terminal."""
        while self._receive():
            pass
        return self._received

    def wait(self) -> int:
        """Wait for its end; gives its exit code."""
        return self.process.wait(TIMEOUT_SECONDS)

    def close(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for descriptor in (self._input, self._output, self._terminal):
            if descriptor >= 0:
                os.close(descriptor)

    def _receive(self) -> bool:
        readable, _, _ = select.select([self._output], [], [], TIMEOUT_SECONDS)
        assert readable, f"nothing more was printed within {TIMEOUT_SECONDS:g} s; so far: {self._received!r}"
        data = os.read(self._output, 1 << 16)
        self._received += data
        return bool(data)


@pytest.fixture
def server() -> Iterator[ServerThread]:
    with ServerThread() as server:
        yield server


@pytest.fixture
def process() -> Iterator[ServerProcess]:
    with ServerProcess() as process:
        yield process


@pytest.fixture
def program() -> Iterator[Callable[..., Program]]:
    """Starts a Program: its command, and whether it runs ``on_terminal``."""
    with ExitStack() as programs:

        def start(*command: str, on_terminal: bool = False) -> Program:
            started = Program(*command, on_terminal=on_terminal)
            programs.callback(started.close)
            return started

        yield start
