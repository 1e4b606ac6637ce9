r"""A real server on a real port, and clients that send and expect, for tests: gstream's own and everybody else's.

    with ServerThread() as server, Session(server) as client:
        client.send(b"pHello\n")
        client.expect(b"ok\r\n")

Everything here blocks: use it from a thread whose gevent hub runs nothing else (an ordinary test). Every wait is for
a condition and ends after TIMEOUT_SECONDS with an AssertionError that says what was awaited and what came.
"""

from __future__ import annotations

import atexit
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import gevent

from gstream.config import Config
from gstream.protocol import BANNER
from gstream.service import Service

__all__ = ["TIMEOUT_SECONDS", "Endpoint", "ServerProcess", "ServerThread", "Session", "wait_until"]

T = TypeVar("T")

TIMEOUT_SECONDS = 30.0
"""The one timeout: far longer than anything takes, so that it only ends what would never end."""

POLL_SECONDS = 0.002

GREETING_LINES = 2
_PORT = re.compile(r'(?:listens on |"endpoints": \[")[^ "]*:(\d+)')
_KAFKA_PORT = re.compile(r'(?:Kafka\'s clients: |"kafka": \[")[^ "]*:(\d+)')


class Endpoint(Protocol):
    """Where a server listens: what a Session needs to know of it."""

    host: str
    port: int


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds; raises AssertionError, naming ``what``, if it never does."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {TIMEOUT_SECONDS:g} s in vain: {what}")
        time.sleep(POLL_SECONDS)


class ServerThread:
    """A server in a thread of this process, with a hub of its own.

    settings: fields of Config; the ports are free ones unless given. ``Client(*server)`` connects to it.
    """

    def __init__(self, **settings: Any) -> None:
        self.config = Config(**{"port": 0, "kafka_port": 0, **settings})
        self.host = self.config.host
        self.port = 0
        self.kafka_port = 0
        """For Kafka's clients, with ``kafka=True``."""
        self.service: Service
        """To look at from :meth:`call` only."""
        self._hub: gevent.hub.Hub
        self._started: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="gstream server", daemon=True)
        self._thread.start()
        failure = self._started.get(timeout=TIMEOUT_SECONDS)
        if failure is not None:
            self._thread.join()
            raise failure

    def __enter__(self) -> ServerThread:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def __iter__(self) -> Iterator[Any]:
        """Host (a str) and port (an int): what a Client begins with."""
        return iter((self.host, self.port))

    @property
    def bootstrap(self) -> str:
        """What Kafka's clients call bootstrap servers."""
        return f"{self.config.kafka_host}:{self.kafka_port}"

    def call(self, function: Callable[[Service], T]) -> T:
        """Run ``function(service)`` in the server's hub, between two of its turns; gives what it returns or raises."""
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(function(self.service))
            except BaseException as error:  # noqa: BLE001  # raised in the thread that waits for it
                answer.set_exception(error)

        self._hub.loop.run_callback_threadsafe(run)
        return answer.result(TIMEOUT_SECONDS)

    def stop(self) -> None:
        """Stop the server as SIGTERM would, and wait until it is gone; again is harmless."""
        if self._thread.is_alive():
            self.service.request_stop()
            self._thread.join(TIMEOUT_SECONDS + self.config.grace_seconds)
            assert not self._thread.is_alive(), "the server's thread does not end"

    def _run(self) -> None:
        try:
            self._hub = gevent.get_hub()
            self.service = Service(self.config)
            self.service.start()
        except BaseException as error:  # noqa: BLE001  # raised in the thread that waits for it
            self._started.put(error)
        else:
            self.port = self.service.port
            if self.service.kafka is not None:
                self.kafka_port = self.service.kafka.port
            self._started.put(None)
            self.service.run_until_stopped()
            self.service.stop()
            self._hub.destroy(destroy_loop=True)


class ServerProcess:
    """A server in a process of its own: ``python -m gstream serve`` on a free port.

    arguments: more of the command line. environment: more of the environment.
    kafka: whether Kafka's clients can connect, too, on another free port.
    """

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "gstream", "serve"),
        kafka: bool = False,
    ) -> None:
        self.host = "127.0.0.1"
        more = ["--kafka", "--kafka-port", "0"] if kafka else []
        self.process = subprocess.Popen(  # noqa: S603  # the caller's own command
            [*command, "--port", "0", *more, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        atexit.register(self.kill)
        self._printed: list[bytes] = []
        self._logged: list[bytes] = []
        self._readers = [
            threading.Thread(
                target=into.extend, args=(iter(stream.readline, b""),), name="gstream server's output", daemon=True
            )
            for stream, into in ((self.process.stdout, self._printed), (self.process.stderr, self._logged))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()
        try:
            wait_until(lambda: bool(self._find(_PORT)) or self.process.poll() is not None, "the server listens")
            assert self._find(_PORT), f"the server did not start: {self.log}"
        except AssertionError:
            self.kill()
            raise
        self.port = self._find(_PORT)
        self.kafka_port = self._find(_KAFKA_PORT)
        """For Kafka's clients; 0: there is none."""

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.kill()

    @property
    def bootstrap(self) -> str:
        """What Kafka's clients call bootstrap servers."""
        return f"{self.host}:{self.kafka_port}"

    @property
    def greeting(self) -> list[str]:
        """The lines that it has printed: none with ``--log-json``, two without."""
        return b"".join(self._printed).decode().splitlines()

    @property
    def log(self) -> str:
        """What it has written to standard error so far."""
        return b"".join(self._logged).decode()

    @property
    def rss_bytes(self) -> int:
        """Its resident memory (Linux)."""
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no Rss in smaps_rollup")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; gives the exit code (negative: the signal that ended it)."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; gives the exit code."""
        try:
            code = self.process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"waited {TIMEOUT_SECONDS:g} s in vain: the server ends") from None
        self._close()
        return code

    def kill(self) -> None:
        """End it the hard way."""
        self.process.kill()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        atexit.unregister(self.kill)
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _find(self, port: re.Pattern[str]) -> int:
        """A port, as far as it is known: from the greeting, or from the log if that is JSON."""
        text = "\n".join(self.greeting) if len(self._printed) == GREETING_LINES else self.log
        match = port.search(text)
        return int(match[1]) if match else 0


class Session:
    """A client that speaks bytes: send this, expect that.

    server: anything with a host and a port; or the path of a unix socket.
    banner: what the server says first, and is expected to; by default the tutorial's banner over TCP.
    """

    def __init__(self, server: Endpoint | str, *, banner: bytes | None = None) -> None:
        if isinstance(server, str):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(TIMEOUT_SECONDS)
            self.socket.connect(server)
        else:
            self.socket = socket.create_connection((server.host, server.port), timeout=TIMEOUT_SECONDS)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        self._fences = 0
        if banner is None:
            banner = b"" if isinstance(server, str) else BANNER
        try:
            self.expect(banner)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def expect(self, data: bytes) -> None:
        """The next bytes are these."""
        while len(self._received) < len(data) and data.startswith(self._received):
            if not self._receive():
                raise AssertionError(f"expected {data[:200]!r}, got {bytes(self._received[:200])!r} and the end")
        got = bytes(self._received[: len(data)])
        assert got == data, f"expected {data[:200]!r}, got {bytes(self._received[:200])!r}"
        del self._received[: len(data)]

    def expect_nothing(self) -> None:
        """Nothing came, and nothing comes: a ping is answered, and its answer is the next there is."""
        self._fences += 1
        token = b"nothing before %d" % self._fences
        self.send(b"z%b\n" % token)
        self.expect(b"+ %b\n" % token)

    def expect_closed(self) -> None:
        """The server closes, and sends nothing before."""
        rest = self.read_all()
        assert rest == b"", f"expected the end, got {rest[:200]!r}"

    def read_line(self) -> bytes:
        """The next line, with its ending; what there is, if the server closes."""
        end = self._received.find(b"\n") + 1
        while not end and self._receive():
            end = self._received.find(b"\n") + 1
        line = bytes(self._received[: end or None])
        del self._received[: len(line)]
        return line

    def read_all(self) -> bytes:
        """Everything until the server closes."""
        while self._receive():
            pass
        received = bytes(self._received)
        self._received.clear()
        return received

    def half_close(self) -> None:
        """Send nothing more, go on receiving."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Be gone without a goodbye: close with a reset (RST), dropping what was not read."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def _receive(self) -> bool:
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError:
            got = bytes(self._received[:200])
            raise AssertionError(f"nothing more came within {TIMEOUT_SECONDS:g} s; so far: {got!r}") from None
        self._received += data
        return bool(data)
