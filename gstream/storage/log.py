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
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock
from typing import Final, TypeAlias

from gstream.batch import PARTITION_SHIFT, Batch
from gstream.errors import DamagedError, StorageError, SyncFailedError
from gstream.header import Header
from gstream.storage.files import Buffer, Files, storage_errors
from gstream.storage.finding import Finding, Kind, Report
from gstream.storage.frame import Frame, decode_header, encode_frame
from gstream.storage.index import INTERVAL_BYTES, NEVER
from gstream.storage.segment import INDEX, LOG, Segment, base_of, name_of

__all__ = ["Appended", "Log", "LogSettings", "SegmentInfo"]

INDEXES_IN_MEMORY: Final = 8
"""Of sealed segments, for each log: at so many different places can groups read without reading an index again."""

Appended: TypeAlias = Batch | Frame
"""A frame is how Kafka's records are appended."""


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


@dataclass(frozen=True)
class SegmentInfo:
    """A segment, for those who decide what is kept.

    next_offset: of the message behind its last one. size: in bytes.
    """

    base_offset: int
    next_offset: int
    size: int


class Log:
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
        self.path = path
        self.settings = settings or LogSettings()
        self.partition = partition
        self._files = files or Files()
        self._told = report
        self._reported: set[tuple[Kind, str, int]] = set()
        self._lock = Lock()
        self._sync_lock = Lock()  # taken after the other one, or alone: nobody need wait with a write for a sync
        self._recent_lock = Lock()
        self._recent: dict[Segment, None] = {}
        self._failure = ""
        self._is_closed = self._is_changed = False  # since it was opened
        self._names_synced = False
        self._segments: list[Segment] = []
        """Never changed, only replaced, so that readers need no lock."""
        self._last_ms = NEVER
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
        if not bases:
            self._segments = [self._segment(0)]
            self._segments[0].create()
            return
        sealed = [self._segment(base, sizes[name_of(base, LOG)], limit) for base, limit in pairwise(bases)]
        self._segments = [*sealed, last := self._segment(bases[-1])]
        self._last_ms = last.recover(self._report).last_ms
        self._is_changed = last.size < sizes[name_of(bases[-1], LOG)]  # a torn tail is cut off
        if sealed and self._last_ms == NEVER:
            self._last_ms = sealed[-1].load_index(self._report).last_ms

    def _segment(self, base_offset: int, size: int = 0, limit: int | None = None) -> Segment:
        return Segment(self._files, self.path, base_offset, size, limit, self.settings.interval_bytes)

    # --- what there is

    @property
    def end_offset(self) -> int:
        """The offset of the next message."""
        return self._segments[-1].end_offset

    @property
    def oldest_offset(self) -> int:
        """The offset of the oldest message that is kept; the end's if there is none."""
        return self._segments[0].base_offset

    @property
    def size(self) -> int:
        """Of all its frames, in bytes."""
        return sum(segment.size for segment in self._segments)

    @property
    def is_failed(self) -> bool:
        """Whether it takes nothing until it was reopened."""
        return bool(self._failure)

    def segments(self) -> list[SegmentInfo]:
        """Its segments, the oldest first; the last one grows."""
        return [SegmentInfo(each.base_offset, each.end_offset, each.size) for each in self._segments]

    def last_ms(self, base_offset: int) -> int | None:
        """When the newest message of a segment was published, in milliseconds since 1970; None if it has none.

        Reads the segment's index, if it is not in memory. Raises StorageError; ValueError if there is no such segment.
        """
        segment = next((each for each in self._segments if each.base_offset == base_offset), None)
        if segment is None:
            raise ValueError(f"no segment begins at {base_offset}")
        with storage_errors(self.path):
            last_ms = segment.load_index(self._report).last_ms
        self._remember(segment)
        return None if last_ms == NEVER else last_ms

    # --- writing

    def append(self, batches: Sequence[Appended]) -> int:
        """Store batches, one behind the other, with one write; returns the first message's offset.

        Batches are given their offsets, and times not before those that are kept; each must have one time, and less
        than 2 GiB. Nothing is known to be on disk before :meth:`sync`. Raises DiskFullError, and works again when there
        is room; DamagedError and SyncFailedError, and takes nothing until it was reopened; StorageError. In each case
        nothing was stored.
        """
        with self._lock, storage_errors(self.path):
            self._check_usable()
            first = offset = self.end_offset
            last_ms = self._last_ms
            buffers: list[Buffer] = []
            headers: list[Header] = []
            for batch in batches:
                if isinstance(batch, Frame):
                    buffers += batch.moved(offset)
                    headers.append(batch.header._replace(base_offset=offset))
                else:
                    assert isinstance(batch.times, int)
                    batch.id = self.partition << PARTITION_SHIFT | offset
                    batch.times = max(batch.times, last_ms)
                    header, data = encode_frame(batch)
                    buffers += (header, data)
                    headers.append(decode_header(header))
                last_ms = max(last_ms, headers[-1].max_ms)
                offset = headers[-1].next_offset
            if headers:
                self._roll_if_due(sum(header.size for header in headers), offset, last_ms)
                self._write(buffers, headers)
                self._last_ms, self._is_changed = last_ms, True
        return first

    def _roll_if_due(self, size: int, next_offset: int, last_ms: int) -> None:
        last = self._segments[-1]
        settings = self.settings
        if last.size and (
            last.size + size > settings.segment_bytes
            or last_ms - last.first_ms >= settings.segment_ms
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
        following.create()
        self._names_synced, self._is_changed = False, True
        last.seal(following.base_offset)
        self._segments = [*self._segments, following]
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
            fresh.recover(self._report)
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

    # --- reading

    def read(self, offset: int, max_bytes: int) -> list[Batch]:
        """Messages from this offset on: about so many bytes of them, but always one.

        Begins at the next message that is there, if that one is not; is empty at the end, and may be shorter than it
        could be. Raises StorageError; ValueError at Kafka's records, which only :meth:`read_frames` gives.
        """
        return [frame.batch(self.partition, offset) for frame in self.read_frames(offset, max_bytes)]

    def read_frames(self, offset: int, max_bytes: int) -> list[Frame]:
        """The same as whole frames, as they are stored: the first one may begin before ``offset``."""
        segments = self._segments
        at = bisect_right(segments, offset, key=lambda each: each.base_offset) - 1
        for segment in segments[max(0, at) :]:
            with storage_errors(self.path), self._while_there(segment):
                frames = segment.read(offset, max_bytes, self._report)
                self._remember(segment)
                if frames:
                    return frames
        return []

    def find_time(self, time_ms: int) -> int:
        """The offset of the first message of this time (milliseconds since 1970) or later; the end's if there is none.

        Of Kafka's records: of the first batch that has such a message. Raises StorageError.
        """
        for segment in self._segments:
            with storage_errors(self.path), self._while_there(segment):
                offset = segment.find_time(time_ms, self._report)
                self._remember(segment)
                if offset is not None:
                    return offset
        return self.end_offset

    @contextmanager
    def _while_there(self, segment: Segment) -> Iterator[None]:
        """A segment that is gone has nothing to read; one that was not dropped is missed."""
        try:
            yield
        except FileNotFoundError:
            if segment in self._segments:
                text = "the file is gone"
                self._report(
                    Finding(Kind.DAMAGED, segment.path, text, 0, segment.size, segment.base_offset, segment.end_offset)
                )

    def _remember(self, segment: Segment) -> None:
        """Its index is used: that of another one may have to leave memory."""
        if not segment.is_sealed:
            return
        with self._recent_lock:
            self._recent.pop(segment, None)
            self._recent[segment] = None
            if len(self._recent) > INDEXES_IN_MEMORY:
                oldest = next(iter(self._recent))
                del self._recent[oldest]
                oldest.index = None

    # --- what goes wrong

    def _report(self, finding: Finding) -> None:
        told = (finding.kind, finding.path, finding.position)
        if told not in self._reported:
            self._reported.add(told)
            self._told(finding)
