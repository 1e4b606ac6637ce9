"""A load: many connections that keep a server busy, and how long each operation took.

One process, one thread, plain sockets and a selector. Every reply is looked at: it has to be the one that the command
asks for, and every message has to come exactly once. Knows nothing of how the result is shown.

An operation begins when its first command is ready to be sent, and ends when its last reply has been received.
"""

from __future__ import annotations

import selectors
import socket
import time
from abc import ABC, abstractmethod
from array import array
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from gstream.cli.output import CommandError

__all__ = ["KINDS", "Load", "Result"]

TIMEOUT_SECONDS = 10.0
RECEIVE_BYTES = 1 << 18
PROGRESS_SECONDS = 0.1
_READY = b"+ ready\n"


@dataclass(frozen=True)
class Result:
    """What was measured.

    operations: how many were done, in so many seconds, of which this process has computed ``busy_seconds``.
    bytes: of message bodies. latencies: seconds, sorted.
    """

    kind: str
    operations: int
    seconds: float
    busy_seconds: float
    bytes: int
    latencies: array[float]

    def percentile(self, percent: float) -> float:
        """The latency that so many percent of the operations did not exceed, in seconds (nearest rank)."""
        rank = -int(-len(self.latencies) * percent // 100)
        return self.latencies[max(0, rank - 1)]


class Kind(ABC):
    """A kind of operation: its commands, and what must be answered.

    size: of a body, in bytes.
    """

    name: ClassVar[str]
    needs_messages = False
    """Whether there have to be as many messages as operations."""
    bodies: ClassVar[bool] = True
    """Whether an operation carries a body."""

    def __init__(self, count: int, size: int) -> None:
        self._size = size
        self._seen = bytearray(count)

    @abstractmethod
    def command(self, number: int, /) -> bytes:
        """What the operation with this number sends."""

    @abstractmethod
    def answer(self, number: int, line: bytes, step: int, /) -> bytes | None:
        """What is to be sent upon this reply, the step-th of the operation; None: it is done. Raises ValueError."""

    def body(self, number: int) -> bytes:
        """The body of the message with this number."""
        return (b"%d" % number).ljust(self._size, b".")

    def check(self, line: bytes) -> bytes:
        """The id of a message that has come for the first time, and is one of ours; raises ValueError for others."""
        mark, id, _, body = line.split(b" ", 3)
        number = int(body.rstrip(b"."))
        if mark != b"=" or body != self.body(number) or self._seen[number]:
            raise ValueError
        self._seen[number] = 1
        return id


class Ping(Kind):
    """``z``."""

    name = "ping"
    bodies = False

    def command(self, number: int, /) -> bytes:
        return b"z%d\n" % number

    def answer(self, number: int, line: bytes, _step: int, /) -> bytes | None:
        if line != b"+ %d" % number:
            raise ValueError
        return None


class Publish(Kind):
    """``p``, confirmed."""

    name = "publish"

    def command(self, number: int, /) -> bytes:
        return b"p%b\n" % self.body(number)

    def answer(self, _number: int, line: bytes, _step: int, /) -> bytes | None:
        if line != b"ok\r":
            raise ValueError
        return None


class Consume(Kind):
    """``w0``: one message, taken for good."""

    name = "consume"
    needs_messages = True

    def command(self, _number: int, /) -> bytes:
        return b"w0\n"

    def answer(self, _number: int, line: bytes, _step: int, /) -> bytes | None:
        self.check(line)
        return None


class Lease(Kind):
    """``r0`` and ``a``: one message, leased and acknowledged."""

    name = "lease"
    needs_messages = True

    def command(self, _number: int, /) -> bytes:
        return b"r0\n"

    def answer(self, _number: int, line: bytes, step: int, /) -> bytes | None:
        if step == 0:
            return b"a%b\n" % self.check(line)
        if line != b"+ 1":
            raise ValueError
        return None


KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Ping, Publish, Consume, Lease)}


class _Flow:
    """One connection: what it still has to send, and the operations that are under way on it."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.unsent = bytearray()
        self.received = b""
        self.under_way: deque[tuple[int, float, int]] = deque()
        """In the order of the replies: number, beginning, and which reply is next."""

    def greet(self, topic: str, group: str) -> None:
        """Skip the banner and choose topic and group. Raises CommandError."""
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.socket.sendall(f"t{topic}\ng{group}\nzready\n".encode())
        while not self.received.endswith(_READY):
            data = self.socket.recv(RECEIVE_BYTES)
            if not data or b"\n- " in b"\n" + self.received + data:
                raise CommandError(f"the server does not take part: {(self.received + data)[-80:]!r}")
            self.received += data
        self.received = b""
        self.socket.setblocking(False)

    def end(self) -> None:
        """Close the connection, once the server has done what it was asked: nothing is published afterwards."""
        with suppress(OSError), self.socket:
            self.socket.settimeout(TIMEOUT_SECONDS)
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(RECEIVE_BYTES):
                pass


class Load:
    """So many operations of a kind, on several connections.

    address: host and port, or a unix socket's path. window: operations under way on each connection.
    """

    def __init__(
        self,
        kind: type[Kind],
        address: tuple[str, int] | str,
        *,
        topic: str,
        group: str,
        connections: int,
        count: int,
        size: int,
        window: int,
    ) -> None:
        self._kind = kind(count, size)
        self._address = address
        self._place = (topic, group)
        self._connections = min(connections, count)
        self._count = count
        self._size = size
        self._window = window
        self._begun = 0
        self._latencies = array("d")

    def run(self, progress: Callable[[int], None]) -> Result:
        """Run it to its end.

        progress: told now and then how many operations are done. Raises CommandError when the server cannot be
        reached, does not answer, or answers anything but what it should.
        """
        flows: list[_Flow] = []
        try:
            for _ in range(self._connections):
                flows.append(_Flow(self._connect()))  # those made are closed if one cannot be
                flows[-1].greet(*self._place)
            return self._measure(flows, progress)
        except TimeoutError:
            raise CommandError("the server did not answer in time") from None
        except OSError as error:
            raise CommandError(f"the connection to the server failed: {error.strerror or error}") from None
        finally:
            for flow in flows:
                flow.end()

    def _connect(self) -> socket.socket:
        if isinstance(self._address, str):
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connected.settimeout(TIMEOUT_SECONDS)
            connected.connect(self._address)
            return connected
        connected = socket.create_connection(self._address, timeout=TIMEOUT_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def _measure(self, flows: list[_Flow], progress: Callable[[int], None]) -> Result:
        with selectors.DefaultSelector() as selector:
            for flow in flows:
                selector.register(flow.socket, selectors.EVENT_READ, flow)
            busy, start = time.process_time(), time.perf_counter()
            for flow in flows:
                self._begin(flow)
                self._send(flow, selector)
            told = start
            while len(self._latencies) < self._count:
                ready = selector.select(TIMEOUT_SECONDS)
                if not ready:
                    raise TimeoutError
                for key, mask in ready:
                    if mask & selectors.EVENT_READ:
                        self._receive(key.data)
                    self._send(key.data, selector)
                if time.perf_counter() - told > PROGRESS_SECONDS:
                    told = time.perf_counter()
                    progress(len(self._latencies))
            seconds, busy = time.perf_counter() - start, time.process_time() - busy
        progress(self._count)
        body_bytes = self._count * self._size if self._kind.bodies else 0
        latencies = array("d", sorted(self._latencies))
        return Result(self._kind.name, self._count, seconds, busy, body_bytes, latencies)

    def _begin(self, flow: _Flow) -> None:
        """Fill the window."""
        new = min(self._window - len(flow.under_way), self._count - self._begun)
        if new > 0:
            numbers = range(self._begun, self._begun + new)
            self._begun += new
            flow.unsent += b"".join([self._kind.command(number) for number in numbers])
            now = time.perf_counter()
            flow.under_way.extend([(number, now, 0) for number in numbers])

    def _send(self, flow: _Flow, selector: selectors.BaseSelector) -> None:
        events = selectors.EVENT_READ
        if flow.unsent:
            with suppress(BlockingIOError):
                del flow.unsent[: flow.socket.send(flow.unsent)]
            if flow.unsent:
                events |= selectors.EVENT_WRITE
        if selector.get_key(flow.socket).events != events:
            selector.modify(flow.socket, events, flow)

    def _receive(self, flow: _Flow) -> None:
        data = flow.socket.recv(RECEIVE_BYTES)
        now = time.perf_counter()
        if not data:
            raise CommandError("the server closed the connection")
        *lines, flow.received = (flow.received + data).split(b"\n")
        answer, under_way, done = self._kind.answer, flow.under_way, self._latencies.append
        for line in lines:
            if not under_way or line.startswith((b"# ", b"- ")):
                raise CommandError(f"the server said: {line[:80].decode(errors='replace')}")
            number, begun, step = under_way.popleft()
            try:
                more = answer(number, line, step)
            except (ValueError, IndexError):
                shown = line[:80].decode(errors="replace")
                raise CommandError(f"a wrong reply to {self._kind.name}: {shown!r}") from None
            if more is None:
                done(now - begun)
            else:
                flow.unsent += more
                under_way.append((number, begun, step + 1))
        self._begin(flow)
