"""A client for Python programs: plain blocking sockets, with or without gevent.

    with Client() as client:
        client.publish([b"one", b"two"])
        client.consume()                      # [b"one"]
        client.consume(100, wait_seconds=5)   # [b"two"]

One connection, one thread at a time. Under ``gevent.monkey.patch_all()`` it cooperates like any other socket.
"""

from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TypeAlias

from gstream.errors import DisconnectedError, RefusedError, ServerUnreachableError

__all__ = ["Client"]

CONNECT_SECONDS = 0.9
"""A server that is not there is told within a second."""

WINDOW_MESSAGES = 1000
WINDOW_BYTES = 256 * 1024
"""So much is sent before its replies are read. The replies to a window fit into any socket buffer, so that neither
side can wait for the other to read."""

WAIT_SECONDS = 3600.0
"""A longer wait is made of several: a timeout of 50 days is too long for poll(2)."""

GREETING_LINES, GREETING_BYTES = 64, 4096
"""A server's banner is not longer; somebody else's may have no end."""

_READY = b"ready"
_MESSAGE = re.compile(rb"= \d+ \d+ (?P<body>[^\n]*)\n|\$ \d+ \d+ (?P<size>\d{1,12})\n")
_Address: TypeAlias = str | tuple[str, int]


class Client:
    """A connection to a server.

    host, port: where it listens; or socket_path: its unix socket.
    timeout: seconds that a reply may take (beyond the time that a call waits by itself).

    Raises ServerUnreachableError when nothing answers there. Every call may raise DisconnectedError, after which the
    client is of no use, and RefusedError, after which it is.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 8080, *, socket_path: str | None = None, timeout: float = 10.0
    ) -> None:
        self._address: _Address = socket_path or (host, port)
        self._timeout = timeout
        try:
            self._socket = _connect(self._address)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ServerUnreachableError(f"no gstream server at {self._where()}: {reason}") from None
        self._replies = self._socket.makefile("rb")
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._replies.close()
        self._socket.close()

    def publish(self, bodies: Iterable[bytes]) -> int:
        """Publish messages in order; returns how many, once the server has confirmed every one.

        Raises ValueError, before anything of its window was sent, for a body that a line cannot carry: one that
        holds LF or ends in CR. Raises RefusedError when the server refuses one; its ``confirmed`` says how many
        were stored.
        """
        confirmed = 0
        for count, data in _windows(bodies):
            self._send(data)
            refusal: RefusedError | None = None
            for _ in range(count):
                try:
                    self._read_ok()
                    confirmed += 1
                except RefusedError as error:
                    refusal = refusal or error
            if refusal is not None:
                refusal.confirmed = confirmed
                raise refusal
        return confirmed

    def consume(self, count: int = 1, *, wait_seconds: float | None = 0.0) -> list[bytes]:
        """Take up to ``count`` messages for good, oldest first; an empty list when there is none.

        wait_seconds: how long to wait for the first one (None: for ever).
        """
        left = math.inf if wait_seconds is None else wait_seconds
        try:
            while True:
                waiting = min(left, WAIT_SECONDS)
                left -= waiting
                self._socket.settimeout(self._timeout + waiting)
                self._send(b"w%.3f %d\n" % (waiting, count))
                bodies = []
                while (line := self._read_line()) != b".\n":
                    bodies.append(self._read_message(line))
                if bodies or left <= 0:
                    return bodies
        finally:
            self._socket.settimeout(self._timeout)

    def ping(self) -> None:
        """Make sure that the server answers."""
        self._send(b"z\n")
        self._read_line()

    def _greet(self) -> None:
        """Skip the banner, if there is one: what comes before the answer to a ping."""
        deadline = time.monotonic() + CONNECT_SECONDS
        stranger = ServerUnreachableError(f"what answers at {self._where()} is no gstream server")
        self._socket.settimeout(CONNECT_SECONDS)
        self._send(b"z" + _READY + b"\n")

        def read_line() -> bytes:
            """One line, byte by byte: by recv for the deadline's sake, and nothing of what comes behind it."""
            line = bytearray()
            while not line.endswith(b"\n"):
                if len(line) == GREETING_BYTES:
                    raise stranger
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                byte = self._socket.recv(1)
                if not byte:
                    break
                line += byte
            return bytes(line)

        for _ in range(GREETING_LINES):
            line = self._read_any_line(read_line)
            if line == b"+ " + _READY + b"\n":
                self._socket.settimeout(self._timeout)
                return
        raise stranger

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise DisconnectedError(f"{self._where()} did not answer in time") from None
        except OSError as error:
            # Why it was closed may have been said before.
            raise DisconnectedError(f"{self._where()} closed the connection: {error.strerror or error}") from None

    def _read_line(self) -> bytes:
        while (line := self._read_any_line(self._replies.readline)).startswith(b"# "):
            pass
        return line

    def _read_any_line(self, read_line: Callable[[], bytes]) -> bytes:
        try:
            line = read_line()
        except TimeoutError:
            raise DisconnectedError(f"{self._where()} did not answer in time") from None
        except OSError as error:
            raise DisconnectedError(f"{self._where()} closed the connection: {error.strerror or error}") from None
        if not line.endswith(b"\n"):
            raise DisconnectedError(f"{self._where()} closed the connection")
        if line.startswith(b"- "):
            _, code, text = (line.rstrip().decode(errors="replace") + "  ").split(" ", 2)
            raise RefusedError(code, text.strip())
        return line

    def _read_ok(self) -> None:
        line = self._read_line()
        if line != b"ok\r\n":
            raise DisconnectedError(f"{self._where()} answered {line[:80]!r} where ok was expected")

    def _read_message(self, line: bytes) -> bytes:
        if (match := _MESSAGE.fullmatch(line)) is None:
            raise DisconnectedError(f"{self._where()} answered {line[:80]!r} where a message was expected")
        if match["body"] is not None:
            return match["body"]
        size = int(match["size"])
        try:
            body = self._replies.read(size + 1)
        except OSError as error:
            raise DisconnectedError(f"{self._where()} closed the connection: {error}") from None
        if len(body) != size + 1:
            raise DisconnectedError(f"{self._where()} closed the connection")
        return body[:-1]

    def _where(self) -> str:
        return self._address if isinstance(self._address, str) else "{}:{}".format(*self._address)


def _connect(address: _Address) -> socket.socket:
    if not isinstance(address, str):
        connected = socket.create_connection(address, timeout=CONNECT_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(CONNECT_SECONDS)
        connected.connect(address)
    except OSError:
        connected.close()
        raise
    return connected


def _windows(bodies: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """``p`` lines, as many at a time as one window holds, and how many these are."""
    count = 0
    window = bytearray()
    for body in bodies:
        if b"\n" in body or body.endswith(b"\r"):
            raise ValueError("a message of the line protocol cannot hold LF or end in CR")
        if count == WINDOW_MESSAGES or (count and len(window) + len(body) > WINDOW_BYTES):
            yield count, bytes(window)
            count = 0
            window.clear()
        window += b"p%b\n" % body
        count += 1
    if count:
        yield count, bytes(window)
