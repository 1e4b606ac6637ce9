"""Looking after a client while its greenlet waits for something else than what the client sends.

Part of :mod:`gstream.connection`, whose watcher it borrows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gstream import kernel
from gstream.telnet import INTERRUPT

if TYPE_CHECKING:
    from gstream.connection import Connection

__all__ = ["Elsewhere", "Watch"]

LOOK_BYTES = 64 * 1024
"""So much of what the client has sent is looked at."""

LOOK_SECONDS = 1.0
"""How often a client that cannot be heard of otherwise is looked after."""


class Watch:
    """What :meth:`Connection.watching` gives: no generator, since whoever is woken by a message waits for its end.

    ``stop`` is called from the hub, perhaps more than once, when the client is gone, when it interrupts with telnet's
    Ctrl-C, and, if ``stop_at_end``, when it closes its sending side. What it sends stays in the kernel, where it would
    wake the read watcher without end: from then on a timer does the looking.
    """

    __slots__ = ("_connection", "_readable", "_stop", "_stop_at_end", "_timer")

    def __init__(self, connection: Connection, stop: Callable[[], None], stop_at_end: bool) -> None:
        self._connection = connection
        self._readable = connection._readable
        self._stop = stop
        self._stop_at_end = stop_at_end
        self._timer: Any = None

    def __enter__(self) -> None:
        self._readable.stop()
        self._readable.start(self._look)

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        self._readable.stop()
        self._readable.start(self._connection._greenlet.switch)

    def _look(self) -> None:
        self._readable.stop()
        ahead, ended, gone, reset = kernel.look_ahead(self._connection._sock, LOOK_BYTES)
        self._connection._reset = self._connection._reset or reset
        interrupted = ahead.startswith(INTERRUPT) or b"\n" + INTERRUPT in ahead
        if gone or interrupted or (ended and self._stop_at_end):
            self._stop()
        elif not ahead and not ended:
            self._readable.start(self._look)
        elif self._timer is None:
            self._timer = self._connection._hub.loop.timer(LOOK_SECONDS, LOOK_SECONDS)
            self._timer.start(self._look)


class Elsewhere:
    """What :meth:`Connection.elsewhere` gives: mostly the client sends nothing, and the watcher need not be stopped."""

    __slots__ = ("_readable", "_switch")

    def __init__(self, connection: Connection) -> None:
        self._readable: Any = connection._readable
        self._switch = connection._greenlet.switch

    def __enter__(self) -> None:
        readable = self._readable
        readable.callback = readable.stop

    def __exit__(self, *_: object) -> None:
        readable = self._readable
        if readable.active:
            readable.callback = self._switch
        else:
            readable.start(self._switch)
