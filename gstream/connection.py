"""One client's socket, read and written fast and fairly. Owned by one greenlet; knows bytes, no commands.

Strategy (each point measured, see docs/benchmarks.md):

- One read watcher, started once and stopped only while the greenlet waits for something else: gevent's own ``recv``
  tries, fails, and starts and stops a watcher for every message.
- ``read`` and ``write`` on the descriptor: a socket object's ``recv`` and ``send`` cost 0.3 us more each.
- One ``read`` a turn of the event loop, so a client that never stops sending gets so much and then waits for all
  others.
- Replies are written at the end of the turn, those of all connections in a row (:mod:`gstream.outbox`).
- A write watcher only for what the kernel did not take.
"""

from __future__ import annotations

import _socket
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import gevent
from gevent import get_hub, getcurrent
from greenlet import greenlet

from gstream import kernel
from gstream.commit import Commit
from gstream.outbox import Outbox
from gstream.pending import Pending, Refuse
from gstream.watch import Elsewhere, Watch

__all__ = ["ClientGone", "Connection"]

READ_BYTES = 64 * 1024
"""How much is read at once: 3,600 short messages, a fraction of a millisecond of work. ``os.read`` allocates this
much and gives back what was not needed; from 128 KiB on that would be a system call of its own (mallopt(3))."""

READ_LESS_BYTES = 4 * 1024
"""The same for a client whose bytes are looked at one by one."""

FLUSH_BYTES = 64 * 1024
"""Replies are written out when this much has gathered, however many more are to come."""

LINGER_SECONDS = 1.0
"""How long a closed connection is still read from, and its last reply's acknowledgement awaited."""

PENDING_BYTES = 256 * 1024
"""So much of one client's messages is stored at once; then it is not read from until that is done."""

READER_SECONDS = 0.005
"""How often a client that does not read is looked after."""

_READ, _WRITE = 1, 2


class ClientGone(Exception):
    """The client can be neither written to nor read from any more."""


_switch_to = greenlet.switch
"""Without what gevent's own ``hub.switch`` looks up each time, for a kind of greenlet that is not in use here."""


class Connection:
    """A connected, non-blocking stream socket, used by the greenlet that makes this object.

    sock: taken over, closed by :meth:`close`.
    outbox: the hub's.
    """

    __slots__ = (
        "_confirmed",
        "_errors_once",
        "_fd",
        "_greenlet",
        "_heard",
        "_hub",
        "_is_tcp",
        "_out",
        "_out_bytes",
        "_outbox",
        "_pending",
        "_read_bytes",
        "_readable",
        "_reading",
        "_reset",
        "_sending",
        "_sent",
        "_shut",
        "_sock",
        "_storing",
        "ended",
    )

    def __init__(self, sock: _socket.socket, outbox: Outbox) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._hub = get_hub()
        self._greenlet = getcurrent()
        self._is_tcp = sock.family != socket.AF_UNIX
        # libuv reports an error together with the input before it, and stops watching (uv_poll_start: UV_EBADF).
        self._errors_once = "libuv" in type(self._hub.loop).__module__
        self._outbox = outbox
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._sent = 0  # bytes that the kernel took, since the beginning
        self._heard = 0  # _sent when the client last sent something
        self._confirmed = 0  # bytes known to have arrived
        self._read_bytes = READ_BYTES
        self._reading = False
        self._pending: Pending | None = None
        self._sending = False  # waits until the client takes more
        self._storing = False  # waits until nothing is pending
        self._reset = False  # the client is gone; its kernel may have acknowledged what it never saw
        self._shut = False
        self.ended = False
        """The client has closed its sending side, or is gone."""
        self._readable = self._hub.loop.io(self._fd, _READ)
        self._readable.start(self._greenlet.switch)

    # --- reading

    def read(self) -> bytes | None:
        """What the client sent next; b"" once it has ended; None when it sent nothing, but there is something to do.

        That is after :meth:`wake`, or when queued replies could not be written and have to be flushed. Raises
        ClientGone after a reset: then the beginning of a line is no command.
        """
        if not self._reset:
            self._reading = True
            _switch_to(self._hub)
            self._reading = False
        try:
            data = os.read(self._fd, self._read_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            self._reset = True
            raise ClientGone from error
        if data:
            self._heard = self._sent
            if self._errors_once:
                self._look_for_error()
        elif self._reset:  # the system tells it once; it told flush_from_hub
            raise ClientGone
        else:
            self.ended = True
        return data

    def read_less(self) -> None:
        """From now on, read less at once: what this client sends is slow to decode."""
        self._read_bytes = READ_LESS_BYTES

    def wake(self) -> None:
        """Make a :meth:`read` that is under way return. From another greenlet."""
        self._hub.loop.run_callback(self._switch_if_reading)

    def _switch_if_reading(self) -> None:
        if self._reading:
            self._greenlet.switch()

    def watching(self, stop: Callable[[], None], *, stop_at_end: bool) -> Watch:
        """Look after the client while the greenlet waits for something else: see Watch."""
        return Watch(self, stop, stop_at_end)

    def pause(self) -> None:
        """Let all others have a turn: go on when the loop has polled, and the client can take more replies."""
        with self._writable() as writable:
            self._hub.wait(writable)

    def elsewhere(self) -> Elsewhere:
        """While the greenlet waits for something else than what the client sends, which stays in the kernel."""
        return Elsewhere(self)

    def wait_for(self, commit: Commit) -> None:
        """Return when something is stored. Raises DiskError."""
        self.flush_soon()
        with self.elsewhere():
            commit.wait()

    # --- writing

    @property
    def place(self) -> int:
        """Where in the stream of replies the next one starts."""
        return self._sent + self._out_bytes

    def write(self, data: bytes) -> None:
        """Queue a reply. Blocks only when many have gathered. Raises ClientGone."""
        if self._pending:
            self._pending.add_behind(data)
            return
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > FLUSH_BYTES:
            self.flush()

    def write_when(self, commit: Commit, data: bytes, refuse: Refuse, size: int) -> None:
        """Queue a reply for when something is stored that is so large, and what to say if it is not.

        What is written afterwards goes out after it. Blocks only when much is being stored.
        """
        if self._pending is None:
            self._pending = Pending(self._go_on)
        self._pending.add(commit, data, refuse, size)
        if self._pending.size_bytes > PENDING_BYTES:
            self.wait_until_stored()

    def wait_until_stored(self) -> None:
        """Return when every reply that was written can go out."""
        if self._pending:
            self.flush_soon()
            with self.elsewhere():
                self._storing = True
                try:
                    _switch_to(self._hub)
                finally:
                    self._storing = False

    def _go_on(self, replies: list[bytes]) -> None:
        self._out += replies
        self._out_bytes += sum(map(len, replies))
        self._outbox.add(self)
        if self._storing and not self._pending:
            self._greenlet.switch()

    @property
    def is_storing(self) -> bool:
        """Whether replies wait for something to be stored."""
        return bool(self._pending)

    def write_soon(self, data: bytes) -> None:
        """Queue a reply, to be written at the end of this turn before those of others. From any greenlet."""
        self._out.append(data)
        self._out_bytes += len(data)
        self._outbox.add(self, first=True)

    def flush_soon(self) -> None:
        """Hand everything queued to the kernel at the end of this turn of the loop. Does not block."""
        if self._out:
            self._outbox.add(self)

    def flush_from_hub(self) -> None:
        """Called by the outbox: write what can be written; the greenlet sees to the rest."""
        out = self._out
        if not out or self._sending:  # the rest of what came before goes first
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        try:
            size = os.write(self._fd, data)
        except BlockingIOError:
            size = 0
        except OSError:
            self._reset = True
            size = 0
        self._sent += size
        self._out_bytes -= size
        if size < len(data):
            out.append(data[size:])
            self._switch_if_reading()

    def flush(self) -> None:
        """Hand everything queued to the kernel. Raises ClientGone."""
        out = self._out
        while out:  # more may come while this waits
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._out_bytes -= len(data)
            try:
                size = os.write(self._fd, data)
            except BlockingIOError:
                size = 0
            except OSError as error:
                self._reset = True
                raise ClientGone from error
            self._sent += size
            if size < len(data):
                self._send_slowly(memoryview(data)[size:])

    def _send_slowly(self, data: memoryview) -> None:
        self._sending = True
        try:
            with self._writable() as writable:
                while data:
                    self._hub.wait(writable)
                    with suppress(BlockingIOError):
                        size = os.write(self._fd, data)
                        self._sent += size
                        data = data[size:]
        except OSError as error:
            self._reset = True
            raise ClientGone from error
        finally:
            self._sending = False

    @contextmanager
    def _writable(self) -> Iterator[Any]:
        """A write watcher, for as long as the greenlet waits for it instead of for input."""
        self._readable.stop()
        writable = self._hub.loop.io(self._fd, _WRITE)
        try:
            yield writable
        finally:
            writable.close()
            self._readable.start(self._greenlet.switch)

    # --- the end

    def arrived(self) -> int:
        """How many bytes of the replies are known to have arrived.

        Arrived means acknowledged by the client's TCP, or, on a unix socket, read by the client, which is known for
        whole writes only.
        After a reset only what the client had before it last sent something counts: a client that closes without
        having read everything resets, and its kernel may have acknowledged what it never saw.
        """
        self._confirmed = max(self._confirmed, self._sent - self._unacknowledged())
        if not self._is_tcp:  # a client that closed with replies unread has emptied the queue
            self._look_for_error()
        return min(self._confirmed, self._heard) if self._reset else self._confirmed

    def perhaps_seen(self) -> int:
        """How many bytes of the replies the client may have read: after a reset, all that were sent."""
        arrived = self.arrived()
        return self._sent if self._reset else arrived

    def wait_for_reader(self) -> None:
        """Wait a moment for a client that does not read. Raises ClientGone when it is gone."""
        self._readable.stop()
        try:
            gevent.sleep(READER_SECONDS)
        finally:
            self._readable.start(self._greenlet.switch)
        self._look_for_error()
        if self._reset:
            raise ClientGone

    def _look_for_error(self) -> None:
        if not self._reset:
            self._reset = kernel.has_error(self._sock)

    def _unacknowledged(self) -> int:
        """Bytes of replies in the kernel's send queue; on a unix socket these and more, the buffers' own size."""
        # Linux counts the FIN as a byte (tcp_ioctl: write_seq - snd_una).
        return max(0, kernel.queued_bytes(self._sock) - self._shut)

    def finish(self, *, until_arrived: bool) -> None:
        """Close in a way that loses no reply.

        Shut the sending side, read on for up to LINGER_SECONDS until the client closes too, and, if asked, wait until
        it has everything, however slowly it reads.

        Closing while the client still sends would reset the connection, and a reset can overtake the last reply.
        """
        self.wait_until_stored()
        self.flush()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._reset = True
            return
        self._shut = True
        while True:
            try:
                with gevent.Timeout(LINGER_SECONDS):
                    while not self.ended:
                        self.read()
                    if until_arrived:
                        self._wait_until_arrived()
                    return
            except gevent.Timeout:
                self._reading = False
                if not (until_arrived and self._unacknowledged()):
                    return

    def _wait_until_arrived(self) -> None:
        self._readable.stop()
        delay = 0.001
        while not self._reset and self._unacknowledged():
            gevent.sleep(delay)
            delay = min(2 * delay, 0.05)
            self._look_for_error()

    def abort(self) -> None:
        """Take back what has not arrived: :meth:`close` will reset the connection (not on a unix socket)."""
        if self._is_tcp:
            kernel.reset_on_close(self._sock)

    def close(self) -> None:
        """Free the socket, at once."""
        self._reading = False
        if self._pending is not None:
            self._pending.clear()
        self._out.clear()  # the outbox may still know this connection, and somebody else will get its descriptor
        self._readable.stop()
        self._readable.close()
        self._sock.close()
