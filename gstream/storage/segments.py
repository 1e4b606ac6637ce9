"""A log's segments, for those who read what is in them.

Reading never waits for writing. What was dropped meanwhile has nothing to read; an index that was not used for long
leaves memory.

Knows no topic and no gevent: every call blocks, and raises StorageError.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

from gstream.batch import Batch
from gstream.record import RecordsError
from gstream.storage.batches import find_in_batch, newest_in_batch
from gstream.storage.converted import Converted
from gstream.storage.files import storage_errors
from gstream.storage.finding import Finding, Kind, Report
from gstream.storage.frame import RECORDS, Frame
from gstream.storage.frame_records import fetch
from gstream.storage.index import NEVER
from gstream.storage.placed import Fetched
from gstream.storage.recordbatch import Hole, opened, size_of
from gstream.storage.segment import Segment

__all__ = ["INDEXES_IN_MEMORY", "SegmentInfo", "Segments"]

INDEXES_IN_MEMORY: Final = 8
"""Of sealed segments, for each log: at so many different places can groups read without reading an index again."""


@dataclass(frozen=True)
class SegmentInfo:
    """A segment, for those who decide what is kept.

    next_offset: of the message behind its last one. size: in bytes.
    """

    base_offset: int
    next_offset: int
    size: int


class Segments:
    """The segments of a log, of which there is always one, the last one growing.

    path: their directory. report: is told what is found to be wrong, once each. partition: the number that the batches
    read get.
    """

    def __init__(self, path: str, report: Report, partition: int) -> None:
        self.path = path
        self.partition = partition
        self._told = report
        self._reported: set[tuple[Kind, str, int]] = set()
        self._recent_lock = Lock()
        self._recent: dict[Segment, None] = {}
        self._segments: list[Segment] = []
        """Never changed, only replaced, so that readers need no lock."""

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

    def segments(self) -> list[SegmentInfo]:
        """Its segments, the oldest first; the last one grows."""
        return [SegmentInfo(each.base_offset, each.end_offset, each.size) for each in self._segments]

    def last_ms(self, base_offset: int) -> int | None:
        """When the newest message of a segment was published, in milliseconds since 1970; None if it has none.

        If all that it has are records that do not say that, when its file was written last. Reads the segment's index,
        if that is not in memory. Raises StorageError; ValueError if there is no such segment.
        """
        segment = next((each for each in self._segments if each.base_offset == base_offset), None)
        if segment is None:
            raise ValueError(f"no segment begins at {base_offset}")
        with storage_errors(self.path):
            last_ms = segment.load_index(self._report).last_ms
            if NEVER < last_ms < 0:
                last_ms = segment.written_ms()
        self._remember(segment)
        return None if last_ms == NEVER else last_ms

    # --- messages

    def read(self, offset: int, max_bytes: int) -> list[Batch]:
        """Messages from this offset on: about so many bytes of them, but always one.

        Begins at the next message that is there, if that one is not; is empty at the end, and may be shorter than it
        could be. Where records hold no messages, a hole is among them. Raises StorageError.
        """
        batches: list[Batch] = []
        for frame in self.read_frames(offset, max_bytes):
            if frame.header.magic != RECORDS:  # nothing else is done for each frame: there may be thousands
                batch = frame.batch(self.partition, offset)
                batches.append(batch)
                max_bytes -= len(batch.data)
                continue
            if batches and max_bytes <= 0:
                break
            batch = self._opened(frame, offset, max_bytes)
            batches.append(batch)
            max_bytes -= size_of(batch)
            # Records may become much larger when they are unpacked.
            if max_bytes <= 0 or batch.offset + batch.count < frame.next_offset:
                break
        return batches

    def _opened(self, frame: Frame, offset: int, max_bytes: int) -> Batch:
        """A frame's records from this offset on, or so much of them."""
        batch: Batch
        try:
            batch = opened(frame.view, frame.header, self.partition, offset, max_bytes)
        except RecordsError as error:
            where = self._segment_of(frame.offset)
            text = f"records that cannot be read: {error}"
            self._report(
                Finding(Kind.DAMAGED, where.path, text, frame.position, frame.size, frame.offset, frame.next_offset)
            )
            batch = Hole(frame.offset, frame.next_offset - frame.offset, self.partition)
        first = offset - batch.offset
        return batch.part(first, batch.count - first) if first > 0 else batch

    def _segment_of(self, offset: int) -> Segment:
        segments = self._segments
        return segments[max(0, bisect_right(segments, offset, key=lambda each: each.base_offset) - 1)]

    # --- frames

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

    def read_records(self, offset: int, max_bytes: int, end: int, place: tuple[Converted, int]) -> Fetched:
        """The same as batches of records, as far as they begin before ``end``: see DiskLog.read_records."""
        segment = self._segment_of(offset)
        with storage_errors(self.path), self._while_there(segment):
            run = segment.read_run(offset, max_bytes, end, self._report)
            self._remember(segment)
            if run is not None:
                return Fetched([run[0]], len(run[0]), run[1])
        return fetch(self.read_frames(offset, max_bytes), place, offset, max_bytes, end)

    # --- times

    def find_time(self, time_ms: int) -> int:
        """The offset of the first message of this time (milliseconds since 1970) or later; the end's if there is none.

        Of Kafka's records: of the first batch that has such a message. Raises StorageError.
        """
        for frame in self._frames_since(time_ms):
            return frame.offset
        return self.end_offset

    def find_record(self, time_ms: int, first: int) -> tuple[int, int] | None:
        """The offset and the time of the first message of this time or later, from this offset on. None: there is none.

        Raises StorageError.
        """
        for frame in self._frames_since(time_ms, first):
            if found := _find_in(frame, time_ms, first):
                return found
        return None

    def newest_record(self, first: int) -> tuple[int, int] | None:
        """The offset and the time of the first of the newest messages, from this offset on. None: there is none.

        Raises StorageError.
        """
        newest = NEVER
        for segment in self._segments:
            with storage_errors(self.path), self._while_there(segment):
                if segment.base_offset >= first:
                    newest = max(newest, segment.load_index(self._report).last_ms)
                    self._remember(segment)
                elif segment.end_offset > first:
                    for frame in segment.frames_since(NEVER, self._report):
                        if frame.offset >= first or not frame.is_records:
                            newest = max(newest, frame.header.max_ms if frame.next_offset > first else NEVER)
                        elif frame.next_offset > first:
                            newest = max(newest, newest_in_batch(frame.view, first))
        return None if newest == NEVER else self.find_record(newest, first)

    def _frames_since(self, time_ms: int, first: int = 0) -> Iterator[Frame]:
        """The frames with a message of this time or later, of those that reach beyond an offset."""
        for segment in self._segments:
            if segment.end_offset > first:
                with storage_errors(self.path), self._while_there(segment):
                    for frame in segment.frames_since(time_ms, self._report):
                        if frame.next_offset > first:
                            yield frame
                self._remember(segment)

    # --- what is in memory, and what goes wrong

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

    def _report(self, finding: Finding) -> None:
        told = (finding.kind, finding.path, finding.position)
        if told not in self._reported:
            self._reported.add(told)
            self._told(finding)


def _find_in(frame: Frame, time_ms: int, first: int) -> tuple[int, int] | None:
    """The offset and the time of a frame's first message of this time or later, from this offset on."""
    if frame.is_records:
        return find_in_batch(frame.view, time_ms, first)
    return max(first, frame.offset), frame.header.max_ms
