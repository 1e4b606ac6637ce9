"""A backlog: what a group has still to take, and who waits for it.

Each message is taken by exactly one consumer. Who finds nothing can wait: every waiting consumer has a mailbox of its
own (a ``gevent.queue``, or what a stream puts in its place), and new messages are put into the mailbox of the one that
has waited longest. A shared queue would not be fair: gevent lets a greenlet that was woken by a queue go on taking
until the queue is empty.

Knows no leases, no socket and no wire format. Nothing but :meth:`Backlog.load` blocks or switches greenlets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from gstream.agenda import Agenda
from gstream.batch import PARTITION_SHIFT, Batch
from gstream.commit import Commit
from gstream.errors import DiskError
from gstream.mailbox import Inbox
from gstream.progress import DONE, Progress
from gstream.share import AnyLog, Share, peek_in_turn

__all__ = ["PIECE_BYTES", "Backlog"]

PIECE_BYTES = 256 * 1024
"""Messages are handed to a stream at most so many at a time: a few milliseconds."""


class Backlog:
    """Takes a topic's messages once, oldest first.

    logs: the topic's partitions.
    progress: gives what the group has done in a log, if that is kept.
    """

    def __init__(
        self, name: str, logs: Sequence[AnyLog], agenda: Agenda, progress: Callable[[AnyLog], Progress] | None
    ) -> None:
        self.name = name
        self._is_kept = progress is not None
        self._budget = logs[0].budget
        self._agenda = agenda
        self._progress = progress
        self._shares = [self._open_share(log) for log in logs]
        self._only = self._shares[0] if len(self._shares) == 1 else None
        self.several = len(logs) > 1
        """Whether the topic has several partitions, so that ids name them."""
        self._turn = -1  # the partition that was taken from last
        self._loads = Commit()  # what is being read
        self.waiting: OrderedDict[Inbox, int] = OrderedDict()
        """Who waits, and for how many messages at the most; the longest waiting first."""
        self._handed: dict[Inbox, int] = {}  # who waited and was handed messages, which he has not fetched yet
        self.removed = False
        self.taken_count = 0
        self.acknowledged_count = 0
        self.returned_count = 0

    def _open_share(self, log: AnyLog) -> Share:
        return Share(log, self._agenda, self.go_on, None if self._progress is None else self._progress(log))

    def add_log(self, log: AnyLog) -> Share:
        """Take the messages of a further partition, too."""
        share = self._open_share(log)
        self._shares.append(share)
        self._only = None
        self.several = True
        return share

    def take(self, max_messages: int, max_bytes: int) -> Batch | None:
        """The oldest messages that nobody has, consecutive ones of one partition.

        At most ``max_messages``, and no more than ``max_bytes`` but always one. None when there is none; fewer than
        there are is possible.
        """
        if self._only is not None:
            batch = self._only.take(max_messages, max_bytes)
        else:
            batch = self._take_in_turn(max_messages, max_bytes)
        if batch is not None:
            self.taken_count += batch.count
        return batch

    def _take_in_turn(self, max_messages: int, max_bytes: int) -> Batch | None:
        shares = self._shares
        for _ in shares:
            self._turn = (self._turn + 1) % len(shares)
            batch = shares[self._turn].take(max_messages, max_bytes)
            if batch is not None:
                return batch
        return None

    def give_back(self, batch: Batch) -> None:
        """Put messages that were taken and not delivered back to their place; consumers that wait get them.

        It is as if they had not been taken: their next delivery has the same attempt number.
        """
        if self.removed:
            return
        self._untake(batch)
        self.wake()

    def _untake(self, batch: Batch) -> None:
        self.taken_count -= batch.count
        self.returned_count += batch.count
        share = self._shares[batch.partition]
        if self._is_kept:
            share.mark(batch, batch.attempt - 1)
        share.give_back(batch)

    @property
    def is_unready(self) -> bool:
        """Whether there is more than can be taken now: it is still being read or unpacked, or cannot be read."""
        return any(share.is_loading or share.error is not None for share in self._shares)

    def load(self) -> None:
        """Return when more was read, or unpacked. Blocks this greenlet. Raises DiskError when it cannot be read."""
        if any(share.is_loading for share in self._shares):
            self._loads.wait()
        for share in self._shares:
            if share.error is not None:
                raise DiskError(str(share.error))

    def go_on(self) -> None:
        """More has been read from the disk than there was, or unpacked."""
        loads, self._loads = self._loads, Commit()
        self.wake()
        loads.finish()

    def done(self, batch: Batch) -> None:
        """Messages that were taken for good are on their way to their consumer."""
        self.acknowledged_count += batch.count
        if self._is_kept:
            self._shares[batch.id >> PARTITION_SHIFT].mark(batch, DONE)

    def undo(self, batch: Batch) -> None:
        """Messages that were :meth:`done` did not arrive."""
        self.acknowledged_count -= batch.count
        self.give_back(batch)

    def stop_waiting(self, inbox: Inbox) -> None:
        """It is handed nothing more, and has fetched what it was handed."""
        self.waiting.pop(inbox, None)
        self._handed.pop(inbox, None)

    def wake(self) -> None:
        """Hand the messages there are to those who wait: one each, to streams an even share."""
        waiting = self.waiting
        while waiting:
            inbox, most = next(iter(waiting.items()))
            if not self.may_hand(inbox):
                return
            if most == 1:
                batch = self.take(1, 0)
            else:
                share = -(-self.backlog // len(waiting)) or 1
                batch = self.take(min(most, share), PIECE_BYTES)
            if batch is None:
                return
            del waiting[inbox]
            self._handed[inbox] = most
            inbox.put(batch)

    def may_hand(self, _inbox: Inbox, /) -> bool:
        """Whether it may be handed messages."""
        return True

    # --- looking

    def peek(self, max_messages: int, max_bytes: int) -> list[Batch]:
        """The next messages, those of one partition after those of another: so many, and about so many bytes."""
        following = self._turn + 1
        shares = [share.peek for share in self._shares[following:] + self._shares[:following]]
        return peek_in_turn(shares, max_messages, max_bytes)

    @property
    def logs(self) -> list[AnyLog]:
        """The topic's partitions."""
        return [share.log for share in self._shares]

    @property
    def partition_count(self) -> int:
        """How many partitions the topic has."""
        return len(self._shares)

    @property
    def backlog(self) -> int:
        """How many messages the group has still to take."""
        if self._only is not None:
            return self._only.backlog
        return sum([share.backlog for share in self._shares])
