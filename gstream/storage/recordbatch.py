"""A batch of Kafka's records as logs keep it: the bytes that a client sent, but for its offset.

It is a kind of batch like those of lines and of counted messages, as far as a log is concerned; nobody else gets one.
Who reads messages gets counted ones, or a hole. Knows no file.
"""

from __future__ import annotations

from typing import ClassVar, Final

from gstream.batch import Batch
from gstream.counted import CountedBatch
from gstream.header import BytesLike, Header, placed
from gstream.record import CONTROL
from gstream.records import decode_marker, open_batch

__all__ = ["Hole", "RecordBatch", "opened", "size_of"]

_NOTHING: Final = b""
_TIME_BYTES: Final = 16


class RecordBatch(Batch):
    """One whole batch of records.

    data: all of it, with its header; nobody changes it. Its time is that of its newest record, as the client says.
    """

    __slots__ = ("commits", "header")

    magic: ClassVar[int] = 2
    is_lines: ClassVar[bool] = False

    data: BytesLike  # type: ignore[assignment]

    def __init__(self, data: BytesLike, header: Header) -> None:
        """Raises RecordsError for a control batch that ends no transaction."""
        super().__init__(0, header.last_offset_delta + 1, data, header.max_ms)  # type: ignore[arg-type]
        self.header = header
        self.commits: bool | None = decode_marker(data) if header.attributes & CONTROL else None
        """What it says, if it is a transaction's end."""

    @property
    def message_count(self) -> int:
        """How many messages it holds for those who read messages."""
        return self.count if self.commits is None else 0

    def buffers(self, offset: int) -> tuple[bytes, memoryview]:
        """Its bytes, where its first message has this offset."""
        return placed(self.data, offset)


class Hole(Batch):
    """Offsets at which there are no messages: a transaction's end, or records that nobody can read."""

    __slots__ = ()

    magic: ClassVar[int] = 0
    is_lines: ClassVar[bool] = False

    def __init__(self, offset: int, count: int, partition: int = 0) -> None:
        super().__init__(offset, count, _NOTHING, 0, partition)

    def part(self, first: int, count: int) -> Hole:
        """``count`` of these offsets, from the ``first`` on, which is counted from 0."""
        return Hole(self.offset + first, count, self.partition)


def opened(data: BytesLike, header: Header, partition: int, offset: int, max_bytes: int) -> CountedBatch | Hole:
    """The messages of a whole batch of records from this offset on, or so much of them: see records.open_batch.

    Raises RecordsError.
    """
    found = open_batch(data, partition, offset, max_bytes)
    return found or Hole(header.base_offset, header.last_offset_delta + 1, partition)


def size_of(batch: Batch) -> int:
    """What a batch of messages takes in memory: records may each have a time of their own."""
    return len(batch.data) + (0 if isinstance(batch.times, int) else _TIME_BYTES * len(batch.times[0]))
