"""A piece: a part of a chain of messages in memory, and what stands in for one that holds records.

Knows no chain.
"""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from gstream.batch import Batch
from gstream.counted import CountedBatch
from gstream.errors import StorageError
from gstream.header import Header
from gstream.record import (
    CONTROL,
    MAX_UNPACKED_BYTES,
    LargeRecordsError,
    NotUnpackedError,
    Record,
    RecordsError,
    records_header,
    unpack_records,
    unpacked_records,
)
from gstream.records import pack_records
from gstream.storage.recordbatch import RecordBatch

if TYPE_CHECKING:
    from gstream.storage.threads import Threads, Work

__all__ = [
    "OPENED_AT_ONCE",
    "OPENED_BYTES",
    "OPEN_PIECE_BYTES",
    "RECORDS_PIECE_BYTES",
    "UNPACKED_AT_ONCE",
    "Piece",
    "StandIn",
]

log = logging.getLogger(__name__)

OPEN_PIECE_BYTES = 64 * 1024
"""An open piece is closed at this size: small enough that a consumed one is soon freed."""

OPENED_AT_ONCE: Final = 256
OPENED_BYTES: Final = 64 * 1024
"""So many records, or so many bytes of them, become messages before others may get a turn: a millisecond."""

UNPACKED_AT_ONCE: Final = 256 * 1024
"""A batch that is larger, or becomes larger, is unpacked in a thread: more than that takes milliseconds."""

_Unpacked: TypeAlias = tuple[Iterator[Record], int]
"""Records, and how many bytes they have unpacked."""

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

    Records are unpacked at once, in a thread if that takes long, and become messages a few at a time: there may be very
    many, and all others wait meanwhile. piece: the records. offset: of the next message; it has none itself.
    """

    __slots__ = ("_is_told", "_messages", "_position", "_records", "_unpacked_bytes", "_work", "following")

    following: Piece

    def __init__(self, piece: Piece, offset: int) -> None:
        super().__init__(offset, piece.place, 0, b"", Batch, 0)
        self.following = piece
        self._records: Iterator[Record] | None = None
        self._work: Work | None = None
        self._unpacked_bytes = 0
        self._messages: CountedBatch | None = None
        self._position = 0
        self._is_told = False

    def open(self, partition: int, pool: Threads | None, on_read: Callable[[], None]) -> bool:
        """Have the next messages at hand; False: there are none, or they cannot be read, or not yet: ``is_loading``.

        pool: where they are unpacked if that takes long; ``on_read`` is called afterwards.

        Raises StorageError if only a library is missing, which is no reason to pass messages over.
        """
        messages = self._messages
        if messages is not None and self.offset < messages.offset + messages.count:
            return True
        try:
            if self._records is None:
                self._records = self._unpacked(pool, on_read)
                if self._records is None:
                    return False
            limits = {"max_count": OPENED_AT_ONCE, "max_bytes": OPENED_BYTES}
            messages = pack_records(self._records, self.offset, partition, **limits)
        except NotUnpackedError as error:
            self._tell(error, "records cannot be read, and their group waits: %s")
            raise StorageError(str(error)) from None
        except RecordsError as error:
            self._tell(error, "records cannot be read, and are passed over: %s")
            return False
        self._messages = messages
        self._position = 0
        return messages.count > 0

    def _unpacked(self, pool: Threads | None, on_read: Callable[[], None]) -> Iterator[Record] | None:
        """The records from this offset on; none of them is a message if they tell a transaction's end. None: not yet.

        Raises RecordsError.
        """
        piece, work = self.following, self._work
        if work is None:
            data = bytes(piece.data)
            header = records_header(data)
            if header.attributes & CONTROL:
                self.offset = piece.offset + piece.count
                return iter(())
            first = self.offset - piece.offset
            unpacked = _unpack(data, header, first) if pool is None else _unpack_at_once(data, header, first)
            if unpacked is None:
                assert pool is not None
                self._work = pool.spawn(_unpack, data, header, first)
                self._work.then(lambda _work: on_read())
                return None
        elif work.is_done:
            self._work = None
            unpacked = work.get()
        else:
            return None
        records, self._unpacked_bytes = unpacked
        return records

    @property
    def is_loading(self) -> bool:
        """Whether a thread unpacks the records."""
        return self._work is not None and not self._work.is_done

    def wait(self) -> None:
        """Return when the thread has unpacked them; nobody else is told. Blocks this greenlet."""
        if self._work is not None:
            self._work.wait()

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


def _unpack(data: bytes, header: Header, first: int, max_bytes: int = MAX_UNPACKED_BYTES) -> _Unpacked:
    """The records of a batch from that one on, which is counted from 0. Raises RecordsError. Perhaps in a thread."""
    unpacked = unpack_records(data, header, 0, max_bytes)
    return unpacked_records(unpacked, header, first), len(unpacked)


def _unpack_at_once(data: bytes, header: Header, first: int) -> _Unpacked | None:
    """The same; None if that takes long."""
    if header.size > UNPACKED_AT_ONCE:
        return None
    try:
        return _unpack(data, header, first, UNPACKED_AT_ONCE)
    except LargeRecordsError:
        return None
