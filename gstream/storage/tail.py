"""What has to be known of what was appended to a log before more is.

It can always be found out again: from the last segment's frames, and from the snapshot of what was before it.

Knows no file.
"""

from __future__ import annotations

from gstream.batch import Batch
from gstream.header import Header
from gstream.record import CONTROL, RecordsError
from gstream.records import decode_marker
from gstream.storage.frame import Frame
from gstream.storage.index import NEVER
from gstream.storage.producers import ProducerStates
from gstream.storage.recordbatch import RecordBatch

__all__ = ["Tail"]


class Tail:
    """What there is where a log ends.

    Times are milliseconds since 1970, and of messages that were published here: what clients say of their records may
    be any time, and tells nothing about when they came.

    producers: those of the records.
    """

    __slots__ = ("began_ms", "newest_ms", "producers")

    def __init__(self, producers: ProducerStates) -> None:
        self.producers = producers
        self.newest_ms = NEVER
        """The newest message's time; that of the next one is not before it."""
        self.began_ms = NEVER
        """When the first message came that lies in the last segment, as far as is known."""

    def note(self, frame: Frame) -> None:
        """A frame was found in the last segment."""
        header = frame.header
        if not frame.is_records:
            self.newest_ms = max(self.newest_ms, header.max_ms)
            if self.began_ms == NEVER:
                self.began_ms = header.base_ms
        else:
            self.note_producer(frame)

    def note_producer(self, frame: Frame) -> None:
        """A frame was found; when it came is not known."""
        header = frame.header
        if frame.is_records and header.producer_id >= 0:
            commits = None
            if header.attributes & CONTROL:
                try:
                    commits = decode_marker(frame.view)
                except RecordsError:  # it ends the transaction, and nobody can say how
                    commits = False
            self.producers.note(header, header.base_offset, commits)

    def note_appended(self, batches: list[tuple[Batch, Header]], now_ms: int) -> None:
        """These were appended, the first one perhaps to an empty segment."""
        first, header = batches[0]
        if self.began_ms == NEVER:
            self.began_ms = now_ms if isinstance(first, RecordBatch) else header.base_ms
        for batch, header in batches:
            if not isinstance(batch, RecordBatch):
                self.newest_ms = header.max_ms
            elif header.producer_id >= 0:
                self.producers.note(header, header.base_offset, batch.commits, max(now_ms, 0))
