"""A session: one Kafka client's conversation. Reads requests, has them answered in their order, and knows when to end.

All requests that one read brings are handled in a row. Knows frames, no API; what is in them is the dispatcher's.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from gstream.kafka.api import Buffer, Peer
from gstream.kafka.connection import QUEUE_BYTES, KafkaConnection, LateError
from gstream.kafka.dispatch import Answer, Later
from gstream.kafka.receiving import ForeignError, Receiver, RefusedError
from gstream.kafka.room import Room

__all__ = ["KafkaSession"]

log = logging.getLogger(__name__)

HALF_SENT_SECONDS = 30.0
SLOWEST_BYTES = 64 * 1024
"""A request that has begun must be there after so long, and a second more for each so many bytes of it."""

LARGE_BYTES = QUEUE_BYTES
"""A larger reply is counted: its client is waited for."""

HTTP_REPLY = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"This is gstream's port for Kafka's clients. It does not speak HTTP.\n"
)


class AnyDispatcher(Protocol):
    """Answers requests."""

    def limit_of(self, key: int) -> int:
        """How large a request to this API may be, in bytes."""

    def answer(self, frame: memoryview, peer: Peer) -> Answer:
        """What to answer. May block. Raises RefusedError."""

    @property
    def unread(self) -> Room:
        """For large replies that their clients have not read yet."""


class KafkaSession:
    """The conversation on one connection.

    room: that of all sessions, for requests that are not small.
    facts: what the log says of the connection.
    """

    __slots__ = ("_connection", "_dispatcher", "_facts", "_peer", "_receiver", "_room", "_room_taken", "_stopping")

    def __init__(
        self, connection: KafkaConnection, peer: Peer, dispatcher: AnyDispatcher, room: Room, facts: dict[str, object]
    ) -> None:
        self._connection = connection
        self._peer = peer
        peer.is_gone = connection.is_gone
        self._dispatcher = dispatcher
        self._receiver = Receiver(dispatcher.limit_of)
        self._room = room
        self._room_taken = 0
        self._facts = facts
        self._stopping = False

    def run(self) -> None:
        """Serve the client until it ends, or does what cannot be gone on after, or the server stops."""
        connection = self._connection
        try:
            while not self._stopping and self._serve():
                pass
            connection.finish(linger=self._stopping)
        except RefusedError as error:
            self._refuse(error)
        except LateError:
            self._warn("it has sent a part of a request, and no more")
        finally:
            self._give_back(self._room_taken)

    def drain(self) -> None:
        """Answer what was read, and end. From any greenlet."""
        self._stopping = True
        self._connection.wake()

    def _serve(self) -> bool:
        """Read once, and handle what is there; whether there may be more."""
        receiver = self._receiver
        rest = receiver.rest
        if rest is not None:
            size = self._connection.read_into(rest)
            request = receiver.received(size) if size else None
            if request is not None:
                self._connection.set_due(None)
                self._handle_large(request)
            return size != 0
        data = self._connection.read()
        if not data:
            return data is None
        for request in receiver.feed(data):
            self._handle(request)
        if receiver.refused is not None:
            raise receiver.refused
        self._note_incomplete()
        return True

    def _note_incomplete(self) -> None:
        """See that what has begun is there in time, and has room."""
        receiver = self._receiver
        size = receiver.wanted_bytes
        if size:
            self._room.take(size)
            self._room_taken = size
            receiver.make_buffer()
        self._connection.set_due(HALF_SENT_SECONDS + size / SLOWEST_BYTES if receiver.is_incomplete else None)

    def _handle(self, request: memoryview) -> None:
        """Answer one request, behind those before it."""
        connection = self._connection
        answer = self._dispatcher.answer(request, self._peer)
        if answer is None:
            return
        if isinstance(answer, Later):
            connection.write_when(answer.commit, partial(self._finish, answer), len(request))
            connection.wait_for_room()
        else:
            self._write(answer)

    def _handle_large(self, request: memoryview) -> None:
        """The same for one that has room of its own, which it needs until it is stored."""
        answer = self._dispatcher.answer(request, self._peer)
        taken, self._room_taken = self._room_taken, 0
        if isinstance(answer, Later):
            answer.commit.then(partial(self._give_back, taken))
            self._connection.write_when(answer.commit, partial(self._finish, answer), len(request))
        else:
            self._give_back(taken)
            if answer is not None:
                self._write(answer)
        self._connection.wait_for_room()

    def _write(self, answer: Sequence[Buffer]) -> None:
        """Send a reply; if it is large, the client must have read most of it before anything else is done."""
        connection, unread = self._connection, self._dispatcher.unread
        size = connection.write(answer)
        if size <= LARGE_BYTES:
            connection.wait_for_room()
            return
        unread.note(size)
        try:
            connection.wait_for_room()
        finally:
            unread.give(size)

    def _finish(self, later: Later) -> Sequence[Buffer]:
        """The reply to what is stored now, or could not be. Called in the hub."""
        try:
            return later.finish()
        except RefusedError as error:
            self._warn(str(error))
        except Exception:
            log.exception("bug: a reply could not be made", extra=self._facts)
        self._connection.drop()
        return ()

    def _give_back(self, size: int) -> None:
        if size:
            self._room.give(size)

    def _refuse(self, error: RefusedError) -> None:
        self._warn(str(error))
        if isinstance(error, ForeignError) and error.name == "HTTP":
            self._connection.write([HTTP_REPLY])
        self._connection.finish(linger=True)

    def _warn(self, why: str) -> None:
        software = f"{self._peer.software_name} {self._peer.software_version}".strip()
        facts = {**self._facts, "software": software} if software else self._facts
        log.warning("connection closed: %s", why, extra=facts)
