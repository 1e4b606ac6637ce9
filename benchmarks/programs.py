"""The two C programs: compiled on the spot, and the load generator driven from Python.

Owns the command line and the JSON of ``load``, and its exit codes turned into :class:`BenchmarkError`.
Knows neither servers nor scenarios: it is given a protocol and a port.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SOURCES = Path(__file__).resolve().parent
TIME_LIMIT_SECONDS = 120
"""Of one run of the load generator, the longest of which takes about 15 s."""

MESSAGE_BYTES = 17
"""The floor answers with a message of this size, and of this text (see wire.h), whatever was published."""


class BenchmarkError(Exception):
    """One measurement failed; the run goes on without it and says so in the end."""


class CompilerMissing(Exception):
    """Nothing can be measured."""


@dataclass(frozen=True)
class Outcome:
    """What one run of the load generator saw; a latency is the round trip of a window."""

    messages: int
    seconds: float
    rate: float
    p50_us: float
    p99_us: float
    max_us: float
    began: float
    """On this machine's monotonic clock, in seconds."""


def compile_program(name: str, directory: Path) -> Path:
    """Compile ``name``.c into ``directory``; raises CompilerMissing where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise CompilerMissing("no C compiler; install one, for example: apt install gcc libc6-dev")
    program = directory / name
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(SOURCES / f"{name}.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompilerMissing(f"{name}.c does not compile (are the C library's headers installed?)\n{done.stderr}")
    return program


class Load:
    """The compiled load generator."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def run(
        self,
        protocol: str,
        operation: str,
        port: int,
        *,
        connections: int,
        window: int,
        messages: int = 0,
        seconds: float = 0,
        size: int = MESSAGE_BYTES,
        group: str = "",
        attempt: int = 1,
    ) -> Outcome:
        """Send ``messages``, or for ``seconds``, whatever ends first (0: no limit); every reply is checked.

        ``size``: bytes of a message.
        Of gstream, a ``group`` other than the default may consume, and each message be the ``attempt``-th delivery.
        """
        command = self._command(protocol, operation, port, connections=connections, window=window, size=size)
        command += ["--messages", str(messages), "--seconds", str(seconds), "--attempt", str(attempt)]
        return _outcome(_finish([*command, "--group", group] if group else command))

    def wake(self, protocol: str, port: int, *, messages: int) -> dict[str, float]:
        """Percentiles in microseconds: from a publish to the consumer that waits for it, and of an echo beside it."""
        command = self._command(protocol, "wake", port, connections=1, window=1)
        measured = _finish([*command, "--messages", str(messages)])
        return {name: value for name, value in measured.items() if name.endswith("_us")}

    @contextmanager
    def idle(self, protocol: str, port: int, *, connections: int) -> Iterator[IdleConnections]:
        """Hold so many connections open; each of them has been answered once."""
        with self._attached(self._command(protocol, "idle", port, connections=connections, window=1)) as process:
            _read_line(process)
            yield IdleConnections(process)

    @contextmanager
    def flood(self, protocol: str, port: int, *, window: int) -> Iterator[Flood]:
        """One connection that sends publishes and consumes without ever waiting for a reply."""
        with self._attached(self._command(protocol, "flood", port, connections=1, window=window)) as process:
            _read_line(process)
            yield Flood(process)

    @contextmanager
    def leases(self, port: int, *, connections: int, window: int, messages: int) -> Iterator[Leases]:
        """Connections of gstream's that have leased all ``messages`` and acknowledge none."""
        command = self._command("gstream", "lease", port, connections=connections, window=window)
        with self._attached([*command, "--messages", str(messages), "--hold"]) as process:
            yield Leases(process, _outcome(json.loads(_read_line(process))))

    @contextmanager
    def publisher(self, port: int, *, topic: str) -> Iterator[Publisher]:
        """One connection of gstream's that publishes to ``topic``, one message at a time, until it is stopped."""
        command = self._command("gstream", "publish", port, connections=1, window=1)
        with self._attached([*command, "--topic", topic, "--attached"]) as process:
            yield Publisher(process)

    def _command(
        self, protocol: str, operation: str, port: int, *, connections: int, window: int, size: int = MESSAGE_BYTES
    ) -> list[str]:
        command = [str(self._program), protocol, operation, "--port", str(port)]
        command += ["--size", str(size), "--limit", str(TIME_LIMIT_SECONDS)]
        return [*command, "--connections", str(connections), "--window", str(window)]

    @contextmanager
    def _attached(self, command: list[str]) -> Iterator[subprocess.Popen[str]]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        with process:
            try:
                yield process
            finally:
                process.kill()


class IdleConnections:
    """The load generator while it holds connections open."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def probe(self) -> float:
        """Microseconds from the connect of one more connection to the server's first answer."""
        _stream(self._process.stdin).write("\n")
        _stream(self._process.stdin).flush()
        return float(json.loads(_read_line(self._process))["microseconds"])


class Flood:
    """The load generator while it floods."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def stop(self) -> float:
        """End the flood; the commands a second that the server answered it."""
        _stream(self._process.stdin).close()
        return float(json.loads(_read_line(self._process))["rate"])


class Leases:
    """The load generator while it holds leases."""

    def __init__(self, process: subprocess.Popen[str], outcome: Outcome) -> None:
        self.outcome = outcome
        """Of the leasing."""
        self._process = process

    def release(self) -> None:
        """Close the connections."""
        _stream(self._process.stdin).close()


class Publisher:
    """The load generator while it publishes one message at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def stop(self) -> Outcome:
        """End it; what it saw from its start on."""
        _stream(self._process.stdin).close()
        return _outcome(json.loads(_read_line(self._process)))


def _finish(command: list[str]) -> dict[str, float]:
    """What one run of it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(_reason(done.returncode, done.stderr))
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _outcome(measured: dict[str, float]) -> Outcome:
    return Outcome(messages=int(measured.pop("messages")), **measured)


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None, "the process was started with a pipe"
    return stream


def _read_line(process: subprocess.Popen[str]) -> str:
    line = _stream(process.stdout).readline()
    if not line:
        raise BenchmarkError(_reason(process.wait(), _stream(process.stderr).read()))
    return line


def _reason(code: int, stderr: str) -> str:
    return stderr.strip() or f"the load generator ended with exit code {code}"
