"""A wire: one connection to a server, and the replies that have come over it.

Replies are received in big pieces and looked at where they lie. After an error of the connection, or an answer that no
server gives, a wire is of no use any more; after an error line it is: the replies are still in step.

Knows nothing of what the commands are for, and nothing of other connections.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import time
from collections.abc import MutableSequence
from typing import TypeAlias, TypeVar

from gstream.client.message import MAX_BODY_BYTES, Decode
from gstream.errors import DisconnectedError, RefusedError, ServerUnreachableError

__all__ = ["CONNECT_SECONDS", "END", "Address", "Wire", "is_notice", "is_refusal", "refusal", "where"]

T = TypeVar("T")
Address: TypeAlias = str | tuple[str, int]
"""A unix socket's path, or host and port."""

CONNECT_SECONDS = 0.9
"""A server that is not there is told within a second; one that accepts and is slow to answer has the timeout."""

GREETING_LINES, GREETING_BYTES = 64, 4096
"""A server's banner is not longer; somebody else's may have no end."""

RECEIVE_BYTES = 64 * 1024
MAX_RECEIVE_BYTES = 1024 * 1024
"""So much is asked for at once, the latter within a long body."""

WHOLE_BYTES = 4096
"""So much is sent in one piece, unless the server is slow."""

LINE_BYTES = 1024 * 1024
"""No reply but a message is longer."""

END = b".\n"
_READY = b"ready"
_OK = b"ok\r\n"
_CONFIRMATIONS = re.compile(rb"(?:ok\r\n|\+ [0-9:]++\n)*+")
_RESET, _LINGER = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)


class Wire:
    """A connection to the server at an address; it is greeted.

    timeout: seconds that the server may be silent while it owes a reply.
    greeting_seconds: the same until its first reply; None: the timeout.

    Raises ServerUnreachableError when no gstream server is there or none answers within the timeout, and RefusedError
    (full) when it takes no more connections. Everything else here raises DisconnectedError when the connection ends.
    """

    def __init__(self, address: Address, timeout: float, greeting_seconds: float | None = None) -> None:
        self.timeout = timeout
        self._greeting_seconds = timeout if greeting_seconds is None else greeting_seconds
        self.draining = False
        """The server has said that it stops."""
        self.broken = False
        """Nobody is to use it any more."""
        self.silent = False
        """The server has owed an answer for too long."""
        self._address = address
        self._buffer = bytearray()
        self._needed = 0
        """A counted message is whole when so many bytes are there."""
        self._searched = 0
        """There is no LF before this."""
        try:
            self._socket = _connect(address)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ServerUnreachableError(f"no gstream server at {where(address)}: {reason}") from None
        self._timeout_set = CONNECT_SECONDS
        self._resets = False
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        try:
            self._greet()
        except DisconnectedError as error:
            self.close()
            raise ServerUnreachableError(str(error)) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def check(self) -> None:
        """Raise DisconnectedError if anything speaks against the connection: its end is seen before it is sent into."""
        while self.poll(0.0):
            while (line := self.take_line()) is not None:
                if not is_notice(line):
                    raise self.garbage(line, "nothing")
        if self.draining:
            raise DisconnectedError(f"{where(self._address)} is stopping")
        if self.broken or self._buffer:
            raise DisconnectedError(f"the connection to {where(self._address)} is out of step")

    def send(self, data: bytes) -> None:
        """Send bytes; the timeout is for each part of them that the server takes.

        Who is killed or gives up on the way resets the connection (TCP), and nothing torn is executed: at an orderly
        end the server takes an unfinished line for a command. Only on the way, since after a reset what was consumed
        before is delivered again; and not for what is sent in one piece, which would pay a tenth of its time for it.
        """
        rest = memoryview(data)
        try:
            self._set_timeout(self.timeout)
            while rest:
                self._set_reset(len(rest) > WHOLE_BYTES or len(rest) < len(data))
                rest = rest[self._socket.send(rest) :]
            self._set_reset(False)
        except TimeoutError:
            raise self.silence() from None
        except OSError as error:
            raise self._lost(error) from None

    def read_line(self) -> bytes:
        """The next line, with its ending; notices are skipped. Raises RefusedError for an error line."""
        line = self.read_any_line()
        if is_refusal(line):
            raise refusal(line)
        return line

    def read_any_line(self) -> bytes:
        """The next line, with its ending, be it an error line; notices are skipped."""
        while (line := self.take_line()) is None or is_notice(line):
            if line is None:
                self.receive()
        return line

    def read_list(self, decode: Decode[T], items: MutableSequence[T], count: int, wait_seconds: float = 0.0) -> None:
        """A list of up to ``count`` messages, to its end; they are appended as they come.

        wait_seconds: how long the first may take beyond the timeout.
        """
        while True:
            self.decode(decode, items)
            if len(items) > count:
                raise self.garbage(b"more than %d messages" % count, "their end")
            line = self.take_line()
            if line is None:
                self.receive(0.0 if items else wait_seconds)
            elif is_refusal(line):
                raise refusal(line)
            elif line == END:
                return
            elif not is_notice(line):
                raise self.garbage(line, "a message")

    def read_confirmations(self, count: int) -> int:
        """The answers to ``count`` published messages; gives how many that are.

        Raises RefusedError, when all have been read, if one is an error line. It, or a DisconnectedError, has in
        ``confirmed`` how many messages were stored.
        """
        confirmed = answered = 0
        refused: RefusedError | None = None
        try:
            while answered < count:
                if oks := min(self._take_confirmations(), count - answered):
                    confirmed += oks
                    answered += oks
                    continue
                try:
                    line = self.read_line()
                except RefusedError as error:
                    refused = refused or error
                else:
                    if line != _OK and not line.startswith(b"+ "):
                        raise self.garbage(line, "ok")
                    confirmed += 1
                answered += 1
        except DisconnectedError as error:
            error.confirmed = confirmed
            raise
        if refused is not None:
            refused.confirmed = confirmed
            raise refused
        return confirmed

    def decode(self, decode: Decode[T], items: MutableSequence[T]) -> None:
        """Decode the messages that are there, if one may be whole."""
        if len(self._buffer) < self._needed or self._buffer.find(b"\n", self._searched) < 0:
            return
        try:
            used, self._needed = decode(bytes(self._buffer), items)
        except ValueError as error:
            raise self.garbage(str(error).encode(), "a message") from None
        if used:
            needed = self._needed
            self._discard(used)
            self._needed = max(0, needed - used)

    def take_line(self) -> bytes | None:
        """The next line, with its ending, if it is there; not while a counted message comes."""
        if self._needed:
            return None
        end = self._buffer.find(b"\n", self._searched) + 1
        if not end:
            self._searched = len(self._buffer)
            if self._searched > (MAX_BODY_BYTES if self._buffer.startswith(b"= ") else LINE_BYTES):
                raise self.garbage(bytes(self._buffer[:80]), "the end of a line")
            return None
        line = bytes(self._buffer[:end])
        self._discard(end)
        if line.startswith(b"# drain"):
            self.draining = True
        return line

    def receive(self, wait_seconds: float = 0.0) -> None:
        """Wait for more bytes: the timeout, and ``wait_seconds`` beyond it; raises DisconnectedError if none come."""
        while True:
            if not self.poll(self.timeout + wait_seconds):
                raise self.silence()
            if len(self._buffer) >= self._needed:
                return
            wait_seconds = 0.0

    def poll(self, seconds: float) -> bool:
        """Wait so long for more bytes; False if none came. Raises DisconnectedError at the connection's end."""
        if not seconds:
            if not self._poll.poll(0):
                return False
            seconds = self.timeout  # which will not be needed
        missing = self._needed - len(self._buffer)
        try:
            self._set_timeout(seconds)
            data = self._socket.recv(min(max(missing, RECEIVE_BYTES), MAX_RECEIVE_BYTES))
        except TimeoutError:
            return False
        except OSError as error:
            raise self._lost(error) from None
        if not data:
            raise self._lost()
        self._buffer += data
        return True

    def garbage(self, answer: bytes, expected: str) -> DisconnectedError:
        """What to raise about an answer that no gstream server gives."""
        return DisconnectedError(f"{where(self._address)} answered {answer[:80]!r} where {expected} was expected")

    def _greet(self) -> None:
        """Skip the banner, if there is one: what comes before the answer to a ping."""
        deadline = time.monotonic() + max(CONNECT_SECONDS, self._greeting_seconds)
        stranger = ServerUnreachableError(f"what answers at {where(self._address)} is no gstream server")
        self.send(b"z" + _READY + b"\n")
        for _ in range(GREETING_LINES):
            while (line := self.take_line()) is None:
                if len(self._buffer) > GREETING_BYTES:
                    raise stranger
                if not self.poll(max(0.001, deadline - time.monotonic())):
                    raise self.silence()
            if is_refusal(line):
                raise refusal(line)
            if line == b"+ " + _READY + b"\n":
                return
        raise stranger

    def _set_timeout(self, seconds: float) -> None:
        """Only what changes: it is a system call, which one message at a time would pay for several times."""
        if seconds != self._timeout_set:
            self._socket.settimeout(seconds)
            self._timeout_set = seconds

    def _set_reset(self, resets: bool) -> None:
        """Whether the end of the connection, however it comes, is a reset; there is none on a unix socket."""
        if resets != self._resets and not isinstance(self._address, str):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET if resets else _LINGER)
            self._resets = resets

    def _take_confirmations(self) -> int:
        match = _CONFIRMATIONS.match(self._buffer)
        assert match is not None, "it matches nothing, too"
        end = match.end()
        if not end:
            return 0
        count = self._buffer.count(b"\n", 0, end)
        self._discard(end)
        return count

    def _discard(self, size: int) -> None:
        del self._buffer[:size]
        self._needed = self._searched = 0

    def silence(self) -> DisconnectedError:
        """What to raise when the server owes an answer for too long."""
        self.silent = True
        return DisconnectedError(f"{where(self._address)} did not answer in time")

    def _lost(self, error: OSError | None = None) -> DisconnectedError:
        reason = f": {error.strerror or error}" if error else ""
        return DisconnectedError(f"{where(self._address)} closed the connection{reason}")


def where(address: Address) -> str:
    """An address in one word."""
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_notice(line: bytes) -> bool:
    """Whether a line is one that clients skip."""
    return line.startswith(b"# ")


def is_refusal(line: bytes) -> bool:
    """Whether a line is an error line."""
    return line.startswith(b"- ")


def refusal(line: bytes) -> RefusedError:
    """The error that an error line is."""
    _, code, text = (line.rstrip().decode(errors="replace") + "  ").split(" ", 2)
    return RefusedError(code, text.strip())


def _connect(address: Address) -> socket.socket:
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
