"""A client's connection that may end at any moment, line by line.

Knows the protocol's lines and no command.
"""

from __future__ import annotations

import socket
import time
from itertools import count

from gstream.protocol import BANNER
from gstream.testing import TIMEOUT_SECONDS

__all__ = ["Link", "LostError"]

_NUMBERS = count()


class LostError(Exception):
    """The connection has ended."""


class Link:
    """A connection, in lines. Everything raises LostError when it has ended."""

    def __init__(self, connection: socket.socket, life: int) -> None:
        self.number = next(_NUMBERS)
        self.life = life
        self.received_at = time.monotonic()
        """When the last bytes before those that are read now had come."""
        self._connection = connection
        self._connection.settimeout(TIMEOUT_SECONDS)
        self._buffer = bytearray()
        self._previous = self.received_at
        if self._read(len(BANNER)) != BANNER:
            raise AssertionError("this is no gstream server")

    def close(self) -> None:
        self._connection.close()

    def send(self, data: bytes | bytearray) -> None:
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise LostError from error

    def read_line(self) -> bytes:
        """The next line without its ending; notices are skipped."""
        while True:
            while (end := self._buffer.find(b"\n")) < 0:
                self._receive()
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if not line.startswith(b"#"):
                return line.removesuffix(b"\r")

    def read_message(self, line: bytes) -> tuple[bytes, int, bytes]:
        """The message that begins with this line: id, attempt, and body."""
        form, id, attempt, rest = line.split(b" ", 3)
        return id, int(attempt), self._read(int(rest) + 1)[:-1] if form == b"$" else rest

    def has_more(self, seconds: float) -> bool:
        """Whether something comes within so long."""
        if self._buffer:
            return True
        self._connection.settimeout(seconds)
        try:
            self._receive()
        except TimeoutError:
            return False
        finally:
            self._connection.settimeout(TIMEOUT_SECONDS)
        return True

    @property
    def has_line(self) -> bool:
        """Whether a line is here already."""
        return b"\n" in self._buffer

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _receive(self) -> None:
        try:
            data = self._connection.recv(1 << 16)
        except TimeoutError:
            raise
        except OSError as error:
            raise LostError from error
        if not data:
            raise LostError
        self.received_at, self._previous = self._previous, time.monotonic()
        self._buffer += data
