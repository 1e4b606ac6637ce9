"""A session: one client's conversation. Reads, executes, answers.

:data:`Session.HANDLERS` is the index: a row for each class of command.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count as counting
from typing import Any, ClassVar, Protocol

from gstream import protocol
from gstream.administration import administrate
from gstream.batch import Batch
from gstream.broker import Broker
from gstream.connection import ClientGone, Connection
from gstream.consumer import Consumer
from gstream.errors import BusyError, DiskError, InternalError, ReplyError, StorageError
from gstream.group import Group
from gstream.info import Row, server_rows, topic_list_rows, topic_rows
from gstream.outbox import Outbox
from gstream.outgoing import CHUNK_BYTES, Outgoing
from gstream.publishing import publish, publish_counted
from gstream.scope import Scope
from gstream.seeking import seek
from gstream.settling import Settling, settle
from gstream.stream import Stream
from gstream.turn import Turn
from gstream.waiting import TURN_MESSAGES, Waiting

__all__ = ["Session", "SessionSettings"]

log = logging.getLogger(__name__)

PUBLISHING = frozenset((protocol.Publish, protocol.PublishCounted))

TAKE_BYTES = 1024
"""What one more piece costs beyond its bytes, in bytes: pieces may be single short messages."""


class AnySession(Protocol):
    """A client's conversation."""

    def drain(self) -> None:
        """Answer what was read, and end. From any greenlet."""


@dataclass
class SessionSettings:
    """What all sessions of a server share.

    max_message_bytes, max_connections: see Config.
    sessions: those that are open, on all listeners, whatever their clients speak.
    stopping: no new ones.
    outbox: where they queue their replies.
    """

    broker: Broker
    max_message_bytes: int
    max_connections: int
    sessions: set[AnySession] = field(default_factory=set)
    stopping: bool = False
    outbox: Outbox = field(default_factory=Outbox)
    numbers: counting[int] = field(default_factory=lambda: counting(1))
    started: float = field(default_factory=time.monotonic)


class Session:
    """One client's conversation: commands executed in order, each answered before the next."""

    __slots__ = (
        "_closing",
        "_connection",
        "_decoder",
        "_outgoing",
        "_scope",
        "_settings",
        "_stream",
        "_typed_eol",
        "_waiting",
        "number",
    )

    def __init__(self, connection: Connection, settings: SessionSettings, number: int) -> None:
        self.number = number
        self._connection = connection
        self._settings = settings
        self._decoder = protocol.Decoder(settings.max_message_bytes)
        self._scope = Scope(settings.broker)
        self._stream: Stream | None = None
        self._outgoing = Outgoing(connection)
        self._waiting = Waiting(connection)
        self._typed_eol = b""  # the line ending of a client that has asked for typed replies
        self._closing = False

    def run(self, banner: bytes) -> None:
        """From the banner to the last reply; returns when the client is served, gone, or told to go."""
        connection = self._connection
        try:
            if banner:
                connection.write(banner)
                connection.flush()
            self._serve()
            self._stop_stream()
            if self._waiting.draining and self._typed_eol:
                # A client that has just closed resets upon the notice; that says nothing about what came before it.
                self._outgoing.look()
                connection.write(protocol.encode_notice("drain the server is stopping", self._typed_eol))
            connection.finish(until_arrived=self._outgoing.any_on_the_way)
        except ClientGone:
            pass
        finally:
            self._leave()

    def drain(self) -> None:
        """Answer what was read, then end. From another greenlet."""
        self._waiting.drain()
        self._connection.wake()

    def _leave(self) -> None:
        """Give back what did not arrive, and then what was not acknowledged."""
        self._stop_stream()
        returned = self._outgoing.give_back()
        if returned:
            self._connection.abort()
        returned += self._scope.leave()
        if returned:
            log.info("client gone, messages given back", extra={"connection": self.number, "messages": returned})

    def _serve(self) -> None:
        read, feed = self._connection.read, self._decoder.feed
        while not self._closing and not self._waiting.draining:
            data = read()
            if data:
                self._execute(feed(data))
            elif self._connection.ended:
                self._execute(self._decoder.close())
                return
            else:
                self._connection.flush()
            if self._stream is not None:
                self._stream.send()
                self._connection.flush_soon()

    def _execute(self, commands: Iterable[protocol.Command]) -> None:
        connection = self._connection
        handlers = self.HANDLERS
        turn: Turn | None = None
        for number, command in enumerate(commands):
            if turn is not None:
                turn.go_on()
            elif number:  # most bursts are one command
                turn = Turn(connection)
            kind = type(command)
            try:
                if connection.is_storing and (kind not in PUBLISHING or self._stream is not None):
                    connection.wait_until_stored()  # it may be about what was published
                handlers[kind](self, command)
            except ClientGone:
                raise
            except (ReplyError, StorageError) as error:
                failure = error if isinstance(error, ReplyError) else DiskError(str(error))
                connection.write(protocol.encode_failure(failure, command.eol))  # type: ignore[union-attr]
            except Exception:
                log.exception("bug: command failed", extra={"connection": self.number})
                eol = getattr(command, "eol", protocol.CRLF)
                connection.write(protocol.encode_failure(InternalError("a bug; see the server's log"), eol))
            if self._closing:
                break
            if self._outgoing.crowded:
                self._outgoing.wait_until_arrived()
        connection.flush_soon()

    # --- what the commands act on

    def _refuse_while_streaming(self) -> None:
        if self._stream is not None:
            raise BusyError("this connection streams; s0 ends it")

    def _choose_topic(self, command: protocol.ChooseTopic) -> None:
        self._refuse_while_streaming()
        self._scope.choose_topic(command.name)
        self._done(command.name.encode(), command.eol)

    def _choose_group(self, command: protocol.ChooseGroup) -> None:
        self._refuse_while_streaming()
        self._scope.choose_group(command.name)
        self._done(command.name.encode(), command.eol)

    def _done(self, text: bytes, eol: bytes) -> None:
        self._typed_eol = eol
        self._connection.write(protocol.encode_done(text, eol))

    # --- publishing

    def _publish(self, command: protocol.Publish) -> None:
        publish(self._scope.topic(), command, self._connection)

    def _publish_counted(self, command: protocol.PublishCounted) -> None:
        self._typed_eol = command.eol
        publish_counted(self._scope.topic(), command, self._connection)

    # --- taking

    def _consume(self, command: protocol.Consume) -> None:
        if self._stream is not None:
            self._refuse_while_streaming()
        group = self._scope.group()
        wanted = command.count
        work = 0
        while batch := self._waiting.take(group, wanted):
            self._outgoing.send_plain(group, batch, command.eol)
            wanted -= batch.count
            if not wanted:
                return
            work += TAKE_BYTES + len(batch.data)
            if work > CHUNK_BYTES:
                work = 0
                self._connection.flush()
                self._connection.pause()

    def _wait(self, command: protocol.Wait) -> None:
        self._typed_eol = command.eol
        self._refuse_while_streaming()
        group = self._scope.group()
        consumer = self._scope.consumer(group) if command.leased else None
        eol = command.eol
        batch = self._waiting.take(group, min(command.count, TURN_MESSAGES), leased=command.leased)
        sent = 0
        if batch is not None:
            sent = self._hand_over(group, batch, eol, consumer)
        elif command.seconds != 0:
            self._connection.flush()  # what came before is answered now, which may take its time
            if group.removed:
                group = self._scope.group()
                consumer = self._scope.consumer(group) if command.leased else None
            sent = self._waiting.wait(
                group,
                command.seconds,
                lambda batch: self._hand_over(group, batch, eol, consumer, soon=True),
                leased=command.leased,
            )
        while 0 < sent < command.count:
            self._connection.flush()
            self._connection.pause()
            if consumer is not None and not group.may_lease:
                break  # the list ends here
            batch = self._waiting.take(group, min(command.count - sent, TURN_MESSAGES), leased=command.leased)
            if batch is None:
                break
            sent += self._hand_over(group, batch, eol, consumer)
        if command.counted or not sent:
            self._connection.write(protocol.encode_end(eol))

    def _hand_over(
        self, group: Group, batch: Batch, eol: bytes, consumer: Consumer | None, *, soon: bool = False
    ) -> int:
        if consumer is not None:
            group.lease(consumer, batch)
        self._outgoing.send(group, batch, eol, consumer, soon=soon)
        return batch.count

    def _stream_messages(self, command: protocol.Stream) -> None:
        self._typed_eol = command.eol
        self._stop_stream()
        if command.credit == 0:
            self._connection.write(protocol.encode_end(command.eol))
            return
        group = self._scope.group()
        consumer = self._scope.consumer(group)
        self._stream = Stream(self._connection, self._outgoing, group, consumer, command.credit, command.eol)

    def _stop_stream(self) -> None:
        if self._stream is not None:
            self._stream.stop()
            self._stream = None

    # --- leases

    def _settle(self, command: Settling) -> None:
        self._typed_eol = command.eol
        settle(self._scope, command, self._connection)

    # --- looking and moving

    def _seek(self, command: protocol.Seek) -> None:
        self._refuse_while_streaming()
        with self._connection.elsewhere():
            places = seek(self._scope.group(), command.to, command.value, time.time())
        text = b" ".join(protocol.encode_id(place, self._scope.several) for place in places)
        self._done(text, command.eol)

    def _peek(self, command: protocol.Peek) -> None:
        self._typed_eol = command.eol
        with self._connection.elsewhere():
            batches = self._scope.peek(command.count)
        several = self._scope.several
        for batch in batches:
            self._connection.write(self._outgoing.encode(batch, command.eol, several=several)[0])
        self._connection.write(protocol.encode_end(command.eol))

    def _administrate(self, command: protocol.MakeTopic | protocol.RemoveTopic | protocol.ForgetGroup) -> None:
        self._refuse_while_streaming()
        commit = administrate(self._scope, command)
        if commit is not None:
            self._connection.wait_for(commit)
        self._done(command.name.encode(), command.eol)

    def _list(self, command: protocol.ListTopics) -> None:
        self._tell(topic_list_rows(self._scope.broker), command.eol)

    def _info(self, command: protocol.Info) -> None:
        broker = self._scope.broker
        if command.topic is not None:
            self._tell(topic_rows(broker.find(command.topic)), command.eol)
        else:
            settings = self._settings
            self._tell(server_rows(broker, settings.started, len(settings.sessions)), command.eol)

    def _tell(self, rows: Iterable[Row], eol: bytes) -> None:
        self._typed_eol = eol
        self._connection.write(protocol.encode_rows(rows, eol))

    def _count(self, command: protocol.Counted) -> None:
        self._outgoing.mode = command.mode
        self._done(b"", command.eol)

    def _ping(self, command: protocol.Ping) -> None:
        self._done(command.token, command.eol)

    def _help(self, command: protocol.Help) -> None:
        self._typed_eol = command.eol
        self._connection.write(protocol.encode_help(command.eol))

    # --- ends

    def _quit(self, _command: protocol.Quit) -> None:
        self._closing = True

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
        protocol.PublishCounted: _publish_counted,
        protocol.Consume: _consume,
        protocol.Wait: _wait,
        protocol.Acknowledge: _settle,
        protocol.GiveBack: _settle,
        protocol.Release: _settle,
        protocol.Extend: _settle,
        protocol.DeadLetter: _settle,
        protocol.Stream: _stream_messages,
        protocol.ChooseTopic: _choose_topic,
        protocol.ChooseGroup: _choose_group,
        protocol.Seek: _seek,
        protocol.Peek: _peek,
        protocol.MakeTopic: _administrate,
        protocol.RemoveTopic: _administrate,
        protocol.ForgetGroup: _administrate,
        protocol.ListTopics: _list,
        protocol.Info: _info,
        protocol.Counted: _count,
        protocol.Ping: _ping,
        protocol.Help: _help,
        protocol.Quit: _quit,
        protocol.Failure: _fail,
        protocol.Negotiate: _negotiate,
        protocol.ForeignProtocol: _turn_away,
    }
