"""The Kafka listener: accepts clients on its addresses, and gives each a greenlet with a connection and a session."""

from __future__ import annotations

import _socket
import logging
import socket
from typing import Any

from gevent.pool import Pool

from gstream.accepting import Acceptor, describe
from gstream.broker import Broker
from gstream.config import Config
from gstream.kafka.api import Peer
from gstream.kafka.connection import ClientGone, KafkaConnection
from gstream.kafka.dispatch import Dispatcher
from gstream.kafka.node import Node
from gstream.kafka.room import Room
from gstream.kafka.session import KafkaSession
from gstream.kafka.table import TABLE
from gstream.listeners import address_of, open_tcp, resolve
from gstream.session import SessionSettings

__all__ = ["KafkaListener", "KafkaServer"]

log = logging.getLogger(__name__)

ROOM_BYTES = 256 << 20
"""So much of requests that are not small is held at once, of all clients."""


class KafkaServer(Acceptor):
    """Accepts Kafka's clients on one listening socket.

    listener: a listening, non-blocking ``socket.socket``, taken over.
    clients: their greenlets; owned, joined and killed by whoever owns the pool.
    """

    def __init__(
        self, listener: socket.socket, settings: SessionSettings, clients: Pool, dispatcher: Dispatcher, room: Room
    ) -> None:
        super().__init__(listener, clients)
        self._settings = settings
        self._dispatcher = dispatcher
        self._room = room

    def handle(self, sock: _socket.socket, address: Any) -> None:
        """One client, in its own greenlet; called by StreamServer."""
        settings = self._settings
        if settings.stopping:
            sock.close()
            return
        facts: dict[str, object] = {"connection": next(settings.numbers), "client": describe(address), "kafka": True}
        connection = KafkaConnection(sock, settings.outbox)
        try:
            if len(settings.sessions) >= settings.max_connections:
                log.warning("connection refused: --max-connections reached", extra=facts)
                return
            log.debug("connected", extra=facts)
            session = KafkaSession(connection, _peer(sock, address), self._dispatcher, self._room, facts)
            settings.sessions.add(session)
            try:
                session.run()
            finally:
                settings.sessions.discard(session)
            log.debug("disconnected", extra=facts)
        except ClientGone:
            pass
        except Exception:
            log.exception("bug: session failed", extra=facts)
        finally:
            connection.close()


def _peer(sock: _socket.socket, address: Any) -> Peer:
    local = sock.getsockname()
    return Peer(address[0], address[1], local[0], local[1])


class KafkaListener:
    """Where Kafka's clients connect, and the node that they see. Raises ConfigError, ListenError."""

    def __init__(self, config: Config) -> None:
        self._config = config
        addresses = resolve(config.kafka_host, config.kafka_port, insecure=config.insecure, option="kafka-host")
        self._listeners = open_tcp(addresses, "kafka-port")
        self.port: int = self._listeners[0].getsockname()[1]
        self.endpoints = [address_of(listener) for listener in self._listeners]
        self.node: Node | None = None
        """Once it serves."""
        self._dispatcher: Dispatcher | None = None

    def serve(self, broker: Broker, settings: SessionSettings, clients: Pool) -> list[KafkaServer]:
        """The servers that accept clients, one for each address; they are not started yet."""
        self.node = Node(broker, self._config)
        self._dispatcher = dispatcher = Dispatcher(self.node, TABLE.values())
        room = Room(ROOM_BYTES)
        return [KafkaServer(listener, settings, clients, dispatcher, room) for listener in self._listeners]

    def stop_waiting(self) -> None:
        """Let the requests that wait for something be answered: the server stops."""
        if self.node is not None:
            self.node.stopping.set()

    def close(self) -> None:
        """Listen no more; clients that are there stay."""
        for listener in self._listeners:
            listener.close()

    def end(self) -> None:
        """End what its clients have used, when they are gone. Blocks this greenlet."""
        if self._dispatcher is not None:
            self._dispatcher.close()
