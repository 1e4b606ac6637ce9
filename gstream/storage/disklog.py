"""One partition's log of the disk engine: what is written to its files, and its newest messages in memory.

Everything that is appended while a write is under way is written next, together: one write, and one sync if that is
asked for. Messages can be read when they are stored, and not before; so what a consumer has seen is not lost.

After a failed write nothing is appended on top of it: what waits fails, too, and the offsets are given out anew. After
a failed sync nothing is taken until the log was reopened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gstream.batch import Batch
from gstream.commit import Commit
from gstream.errors import DiskError, DiskFullError, StorageError, SyncFailedError
from gstream.header import BytesLike, Header
from gstream.record import CONTROL
from gstream.storage.failure import failure
from gstream.storage.log import Log
from gstream.storage.placed import Placed
from gstream.storage.recordbatch import RecordBatch
from gstream.storage.stored import StoredLog
from gstream.storage.threads import Work

if TYPE_CHECKING:
    from gstream.storage.disk import Disk

__all__ = ["DiskLog"]

log = logging.getLogger(__name__)

FRAME_BYTES = 128 * 1024
"""Messages are put together into frames of about this size: what has to be read for one of them."""

REOPEN_SECONDS = 1.0
"""How often a log is tried that failed."""


class DiskLog(StoredLog):
    """An append-only sequence of messages with consecutive offsets.

    on_stored: called with how many messages can be read that could not be before.
    """

    def __init__(self, disk: Disk, topic: str, partition: int, files: Log | None) -> None:
        super().__init__(disk, topic, partition, files)
        self.not_before: Commit | None = None
        """Nothing is written before this is done: files of a removed topic of the same name are in the way."""
        self.next_offset = self.end_offset
        """What the next message that is appended gets, if all before it can be stored."""
        self.commit: Commit | None = None
        """What the messages that were appended last belong to."""
        self.on_stored: Callable[[int], object] = lambda _count: None
        self._waiting: list[tuple[list[Any], int, type[Batch]]] = []  # what is written next, records as a batch
        self._waiting_bytes = 0  # of the last of these
        self._next = Commit()
        self._writing: Commit | None = None
        self._batches: list[Batch] = []  # what is being written
        self._stored_offset = self.end_offset  # behind what is known to be stored; end_offset follows in the same turn
        self._failure: StorageError | None = None
        self._is_full = False  # as far as is known; told once

    @property
    def is_failing(self) -> bool:
        """Whether what was written last could not be stored."""
        return self._is_full or self._failure is not None

    # --- writing

    def append(self, data: bytes, count: int, kind: type[Batch] = Batch, *, always: bool = False) -> int:
        """Store messages, given as a batch of that kind keeps them; ``commit`` says when they are, and whether.

        always: store all of them; they were counted against the budget before.

        Returns how many that will be: all, or none when as much as may be in memory is waiting already.
        """
        budget, size = self.budget, len(data)
        if budget.waiting_bytes + size > budget.max_bytes and not always:
            return 0
        budget.waiting_bytes += size
        if not self._waiting and self._writing is None:
            budget.write_soon(self)
        waiting = self._waiting
        if waiting and waiting[-1][2] is kind and self._waiting_bytes < FRAME_BYTES:
            parts, before, _ = waiting[-1]
            parts.append(data)
            waiting[-1] = parts, before + count, kind
            self._waiting_bytes += size
        else:
            waiting.append(([data], count, kind))
            self._waiting_bytes = size
        self.next_offset += count
        self.commit = self._next
        return count

    def append_records(self, data: BytesLike, header: Header) -> Placed | None:
        """Store a whole batch of records as it is, but for its offset; None: as much as may be in memory is waiting.

        data: nobody changes it any more. Raises ProducerError if it is not the one that is due from its producer.
        """
        duplicate = self.producers.check(header)
        if duplicate is not None:
            return Placed(duplicate, self._commit_of(duplicate), is_duplicate=True)
        budget, size = self.budget, header.size
        if budget.waiting_bytes + size > budget.max_bytes and not header.attributes & CONTROL:  # an end is not refused
            return None
        batch = RecordBatch(data, header)
        budget.waiting_bytes += size
        if not self._waiting and self._writing is None:
            budget.write_soon(self)
        self._waiting.append(([batch], batch.count, RecordBatch))
        offset = self.next_offset
        if header.producer_id >= 0:
            self.producers.place(header, offset)
        self.next_offset = offset + batch.count
        self.commit = self._next
        return Placed(offset, self._next)

    def _commit_of(self, offset: int) -> Commit | None:
        """When the message that was placed there is stored; None: it is."""
        if offset < self._stored_offset:
            return None
        return self._writing if offset < self._stored_offset + _count_of(self._batches) else self._next

    def write(self) -> None:
        """Write what waits, unless something is being written: then that comes next. From the hub."""
        if self._writing is not None or not self._waiting:
            return
        if self.is_removed:
            self.fail(StorageError("the topic was removed"))
            return
        if self.not_before is not None:
            if not self.not_before.is_done:
                self.not_before.then(self.write)
                return
            if self.not_before.error is not None:
                self.fail(StorageError(f"files of a removed topic are in the way: {self.not_before.error}"))
                return
        if self._failure is not None:
            self.fail(self._failure)
            return
        time_ms = int(self.budget.clock() * 1000)
        batches: list[Batch] = [
            parts[0]
            if kind is RecordBatch
            else kind(0, count, parts[0] if len(parts) == 1 else b"".join(parts), time_ms)
            for parts, count, kind in self._waiting
        ]
        self._waiting = []
        self._writing, self._next = self._next, Commit()
        self._batches = batches
        self.budget.pool.spawn(self._write, batches, time_ms).then(self._wrote)

    def _write(self, batches: list[Batch], time_ms: int) -> None:
        """In a thread."""
        if self.opened is None:
            self.opened = self.budget.directory.open_log(self.topic, self.partition)
            self.budget.set_up(self)
        self.opened.append(batches, time_ms)
        if self.budget.syncs_always:
            self.opened.sync()
        elif self.opened.is_failed:  # a sync failed while this was written
            raise SyncFailedError(f"{self.opened.path}: not known to be on disk")

    def _wrote(self, work: Work) -> None:
        commit, self._writing = self._writing, None
        batches, self._batches = self._batches, []
        assert commit is not None
        self.budget.waiting_bytes -= sum([len(batch.data) for batch in batches])
        if work.error is not None:
            self.fail(failure(work.error, "writing", topic=self.topic), commit)
            return
        self._stored_offset += _count_of(batches)
        self._note_producers(batches)
        if not self.budget.syncs_always:
            self.budget.written(self)
        if self._is_full:
            self._is_full = False
            log.warning("can store again", extra={"topic": self.topic, "partition": self.partition})
        self.write()  # the disk is busy while the messages go on from here
        try:
            self.take_in(batches)
        except Exception:
            log.exception("bug: messages are stored, and cannot be handed on", extra={"topic": self.topic})
        commit.finish()

    def take_in(self, batches: list[Batch]) -> None:
        """These can be read now, and are kept in memory as long as there is room."""
        budget = self.budget
        count = 0
        for batch in batches:
            assert isinstance(batch.times, int)
            assert batch.offset == self.end_offset
            if isinstance(batch, RecordBatch):
                self.pass_over(batch.count)
                count += batch.message_count
                continue
            count += batch.count
            budget.cached_bytes += len(batch.data)
            self.add(batch.data, batch.count, type(batch), batch.times)
        budget.cached(self)
        self.on_stored(count)

    def _note_producers(self, batches: list[Batch]) -> None:
        now_ms = int(self.budget.clock() * 1000)
        for batch in batches:
            if isinstance(batch, RecordBatch) and batch.header.producer_id >= 0:
                self.producers.note(batch.header, batch.offset, batch.commits, now_ms)

    # --- failing

    def fail(self, error: StorageError, commit: Commit | None = None) -> None:
        """What was to be written (``commit``) was not, nor is what waits; nobody has been told of their offsets."""
        waiting, self._waiting = self._waiting, []
        self.budget.waiting_bytes -= sum([_size_of(part) for parts, _, _ in waiting for part in parts])
        self.next_offset = self._stored_offset
        still: list[tuple[Header, int]] = []
        for batch in self._batches:
            if isinstance(batch, RecordBatch) and batch.header.producer_id >= 0:
                still.append((batch.header, self.next_offset))
            self.next_offset += batch.count
        self.producers.take_back(still)
        following = self._next
        if waiting:
            self._next = Commit()
        if self._failure is None and not self._is_full:
            log.error("cannot store: %s", error, extra={"topic": self.topic, "partition": self.partition})
        if isinstance(error, DiskFullError):
            self._is_full = True
        elif self._failure is None and self.opened is not None and not self.is_removed:
            self._failure = error
            self.budget.again_later(REOPEN_SECONDS, self._reopen)
        if commit is not None:
            commit.finish(error)
        if waiting:
            following.finish(error)

    def _reopen(self) -> None:
        if self.is_removed:
            return
        if self._writing is not None:  # what becomes of it is to be known first
            self.budget.again_later(REOPEN_SECONDS, self._reopen)
            return
        self.budget.pool.spawn(self.files.reopen).then(self._reopened)

    def _reopened(self, work: Work) -> None:
        if work.error is not None:
            failure(work.error, "reopening a log", topic=self.topic)  # one of the storage's was told before
            self.budget.again_later(REOPEN_SECONDS, self._reopen)
            return
        if self._waiting and self._failure is not None:  # it may have been told ids that others have
            self.fail(self._failure)
        self._failure = None
        end = self.files.end_offset
        log.warning("can store again", extra={"topic": self.topic, "partition": self.partition, "end": end})
        if end != self.end_offset:  # messages of which nobody was told that they are stored; they are, nevertheless
            count = end - self.end_offset
            self.producers = self.files.producers()
            self.restart(end)
            self.on_stored(max(0, count))

    def restart(self, end: int) -> None:
        """Forget what is in memory: the log ends there."""
        self._drop_all()
        self.end_offset = self.next_offset = self._stored_offset = end
        self._limit_floor()
        self._place = self.budget.converted, self.budget.converted.new_number()
        self._start_piece(bytearray(), 0, Batch, self._last_ms)
        for reader in self.readers:
            reader.take_back(end)
        self.budget.state.commit()  # at once: the next messages will have the offsets of those that are lost
        for cursor in self.cursors:
            cursor.put(min(cursor.offset, end))

    def forget(self) -> None:
        """It is removed: nothing of it stays in memory."""
        self._drop_all()
        self.budget.uncached(self)

    def wait_until_idle(self) -> None:
        """Return when all that was appended is stored, or has failed. Blocks this greenlet."""
        while (commit := self._next if self._waiting else self._writing) is not None:
            with suppress(DiskError):
                commit.wait()


def _size_of(part: bytes | RecordBatch) -> int:
    return len(part.data) if isinstance(part, RecordBatch) else len(part)


def _count_of(batches: list[Batch]) -> int:
    return sum([batch.count for batch in batches])
