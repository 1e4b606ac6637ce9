"""Waiting for messages: what a session does in ``w`` and ``r`` until there are some, or the time is over.

Executes no commands and knows no wire format.
"""

from __future__ import annotations

from gstream.batch import Batch
from gstream.connection import Connection
from gstream.errors import DrainError
from gstream.group import Group, Mailbox
from gstream.outgoing import CHUNK_BYTES

__all__ = ["TURN_MESSAGES", "Waiting"]

TURN_MESSAGES = 1024
"""So many typed messages before all other connections get a turn: well under a millisecond."""


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

    def take(self, group: Group, wanted: int, *, leased: bool) -> Batch | None:
        """What is there, a piece of it. Raises FullError when no more may be leased."""
        if leased:
            group.check_leases()
        return group.take(min(wanted, TURN_MESSAGES), CHUNK_BYTES)

    def take_or_wait(self, group: Group, wanted: int, seconds: float | None, *, leased: bool) -> Batch | None:
        """What is there, or the first message that comes within so many seconds (None: for ever).

        None when none came, or when the client ended the waiting. Raises FullError as :meth:`take` does, DrainError
        when it was told to go before the time was over, and ClientGone.
        """
        batch = self.take(group, wanted, leased=leased)
        if batch is not None or seconds == 0:
            return batch
        self._connection.flush()  # what came before is answered now, which may take its time
        if not self.draining:
            mailbox = self._mailbox = Mailbox()
            try:
                # A bounded wait goes on after the client has closed its sending side (echo w5 | nc -N); another ends.
                with self._connection.watching(lambda: mailbox.put(None), stop_at_end=seconds is None):
                    batch = group.wait(mailbox, seconds)
            finally:
                self._mailbox = None
        if batch is None and self.draining:
            raise DrainError("the server is stopping")
        return batch
