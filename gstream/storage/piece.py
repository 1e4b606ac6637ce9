"""A piece: a part of a chain of messages in memory, and what stands in for one that holds records.

Knows no chain.
"""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left
from collections.abc import Iterator

from gstream.batch import Batch
from gstream.counted import CountedBatch
from gstream.errors import StorageError
from gstream.record import (
    CONTROL,
    NotUnpackedError,
    Record,
    RecordsError,
    records_header,
    unpack_records,
    unpacked_records,
)
from gstream.records import pack_records
from gstream.storage.recordbatch import RecordBatch

__all__ = ["OPENED_AT_ONCE", "OPENED_BYTES", "OPEN_PIECE_BYTES", "RECORDS_PIECE_BYTES", "Piece", "StandIn"]

log = logging.getLogger(__name__)

OPEN_PIECE_BYTES = 64 * 1024
"""An open piece is closed at this size: small enough that a consumed one is soon freed."""

OPENED_AT_ONCE = 256
OPENED_BYTES = 64 * 1024
"""So many records, or so many bytes of them, become messages before others may get a turn: a millisecond."""

RECORDS_PIECE_BYTES = 200
"""What a piece takes beside its data: batches of records, each of which is one, may be small."""


class Piece:
    """A part of a chain: messages of one kind with consecutive offsets, growing while ``data`` is a bytearray.

    place: where it begins, in bytes since the chain's beginning. times: as in Batch, growing with it.
    """

    __slots__ = ("before_ms", "count", "data", "following", "kind", "offset", "place", "times")

    def __init__(
        self, offset: int, place: int, count: int, data: bytes | bytearray, kind: type[Batch], time_ms: int
    ) -> None:
        self.offset = offset
        self.place = place
        self.count = count
        self.data = data
        self.kind = kind
        self.times: int | tuple[array[int], array[int]] = time_ms
        self.before_ms = time_ms
        """The newest time of all that lies before it in its chain."""
        self.following: Piece | None = None

    @property
    def grows(self) -> bool:
        """Whether there is room for more messages in it."""
        return type(self.data) is bytearray and len(self.data) < OPEN_PIECE_BYTES

    @property
    def size(self) -> int:
        """What it counts for in its chain, in bytes."""
        return len(self.data) + (RECORDS_PIECE_BYTES if self.kind is RecordBatch else 0)

    @property
    def first_ms(self) -> int:
        """When its first message was published."""
        return self.times if isinstance(self.times, int) else self.times[1][0]

    @property
    def newest_ms(self) -> int:
        """When its last message was published; of records, the newest one."""
        return self.times if isinstance(self.times, int) else self.times[1][-1]

    def note_time(self, offset: int, time_ms: int) -> None:
        """From this offset on, messages were published at another time."""
        if not self.count:
            self.times = time_ms
            return
        if isinstance(self.times, int):
            self.times = (array("q", (self.offset,)), array("q", (self.times,)))
        self.times[0].append(offset)
        self.times[1].append(time_ms)

    def find_time(self, time_ms: int) -> int | None:
        """The offset of its first message published then or later."""
        if isinstance(self.times, int):
            return self.offset if self.times >= time_ms else None
        offsets, times = self.times
        at = bisect_left(times, time_ms)
        return offsets[at] if at < len(offsets) else None


class StandIn(Piece):
    """What a cursor has in place of a piece of records: that piece follows it, and so it is asked again and again.

    Records are unpacked at once, and become messages a few at a time: there may be very many, and all others wait
    meanwhile. piece: the records. offset: of the next message; it has none itself.
    """

    __slots__ = ("_is_told", "_messages", "_position", "_records", "_unpacked_bytes", "following")

    following: Piece

    def __init__(self, piece: Piece, offset: int) -> None:
        super().__init__(offset, piece.place, 0, b"", Batch, 0)
        self.following = piece
        self._records: Iterator[Record] | None = None
        self._unpacked_bytes = 0
        self._messages: CountedBatch | None = None
        self._position = 0
        self._is_told = False

    def open(self, partition: int) -> bool:
        """Have the next messages at hand; False: there are none, or they cannot be read.

        Raises StorageError if only a library is missing, which is no reason to pass messages over.
        """
        messages = self._messages
        if messages is not None and self.offset < messages.offset + messages.count:
            return True
        try:
            if self._records is None:
                self._records = self._unpack()
            records = _take(self._records, self.offset)
        except NotUnpackedError as error:
            self._tell(error, "records cannot be read, and their group waits: %s")
            raise StorageError(str(error)) from None
        except RecordsError as error:
            self._tell(error, "records cannot be read, and are passed over: %s")
            return False
        if not records:
            return False
        self._messages = pack_records(records, self.offset, len(records), partition)
        self._position = 0
        return True

    def _unpack(self) -> Iterator[Record]:
        """The records from this offset on; none of them is a message if they tell a transaction's end."""
        piece = self.following
        header = records_header(piece.data)
        if header.attributes & CONTROL:
            self.offset = piece.offset + piece.count
            return iter(())
        data = unpack_records(piece.data, header)
        self._unpacked_bytes = len(data)
        return unpacked_records(data, header, self.offset - piece.offset)

    def _tell(self, error: RecordsError, text: str) -> None:
        if not self._is_told:
            self._is_told = True
            end = self.following.offset + self.following.count
            log.warning(text, error, extra={"first": self.offset, "messages": end - self.offset})

    @property
    def opened_bytes(self) -> int:
        """Of what is at hand of the records."""
        return self._unpacked_bytes + (0 if self._messages is None else len(self._messages.data))

    def read(self, offset: int, max_messages: int, max_bytes: int) -> CountedBatch:
        """The next messages, from this offset on: see Cursor.read."""
        messages = self._messages
        assert messages is not None
        data, start = messages.data, self._position
        available = messages.offset + messages.count - offset
        count = min(max_messages, available)
        end = messages.find_end(data, start, len(data), count, available)
        if end - start > max_bytes and count > 1:
            count, end = messages.find_fitting(data, start, max_bytes)
        self._position = end
        self.offset = offset + count
        return CountedBatch(offset, count, data[start:end], messages.times, messages.partition)


def _take(records: Iterator[Record], offset: int) -> list[Record]:
    """Some of the records, the first of which must have this offset. Raises RecordsError."""
    taken: list[Record] = []
    size = 0
    for record in records:
        if record.offset != offset + len(taken):
            raise RecordsError("their offsets have holes")
        taken.append(record)
        size += len(record.value or b"")
        if len(taken) == OPENED_AT_ONCE or size >= OPENED_BYTES:
            break
    return taken
