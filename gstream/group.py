"""A group: the consumers that compete for one topic's messages, and what each has leased.

A message that was leased comes back when its lease ends, in its old place, until it has been delivered so often that
it becomes a dead letter.

Knows no socket and no wire format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from gstream.agenda import Agenda
from gstream.alarm import Alarm
from gstream.backlog import PIECE_BYTES, Backlog
from gstream.batch import OFFSET_BITS, PARTITION_SHIFT, Batch
from gstream.commit import Commit, after
from gstream.consumer import Consumer
from gstream.errors import FullError
from gstream.mailbox import Inbox
from gstream.progress import DONE, Progress
from gstream.share import AnyLog, Share

__all__ = ["PIECE_BYTES", "PIECE_MESSAGES", "Group"]

PIECE_MESSAGES = 1000
"""Messages are handed to a stream, and leases that end are returned, at most so many at a time: a few milliseconds."""

RESOLUTION_SECONDS = 0.05
"""Leases that end within so much time of each other end together, so that a million share a few times."""

ROOM_SECONDS = 0.1
"""A stream that may lease no more looks again after so long."""

GONE = "its consumer was gone"


class Group(Backlog):
    """Takes a topic's messages once, oldest first, for good or for the time of a lease.

    logs: the topic's partitions.
    lease_seconds: how long a lease lasts.
    max_attempts: so often a leased message is delivered (0: for ever); then ``bury(group, batch, reason)`` is called,
    which says when that is stored.
    progress: gives what the group has done in a log, if that is kept.
    """

    def __init__(
        self,
        name: str,
        logs: Sequence[AnyLog],
        agenda: Agenda,
        *,
        lease_seconds: float,
        max_attempts: int,
        bury: Callable[[Group, Batch, str], Commit | None],
        progress: Callable[[AnyLog], Progress] | None = None,
    ) -> None:
        super().__init__(name, logs, agenda, progress)
        self.lease_seconds = lease_seconds
        self._deadline = 0.0
        self._resolution = min(RESOLUTION_SECONDS, lease_seconds / 10)
        self._alarm = Alarm(agenda, self._resolution, self._end_leases)  # a lease ends, or a message comes back
        self._max_attempts = max_attempts
        self._bury = bury
        self._leaving: list[Consumer] = []  # their leases are being returned
        self.consumers: set[Consumer] = set()
        """Those that stream or have leased something."""
        self.seeks = [0] * len(logs)
        """How often the group was moved in each partition. What was taken before belongs to nobody any more."""
        self.dead_count = 0
        self.commit: Commit | None = None
        """When the last dead letter is stored; None: it is."""
        for share in self._shares:
            self._look_after(share)

    def _look_after(self, share: Share) -> None:
        share.on_stuck = self._move_out
        if share.next_return is not None:
            self._alarm.expect(share.next_return)

    def add_log(self, log: AnyLog) -> Share:
        """Take the messages of a further partition, too, whose number follows."""
        share = super().add_log(log)
        self.seeks.append(0)
        self._look_after(share)
        return share

    # --- leasing

    @property
    def may_lease(self) -> bool:
        """Whether more may be leased: the groups' copies together, and what there is to take, have a limit, too."""
        memory = self._budget
        return memory.held_bytes <= memory.max_bytes and memory.used_bytes + memory.held_bytes <= 2 * memory.max_bytes

    def check_leases(self) -> None:
        """Raises FullError when no more may be leased."""
        if not self.may_lease:
            raise FullError("too much is leased, or waits to be delivered again; acknowledge, or raise --max-memory")

    def may_hand(self, inbox: Inbox) -> bool:
        """Whether it may be handed messages: not to be leased, when there are too many."""
        if not inbox.leases or self.may_lease:
            return True
        self.expect_room()
        return False

    def expect_room(self) -> None:
        """Look in a while: then more may perhaps be leased."""
        self._alarm.expect(self._agenda.clock() + ROOM_SECONDS)

    def lease(self, consumer: Consumer, batch: Batch) -> None:
        """Messages that were taken are only lent to this consumer."""
        agenda = self._agenda
        deadline = agenda.clock() + self.lease_seconds
        if deadline > self._deadline:
            self._deadline = deadline + self._resolution
        consumer.lease(batch, self._deadline)
        self.consumers.add(consumer)
        if self._is_kept:
            self._shares[batch.id >> PARTITION_SHIFT].mark(batch, batch.attempt)
        if self._alarm.when > self._deadline:
            self._alarm.expect(self._deadline)

    def acknowledge(self, consumer: Consumer, ids: Sequence[int]) -> list[int]:
        """These messages are done; returns the ids of those that this consumer had not leased."""
        gone = consumer.settle(ids)
        self.acknowledged_count += len(ids) - len(gone)
        if self._is_kept and len(gone) < len(ids):
            left = Counter(ids)
            left.subtract(gone)
            self._note_done(ids if not gone else [id for id, count in left.items() if count])
        return gone

    def _note_done(self, ids: Sequence[int]) -> None:
        if self._only is not None:
            self._only.mark_ids(ids, DONE)
            return
        for share in self._shares:
            number = share.log.partition
            share.mark_ids([id & OFFSET_BITS for id in ids if id >> PARTITION_SHIFT == number], DONE)

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
            self._untake(part)
        self.wake()
        return gone

    def extend(self, consumer: Consumer, id: int, seconds: float | None) -> bool:
        """Let a lease end so many seconds from now (None: as many as at first); False when there is none."""
        deadline = self._agenda.clock() + (self.lease_seconds if seconds is None else seconds)
        extended = consumer.extend(id, deadline)
        if extended:
            self._alarm.expect(deadline)
        return extended

    def bury(self, consumer: Consumer, id: int, reason: str) -> bool:
        """Make a leased message a dead letter, stored when ``commit`` is done; False when it was not leased."""
        batch = consumer.find(id)
        if batch is None:
            return False
        consumer.settle([id])
        self._make_dead(batch, reason)
        return True

    def _make_dead(self, batch: Batch, reason: str) -> None:
        """It is done when it is stored as a dead letter; if that fails, it is delivered again."""
        self.dead_count += batch.count
        commit = self.commit = self._bury(self, batch, reason)
        if self._is_kept:
            seeks = self.seeks[batch.partition]

            def stored() -> None:
                if self.removed or self.seeks[batch.partition] != seeks:
                    return
                share = self._shares[batch.partition]
                if commit is None or commit.error is None:
                    share.mark(batch, DONE)
                else:
                    self.dead_count -= batch.count
                    self.returned_count += batch.count
                    share.give_back_later(batch, self._agenda.clock() + ROOM_SECONDS)
                    self._alarm.expect(self._agenda.clock() + ROOM_SECONDS)

            after(commit, stored)

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
                self._alarm.expect_at(self._agenda.clock())
            self.wake()

    def _end_leases(self) -> None:
        """End what has to end by now, a piece of it, and note when to go on."""
        now = self._alarm.ring()
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
            self._alarm.expect_at(now)
        elif ends:
            self._alarm.expect(min(ends))

    def _return_all(self, batches: Iterable[Batch], reason: str) -> int:
        count = 0
        for batch in batches:
            count += batch.count
            self._return(batch, reason)
        return count

    def _return(self, batch: Batch, reason: str, when: float | None = None) -> None:
        """A delivery came to nothing: the message is delivered again, or dead."""
        if batch.attempt >= self._max_attempts > 0:
            self._make_dead(batch, f"{reason}, after {batch.attempt} attempts")
            return
        batch.attempt += 1
        self.returned_count += batch.count
        share = self._shares[batch.partition]
        if when is None:
            share.give_back(batch)
        else:
            share.give_back_later(batch, when, keep=True)
            self._alarm.expect(when)

    def _move_out(self, share: Share, offsets: Sequence[int]) -> None:
        """Of these messages of a partition, keep outside of the log, which is to let them go, those that somebody has.

        They are leased, or a client that does not read has been handed them.
        """
        partition = share.log.partition
        prefix = partition << PARTITION_SHIFT
        left = set(offsets)
        ids = {prefix | offset for offset in offsets}
        for consumer in [*self.consumers, *self._leaving]:
            if not left:
                return
            for batch in consumer.find_all(ids):
                left.discard(batch.offset)
                share.keep(batch, delivered=True)
        for inbox in self._handed:
            if not left:
                return
            if inbox.leases:
                continue
            for batch in inbox.look():
                if batch.partition == partition:
                    for part in _parts_of(batch, left):
                        left.difference_update(range(part.offset, part.offset + part.count))
                        share.keep(part)

    # --- moving

    def seek(self, find: Callable[[AnyLog], int], partition: int | None = None) -> list[int]:
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

    def close(self) -> None:
        """Forget everything: the group is removed."""
        self.removed = True
        self._alarm.cancel()
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
    def leased_count(self) -> int:
        """How many messages are leased."""
        return sum(len(consumer) for consumer in [*self.consumers, *self._leaving])

    @property
    def lows(self) -> list[int]:
        """Of each partition, the offset of the first message that is not done."""
        lows = [share.low for share in self._shares]
        for consumer in [*self.consumers, *self._leaving]:
            consumer.lower(lows)
        return lows

    @property
    def lag(self) -> int:
        """How many messages are not done: backlog, leased, and those that come back later."""
        return self.backlog + self.leased_count + sum(share.later_count for share in self._shares)


def _parts_of(batch: Batch, offsets: set[int]) -> list[Batch]:
    """The messages of a batch that are among these, as few batches as possible."""
    parts = []
    first = None
    for at in range(batch.count + 1):
        if at < batch.count and batch.offset + at in offsets:
            first = at if first is None else first
        elif first is not None:
            parts.append(batch.part(first, at - first))
            first = None
    return parts
