"""A share: one group's part in one partition (Kafka calls it a share-partition, KIP-932).

It knows how far the group has come, and which messages before that have been given back and are to be delivered
again, in their old place in the order. On an engine that keeps that, it says what is to be kept; and after a restart it
takes again what was delivered before, passing over what is done. Knows no consumers and no leases.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from gstream.agenda import Agenda
from gstream.batch import OFFSET_BITS, Batch
from gstream.counted import KINDS
from gstream.progress import DONE, Progress

if TYPE_CHECKING:
    from gstream.storage.disklog import DiskLog
    from gstream.storage.memory import MemoryLog

__all__ = ["AnyLog", "Share", "peek_in_turn"]

AnyLog: TypeAlias = "MemoryLog | DiskLog"

MOVED_AT_ONCE = 1000
"""So many messages are looked for at once that are leased for long."""

_MANY_BYTES = 1 << 40

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
    """Takes a partition's messages once, oldest first.

    on_read: called when there is more to take than there was, because it was read from the disk or unpacked.
    progress: what the group has done, if that is kept.
    """

    def __init__(
        self, log: AnyLog, agenda: Agenda, on_read: Callable[[], None], progress: Progress | None = None
    ) -> None:
        self.log = log
        self._budget = log.budget
        self._agenda = agenda
        self._cursor = log.open_cursor()
        self._cursor.on_read = on_read
        self._returned: list[tuple[int, Batch]] = []  # a heap by offset: their place is before the cursor
        self._returned_count = 0
        self._later: list[tuple[float, int, Batch]] = []  # a heap by the time at which they come back
        self._later_count = 0
        self.progress = progress
        self._again_until = 0  # before this offset there may be messages that are done, or were delivered
        self.on_stuck: Callable[[Share, Sequence[int]], object] = lambda _share, _offsets: None
        """Called with messages that nobody has finished, and whose segment is to go."""
        if progress is not None:
            self._restore(progress)

    def _restore(self, progress: Progress) -> None:
        log = self.log
        log.readers.append(self)  # type: ignore[union-attr]
        self._cursor.on_missing = self._miss
        self._cursor.seek(progress.low)
        self._again_until = progress.restored_end
        for offset, kept in progress.kept.items():
            batch = KINDS[kept.kind](offset, 1, kept.data, kept.time_ms, log.partition, kept.attempt + 1)
            seconds = kept.due_ms / 1000 - self._budget.clock()
            if seconds > 0:
                self.give_back_later(batch, self._agenda.clock() + seconds)
            else:
                self.give_back(batch)

    def take(self, max_messages: int, max_bytes: int) -> Batch | None:
        """The oldest messages that nobody has, consecutive ones; see :meth:`Group.take`."""
        if not self._returned:
            if self._cursor.offset < self._again_until:
                return self._take_again(max_messages, max_bytes)
            return self._cursor.read(max_messages, max_bytes)
        batch = self._take_returned(max_messages, max_bytes)
        self._returned_count -= batch.count
        self._budget.held_bytes -= len(batch.data)
        return batch

    def _take_again(self, max_messages: int, max_bytes: int) -> Batch | None:
        """After a restart: messages that were delivered before, and those between them; not those that are done."""
        progress, cursor = self.progress, self._cursor
        assert progress is not None
        while (offset := cursor.offset) < self._again_until:
            state, count = progress.run_at(offset)
            most, size = (count, _MANY_BYTES) if state == DONE else (min(max_messages, count), max_bytes)
            batch = cursor.read(most, size)
            if batch is None:
                return None
            if batch.offset != offset:  # what lay here cannot be read; what came instead has states of its own
                cursor.seek(batch.offset)
            elif state != DONE:
                batch.attempt = state + 1
                return batch
        return cursor.read(max_messages, max_bytes)

    def _miss(self, first: int, end: int) -> None:
        """These messages cannot be read any more."""
        if self.progress is not None:
            self.progress.mark(first, end - first, DONE)

    def _count_done(self, end: int) -> int:
        """How many of those before this offset that nobody has had yet were done before the restart."""
        if self.progress is None or self._cursor.offset >= self._again_until:
            return 0
        return self.progress.count_done(self._cursor.offset, min(end, self._again_until))

    # --- what is kept of it

    def mark(self, batch: Batch, state: int) -> None:
        """These messages are done, or were delivered so often.

        What was done, and is not after all, is kept outside of the log: its file may be gone already.
        """
        progress, offset = self.progress, batch.id & OFFSET_BITS
        assert progress is not None
        if state != DONE and offset < progress.low:
            self.keep(batch, delivered=state == batch.attempt)
        else:
            progress.mark(offset, batch.count, state)

    def mark_ids(self, offsets: Sequence[int], state: int) -> None:
        """The same for the messages at these offsets."""
        assert self.progress is not None
        self.progress.mark_ids(offsets, state)

    def keep(self, batch: Batch, when: float | None = None, *, delivered: bool = False) -> None:
        """Keep these messages outside of the log, until they are done.

        when: before that time, of the agenda's clock, they are not delivered again. delivered: somebody has them.
        """
        if self.progress is not None:
            seconds = 0.0 if when is None else when - self._agenda.clock()
            due_ms = int((self._budget.clock() + seconds) * 1000)
            self.progress.keep(batch, due_ms, batch.attempt - (not delivered))

    def move_out(self, end: int) -> None:
        """Keep what nobody has finished of the messages before this offset outside of the log."""
        assert self.progress is not None
        self.on_stuck(self, self.progress.unfinished(end, MOVED_AT_ONCE))

    def lose(self, end: int) -> int:
        """The messages before this offset go: go on behind them; how many were not taken."""
        offset = self._cursor.offset
        lost = max(0, end - offset - self._count_done(end))
        if self.progress is not None:
            self.progress.lose(end)
        if offset < end:
            self._cursor.seek(end)
        return lost

    def take_back(self, end: int) -> None:
        """What lay from this offset on is lost; other messages will lie there, and are in nobody's way."""
        self.forget_returned(end)
        self._again_until = min(self._again_until, end)
        if self.progress is not None:
            self.progress.take_back(end)

    @property
    def is_loading(self) -> bool:
        """Whether more is being read from the disk, or unpacked."""
        return self._cursor.is_loading

    @property
    def error(self) -> Exception | None:
        """Why more could not be read from the disk the last time."""
        return self._cursor.error

    # --- giving back

    def give_back(self, batch: Batch) -> None:
        """Put messages that were taken back to their place."""
        heapq.heappush(self._returned, (batch.offset, batch))
        self._returned_count += batch.count
        self._budget.held_bytes += len(batch.data)

    def give_back_later(self, batch: Batch, when: float, *, keep: bool = False) -> None:
        """The same at a later time: :meth:`bring_back` does it. keep: with its body, whatever becomes of the log."""
        if keep:
            self.keep(batch, when)
        heapq.heappush(self._later, (when, batch.offset, batch))
        self._later_count += batch.count
        self._budget.held_bytes += len(batch.data)

    def bring_back(self, now: float, max_batches: int) -> int:
        """Put back what was to be put back by now, so much of it at the most; how much."""
        later = self._later
        before = len(later)
        while later and later[0][0] <= now and before - len(later) < max_batches:
            batch = heapq.heappop(later)[2]
            self._later_count -= batch.count
            self._budget.held_bytes -= len(batch.data)
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
        return batches + self._peek_ahead(max_messages, max_bytes)

    def _peek_ahead(self, max_messages: int, max_bytes: int) -> list[Batch]:
        offset = self._cursor.offset
        found: list[Batch] = []
        while offset < self._again_until and max_messages > 0 and max_bytes > 0:
            assert self.progress is not None
            state, count = self.progress.run_at(offset)
            if state == DONE:
                offset += count
                continue
            seen = self.log.peek(offset, max_messages, max_bytes)
            if not seen:
                return found
            for part in itertools.chain.from_iterable(map(self._unfinished_parts, seen)):
                found.append(part)
                max_messages -= part.count
                max_bytes -= len(part.data)
            offset = seen[-1].offset + seen[-1].count
        return found + self.log.peek(offset, max_messages, max_bytes)

    def _unfinished_parts(self, batch: Batch) -> Iterator[Batch]:
        """Of this batch, what was not done before the restart, each part with its attempt."""
        assert self.progress is not None
        first = 0
        while first < batch.count:
            state, count = self.progress.run_at(batch.offset + first)
            count = min(count, batch.count - first)
            if state != DONE:
                part = batch.part(first, count)
                part.attempt = state + 1
                yield part
            first += count

    def seek(self, offset: int) -> int:
        """Go on from this offset, or from the nearest that is kept, which is returned."""
        self._cursor.seek(offset)
        self._again_until = 0
        if self.progress is not None:
            self.progress.reset(self._cursor.offset)
        return self._cursor.offset

    def forget_returned(self, first: int = 0) -> None:
        """Deliver nothing again that lies at this offset or behind it."""
        returned, later = self._returned, self._later
        self._returned, self._later = [], []
        self._returned_count = self._later_count = 0
        for _, batch in returned:
            self._budget.held_bytes -= len(batch.data)
            if batch.offset < first:
                self.give_back(batch.part(0, min(batch.count, first - batch.offset)))
        for when, _, batch in later:
            self._budget.held_bytes -= len(batch.data)
            if batch.offset < first:
                self.give_back_later(batch.part(0, min(batch.count, first - batch.offset)), when)

    def close(self) -> None:
        """Keep nothing any more."""
        self.forget_returned()
        self.log.close_cursor(self._cursor)  # type: ignore[arg-type]
        if self.progress is not None:
            self.log.readers.remove(self)  # type: ignore[union-attr]
            self.progress.close()

    @property
    def offset(self) -> int:
        """Of the next message that nobody has had yet."""
        return self._cursor.offset

    @property
    def low(self) -> int:
        """Of the first message that is not done; where nothing is kept of that, of the first that nobody has leased."""
        if self.progress is None:
            return min([self._cursor.offset, *(each[0] for each in self._returned), *(each[1] for each in self._later)])
        end = self.log.end_offset
        return min([end, *self.progress.unfinished(end, 1), *self.progress.kept])

    @property
    def backlog(self) -> int:
        """How many messages there are to take."""
        return self._cursor.lag + self._returned_count - self._count_done(self._again_until)

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
