"""One partition's log of the disk engine, as far as it is read: its files, and its newest messages in memory.

Files are only touched in the engine's threads. Records are not kept in memory: the system keeps files there, too, and
they are given out as they are stored.

Knows nothing of how messages get there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gstream.batch import Batch
from gstream.commit import Commit, after
from gstream.errors import DiskError, StorageError
from gstream.storage.chain import Chain, Piece
from gstream.storage.failure import failure
from gstream.storage.log import Log
from gstream.storage.placed import Fetched, OffsetOutOfRangeError
from gstream.storage.producers import ProducerStates
from gstream.storage.reading import DiskCursor, stored_part
from gstream.storage.recordbatch import Hole
from gstream.storage.retention import Reader
from gstream.storage.threads import Work

if TYPE_CHECKING:
    from gstream.storage.disk import Disk

__all__ = ["StoredLog", "as_reply"]


@dataclass(slots=True)
class Aged:
    """What retention knows of a log, so that it need not ask its files each time.

    rested_at: there was but one segment when the log ended there. newest_ms: when its newest message was published, or
    an older one (milliseconds since 1970). sealed: a sealed segment's base offset, and the same of that one.
    is_stuck: something could not be let go, and that was told.
    """

    rested_at: int = -1
    newest_ms: float = 0
    sealed: tuple[int, int | None] = (-1, None)
    is_stuck: bool = False


class StoredLog(Chain):
    """What is stored of a log.

    files: its files; None as long as nothing was written.
    """

    budget: Disk

    def __init__(self, disk: Disk, topic: str, partition: int, files: Log | None) -> None:
        super().__init__(disk, partition, files.end_offset if files else 0)
        self.topic = topic
        self.opened = files
        self.readers: list[Reader] = []
        """The groups' parts in it."""
        self.is_removed = False
        self.aged = Aged()
        self.producers = files.producers() if files else ProducerStates()
        """What is known of those who store records."""
        self._floor_name = f"floor/{topic}/{partition}"
        self._floor = int(disk.facts.get(self._floor_name) or 0)  # what lies before was deleted
        self._limit_floor()
        if files is not None:
            with suppress(StorageError):
                files.drop_before(self._floor)
        self._place = disk.converted, disk.converted.new_number()

    @property
    def files(self) -> Log:
        """Its files; there must be some."""
        assert self.opened is not None
        return self.opened

    @property
    def oldest_offset(self) -> int:
        """The offset of the oldest message that is kept; the end's if there is none."""
        return max(self.opened.oldest_offset, self._floor) if self.opened is not None else self.end_offset

    @property
    def kept_bytes(self) -> int:
        """Of its files."""
        return self.opened.size if self.opened is not None else 0

    # --- what is in memory

    def drop_oldest(self) -> bool:
        """Drop the oldest piece that is in memory; it stays on disk. Whether it was the last."""
        if self.first_offset == self.end_offset:  # they went from the disk, and so from memory, too
            return True
        dropped = self.drop_first()
        self.budget.cached_bytes -= len(dropped.data)
        for cursor in self.cursors:
            if cursor.is_in(dropped):
                cursor.put(cursor.offset)
        return self.piece_count == 1 and not self._last.count

    def forget_before(self, offset: int) -> None:
        """These messages go from the disk, too."""
        while self.first_offset < offset and not self.drop_oldest():
            pass
        for cursor in self.cursors:
            if cursor.offset < offset:
                cursor.put(offset)

    def pass_over(self, count: int) -> None:
        """So many messages follow that are stored, and are not kept in memory, which begins anew behind them."""
        self._drop_all()
        for cursor in self.cursors:
            if cursor.is_in(self._last):
                cursor.put(cursor.offset)
        self.end_offset += count
        self._start_piece(bytearray(), 0, Batch, self._last_ms)

    def _drop_all(self) -> None:
        while not self.drop_oldest():
            pass

    # --- reading

    cursors: list[DiskCursor]  # type: ignore[assignment]

    def open_cursor(self) -> DiskCursor:
        """A new cursor, at the oldest message that is kept."""
        oldest = self.oldest_offset
        cursor = DiskCursor(self, Piece(oldest, 0, 0, b"", Batch, 0), self.budget.reading)
        self.cursors.append(cursor)
        return cursor

    def close_cursor(self, cursor: DiskCursor) -> None:
        """Keep nothing for it any more."""
        self.cursors.remove(cursor)
        cursor.put(cursor.offset)

    def seek(self, cursor: DiskCursor, offset: int) -> None:  # type: ignore[override]
        """Move a cursor to this offset, or to the nearest that is kept."""
        cursor.put(min(max(offset, self.oldest_offset), self.end_offset))

    def peek(self, offset: int, max_messages: int, max_bytes: int) -> list[Batch]:
        """Messages from this offset on: at most so many, and about so many bytes of them. Blocks this greenlet.

        Raises DiskError.
        """
        found: list[Batch] = []
        offset = max(offset, self.oldest_offset)
        while offset < min(self.first_offset, self.end_offset) and max_messages > 0 and max_bytes > 0:
            with as_reply():
                there = self.budget.pool.apply(self.files.read, offset, max_bytes)
            batches = stored_part(there, self.end_offset)
            if not batches:
                offset = self.first_offset
            for batch in batches:
                if max_messages <= 0 or max_bytes <= 0:
                    break
                if isinstance(batch, Hole):
                    offset = batch.offset + batch.count
                    continue
                part = batch.part(0, min(batch.count, max_messages))
                found.append(part)
                max_messages -= part.count
                max_bytes -= len(part.data)
                offset = part.offset + part.count
        if max_messages > 0 and max_bytes > 0:
            found += self.read_on(offset, max_messages, max_bytes)
        return found

    def find_time(self, time_ms: int) -> int:
        """The offset of the first message that is kept and was published then or later; the end, if there is none.

        Blocks this greenlet. Raises DiskError.
        """
        if self.opened is None:
            return self.end_offset
        with as_reply():
            found = self.budget.pool.apply(self.opened.find_time, time_ms)
        return max(min(found, self.end_offset), self.oldest_offset)

    # --- records

    def read_records(self, offset: int, max_bytes: int, end: int | None = None) -> Fetched:
        """Whole batches of records from the one on that holds this offset: at least one, and others that fit.

        None of them begins at ``end`` or behind it. Messages of other kinds are made into records. Blocks this
        greenlet. Raises OffsetOutOfRangeError, DiskError.
        """
        if not self.oldest_offset <= offset <= self.end_offset:
            raise OffsetOutOfRangeError(f"{offset} is not within {self.oldest_offset} to {self.end_offset}")
        end = self.end_offset if end is None else min(end, self.end_offset)
        if offset >= end:
            return Fetched([], 0, offset)
        with as_reply():
            fetched: Fetched = self.budget.pool.apply(self.files.read_records, offset, max_bytes, end, self._place)
            return fetched

    def find_record(self, time_ms: int) -> tuple[int, int] | None:
        """The offset and the time of the first record of this time or later; None if there is none.

        Blocks this greenlet. Raises DiskError.
        """
        if self.opened is None:
            return None
        with as_reply():
            found = self.budget.pool.apply(self.opened.find_record, time_ms, self.oldest_offset)
        return found if found is not None and found[0] < self.end_offset else None

    def newest_record(self) -> tuple[int, int] | None:
        """The offset and the time of the first of the newest records; None if there are none.

        Blocks this greenlet. Raises DiskError.
        """
        if self.opened is None:
            return None
        with as_reply():
            found = self.budget.pool.apply(self.opened.newest_record, self.oldest_offset)
        return found if found is not None and found[0] < self.end_offset else None

    @property
    def stable_offset(self) -> int:
        """Before which offset it is known of each message whether its transaction was committed."""
        return max(self.producers.stable_offset(self.end_offset), self.oldest_offset)

    def aborted(self, first: int, end: int) -> list[tuple[int, int]]:
        """The transactions with messages in this range that were aborted: their producers, and where they began."""
        return self.producers.aborted(first, end)

    def delete_before(self, offset: int) -> Commit | None:
        """Let go of all messages before this offset, whether they were taken or not; it must not lie behind the end.

        Returns what says when that is kept; None: there is nothing to do.
        """
        if offset <= self.oldest_offset:
            return None
        self._set_floor(offset)
        for reader in self.readers:
            reader.lose(offset)
        self.forget_before(offset)
        self.producers.drop_before(offset)
        commit = self.budget.facts.commit()
        after(commit, self._let_go)
        return commit

    def _set_floor(self, offset: int) -> None:
        self._floor = offset
        self.budget.facts.put(self._floor_name, b"%d" % offset)

    def _limit_floor(self) -> None:
        """What was deleted may be lost, too; the next messages will have those offsets."""
        if self._floor > self.end_offset:
            self._set_floor(self.end_offset)

    def _let_go(self) -> None:
        if not self.is_removed:
            self.budget.pool.spawn(_drop, self.files, self._floor).then(self._went)

    def _went(self, work: Work) -> None:
        if work.error is not None:  # it goes when the log is opened the next time
            failure(work.error, "letting go what was deleted", topic=self.topic)


def _drop(files: Log, offset: int) -> None:
    """In a thread."""
    if files.end_offset == offset:
        files.roll()
    files.drop_before(offset)


@contextmanager
def as_reply() -> Iterator[None]:
    """What files do to those who read is told to the client."""
    try:
        yield
    except StorageError as error:
        raise DiskError(str(error)) from error
