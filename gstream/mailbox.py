"""Where a waiting consumer is handed messages.

Knows no group, no socket and no wire format.
"""

from __future__ import annotations

from typing import Protocol

from gevent.queue import SimpleQueue

from gstream.batch import Batch

__all__ = ["Inbox", "Mailbox"]


class Inbox(Protocol):
    """Where a waiting consumer finds messages, or None when it is told to stop waiting.

    leases: what is put into it is leased.
    """

    leases: bool

    def put(self, batch: Batch | None, /) -> object:
        """Called from any greenlet; does not block."""

    def forget(self, partition: int | None, /) -> bool:
        """What is in it of this partition (None: of any) belongs to nobody any more: the group was moved there.

        Says whether there was something, so that it waits again.
        """


class Mailbox(SimpleQueue["Batch | None"]):
    """The inbox of a greenlet that waits for it."""

    leases = False

    def forget(self, partition: int | None) -> bool:
        """Drop the message, if it is of this partition (None: of any)."""
        kept = [self.get_nowait() for _ in range(self.qsize())]
        dropped = [batch for batch in kept if batch is not None and partition in (None, batch.partition)]
        for batch in kept:
            if batch not in dropped:
                self.put(batch)
        return bool(dropped)
