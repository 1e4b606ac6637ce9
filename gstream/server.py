"""The line protocol's server: a greenlet a connection that reads, executes and answers.

:class:`Session` executes; its table :data:`Session.HANDLERS` has a row for each class of command.
:class:`LineServer` is the gevent ``StreamServer`` that accepts.
"""

from __future__ import annotations

import _socket
import errno
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from itertools import count as counting
from typing import Any, ClassVar

import gevent
from gevent.pool import Pool
from gevent.queue import SimpleQueue
from gevent.server import StreamServer

from gstream import protocol
from gstream.batch import Batch
from gstream.broker import Broker
from gstream.connection import ClientGone, Connection, Outbox
from gstream.errors import FullError, InternalError
from gstream.group import Mailbox
from gstream.inflight import Delivery, InFlight

__all__ = ["LineServer", "Session", "SessionSettings"]

log = logging.getLogger(__name__)

CHUNK_BYTES = 256 * 1024
"""Messages are taken and written in pieces of this size (or of one message), however many were asked for."""

TAKE_BYTES = 1024
"""What one more piece costs beyond its bytes, in bytes: pieces may be single short messages."""

TURN_COMMANDS = 256
TURN_MESSAGES = 1024
"""So many commands, or typed messages, before all other connections get a turn: well under a millisecond."""

ACCEPT_AGAIN_SECONDS = 0.1
"""After the system had no file descriptor or memory for another client."""

IN_FLIGHT_BATCHES = 64
"""From so many deliveries on, the kernel is asked which of them have arrived."""


@dataclass
class SessionSettings:
    """What all sessions of a server share.

    max_message_bytes, max_connections: see Config.
    sessions: those that are open, on all listeners.
    stopping: no new ones.
    outbox: where they queue their replies.
    """

    broker: Broker
    max_message_bytes: int
    max_connections: int
    sessions: set[Session] = field(default_factory=set)
    stopping: bool = False
    outbox: Outbox = field(default_factory=Outbox)
    numbers: counting[int] = field(default_factory=lambda: counting(1))


class Session:
    """One client's conversation: commands executed in order, each answered before the next."""

    __slots__ = (
        "_closing",
        "_connection",
        "_decoder",
        "_draining",
        "_in_flight",
        "_mailbox",
        "_settings",
        "_topic",
        "_typed_eol",
        "number",
    )

    def __init__(self, connection: Connection, settings: SessionSettings, number: int) -> None:
        self.number = number
        self._connection = connection
        self._settings = settings
        self._decoder = protocol.Decoder(settings.max_message_bytes)
        self._topic = settings.broker.topic()
        self._in_flight = InFlight()
        self._mailbox: Mailbox | None = None  # while it waits for a message
        self._typed_eol = b""  # the line ending of a client that has asked for typed replies
        self._closing = False
        self._draining = False

    def run(self, banner: bytes) -> None:
        """From the banner to the last reply; returns when the client is served, gone, or told to go."""
        connection = self._connection
        try:
            if banner:
                connection.write(banner)
                connection.flush()
            self._serve()
            if self._draining and self._typed_eol:
                # A client that has just closed resets upon the notice; that says nothing about what came before it.
                self._in_flight.acknowledged(connection.arrived())
                connection.write(protocol.encode_notice("drain the server is stopping", self._typed_eol))
            connection.finish(until_arrived=bool(self._in_flight.deliveries))
        except ClientGone:
            pass
        finally:
            returned = self._in_flight.give_back(connection.arrived())
            if returned:
                connection.abort()
                log.info("client gone, messages given back", extra={"connection": self.number, "messages": returned})

    def drain(self) -> None:
        """Answer what was read, then end. From another greenlet."""
        self._draining = True
        if self._mailbox is not None:
            self._mailbox.put(None)
        self._connection.wake()

    def _serve(self) -> None:
        read, feed = self._connection.read, self._decoder.feed
        while not self._closing and not self._draining:
            data = read()
            if data:
                self._execute(feed(data))
            elif self._connection.ended:
                self._execute(self._decoder.close())
                return
            else:
                self._connection.flush()

    def _execute(self, commands: Iterable[protocol.Command]) -> None:
        connection = self._connection
        handlers = self.HANDLERS
        executed = 0
        for command in commands:
            try:
                handlers[type(command)](self, command)
            except ClientGone:
                raise
            except Exception:
                log.exception("bug: command failed", extra={"connection": self.number})
                eol = getattr(command, "eol", protocol.CRLF)
                connection.write(protocol.encode_failure(InternalError("a bug; see the server's log"), eol))
            if self._closing:
                break
            executed += 1
            if executed == TURN_COMMANDS:
                executed = 0
                connection.flush()
                connection.pause()
        connection.flush_soon()

    # --- commands

    def _publish(self, command: protocol.Publish) -> None:
        stored = self._topic.publish(command.data, command.count)
        if stored:
            self._connection.write(protocol.encode_oks(stored))
        refused = command.count - stored
        if refused:
            failure = protocol.encode_failure(self._topic.full_error(), command.eol)
            while refused > 0:
                self._connection.write(failure * min(refused, 1000))
                refused -= 1000

    def _consume(self, command: protocol.Consume) -> None:
        wanted = command.count
        work = 0
        while batch := self._topic.group.take(wanted, CHUNK_BYTES):
            self._deliver(batch, protocol.encode_lines(batch.data, command.eol))
            wanted -= batch.count
            if not wanted:
                return
            work += TAKE_BYTES + len(batch.data)
            if work > CHUNK_BYTES:
                work = 0
                self._connection.flush()
                self._connection.pause()

    def _deliver(self, batch: Batch, reply: bytes, ends: Sequence[int] | None = None) -> None:
        in_flight = self._in_flight
        if len(in_flight.deliveries) >= IN_FLIGHT_BATCHES or in_flight.size_bytes > CHUNK_BYTES:
            in_flight.acknowledged(self._connection.arrived())
        connection = self._connection
        in_flight.add(Delivery(connection.place, reply, batch, self._topic.group, ends))
        connection.write(reply)

    def _wait(self, command: protocol.Wait) -> None:
        self._typed_eol = command.eol
        wanted = command.count
        batch = self._wait_for_some(wanted, command.seconds)
        while batch is not None:
            replies = [
                protocol.encode_message(offset, 1, body, command.eol)
                for offset, body in enumerate(batch.bodies(), batch.offset)
            ]
            self._deliver(batch, b"".join(replies), list(accumulate(map(len, replies))))
            wanted -= batch.count
            batch = None
            if wanted:
                self._connection.flush()
                self._connection.pause()
                batch = self._topic.group.take(min(wanted, TURN_MESSAGES), CHUNK_BYTES)
        if command.counted or wanted == command.count:
            self._connection.write(protocol.encode_end(command.eol))

    def _wait_for_some(self, wanted: int, seconds: float | None) -> Batch | None:
        group = self._topic.group
        batch = group.take(min(wanted, TURN_MESSAGES), CHUNK_BYTES)
        if batch is not None or seconds == 0:
            return batch
        self._connection.flush()  # what came before is answered now, which may take its time
        if self._draining:
            return None
        mailbox: Mailbox = SimpleQueue()

        self._mailbox = mailbox
        try:
            # A bounded wait goes on after the client has closed its sending side (echo w5 | nc -N); another ends.
            with self._connection.watching(lambda: mailbox.put(None), stop_at_end=seconds is None):
                return group.wait(mailbox, seconds)
        finally:
            self._mailbox = None

    def _quit(self, _command: protocol.Quit) -> None:
        self._closing = True

    def _ping(self, command: protocol.Ping) -> None:
        self._typed_eol = command.eol
        self._connection.write(protocol.encode_done(command.token, command.eol))

    def _help(self, command: protocol.Help) -> None:
        self._typed_eol = command.eol
        self._connection.write(protocol.encode_help(command.eol))

    def _fail(self, command: protocol.Failure) -> None:
        self._connection.write(protocol.encode_failure(command.error, command.eol))

    def _negotiate(self, command: protocol.Negotiate) -> None:
        self._connection.read_less()
        self._connection.write(command.answer)

    def _turn_away(self, command: protocol.ForeignProtocol) -> None:
        log.warning("client speaks %s, not this protocol", command.name, extra={"connection": self.number})
        if command.name == "http":
            self._connection.write(protocol.encode_http_refusal())
        self._closing = True

    HANDLERS: ClassVar[dict[type, Callable[[Session, Any], None]]] = {
        protocol.Publish: _publish,
        protocol.Consume: _consume,
        protocol.Quit: _quit,
        protocol.Wait: _wait,
        protocol.Ping: _ping,
        protocol.Help: _help,
        protocol.Failure: _fail,
        protocol.Negotiate: _negotiate,
        protocol.ForeignProtocol: _turn_away,
    }


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
