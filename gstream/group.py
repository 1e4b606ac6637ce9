"""A group: the consumers that compete for one topic's messages.

Each message is taken by exactly one of them. Who finds nothing can wait: every waiting consumer has a mailbox of its
own (a ``gevent.queue``), and a new message is put into the mailbox of the one that has waited longest. A shared queue
would not be fair: gevent lets a greenlet that was woken by a queue go on taking until the queue is empty.

Knows no socket and no wire format.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from typing import TypeAlias

from gevent.queue import Empty, SimpleQueue

from gstream.batch import Batch
from gstream.storage.memory import MemoryLog

__all__ = ["Group", "Mailbox"]

Mailbox: TypeAlias = "SimpleQueue[Batch | None]"
"""Where a waiting consumer finds its message, or None when it is told to stop waiting."""


class Group:
    """Takes a log's messages once, oldest first."""

    def __init__(self, log: MemoryLog) -> None:
        self._memory = log.memory
        self._cursor = log.cursor()
        self._returned: list[Batch] = []  # given back, by offset: their place is before the cursor
        self.waiting: OrderedDict[Mailbox, None] = OrderedDict()
        """The mailboxes of the consumers that wait, the longest waiting first."""
        self.taken_count = 0
        self.returned_count = 0

    def take(self, max_messages: int, max_bytes: int) -> Batch | None:
        """The oldest messages that nobody has, consecutive ones.

        At most ``max_messages``, and no more than ``max_bytes`` of packed lines but always one. None when there is
        none; fewer than there are is possible.
        """
        if self._returned:
            batch: Batch | None = self._take_returned(max_messages, max_bytes)
        else:
            batch = self._cursor.read(max_messages, max_bytes)
        if batch is not None:
            self.taken_count += batch.count
        return batch

    def give_back(self, batch: Batch) -> None:
        """Put messages that were taken and not delivered back to their place; consumers that wait get them."""
        insort(self._returned, batch, key=lambda returned: returned.offset)
        self._memory.used_bytes += len(batch.data)
        self.taken_count -= batch.count
        self.returned_count += batch.count
        self.wake()

    def wait(self, mailbox: Mailbox, seconds: float | None) -> Batch | None:
        """One message, waiting up to ``seconds`` for it (None: for ever). First come, first served.

        None when the time is over, or when somebody put None into the mailbox. If this greenlet is killed while it
        waits, a message already in its mailbox goes back.
        """
        batch = self.take(1, 0)
        if batch is not None or seconds == 0:
            return batch
        self.waiting[mailbox] = None
        try:
            return mailbox.get(timeout=seconds)
        except Empty:
            # Both can happen in one turn of the loop: the time was over, and then a message was put.
            return None if mailbox.empty() else mailbox.get_nowait()
        finally:
            self.waiting.pop(mailbox, None)
            while not mailbox.empty():
                left = mailbox.get_nowait()
                if left is not None:
                    self.give_back(left)

    def wake(self) -> None:
        """Hand the messages there are to those who wait, one each."""
        while self.waiting:
            batch = self.take(1, 0)
            if batch is None:
                return
            self.waiting.popitem(last=False)[0].put(batch)

    @property
    def backlog(self) -> int:
        """How many messages the group has not taken yet."""
        return self._cursor.lag + sum(batch.count for batch in self._returned)

    def _take_returned(self, max_messages: int, max_bytes: int) -> Batch:
        batch = self._returned.pop(0)
        if batch.count > 1:
            fitting = batch.data.count(b"\n", 0, max(max_bytes, 0)) or 1
            count = min(max_messages, fitting, batch.count)
            if count < batch.count:
                batch, rest = batch.split(count)
                self._returned.insert(0, rest)
        self._memory.used_bytes -= len(batch.data)
        return batch
