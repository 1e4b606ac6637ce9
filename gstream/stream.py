"""A stream: messages sent to a client as they come.

It waits in its group like any consumer; what it is handed it keeps until its session's greenlet comes round to send
it. Executes no commands.
"""

from __future__ import annotations

from gstream.batch import Batch
from gstream.connection import Connection
from gstream.consumer import Consumer
from gstream.group import PIECE_MESSAGES, Group
from gstream.outgoing import Outgoing

__all__ = ["Stream"]


class Stream:
    """One client's stream from one group; an Inbox.

    consumer: leases the messages; at most ``credit`` of them at a time (None: they are taken for good).
    eol: the line ending of the client's command.
    """

    def __init__(
        self,
        connection: Connection,
        outgoing: Outgoing,
        group: Group,
        consumer: Consumer,
        credit: int | None,
        eol: bytes,
    ) -> None:
        self._connection = connection
        self._outgoing = outgoing
        self._group = group
        self._consumer = consumer
        self._credit = credit
        self._eol = eol
        self._inbox: Batch | None = None
        self.leases = credit is not None
        consumer.on_room = self.ask
        group.consumers.add(consumer)
        self.ask()

    def put(self, batch: Batch | None) -> None:
        """Called by the group: messages for this stream, to be sent by :meth:`send`.

        They are leased at once: a client that does not read may keep the session from sending for as long as it likes.
        """
        if batch is not None:
            assert self._inbox is None
            self._inbox = batch
            if self._credit is not None:
                self._group.lease(self._consumer, batch)
            self._connection.wake()

    def forget(self, partition: int | None) -> bool:
        """Called by the group: it was moved, in this partition or (None) in all."""
        if self._inbox is None or partition not in (None, self._inbox.partition):
            return False
        self._inbox = None
        return True

    def look(self) -> list[Batch]:
        """What is to be sent when the session comes round."""
        return [] if self._inbox is None else [self._inbox]

    def ask(self) -> None:
        """Wait for as much as there is credit for."""
        group = self._group
        most = PIECE_MESSAGES
        if self._credit is not None:
            most = min(most, self._credit - len(self._consumer))
            if not group.may_lease:
                most = 0
                group.expect_room()
        if most <= 0 or self._inbox is not None:
            group.waiting.pop(self, None)
            return
        group.waiting[self] = most
        group.wake()

    def send(self) -> None:
        """Send what has come, and wait for more. Raises ClientGone."""
        batch, self._inbox = self._inbox, None
        if batch is not None:
            self._group.stop_waiting(self)
            if self._credit is None:
                self._outgoing.send(self._group, batch, self._eol, soon=True)
            else:
                for part in self._consumer.held(batch):
                    self._outgoing.send(self._group, part, self._eol, self._consumer, soon=True)
        self.ask()

    def stop(self) -> None:
        """Take no more; what was not sent goes back."""
        self._consumer.on_room = None
        self._group.stop_waiting(self)
        batch, self._inbox = self._inbox, None
        if batch is None:
            return
        if self._credit is None:
            self._group.give_back(batch)
        else:
            for part in self._consumer.held(batch):
                self._group.undo_lease(self._consumer, part)
