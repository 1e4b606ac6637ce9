"""Accepting clients on a listening socket, whatever they speak."""

from __future__ import annotations

import _socket
import errno
import logging
import socket
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

__all__ = ["Acceptor", "describe"]

log = logging.getLogger(__name__)

ACCEPT_AGAIN_SECONDS = 0.1
"""After the system had no file descriptor or memory for another client."""


class Acceptor(StreamServer):
    """Gives each client of one listening socket a greenlet, in which :meth:`handle` is called.

    listener: a listening, non-blocking ``socket.socket``, taken over.
    clients: the greenlets; owned, joined and killed by whoever owns the pool.
    """

    def __init__(self, listener: socket.socket, clients: Pool) -> None:
        super().__init__(listener, spawn=clients)
        self._accept_again: gevent.Greenlet[..., None] = gevent.Greenlet()

    def do_read(self) -> tuple[_socket.socket, Any] | None:  # type: ignore[override]  # None is allowed (gevent)
        """Accept one client; called by StreamServer.

        Gives a plain socket: gevent's own would bring two watchers and 2 KiB that a connection has no use for.
        """
        try:
            # Not accept(): a program that is monkey-patched has gevent's sockets here, and they have this one, too.
            descriptor, address = self.socket._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionAbortedError):
            return None
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            log.warning("cannot accept a client for now: %s", error.strerror)
            self.stop_accepting()
            self._accept_again = gevent.spawn_later(ACCEPT_AGAIN_SECONDS, self.start_accepting)
            return None
        sock = _socket.socket(self.socket.family, self.socket.type, self.socket.proto, fileno=descriptor)
        sock.setblocking(False)
        return sock, address

    def close(self) -> None:
        """Accept no more clients; those that are there stay."""
        self._accept_again.kill(block=False)
        super().close()

    def do_close(self, sock: _socket.socket, *_: Any) -> None:
        """Called by StreamServer for clients whose greenlet was never started."""
        sock.close()


def describe(address: Any) -> str:
    """A client's address, for the log."""
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "unix socket"
