"""One partition's log: segments in a directory.

Appending, rolling, dropping and closing take turns (one lock), syncing goes beside appending (another one), and
reading never waits for them. The last segment grows. Before the next one begins, all of the last one's bytes are on
disk, so that recovery has one segment to scan, however many there are.

A failed write leaves nothing behind. After a failed sync nobody knows what is on disk: the log takes nothing more until
:meth:`Log.reopen` has written that once more, and read it back.

Knows no topic and no gevent: every call blocks, and raises StorageError.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock

from gstream.batch import PARTITION_SHIFT, Batch
from gstream.errors import DamagedError, StorageError, SyncFailedError
from gstream.header import Header
from gstream.storage.files import Buffer, Files, storage_errors
from gstream.storage.finding import Finding, Kind, Report
from gstream.storage.frame import decode_header, encode_frame
from gstream.storage.index import INTERVAL_BYTES, NEVER
from gstream.storage.producers import ProducerStates
from gstream.storage.recordbatch import RecordBatch
from gstream.storage.segment import INDEX, LOG, Segment, base_of, name_of
from gstream.storage.segments import Segments
from gstream.storage.snapshot import SnapshotError, Snapshots
from gstream.storage.tail import Tail

__all__ = ["Log", "LogSettings"]


@dataclass(frozen=True)
class LogSettings:
    """How a log is laid out.

    segment_bytes: a segment that would become larger is followed by a new one; a larger batch has one of its own.
    segment_ms: so is a segment whose first message is by so much older than the one to be appended.
    interval_bytes: between two entries of an index.
    """

    segment_bytes: int = 64 << 20
    segment_ms: int = 7 * 24 * 3600 * 1000
    interval_bytes: int = INTERVAL_BYTES

    def __post_init__(self) -> None:
        if not 0 < self.segment_bytes < 1 << 32:
            raise ValueError("a segment has less than 4 GiB: an index entry holds a position in 32 bits")


class Log(Segments):
    """An append-only sequence of messages with consecutive offsets, in the files of one directory.

    path: the directory, which must exist. report: is told what is found to be wrong, once each.
    partition: the number that the batches read get.

    Opening cuts a torn tail, and removes what dropped segments have left. Raises StorageError.
    """

    def __init__(
        self,
        path: str,
        report: Report,
        settings: LogSettings | None = None,
        files: Files | None = None,
        partition: int = 0,
    ) -> None:
        super().__init__(path, report, partition)
        self.settings = settings or LogSettings()
        self._files = files or Files()
        self._lock = Lock()
        self._sync_lock = Lock()  # taken after the other one, or alone: nobody need wait with a write for a sync
        self._failure = ""
        self._is_closed = self._is_changed = False  # since it was opened
        self._names_synced = False
        self._tail = Tail(ProducerStates())
        with storage_errors(self.path):
            self._open()
        self.synced_offset = self.end_offset
        """What lies before this is on disk."""

    def __repr__(self) -> str:
        return f"<Log {self.path}, {self.oldest_offset} to {self.end_offset}>"

    def _open(self) -> None:
        sizes = self._files.sizes(self.path)
        bases = sorted(base for name in sizes if (base := base_of(name, LOG)) is not None)
        for name in sizes:
            base = base_of(name, INDEX)
            if base is not None and name_of(base, LOG) not in sizes:
                self._files.remove(os.path.join(self.path, name))
        self._snapshots = Snapshots(self._files, self.path, sizes)
        if not bases:
            self._snapshots.keep_only(NEVER)
            self._segments = [self._segment(0)]
            self._segments[0].create()
            return
        sealed = [self._segment(base, sizes[name_of(base, LOG)], limit) for base, limit in pairwise(bases)]
        self._segments = [*sealed, last := self._segment(bases[-1])]
        self._snapshots.keep_only(last.base_offset)
        self._recover(last)
        self._is_changed = last.size < sizes[name_of(bases[-1], LOG)]  # a torn tail is cut off

    def _recover(self, last: Segment) -> None:
        """Be ready to append to the last segment."""
        sealed = self._segments[:-1]
        tail = Tail(self._producers_before(last, sealed))
        last.recover(self._report, tail.note)
        if sealed and tail.newest_ms == NEVER:
            for frame in sealed[-1].read(last.base_offset - 1, 0, self._report):
                tail.newest_ms = NEVER if frame.is_records else frame.header.max_ms
        tail.newest_ms = max(tail.newest_ms, self._tail.newest_ms)
        self._tail = tail  # not before: where this fails, it is tried again

    def _producers_before(self, last: Segment, sealed: list[Segment]) -> ProducerStates:
        try:
            return self._snapshots.read(last.base_offset)
        except SnapshotError as error:
            self._report(Finding(Kind.INDEX, self._snapshots.path(last.base_offset), f"{error}; made again"))
        tail = Tail(ProducerStates())
        for segment in sealed:
            for frame in segment.frames_since(NEVER, self._report):
                tail.note_producer(frame)
        with suppress(OSError):
            self._snapshots.write(last.base_offset, tail.producers)
        return tail.producers

    def _segment(self, base_offset: int, size: int = 0, limit: int | None = None) -> Segment:
        return Segment(self._files, self.path, base_offset, size, limit, self.settings.interval_bytes)

    # --- what there is

    def producers(self) -> ProducerStates:
        """What is known of those whose records were appended, as of now."""
        with self._lock:
            return self._tail.producers.copy()

    @property
    def is_failed(self) -> bool:
        """Whether it takes nothing until it was reopened."""
        return bool(self._failure)

    # --- writing

    def append(self, batches: Sequence[Batch], now_ms: int = NEVER) -> int:
        """Store batches, one behind the other, with one write; returns the first message's offset.

        Batches are given their offsets, and times not before those that are kept; each must have one time, and less
        than 2 GiB. Records keep the times that they have; now_ms: when they came. Nothing is known to be on disk before
        :meth:`sync`. Raises DiskFullError, and works again when there is room; DamagedError and SyncFailedError, and
        takes nothing until it was reopened; StorageError. In each case nothing was stored.
        """
        with self._lock, storage_errors(self.path):
            self._check_usable()
            tail = self._tail
            first = offset = self.end_offset
            newest_ms = tail.newest_ms
            buffers: list[Buffer] = []
            headers: list[Header] = []
            for batch in batches:
                batch.id = self.partition << PARTITION_SHIFT | offset
                if isinstance(batch, RecordBatch):
                    buffers += batch.buffers(offset)
                    headers.append(batch.header._replace(base_offset=offset))
                else:
                    assert isinstance(batch.times, int)
                    newest_ms = batch.times = max(batch.times, newest_ms)
                    header, data = encode_frame(batch)
                    buffers += (header, data)
                    headers.append(decode_header(header))
                    now_ms = max(now_ms, newest_ms)
                offset = headers[-1].next_offset
            if headers:
                self._roll_if_due(sum([header.size for header in headers]), offset, now_ms)
                self._write(buffers, headers)
                tail.note_appended(list(zip(batches, headers, strict=True)), now_ms)
                self._is_changed = True
        return first

    def _roll_if_due(self, size: int, next_offset: int, now_ms: int) -> None:
        last = self._segments[-1]
        settings, began_ms = self.settings, self._tail.began_ms
        if last.size and (
            last.size + size > settings.segment_bytes
            or (began_ms != NEVER and now_ms - began_ms >= settings.segment_ms)
            or next_offset - last.base_offset >= 1 << 32  # an index entry counts messages in 32 bits
        ):
            self._roll()

    def _write(self, buffers: list[Buffer], headers: list[Header]) -> None:
        try:
            self._segments[-1].append(buffers, headers)
        except DamagedError as error:
            self._failure = str(error)
            raise

    def sync(self) -> int:
        """Return when all that was appended is on disk: the offset up to which it is.

        Raises SyncFailedError; then nothing is taken until :meth:`reopen`.
        """
        with self._sync_lock, storage_errors(self.path):
            self._check_usable()
            self._sync()
        return self.synced_offset

    def _sync(self) -> None:
        last = self._segments[-1]
        end_offset = last.end_offset  # before its bytes: what is appended meanwhile may be synced, or not
        try:
            last.sync()
            if not self._names_synced:
                self._files.sync_directory(self.path)
        except OSError as error:
            self._failure = f"{last.path}: not known to be on disk: {error.strerror}"
            raise SyncFailedError(self._failure) from error
        self._names_synced = True
        self.synced_offset = end_offset

    def roll(self) -> None:
        """Seal the last segment, unless it is empty, so that it may be dropped. Raises what :meth:`append` does."""
        with self._lock, storage_errors(self.path):
            self._check_usable()
            if self._segments[-1].size:
                self._roll()

    def _roll(self) -> None:
        with self._sync_lock:
            self._seal_last()

    def _seal_last(self) -> None:
        self._sync()
        last = self._segments[-1]
        following = self._segment(last.end_offset)
        self._snapshots.write(following.base_offset, self._tail.producers)
        following.create()
        self._names_synced, self._is_changed = False, True
        last.seal(following.base_offset)
        self._segments = [*self._segments, following]
        self._tail.began_ms = NEVER
        self._snapshots.keep_only(following.base_offset)
        self._remember(last)

    def reopen(self) -> None:
        """After a failure: write once more what is not known to be on disk, read all of the last segment back from it.

        What was appended is kept if it is whole, also what :meth:`sync` could not vouch for. Raises StorageError if
        that fails again.
        """
        with self._lock, self._sync_lock, storage_errors(self.path):
            if self._is_closed:
                raise StorageError(self._failure)
            last = self._segments[-1]
            last.write_again()
            self._files.sync_directory(self.path)
            self._names_synced = True
            fresh = self._segment(last.base_offset)
            self._recover(fresh)
            self._segments = [*self._segments[:-1], fresh]
            last.close()
            self.synced_offset = self.end_offset
            self._failure = ""
            if fresh.end_offset < last.end_offset:
                text = "lost by the system when it could not write them"
                self._report(Finding(Kind.DAMAGED, fresh.path, text, fresh.size, 0, fresh.end_offset, last.end_offset))

    def drop_before(self, offset: int) -> int:
        """Drop the segments all of whose messages lie before this offset, but never the last; returns their bytes.

        Raises StorageError if a file cannot be removed; it is there again when the log is opened the next time.
        """
        dropped = 0
        with self._lock, storage_errors(self.path):
            while len(self._segments) > 1 and self._segments[0].end_offset <= offset:
                oldest = self._segments[0]
                self._segments = self._segments[1:]
                with self._recent_lock:
                    self._recent.pop(oldest, None)
                oldest.remove()
                dropped += oldest.size
            self._tail.producers.drop_before(self.oldest_offset)
        return dropped

    def close(self) -> None:
        """Sync, and give back what is open. Raises SyncFailedError, and is closed nevertheless."""
        with self._lock, self._sync_lock, storage_errors(self.path):
            last = self._segments[-1]
            try:
                if self._is_changed and not self._failure:
                    self._sync()
                    last.save_index()
            finally:
                self._failure = f"{self.path}: closed"
                self._is_closed = True
                last.close()

    def _check_usable(self) -> None:
        if self._is_closed:
            raise StorageError(self._failure)
        if self._failure:
            raise SyncFailedError(self._failure)
