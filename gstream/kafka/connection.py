"""One Kafka client's socket, read fast and fairly, and written without its greenlet.

Strategy, where it is not that of :mod:`gstream.connection`:

- The greenlet reads, and does what is read. Replies are written from the hub, as much as the kernel takes and the rest
  when it takes more, so that one that waits for something holds none back.
- Large buffers are written as they are (``writev``), small ones together.
- A client is not read from while too much of what it has asked for is on its way to the disk or to itself.
- Who does not finish what it has begun to send, or takes nothing of what it is sent, is closed after a time.

Owned by one greenlet. Knows bytes, no requests.
"""

from __future__ import annotations

import _socket
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import gevent
from gevent import get_hub, getcurrent
from greenlet import greenlet

from gstream import kernel
from gstream.commit import Commit
from gstream.kafka.api import Buffer
from gstream.kafka.replies import Replies
from gstream.outbox import Outbox

__all__ = ["QUEUE_BYTES", "ClientGone", "KafkaConnection", "LateError"]

log = logging.getLogger(__name__)

READ_BYTES = 16 * 1024
"""How much is read at once, unless it is the rest of a large request: a hundred small ones, a few milliseconds."""

JOIN_BYTES = 64 * 1024
"""Replies are joined up to this size: copying so much costs less than naming each part to the kernel."""

MAX_BUFFERS = 1024
"""So many the kernel takes at once (IOV_MAX)."""

QUEUE_BYTES = 1 << 20
"""With more replies than that in the queue, a client is not read from."""

STORING_BYTES = 4 << 20
"""Nor is it with more than that of its messages on their way to the disk."""

UNREAD_SECONDS = 60.0
"""A client that takes nothing for so long of what it is sent is closed."""

LINGER_SECONDS = 1.0
"""How long a connection that is closed here is still read from: its client may not see the last reply otherwise."""

_READ, _WRITE = 1, 2
_switch_to = greenlet.switch
"""Without what gevent's own ``hub.switch`` looks up each time, for a kind of greenlet that is not in use here."""


class ClientGone(Exception):
    """The client can be neither written to nor read from any more."""


class LateError(Exception):
    """The client has begun something, and has not finished it in time."""


class KafkaConnection:
    """A connected, non-blocking stream socket, used by the greenlet that makes this object.

    sock: taken over, closed by :meth:`close`.
    outbox: the hub's.
    """

    __slots__ = (
        "_awaited",
        "_due",
        "_errors_once",
        "_fd",
        "_gone",
        "_greenlet",
        "_hub",
        "_is_late",
        "_out",
        "_out_bytes",
        "_outbox",
        "_readable",
        "_reading",
        "_replies",
        "_sock",
        "_took",
        "_unread",
        "_writable",
    )

    def __init__(self, sock: _socket.socket, outbox: Outbox) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._hub = get_hub()
        self._greenlet = getcurrent()
        # libuv reports an error together with the input before it, and stops watching (uv_poll_start: UV_EBADF).
        self._errors_once = "libuv" in type(self._hub.loop).__module__
        self._outbox = outbox
        self._replies = Replies(self._release)
        self._out: list[Buffer] = []
        self._out_bytes = 0
        self._reading = False
        self._awaited: Callable[[], bool] | None = None  # what the greenlet waits for, beside input
        self._gone = False
        self._is_late = False
        self._due: float | None = None
        self._readable: Any = self._hub.loop.io(self._fd, _READ)
        self._readable.start(self._on_readable)
        self._writable: Any = None  # while the kernel takes no more
        self._unread: Any = None
        self._took = False  # what it is sent, since it was looked

    # --- reading

    def read(self) -> bytes | None:
        """What the client sent next; b"" once it has ended; None after :meth:`wake`.

        Raises ClientGone, and LateError when it is due.
        """
        self._wait_for_input()
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            self._lose()
            raise ClientGone from error
        if self._errors_once and data:
            self._look_for_error()
        return data

    def read_into(self, buffer: memoryview) -> int | None:
        """The same, into a buffer: how much was read."""
        self._wait_for_input()
        try:
            size = os.readv(self._fd, [buffer])
        except BlockingIOError:
            return None
        except OSError as error:
            self._lose()
            raise ClientGone from error
        if self._errors_once and size:
            self._look_for_error()
        return size

    def set_due(self, seconds: float | None) -> None:
        """What the client has begun to send must be there after so long; None: nothing is begun."""
        self._due = None if seconds is None else time.monotonic() + seconds

    def wake(self) -> None:
        """Make a read that is under way return. From another greenlet."""
        self._hub.loop.run_callback(self._switch_if_reading)

    def is_gone(self) -> bool:
        """Whether the client has closed the connection, as far as the system knows."""
        if not self._gone:
            _, ended, gone, _ = kernel.look_ahead(self._sock, 1)
            return ended or gone
        return True

    def _wait_for_input(self) -> None:
        if self._gone:
            raise ClientGone
        if not self._readable.active:
            self._readable.start(self._on_readable)
        timer = None
        if self._due is not None:
            timer = self._hub.loop.timer(max(0.0, self._due - time.monotonic()))
            timer.start(self._on_late)
        self._reading = True
        try:
            _switch_to(self._hub)
        finally:
            self._reading = False
            if timer is not None:
                timer.stop()
                timer.close()
        if self._is_late:
            raise LateError
        if self._gone:
            raise ClientGone

    def _look_for_error(self) -> None:
        if kernel.has_error(self._sock):
            self._lose()

    def _on_readable(self) -> None:
        if self._reading:
            self._greenlet.switch()
        else:  # it stays in the kernel, and would be told of without end
            self._readable.stop()

    def _on_late(self) -> None:
        self._is_late = True
        self._switch_if_reading()

    def _switch_if_reading(self) -> None:
        if self._reading:
            self._greenlet.switch()

    # --- writing

    def write(self, buffers: Sequence[Buffer]) -> int:
        """Queue a reply; its size. Does not block."""
        size = sum(map(len, buffers))
        if self._replies:
            self._replies.add_behind(buffers, size)
            return size
        if not self._out:
            self._outbox.add(self)
        self._out += buffers
        self._out_bytes += size
        return size

    def write_when(self, commit: Commit, finish: Callable[[], Sequence[Buffer]], size: int) -> None:
        """Queue a reply for when something is stored that is so large. ``finish()`` gives it, and must not block.

        What is written afterwards goes out after it.
        """
        self._replies.add_when(commit, finish, size)

    def wait_for_room(self) -> None:
        """Return when not too much is queued, or being stored. Raises ClientGone."""
        if self._is_full():
            self._wait_until(lambda: not self._is_full())

    def flush_from_hub(self) -> None:
        """Called by the outbox: write what the kernel takes."""
        if self._out and self._writable is None:
            self._write()

    def _is_full(self) -> bool:
        return self._out_bytes > QUEUE_BYTES or self._replies.size_bytes > STORING_BYTES

    def _release(self, buffers: list[Buffer]) -> None:
        """These replies can go out now."""
        if not self._out:
            self._outbox.add(self, first=True)
        self._out += buffers
        self._out_bytes += sum(map(len, buffers))
        self._go_on()

    def _write(self) -> None:
        """Hand to the kernel what it takes. From the hub."""
        out = self._out
        try:
            if self._out_bytes <= JOIN_BYTES:
                if len(out) > 1:
                    out[:] = [b"".join(out)]
                size = os.write(self._fd, out[0])
            else:
                size = os.writev(self._fd, out[:MAX_BUFFERS])
        except BlockingIOError:
            size = 0
        except OSError:
            self._lose()
            return
        self._out_bytes -= size
        self._drop(size)
        if out:
            self._write_on(took=bool(size))
        elif self._writable is not None:
            self._stop_writing()
        self._go_on()

    def _drop(self, size: int) -> None:
        """So many bytes of what is queued are written."""
        count = 0
        for buffer in self._out:
            if len(buffer) > size:
                break
            size -= len(buffer)
            count += 1
        del self._out[:count]
        if size:
            self._out[0] = memoryview(self._out[0])[size:]

    def _write_on(self, *, took: bool) -> None:
        """Go on when the kernel takes more, and see whether the client does."""
        if self._writable is None:
            self._writable = self._hub.loop.io(self._fd, _WRITE)
            self._writable.start(self._write)
            self._unread = self._hub.loop.timer(UNREAD_SECONDS, UNREAD_SECONDS)
            self._unread.start(self._look_whether_read)
        self._took = took or self._took

    def _look_whether_read(self) -> None:
        if not self._took:
            log.warning("connection closed: the client does not read its replies")
            self._lose()
        self._took = False

    def _stop_writing(self) -> None:
        for watcher in (self._writable, self._unread):
            watcher.stop()
            watcher.close()
        self._writable = self._unread = None

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        while not (self._gone or is_so()):
            self._awaited = is_so
            try:
                _switch_to(self._hub)
            finally:
                self._awaited = None
        if self._gone:
            raise ClientGone

    def _go_on(self) -> None:
        """Let the greenlet go on if it waits for what is so now."""
        if self._awaited is not None and (self._gone or self._awaited()):
            self._greenlet.switch()

    # --- the end

    def finish(self, *, linger: bool) -> None:
        """Write what there is to write; then, if asked, read on for a moment, so that nothing of it is lost.

        Closing while the client still sends would reset the connection, and a reset can overtake the last reply.
        Raises ClientGone.
        """
        self._wait_until(lambda: not self._out and not self._replies)
        if not linger:
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return
        self._due = None
        with suppress(gevent.Timeout), gevent.Timeout(LINGER_SECONDS):
            while self.read() != b"":
                pass

    def _lose(self) -> None:
        """The client is gone; whoever waits for it is told."""
        self._gone = True
        self._out.clear()
        self._out_bytes = 0
        self._replies.clear()
        if self._writable is not None:
            self._stop_writing()
        self._switch_if_reading()
        self._go_on()

    def drop(self) -> None:
        """Give the client up: it can neither be written to nor read from any more. From any greenlet."""
        self._hub.loop.run_callback(self._lose)

    def close(self) -> None:
        """Free the socket, at once."""
        self._gone = True
        self._reading = False
        self._replies.clear()
        self._out.clear()  # the outbox may still know this connection, and somebody else will get its descriptor
        if self._writable is not None:
            self._stop_writing()
        self._readable.stop()
        self._readable.close()
        self._sock.close()
