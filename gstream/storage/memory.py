"""The memory engine: logs held in memory, together bounded by one budget.

A log is a chain of pieces. Each group reads with a cursor of its own, so a further group costs no copy. What lies
before the slowest cursor has been taken by every group: the newest ``retain_bytes`` of it are kept for replay, as long
as the room is not needed; of a topic that is a log, all of it. What is beyond a limit that is set goes, taken or not.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gstream.agenda import Agenda
from gstream.batch import Batch
from gstream.header import BytesLike, Header
from gstream.record import CONTROL
from gstream.storage.budget import Budget
from gstream.storage.chain import Chain, Cursor
from gstream.storage.chain_records import fetch, find_record, newest_record
from gstream.storage.converted import Converted
from gstream.storage.expiry import Expiry
from gstream.storage.facts import Facts
from gstream.storage.piece import RECORDS_PIECE_BYTES
from gstream.storage.placed import Fetched, OffsetOutOfRangeError, Placed
from gstream.storage.producers import ProducerStates
from gstream.storage.recordbatch import RecordBatch
from gstream.storage.terms import Limits, Terms
from gstream.topic_options import TopicOptions

if TYPE_CHECKING:
    from gstream.storage.threads import Threads

__all__ = ["Memory", "MemoryLog"]

log = logging.getLogger(__name__)

DROPPED_AT_ONCE = 1000
LOOKED_AT_ONCE = 16
"""Pieces, and logs, so that nobody waits for more than a millisecond."""

TOLD_SECONDS = 1.0
"""So long after messages went by a limit that is told."""

EVERYTHING = 1 << 62
"""What a log keeps that keeps all it can, in bytes."""


class Memory(Budget):
    """The budget that all logs of a server share.

    max_bytes: how many bytes of messages may be stored.
    retain_bytes: how much of what all groups have taken each log keeps; about, whole pieces are dropped.
    clock: seconds since 1970. agenda: runs what is to be done later.
    limits: what each log may keep, taken or not. pool: threads for what takes long; they are closed with it.
    """

    name = "memory"
    promise = "messages are lost when the server stops"
    keeps = False
    file_count = 0
    state = None
    """Nothing is kept of groups."""
    topic_names = ()
    """Nothing is there when it is opened."""

    def __init__(
        self,
        max_bytes: int,
        retain_bytes: int = 0,
        clock: Callable[[], float] = time.time,
        agenda: Agenda | None = None,
        limits: Limits = (0, 0.0),
        pool: Threads | None = None,
    ) -> None:
        super().__init__(max_bytes)
        self.pool = pool
        self.retain_bytes = retain_bytes
        self.clock = clock
        self.stored_bytes = 0
        """Of all messages in logs: used, and retained."""
        self.reclaimable: dict[MemoryLog, None] = {}
        """Logs that retain whole pieces."""
        self.lost_count = 0
        """How many messages went by a limit before they were taken."""
        self.facts = Facts()
        self.terms = Terms(self.facts, limits)
        self.agenda = agenda or Agenda()
        self.converted = Converted()
        self._logs: deque[MemoryLog] = deque()

    def open_log(self, topic: str = "", partition: int = 0) -> MemoryLog:
        """A new, empty log within this budget, for the partition of that number."""
        each = MemoryLog(self, partition, topic)
        self._logs.append(each)
        each.set_up()
        return each

    def set_limits(self, topic: str, limit_bytes: int | None, limit_seconds: float | None) -> None:
        """What this topic may keep; None: what the server's settings say."""
        self.terms.set_limits(topic, limit_bytes, limit_seconds)
        for each in self._logs:
            if each.topic == topic:
                each.set_up()

    def set_options(self, topic: str, options: TopicOptions, logs: Iterable[Any]) -> None:
        """What else is set for this topic, whose logs these are."""
        self.terms.set_options(topic, options)
        for each in logs:
            each.set_up()

    def remove_topic(self, name: str, logs: Iterable[Any]) -> None:
        """Keep nothing of these logs, which are all of the topic; nobody reads or writes them any more."""
        self.terms.forget(name)
        for each in logs:
            each.stop()
            self.used_bytes -= each.end_place - each.low_place
            self.stored_bytes -= each.kept_bytes
            self.reclaimable.pop(each, None)
            self._logs.remove(each)

    def rows(self) -> Iterator[tuple[str, object]]:
        """What there is to tell of it: names and values."""
        yield "memory.used", self.used_bytes
        yield "memory.held", self.held_bytes
        yield "memory.retained", self.stored_bytes - self.used_bytes
        yield "memory.lost", self.lost_count

    def start(self) -> None:
        """There is nothing to do."""

    def close(self) -> None:
        """Nothing is asked of it any more. Blocks this greenlet until its threads have done what they do."""
        if self.pool is not None:
            self.pool.close()

    def make_room(self, size: int) -> None:
        """Drop what is only retained until so many bytes fit in, as far as that is possible."""
        while self.reclaimable and self.stored_bytes + self.held_bytes + size > self.max_bytes:
            each = next(iter(self.reclaimable))
            if not each.drop_oldest():
                del self.reclaimable[each]
        if self.stored_bytes > self.used_bytes and self.stored_bytes + self.held_bytes + size > self.max_bytes:
            for _ in range(min(LOOKED_AT_ONCE, len(self._logs))):  # a piece that grows, and was taken whole
                self._logs.rotate(-1)
                self._logs[0].drop_oldest()


class MemoryLog(Chain):
    """An append-only sequence of messages with consecutive offsets."""

    budget: Memory

    def __init__(self, memory: Memory, partition: int, topic: str = "") -> None:
        super().__init__(memory, partition)
        self.topic = topic
        self.retain_bytes = memory.retain_bytes
        """How much of what all groups have taken is kept as long as the room is not needed."""
        self._expiry: Expiry | None = None
        self._lost_count = 0  # of what nobody was told yet
        self.low_place = 0
        """Of the slowest cursor; of the oldest message, as long as there is no cursor."""
        self.producers = ProducerStates()
        self._floor = 0  # what lies before this was deleted
        self._place = memory.converted, memory.converted.new_number()

    @property
    def oldest_offset(self) -> int:
        """The offset of the oldest message that is kept; the end's if there is none."""
        return max(self.first_offset, self._floor)

    @property
    def next_offset(self) -> int:
        """What the next message that is appended gets."""
        return self.end_offset

    def append(self, data: bytes, count: int, kind: type[Batch] = Batch, *, always: bool = False) -> int:
        """Store messages, given as a batch of that kind keeps them, as many of them as there is room for.

        always: store all of them; they were counted against the budget before.

        Returns how many messages were stored: ``count``, or fewer when the budget does not last; what is stored
        are always the first ones.
        """
        memory = self.budget
        if kind is not self._last.kind:
            data, kind = self.recounted(data, count, kind)
        size = len(data)
        if memory.stored_bytes + memory.held_bytes + size > memory.max_bytes:
            memory.make_room(size)
            room = memory.room_bytes
            if size > room and not always:
                count, size = kind.find_fitting(data, 0, max(0, room))
                if size > room:
                    return 0
                data = data[:size]
        memory.used_bytes += size
        memory.stored_bytes += size
        self.add(data, count, kind, int(memory.clock() * 1000))
        if self._expiry is not None:
            self._expiry.note()
        return count

    def append_records(self, data: BytesLike, header: Header) -> Placed | None:
        """Store a whole batch of records as it is, but for its offset; None: there is no room for it.

        Raises ProducerError if it is not the one that is due from its producer.
        """
        duplicate = self.producers.check(header)
        if duplicate is not None:
            return Placed(duplicate, None, is_duplicate=True)
        memory = self.budget
        size = header.size + RECORDS_PIECE_BYTES
        if memory.stored_bytes + memory.held_bytes + size > memory.max_bytes:
            memory.make_room(size)
            if size > memory.room_bytes and not header.attributes & CONTROL:  # an end frees what waits for it
                return None
        offset = self.end_offset
        batch = RecordBatch(data, header)
        if header.producer_id >= 0:
            self.producers.note(header, offset, batch.commits, int(memory.clock() * 1000))
        memory.used_bytes += size
        memory.stored_bytes += size
        self.add_records(b"".join(batch.buffers(offset)), batch.count, header.max_ms)
        if self._expiry is not None:
            self._expiry.note()
        return Placed(offset, None)

    def open_cursor(self) -> Cursor:
        """A new cursor, at the oldest message that is kept."""
        cursor = Cursor(self, self._pieces[self._first])
        cursor.move(*self.find(self.oldest_offset))
        self.cursors.append(cursor)
        self.alone = len(self.cursors) == 1
        self.settle()
        return cursor

    def close_cursor(self, cursor: Cursor) -> None:
        """Keep nothing for it any more."""
        self.cursors.remove(cursor)
        cursor.close()
        self.alone = len(self.cursors) == 1
        self.settle()

    def peek(self, offset: int, max_messages: int, max_bytes: int) -> list[Batch]:
        """Messages from this offset on: at most so many, and about so many bytes of them."""
        return self.read_on(max(offset, self._floor), max_messages, max_bytes)

    def seek(self, cursor: Cursor, offset: int) -> None:
        """Move a cursor to this offset, or to the nearest that is kept."""
        Chain.seek(self, cursor, max(offset, self._floor))

    def find_time(self, time_ms: int) -> int:
        """The offset of the first message that is kept and was published then or later; the end, if there is none."""
        return max(Chain.find_time(self, time_ms), self._floor)

    # --- records

    def read_records(self, offset: int, max_bytes: int, end: int | None = None) -> Fetched:
        """Whole batches of records from the one on that holds this offset: at least one, and others that fit.

        None of them begins at ``end`` or behind it. Messages of other kinds are made into records.

        Raises OffsetOutOfRangeError.
        """
        if not self.oldest_offset <= offset <= self.end_offset:
            raise OffsetOutOfRangeError(f"{offset} is not within {self.oldest_offset} to {self.end_offset}")
        return fetch(self, self._place, offset, max_bytes, self.end_offset if end is None else end)

    def find_record(self, time_ms: int) -> tuple[int, int] | None:
        """The offset and the time of the first record of this time or later; None if there is none."""
        return find_record(self, time_ms, self.oldest_offset)

    def newest_record(self) -> tuple[int, int] | None:
        """The offset and the time of the first of the newest records; None if there are none."""
        return newest_record(self, self.oldest_offset)

    @property
    def stable_offset(self) -> int:
        """Before which offset it is known of each message whether its transaction was committed."""
        return max(self.producers.stable_offset(self.end_offset), self.oldest_offset)

    def aborted(self, first: int, end: int) -> list[tuple[int, int]]:
        """The transactions with messages in this range that were aborted: their producers, and where they began."""
        return self.producers.aborted(first, end)

    def delete_before(self, offset: int) -> None:
        """Let go of all messages before this offset, whether they were taken or not; it must not lie behind the end."""
        if offset <= self.oldest_offset:
            return
        self._floor = offset
        for cursor in self.cursors:
            if cursor.offset < offset:
                cursor.seek(offset)
        if offset == self.end_offset:
            self.end_piece()
        self._drop_until(self.piece_at(offset).offset)

    # --- what is kept

    def set_up(self) -> None:
        """Keep what is to be kept of its topic."""
        memory = self.budget
        self.retain_bytes = EVERYTHING if memory.terms.options(self.topic).is_log else memory.retain_bytes
        expiry = self._expiry or Expiry(self, memory.agenda)
        self._expiry = expiry if expiry.set(memory.terms.limits(self.topic)) else None

    def stop(self) -> None:
        """Its topic was removed."""
        if self._expiry is not None:
            self._expiry.stop()

    def end_piece(self) -> None:
        """What comes goes into another piece than what there is, so that they can go one without the other."""
        if self._last.count:
            self._start_piece(bytearray(), 0, Batch, self._last_ms)

    def find_excess(self, size: int) -> int:
        """Before which offset pieces can go so that at least so many bytes stay; 0 if none can."""
        end = 0
        for at in range(self._first + 1, len(self._pieces)):
            following = self._pieces[at]
            if self._end_place - following.place < size:
                break
            end = following.offset
        return end

    def lose_before(self, end: int) -> None:
        """Let go of the pieces before this offset, whether they were taken or not."""
        lost = 0
        for cursor in self.cursors:
            if cursor.offset < end:
                lost = max(lost, end - cursor.offset)
                cursor.seek(end)
        self._drop_until(end)
        if lost:
            memory = self.budget
            memory.lost_count += lost
            if not self._lost_count:  # one line tells of all that go in a while: it may be a piece each millisecond
                memory.agenda.at(memory.agenda.clock() + TOLD_SECONDS, self._tell_lost)
            self._lost_count += lost

    def _tell_lost(self) -> None:
        lost, self._lost_count = self._lost_count, 0
        facts = {"topic": self.topic, "partition": self.partition, "messages": lost, "before": self.oldest_offset}
        log.warning("messages that were not taken are gone, by the limits that were set", extra=facts)

    def _drop_until(self, end: int) -> None:
        """Drop the pieces before this offset, in which there is no cursor."""
        while self._pieces[self._first].offset < end:
            self._drop_first()
        start = self._pieces[self._first].place
        if self.low_place < start:  # nobody has taken anything
            self.budget.used_bytes -= start - self.low_place
            self.low_place = start

    def settle(self) -> None:
        """The slowest cursor has moved."""
        cursors = self.cursors
        if len(cursors) == 1:
            low = cursors[0].place
        elif cursors:
            low = min([cursor.place for cursor in cursors])
        else:  # what was taken when the last group was forgotten stays taken, until a new one comes
            low = self.low_place
        self.budget.used_bytes -= low - self.low_place
        self.low_place = low
        if low >= self.first_end:
            for _ in range(DROPPED_AT_ONCE):
                if low - self.retain_bytes < self.first_end:
                    break
                self._drop_first()
            if low >= self.first_end:
                self.budget.reclaimable[self] = None

    def drop_oldest(self) -> bool:
        """Drop the oldest piece, if every group has taken all of it; says whether that was so."""
        only = self.piece_count == 1
        everything = only and self.low_place == self._end_place and self._last.count
        if everything or self.low_place >= self.first_end:
            self._drop_first()
            return True
        return False

    def _drop_first(self) -> None:
        dropped = self.drop_first()
        assert dropped.following is not None
        self.budget.stored_bytes -= dropped.following.place - dropped.place
        dropped.data = b""  # a cursor may rest at its end
        self.producers.drop_before(self.first_offset)
