"""A consumer: one connection's part in a group, which is the messages that it has leased.

A lease is kept for each message, by its id, so that any of a batch may be acknowledged first; all messages of a batch
share one object. Leases of a group last equally long, so they end in the order in which they were made, which is
the order of the dict; those that were extended are kept apart.

Knows no socket, no wire format and no clock: it is told the time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import chain, islice
from itertools import count as counting

from gstream.batch import OFFSET_BITS, PARTITION_SHIFT, Batch
from gstream.storage.budget import Budget

__all__ = ["Consumer"]

FEW_ENDS = 100
"""More entries than that of leases that were extended again are swept out: their time may be far."""


class Consumer:
    """The open leases of one connection in one group."""

    __slots__ = ("_budget", "_ended", "_ends", "_extended", "_leases", "_numbers", "on_room")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._leases: dict[int, Batch] = {}
        self._extended: dict[int, Batch] = {}
        self._ends: list[tuple[float, int, Batch]] = []  # a heap of those that were extended, by time and number
        self._numbers = counting()
        self._ended: dict[Batch, int] = {}  # how many leases of a batch have ended, while others go on
        self.on_room: Callable[[], None] | None = None
        """While it streams: called when leases have ended."""

    def __len__(self) -> int:
        """How many messages are leased."""
        return len(self._leases) + len(self._extended)

    @property
    def next_end(self) -> float | None:
        """When the next lease ends."""
        ends = self._ends
        while ends and self._extended.get(ends[0][2].id) is not ends[0][2]:
            heapq.heappop(ends)
        first = next(iter(self._leases.values()), None)
        if first is None:
            return ends[0][0] if ends else None
        return min(first.deadline, ends[0][0]) if ends else first.deadline

    def lease(self, batch: Batch, deadline: float) -> None:
        """These messages are this consumer's until then."""
        batch.deadline = deadline
        count = batch.count
        self._budget.held_bytes += len(batch.data)
        first = batch.id
        if count == 1:
            self._leases[first] = batch
        else:
            self._leases.update(dict.fromkeys(range(first, first + count), batch))

    def settle(self, ids: Iterable[int]) -> list[int]:
        """Forget these leases; returns the ids of which there was none."""
        gone = []
        take = self._leases.pop
        current: Batch | None = None
        count = 0
        for id in ids:
            batch = take(id, None)
            if batch is None:
                batch = self._extended.pop(id, None)
                if batch is None:
                    gone.append(id)
                    continue
            if batch is not current:
                if current is not None:
                    self._end(current, count)
                current = batch
                count = 0
            count += 1
        if current is not None:
            self._end(current, count)
        return gone

    def _end(self, batch: Batch, count: int) -> None:
        """So many more of these messages are leased no longer; with the last one its bytes are freed."""
        if count < batch.count:
            count += self._ended.pop(batch, 0)
            if count < batch.count:
                self._ended[batch] = count
                return
        self._budget.held_bytes -= len(batch.data)

    def find(self, id: int) -> Batch | None:
        """The leased message as a batch of its own; None if it is not leased."""
        batch = self._leases.get(id) or self._extended.get(id)
        return None if batch is None else batch.part(id - batch.id, 1)

    def find_all(self, ids: AbstractSet[int]) -> list[Batch]:
        """Those of these messages that are leased, each as a batch of its own."""
        found = (self._leases.keys() & ids) | (self._extended.keys() & ids)
        return [batch for id in sorted(found) if (batch := self.find(id)) is not None]

    def extend(self, id: int, deadline: float) -> bool:
        """Let a lease end then; says whether there is one."""
        batch = self.find(id)
        if batch is None:
            return False
        if batch.count == 1:  # an object of its own tells it from what the heap knows of it
            batch = type(batch)(batch.offset, 1, batch.data, batch.times, batch.partition, batch.attempt)
        self.settle([id])
        batch.deadline = deadline
        self._budget.held_bytes += len(batch.data)
        self._extended[id] = batch
        heapq.heappush(self._ends, (deadline, next(self._numbers), batch))
        if len(self._ends) > FEW_ENDS + 2 * len(self._extended):
            self._ends = [each for each in self._ends if self._extended.get(each[2].id) is each[2]]
            heapq.heapify(self._ends)
        return True

    def take_ended(self, now: float, max_messages: int) -> Iterator[Batch]:
        """Leases that have ended by now, as batches of consecutive messages; about so many messages at the most."""
        # A piece of the dict at once: its first entry is looked for behind all that were removed, each time.
        first = next(iter(self._leases.values()), None)
        piece = max_messages if first is not None and first.deadline <= now else 0
        for id, batch in list(islice(self._leases.items(), piece)):
            if max_messages <= 0 or batch.deadline > now:
                break
            if id in self._leases:  # not taken with the message before it
                for part in self._take_whole(batch):
                    max_messages -= part.count
                    yield part
        ends = self._ends
        while max_messages > 0 and ends and ends[0][0] <= now:
            batch = heapq.heappop(ends)[2]
            if self._extended.get(batch.id) is batch:
                self.settle([batch.id])
                max_messages -= 1
                yield batch

    def held(self, batch: Batch) -> Iterator[Batch]:
        """Of this batch, as it was leased, what is still leased; not what was extended since."""
        leases = self._leases
        first = batch.id
        return _parts(batch, [id for id in range(first, first + batch.count) if leases.get(id) is batch])

    def take_some(self, batch: Batch) -> Iterator[Batch]:
        """Of the messages of this batch, or of this part of one, those that are leased.

        Not those that were leased anew since, with another attempt number, after the group was moved.
        """
        leases, extended, first = self._leases, self._extended, batch.id
        ids = [
            id
            for id in range(first, first + batch.count)
            if (lease := leases.get(id) or extended.get(id)) is not None and lease.attempt == batch.attempt
        ]
        self.settle(ids)
        return _parts(batch, ids)

    def take_out(self, ids: Iterable[int]) -> tuple[list[Batch], list[int]]:
        """End these leases; their messages, as few batches as possible, and the ids of which there was none."""
        runs: list[tuple[Batch, list[int]]] = []
        gone = []
        for id in ids:
            batch = self._leases.pop(id, None) or self._extended.pop(id, None)
            if batch is None:
                gone.append(id)
            elif runs and runs[-1][0] is batch and runs[-1][1][-1] < id:
                runs[-1][1].append(id)
            else:
                runs.append((batch, [id]))
        parts: list[Batch] = []
        for batch, taken in runs:
            parts += _parts(batch, taken)
            self._end(batch, len(taken))
        return parts, gone

    def lower(self, lows: list[int]) -> None:
        """Where something is leased that lies before a partition's offset in ``lows``, put that there."""
        for id in chain(self._leases, self._extended):
            partition, offset = id >> PARTITION_SHIFT, id & OFFSET_BITS
            lows[partition] = min(lows[partition], offset)

    def drop(self, partition: int | None) -> None:
        """Forget every lease of messages of this partition; None: of any."""
        ids = [*self._leases, *self._extended]
        self.settle(ids if partition is None else [id for id in ids if id >> PARTITION_SHIFT == partition])

    def _take_whole(self, batch: Batch) -> Iterator[Batch]:
        leases = self._leases
        first = batch.id
        if batch not in self._ended:
            self.settle(range(first, first + batch.count))
            return iter((batch,))
        ids = [id for id in range(first, first + batch.count) if leases.get(id) is batch]
        self.settle(ids)
        return _parts(batch, ids)


def _parts(batch: Batch, ids: list[int]) -> Iterator[Batch]:
    """The messages of a batch that have these ids, which are in order, as few batches as possible."""
    at = 0
    while at < len(ids):
        end = at + 1
        while end < len(ids) and ids[end] == ids[end - 1] + 1:
            end += 1
        yield batch.part(ids[at] - batch.id, end - at)
        at = end
