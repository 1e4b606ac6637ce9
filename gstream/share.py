"""A share: one group's part in one partition (Kafka calls it a share-partition, KIP-932).

It knows how far the group has come, and which messages before that have been given back and are to be delivered
again, in their old place in the order. Knows no consumers, no leases and no clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from gstream.batch import Batch
from gstream.storage.memory import MemoryLog

__all__ = ["Share", "peek_in_turn"]

HALVED_MESSAGES = 64
"""A returned batch larger than this is halved when only a few of it are taken, and not copied again for each."""


def peek_in_turn(peeks: Iterable[Callable[[int, int], list[Batch]]], max_messages: int, max_bytes: int) -> list[Batch]:
    """What is seen in one partition, and then in the next, within these limits together."""
    found: list[Batch] = []
    for peek in peeks:
        if max_messages <= 0 or max_bytes <= 0:
            break
        seen = peek(max_messages, max_bytes)
        max_messages -= sum(batch.count for batch in seen)
        max_bytes -= sum(len(batch.data) for batch in seen)
        found += seen
    return found


class Share:
    """Takes a partition's messages once, oldest first."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self._memory = log.budget
        self._cursor = log.open_cursor()
        self._returned: list[tuple[int, Batch]] = []  # a heap by offset: their place is before the cursor
        self._returned_count = 0
        self._later: list[tuple[float, int, Batch]] = []  # a heap by the time at which they come back
        self._later_count = 0

    def take(self, max_messages: int, max_bytes: int) -> Batch | None:
        """The oldest messages that nobody has, consecutive ones; see :meth:`Group.take`."""
        if not self._returned:
            return self._cursor.read(max_messages, max_bytes)
        batch = self._take_returned(max_messages, max_bytes)
        self._returned_count -= batch.count
        self._memory.held_bytes -= len(batch.data)
        return batch

    def give_back(self, batch: Batch) -> None:
        """Put messages that were taken back to their place."""
        heapq.heappush(self._returned, (batch.offset, batch))
        self._returned_count += batch.count
        self._memory.held_bytes += len(batch.data)

    def give_back_later(self, batch: Batch, when: float) -> None:
        """The same at a later time: :meth:`bring_back` does it."""
        heapq.heappush(self._later, (when, batch.offset, batch))
        self._later_count += batch.count
        self._memory.held_bytes += len(batch.data)

    def bring_back(self, now: float, max_batches: int) -> int:
        """Put back what was to be put back by now, so much of it at the most; how much."""
        later = self._later
        before = len(later)
        while later and later[0][0] <= now and before - len(later) < max_batches:
            batch = heapq.heappop(later)[2]
            self._later_count -= batch.count
            self._memory.held_bytes -= len(batch.data)
            self.give_back(batch)
        return before - len(later)

    @property
    def next_return(self) -> float | None:
        """When the next message is to be put back."""
        return self._later[0][0] if self._later else None

    def peek(self, max_messages: int, max_bytes: int) -> list[Batch]:
        """What :meth:`take` would give, called again and again; takes nothing."""
        batches = []
        for _, batch in heapq.nsmallest(max_messages, self._returned):
            batch = batch.part(0, min(max_messages, batch.count))  # noqa: PLW2901  # as much of it as is asked for
            batches.append(batch)
            max_messages -= batch.count
            max_bytes -= len(batch.data)
            if max_messages <= 0 or max_bytes <= 0:
                return batches
        return batches + self.log.peek(self._cursor.offset, max_messages, max_bytes)

    def seek(self, offset: int) -> int:
        """Go on from this offset, or from the nearest that is kept, which is returned."""
        self._cursor.seek(offset)
        return self._cursor.offset

    def forget_returned(self) -> None:
        """Deliver nothing again."""
        for _, batch in self._returned:
            self._memory.held_bytes -= len(batch.data)
        for _, _, batch in self._later:
            self._memory.held_bytes -= len(batch.data)
        self._returned.clear()
        self._later.clear()
        self._returned_count = self._later_count = 0

    def close(self) -> None:
        """Keep nothing any more."""
        self.forget_returned()
        self.log.close_cursor(self._cursor)

    @property
    def offset(self) -> int:
        """Of the next message that nobody has had yet."""
        return self._cursor.offset

    @property
    def backlog(self) -> int:
        """How many messages there are to take."""
        return self._cursor.lag + self._returned_count

    @property
    def later_count(self) -> int:
        """How many messages are to be put back later."""
        return self._later_count

    def _take_returned(self, max_messages: int, max_bytes: int) -> Batch:
        returned = self._returned
        batch = heapq.heappop(returned)[1]
        while batch.count > HALVED_MESSAGES and batch.count > 2 * max_messages:
            batch = self._keep_rest(batch, batch.count // 2)
        if batch.count > 1:
            count = min(max_messages, batch.count)
            if len(batch.data) > max_bytes:
                count = min(count, batch.find_fitting(batch.data, 0, max(max_bytes, 0))[0])
            if count < batch.count:
                batch = self._keep_rest(batch, count)
        return batch

    def _keep_rest(self, batch: Batch, count: int) -> Batch:
        first, rest = batch.split(count)
        heapq.heappush(self._returned, (rest.offset, rest))
        return first
