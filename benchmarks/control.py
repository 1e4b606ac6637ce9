"""A connection beside the load: it makes groups, and asks gstream what is going on.

Owns the few commands of gstream's that are no load. Knows no scenario.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from programs import BenchmarkError

BANNER_LINES = 3
ANSWER_SECONDS = 30
POLL_SECONDS = 0.01
"""Between two questions; the resolution of what is waited for, and hardly any work for the server."""


class Control:
    """One client of gstream's; raises BenchmarkError when an answer is no answer or does not come."""

    def __init__(self, port: int) -> None:
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        except OSError as error:
            raise BenchmarkError(f"no control connection: {error}") from error
        self._lines = self._socket.makefile("rb")
        for _ in range(BANNER_LINES):
            self._read_line()

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()

    def choose_group(self, name: str) -> None:
        """Make it, if it is new."""
        self._send(f"g{name}")
        if (answer := self._read_line()) != f"+ {name}":
            raise BenchmarkError(f"group {name}: {answer}")

    def info(self, topic: str) -> dict[str, float]:
        """The numbers that are known of a topic, by name; none of a topic that is not there yet."""
        self._send(f"i{topic}")
        numbers: dict[str, float] = {}
        while (line := self._read_line()) != ".":
            if line.startswith("- name "):
                return {}
            name, _, value = line.partition(" ")
            try:
                numbers[name] = float(value)
            except ValueError:
                raise BenchmarkError(f"i{topic}: {line}") from None
        return numbers

    def wait_for(self, topic: str, reached: Callable[[Mapping[str, float]], bool], seconds: float) -> None:
        """Ask about a topic until it is as it should be."""
        limit = time.monotonic() + seconds
        while not reached(info := self.info(topic)):
            if time.monotonic() > limit:
                raise BenchmarkError(f"after {seconds:g} s i{topic} still says {info}")
            time.sleep(POLL_SECONDS)

    def _send(self, command: str) -> None:
        try:
            self._socket.sendall(command.encode() + b"\n")
        except OSError as error:
            raise BenchmarkError(f"{command}: {error}") from error

    def _read_line(self) -> str:
        try:
            line = self._lines.readline()
        except OSError as error:
            raise BenchmarkError(f"no answer on the control connection: {error}") from error
        if not line.endswith(b"\n"):
            raise BenchmarkError("the control connection was closed")
        return line.decode(errors="replace").rstrip("\r\n")
