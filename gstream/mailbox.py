"""Where a waiting consumer is handed messages.

Knows no group, no socket and no wire format.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from gevent.queue import Empty, SimpleQueue

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

    def look(self) -> list[Batch]:
        """What is in it; it stays there."""


class Waited(Protocol):
    """What one waits for: a group's messages."""

    waiting: OrderedDict[Inbox, int]
    removed: bool

    def take(self, max_messages: int, max_bytes: int, /) -> Batch | None:
        """The oldest messages that nobody has."""

    def give_back(self, batch: Batch, /) -> None:
        """Put messages that were taken back to their place."""

    def stop_waiting(self, inbox: Inbox, /) -> None:
        """It is handed nothing more."""


class Mailbox(SimpleQueue["Batch | None"]):
    """The inbox of a greenlet that waits for it."""

    leases = False

    def wait(self, backlog: Waited, seconds: float | None) -> Batch | None:
        """One message, waiting up to ``seconds`` for it (None: for ever). First come, first served.

        None when the time is over, or when somebody put None into this mailbox. If this greenlet is killed while it
        waits, a message that is in it already goes back.
        """
        batch = backlog.take(1, 0)
        if batch is not None or seconds == 0 or backlog.removed:
            return batch
        backlog.waiting[self] = 1
        try:
            return self.get(timeout=seconds)
        except Empty:
            # Both can happen in one turn of the loop: the time was over, and then a message was put.
            return None if self.empty() else self.get_nowait()
        finally:
            backlog.stop_waiting(self)
            while not self.empty():
                left = self.get_nowait()
                if left is not None:
                    backlog.give_back(left)

    def forget(self, partition: int | None) -> bool:
        """Drop the message, if it is of this partition (None: of any)."""
        kept = [self.get_nowait() for _ in range(self.qsize())]
        dropped = [batch for batch in kept if batch is not None and partition in (None, batch.partition)]
        for batch in kept:
            if batch not in dropped:
                self.put(batch)
        return bool(dropped)

    def look(self) -> list[Batch]:
        """The message, if there is one."""
        return [batch for batch in self.queue if batch is not None]
