"""Waiting for messages: what a session does in ``w`` and ``r`` until there are some, or the time is over.

Executes no commands and knows no wire format.
"""

from __future__ import annotations

from collections.abc import Callable

from gstream.batch import Batch
from gstream.connection import Connection
from gstream.errors import DrainError
from gstream.group import Group
from gstream.mailbox import Mailbox
from gstream.outgoing import CHUNK_BYTES

__all__ = ["TURN_MESSAGES", "Waiting"]

TURN_MESSAGES = 1024
"""So many typed messages before all other connections get a turn: well under a millisecond."""


SHORTEST_WAIT_SECONDS = 0.001
"""libuv's timers know no less."""


class Waiting:
    """One client's waiting, one group at a time."""

    __slots__ = ("_connection", "_mailbox", "draining")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._mailbox: Mailbox | None = None
        self.draining = False
        """It was told to go: nothing is waited for any more."""

    def drain(self) -> None:
        """Wait no more. From another greenlet."""
        self.draining = True
        if self._mailbox is not None:
            self._mailbox.put(None)

    def take(self, group: Group, most: int, *, leased: bool = False) -> Batch | None:
        """What is there, a piece of it; what has to be read from the disk first is waited for.

        Raises FullError when no more may be leased, and DiskError.
        """
        if leased:
            group.check_leases()
        batch = group.take(most, CHUNK_BYTES)
        while batch is None and group.is_unready:
            self._connection.flush_soon()
            with self._connection.elsewhere():
                group.load()
            batch = group.take(most, CHUNK_BYTES)
        return batch

    def wait(self, group: Group, seconds: float | None, send: Callable[[Batch], object], *, leased: bool) -> int:
        """Wait up to so many seconds (None: for ever) for a message; how many were sent, one or none.

        Everything that was written before must have been flushed.

        send: leases and encodes a message and queues it for the client, without waiting; from any greenlet.

        Raises DrainError when it was told to go before the time was over, and ClientGone.
        """
        desk = _Desk(send, leases=leased)
        if not self.draining:
            self._mailbox = desk
            try:
                # A bounded wait goes on after the client has closed its sending side (echo w5 | nc -N); another ends.
                with self._connection.watching(lambda: desk.put(None), stop_at_end=seconds is None):
                    batch = desk.wait(group, None if seconds is None else max(seconds, SHORTEST_WAIT_SECONDS))
            finally:
                self._mailbox = None
            if batch is not None:  # it came before the waiting began
                desk.put(batch)
        if not desk.sent and self.draining:
            raise DrainError("the server is stopping")
        return desk.sent


class _Desk(Mailbox):
    """The mailbox of a client: what is put into it is sent at once, within the turn of whoever published it.

    So a message is written before its consumer's greenlet has woken up: a fifth of the time that it takes to arrive.
    For the group the box stays empty; what was sent and does not arrive comes back as all that does.
    """

    def __init__(self, send: Callable[[Batch], object], *, leases: bool) -> None:
        super().__init__()
        self.leases = leases
        self._send = send
        self.sent = 0

    def put(self, batch: Batch | None) -> None:  # type: ignore[override]  # nobody waits for room in it
        if batch is not None:
            self.sent = batch.count
            self._send(batch)
        super().put(None)
