"""The line protocol's server: accepts clients, and gives each a greenlet with a connection and a session."""

from __future__ import annotations

import _socket
import errno
import logging
import socket
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer

from gstream import protocol
from gstream.connection import ClientGone, Connection
from gstream.errors import FullError
from gstream.session import Session, SessionSettings

__all__ = ["LineServer"]

log = logging.getLogger(__name__)

ACCEPT_AGAIN_SECONDS = 0.1
"""After the system had no file descriptor or memory for another client."""


class LineServer(StreamServer):
    """Accepts the line protocol's clients on one listening socket.

    listener: a listening, non-blocking ``socket.socket``, taken over.
    clients: their greenlets; owned, joined and killed by whoever owns the pool.
    banner: what a client is sent first.
    """

    def __init__(self, listener: socket.socket, settings: SessionSettings, clients: Pool, banner: bytes) -> None:
        super().__init__(listener, spawn=clients)
        self._settings = settings
        self._banner = banner
        self._accept_again: gevent.Greenlet[..., None] = gevent.Greenlet()

    def do_read(self) -> tuple[_socket.socket, Any] | None:  # type: ignore[override]  # None is allowed (gevent)
        """Accept one client; called by StreamServer.

        Gives a plain socket: gevent's own would bring two watchers and 2 KiB that Connection has no use for.
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

    def handle(self, sock: _socket.socket, address: Any) -> None:
        """One client, in its own greenlet; called by StreamServer."""
        settings = self._settings
        if settings.stopping:
            sock.close()
            return
        number = next(settings.numbers)
        facts = {"connection": number, "client": _describe(address)}
        connection = Connection(sock, settings.outbox)
        try:
            if len(settings.sessions) >= settings.max_connections:
                log.warning("connection refused: --max-connections reached", extra=facts)
                connection.write(protocol.encode_failure(FullError("too many connections"), b"\r\n"))
                connection.finish(until_arrived=False)
                return
            log.debug("connected", extra=facts)
            session = Session(connection, settings, number)
            settings.sessions.add(session)
            try:
                session.run(self._banner)
            finally:
                settings.sessions.discard(session)
            log.debug("disconnected", extra=facts)
        except ClientGone:
            pass
        except Exception:
            log.exception("bug: session failed", extra=facts)
        finally:
            connection.close()

    def do_close(self, sock: _socket.socket, *_: Any) -> None:
        """Called by StreamServer for clients whose greenlet was never started."""
        sock.close()


def _describe(address: Any) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "unix socket"


if __name__ == "__main__":  # python -m gstream.server, the same as python -m gstream
    import runpy

    runpy.run_module("gstream", run_name="__main__", alter_sys=True)
