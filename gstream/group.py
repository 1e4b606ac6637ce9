"""A group: the consumers that compete for one topic's messages.

Each message is taken by exactly one of them. Who finds nothing can wait: every waiting consumer has a mailbox of its
own (a ``gevent.queue``, or what a stream puts in its place), and new messages are put into the mailbox of the one that
has waited longest. A shared queue would not be fair: gevent lets a greenlet that was woken by a queue go on taking
until the queue is empty.

A message that was leased comes back when its lease ends, in its old place, until it has been delivered so often that
it becomes a dead letter.

Knows no socket and no wire format. Nothing but :meth:`Group.wait` blocks or switches greenlets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from gevent.queue import Empty

from gstream.agenda import Agenda, Entry
from gstream.batch import PARTITION_SHIFT, Batch
from gstream.consumer import Consumer
from gstream.errors import FullError
from gstream.mailbox import Inbox, Mailbox
from gstream.share import Share, peek_in_turn
from gstream.storage.memory import Memory, MemoryLog

__all__ = ["Group"]

PIECE_MESSAGES = 1000
PIECE_BYTES = 256 * 1024
"""Messages are handed to a stream, and leases that end are returned, at most so many at a time: a few milliseconds."""

RESOLUTION_SECONDS = 0.05
"""Leases that end within so much time of each other end together, so that a million share a few times."""


ROOM_SECONDS = 0.1
"""A stream that may lease no more looks again after so long."""

GONE = "its consumer was gone"


class Group:
    """Takes a topic's messages once, oldest first.

    logs: the topic's partitions.
    lease_seconds: how long a lease lasts.
    max_attempts: so often a leased message is delivered (0: for ever); then ``bury(batch, reason)`` is called.
    """

    def __init__(
        self,
        name: str,
        logs: Sequence[MemoryLog],
        agenda: Agenda,
        *,
        lease_seconds: float,
        max_attempts: int,
        bury: Callable[[Group, Batch, str], None],
    ) -> None:
        self.name = name
        self.lease_seconds = lease_seconds
        self._shares = [Share(log) for log in logs]
        self._only = self._shares[0] if len(self._shares) == 1 else None
        self.several = len(logs) > 1
        """Whether the topic has several partitions, so that ids name them."""
        self._turn = -1  # the partition that was taken from last
        self._memory: Memory = logs[0].budget
        self._agenda = agenda
        self._resolution = min(RESOLUTION_SECONDS, lease_seconds / 10)
        self._deadline = 0.0
        self._looked = float("-inf")  # when leases that end were last looked for
        self._max_attempts = max_attempts
        self._bury = bury
        self._next: Entry | None = None  # when the next lease ends, or the next message comes back
        self._leaving: list[Consumer] = []  # their leases are being returned
        self.waiting: OrderedDict[Inbox, int] = OrderedDict()
        """Who waits, and for how many messages at the most; the longest waiting first."""
        self._handed: dict[Inbox, int] = {}  # who waited and was handed messages, which he has not fetched yet
        self.consumers: set[Consumer] = set()
        """Those that stream or have leased something."""
        self.removed = False
        self.seeks = [0] * len(logs)
        """How often the group was moved in each partition. What was taken before belongs to nobody any more."""
        self.taken_count = 0
        self.acknowledged_count = 0
        self.returned_count = 0
        self.dead_count = 0

    # --- taking

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
        self.taken_count -= batch.count
        self.returned_count += batch.count
        self._shares[batch.partition].give_back(batch)
        self.wake()

    def wait(self, mailbox: Mailbox, seconds: float | None) -> Batch | None:
        """One message, waiting up to ``seconds`` for it (None: for ever). First come, first served.

        None when the time is over, or when somebody put None into the mailbox. If this greenlet is killed while it
        waits, a message already in its mailbox goes back.
        """
        batch = self.take(1, 0)
        if batch is not None or seconds == 0 or self.removed:
            return batch
        self.waiting[mailbox] = 1
        try:
            return mailbox.get(timeout=seconds)
        except Empty:
            # Both can happen in one turn of the loop: the time was over, and then a message was put.
            return None if mailbox.empty() else mailbox.get_nowait()
        finally:
            self.stop_waiting(mailbox)
            while not mailbox.empty():
                left = mailbox.get_nowait()
                if left is not None:
                    self.give_back(left)

    def stop_waiting(self, inbox: Inbox) -> None:
        """It is handed nothing more, and has fetched what it was handed."""
        self.waiting.pop(inbox, None)
        self._handed.pop(inbox, None)

    def wake(self) -> None:
        """Hand the messages there are to those who wait: one each, to streams an even share."""
        waiting = self.waiting
        while waiting:
            inbox, most = next(iter(waiting.items()))
            if inbox.leases and not self.may_lease:
                self.expect_room()
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

    # --- leasing

    def lease(self, consumer: Consumer, batch: Batch) -> None:
        """Messages that were taken are only lent to this consumer."""
        agenda = self._agenda
        deadline = agenda.clock() + self.lease_seconds
        if deadline > self._deadline:
            self._deadline = deadline + self._resolution
        consumer.lease(batch, self._deadline)
        self.consumers.add(consumer)
        if self._next is None or self._next.when > self._deadline:
            self._expect(self._deadline)

    @property
    def may_lease(self) -> bool:
        """Whether more may be leased: the groups' copies together, and what there is to take, have a limit, too."""
        memory = self._memory
        return memory.held_bytes <= memory.max_bytes and memory.used_bytes + memory.held_bytes <= 2 * memory.max_bytes

    def check_leases(self) -> None:
        """Raises FullError when no more may be leased."""
        if not self.may_lease:
            raise FullError("too much is leased, or waits to be delivered again; acknowledge, or raise --max-memory")

    def expect_room(self) -> None:
        """Look in a while: then more may perhaps be leased."""
        self._expect(self._agenda.clock() + ROOM_SECONDS)

    def acknowledge(self, consumer: Consumer, ids: Sequence[int]) -> list[int]:
        """These messages are done; returns the ids of those that this consumer had not leased."""
        gone = consumer.settle(ids)
        self.acknowledged_count += len(ids) - len(gone)
        return gone

    def return_lease(self, consumer: Consumer, id: int, seconds: float) -> bool:
        """End a lease, and deliver the message again after so many seconds; False when there was none."""
        batch = consumer.find(id)
        if batch is None:
            return False
        consumer.settle([id])
        self._return(batch, "it was given back", self._agenda.clock() + seconds if seconds else None)
        self.wake()
        return True

    def release(self, consumer: Consumer, ids: Sequence[int]) -> list[int]:
        """These messages were not touched: as if they had not been delivered. The ids of those that were not leased."""
        parts, gone = consumer.take_out(ids)
        for part in parts:
            self.taken_count -= part.count
            self.returned_count += part.count
            self._shares[part.partition].give_back(part)
        self.wake()
        return gone

    def extend(self, consumer: Consumer, id: int, seconds: float | None) -> bool:
        """Let a lease end so many seconds from now (None: as many as at first); False when there is none."""
        deadline = self._agenda.clock() + (self.lease_seconds if seconds is None else seconds)
        extended = consumer.extend(id, deadline)
        if extended:
            self._expect(deadline)
        return extended

    def bury(self, consumer: Consumer, id: int, reason: str) -> bool:
        """Make a leased message a dead letter; False when it was not leased."""
        batch = consumer.find(id)
        if batch is None:
            return False
        consumer.settle([id])
        self.dead_count += 1
        self._bury(self, batch, reason)
        return True

    def undo_lease(self, consumer: Consumer, batch: Batch) -> int:
        """Of these messages, those that are leased never reached the consumer: that was no attempt. How many."""
        count = 0
        for part in consumer.take_some(batch):
            count += part.count
            self.give_back(part)
        return count

    def leave(self, consumer: Consumer) -> None:
        """The consumer is gone: its leases end now. Only these are looked at: ten thousand may leave together."""
        self.consumers.discard(consumer)
        if len(consumer):
            self._return_all(consumer.take_ended(float("inf"), PIECE_MESSAGES), GONE)
            if len(consumer):
                self._leaving.append(consumer)
                self._expect_at(self._agenda.clock())
            self.wake()

    def _expect(self, when: float) -> None:
        """Something ends then; what ends soon after another thing waits a little, and ends together with more."""
        self._expect_at(max(when, self._looked + self._resolution))

    def _expect_at(self, when: float) -> None:
        if self._next is not None:
            if self._next.when <= when:
                return
            self._next.cancel()
        self._next = self._agenda.at(when, self._end_leases)

    def _end_leases(self) -> None:
        """End what has to end by now, a piece of it, and note when to go on."""
        self._next = None
        now = self._looked = self._agenda.clock()
        budget = PIECE_MESSAGES
        while self._leaving and budget > 0:
            consumer = self._leaving[-1]
            budget -= self._return_all(consumer.take_ended(float("inf"), budget), GONE)
            if not len(consumer):
                self._leaving.pop()
        for consumer in self.consumers:
            if budget <= 0:
                break
            budget -= self._return_all(consumer.take_ended(now, budget), "its lease ended")
        for share in self._shares:
            budget -= share.bring_back(now, budget)
        for consumer in list(self.consumers):  # now that all that came back is there, in order
            if consumer.on_room is not None:
                consumer.on_room()
            elif not len(consumer):
                self.consumers.discard(consumer)
        self.wake()
        ends = [end for consumer in self.consumers if (end := consumer.next_end) is not None]
        ends += [end for share in self._shares if (end := share.next_return) is not None]
        if budget <= 0:
            self._expect_at(now)
        elif ends:
            self._expect(min(ends))

    def _return_all(self, batches: Iterable[Batch], reason: str) -> int:
        count = 0
        for batch in batches:
            count += batch.count
            self._return(batch, reason)
        return count

    def _return(self, batch: Batch, reason: str, when: float | None = None) -> None:
        """A delivery came to nothing: the message is delivered again, or dead."""
        if batch.attempt >= self._max_attempts > 0:
            self.dead_count += batch.count
            self._bury(self, batch, f"{reason}, after {batch.attempt} attempts")
            return
        batch.attempt += 1
        self.returned_count += batch.count
        share = self._shares[batch.partition]
        if when is None:
            share.give_back(batch)
        else:
            share.give_back_later(batch, when)
            self._expect(when)

    # --- moving and looking

    def seek(self, find: Callable[[MemoryLog], int], partition: int | None = None) -> list[int]:
        """Go on from the offset that ``find`` gives for each partition, or for this one; where that is, as ids.

        What was leased or given back there is forgotten.
        """
        places = []
        for share in self._shares if partition is None else [self._shares[partition]]:
            self.seeks[share.log.partition] += 1
            share.forget_returned()
            places.append(share.log.partition << PARTITION_SHIFT | share.seek(find(share.log)))
        for consumer in [*self.consumers, *self._leaving]:
            consumer.drop(partition)
        for inbox, most in reversed(list(self._handed.items())):
            if inbox.forget(partition):
                del self._handed[inbox]
                self.waiting[inbox] = most
                self.waiting.move_to_end(inbox, last=False)
        for consumer in list(self.consumers):  # their credit is free again
            if consumer.on_room is not None:
                consumer.on_room()
        self.wake()
        return places

    def peek(self, max_messages: int, max_bytes: int) -> list[Batch]:
        """The next messages, those of one partition after those of another: so many, and about so many bytes."""
        following = self._turn + 1
        shares = [share.peek for share in self._shares[following:] + self._shares[:following]]
        return peek_in_turn(shares, max_messages, max_bytes)

    def close(self) -> None:
        """Forget everything: the group is removed."""
        self.removed = True
        if self._next is not None:
            self._next.cancel()
        for share in self._shares:
            share.close()
        self._shares, self._only = [], None

    @property
    def busy(self) -> bool:
        """Whether there are consumers."""
        return bool(self.waiting or self._handed or self._leaving or self.consumer_count)

    @property
    def consumer_count(self) -> int:
        """How many consumers stream or have leased something."""
        return sum(1 for consumer in self.consumers if consumer.on_room or len(consumer))

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

    @property
    def leased_count(self) -> int:
        """How many messages are leased."""
        return sum(len(consumer) for consumer in [*self.consumers, *self._leaving])

    @property
    def lag(self) -> int:
        """How many messages are not done: backlog, leased, and those that come back later."""
        return self.backlog + self.leased_count + sum(share.later_count for share in self._shares)
