"""The line protocol's server: accepts clients, and gives each a greenlet with a connection and a session."""

from __future__ import annotations

import _socket
import logging
import socket
from typing import Any

from gevent.pool import Pool

from gstream import protocol
from gstream.accepting import Acceptor, describe
from gstream.connection import ClientGone, Connection
from gstream.errors import FullError
from gstream.session import Session, SessionSettings

__all__ = ["LineServer"]

log = logging.getLogger(__name__)


class LineServer(Acceptor):
    """Accepts the line protocol's clients on one listening socket.

    listener: a listening, non-blocking ``socket.socket``, taken over.
    clients: their greenlets; owned, joined and killed by whoever owns the pool.
    banner: what a client is sent first.
    """

    def __init__(self, listener: socket.socket, settings: SessionSettings, clients: Pool, banner: bytes) -> None:
        super().__init__(listener, clients)
        self._settings = settings
        self._banner = banner

    def handle(self, sock: _socket.socket, address: Any) -> None:
        """One client, in its own greenlet; called by StreamServer."""
        settings = self._settings
        if settings.stopping:
            sock.close()
            return
        number = next(settings.numbers)
        facts = {"connection": number, "client": describe(address)}
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


if __name__ == "__main__":  # python -m gstream.server, the same as python -m gstream
    import runpy

    runpy.run_module("gstream", run_name="__main__", alter_sys=True)
