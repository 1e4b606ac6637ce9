"""A chain: consecutive messages in memory, a piece after the other, and the cursors that read them.

Large batches become a piece as they are, without a copy; small ones are gathered in an open piece, so that messages
published one at a time cost no more memory than those published in bursts. A piece knows the one that follows it, so a
cursor goes on without a look-up. A batch of Kafka's records is a piece of its own; a cursor reads its messages from
what stands in for it. Decides nothing about what is kept: the engines do.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from gstream.batch import LF, Batch, Times
from gstream.counted import CountedBatch, pack_counted
from gstream.errors import StorageError
from gstream.storage.budget import Budget
from gstream.storage.piece import OPEN_PIECE_BYTES, Piece, StandIn
from gstream.storage.recordbatch import RecordBatch

__all__ = ["NEVER", "NOWHERE", "Chain", "Cursor", "Piece", "do_nothing"]

LARGE_BATCH_BYTES = 16 * 1024
"""A batch from this size on is kept as it came; copying it would cost more than its own piece's 200 bytes."""

SMALL_BATCH_BYTES = 1024
"""Lines up to this size are counted where counted messages came before them: a piece for each costs 200 bytes."""

NEVER = 1 << 62
NOWHERE = -NEVER


class Chain:
    """Consecutive messages of one partition, from ``offset`` on."""

    def __init__(self, budget: Budget, partition: int, offset: int = 0) -> None:
        self.budget = budget
        self.partition = partition
        self._last = Piece(offset, 0, 0, bytearray(), Batch, 0)
        self._pieces = [self._last]  # those before the first are dropped already
        self._first = 0
        self._last_ms = 0
        self._newest_ms = NOWHERE  # of all records
        self._end_place = 0
        self.cursors: list[Cursor] = []
        self.low_place = -1
        """Of the slowest cursor, if the engine wants to know when that moves."""
        self.first_end = NEVER
        """Where the first piece ends, if it grows no more."""
        self.alone = False
        """Whether there is one cursor."""
        self.end_offset = offset
        """The offset of the next message."""

    @property
    def first_offset(self) -> int:
        """The offset of the oldest message; the end's if there is none."""
        return self._pieces[self._first].offset

    @property
    def end_place(self) -> int:
        """Where it ends, in bytes since its beginning."""
        return self._end_place

    @property
    def kept_bytes(self) -> int:
        """Of all messages that are kept."""
        return self._end_place - self._pieces[self._first].place

    def recounted(self, data: bytes, count: int, kind: type[Batch]) -> tuple[bytes, type[Batch]]:
        """A few lines that follow counted messages, as counted ones, too; anything else as it is."""
        last = self._last
        if kind is last.kind or len(data) >= SMALL_BATCH_BYTES or last.kind is not CountedBatch or not last.grows:
            return data, kind
        return b"".join(map(pack_counted, kind(0, count, data).bodies())), CountedBatch

    def add(self, data: bytes, count: int, kind: type[Batch], time_ms: int) -> None:
        """Put messages at the end, published at that time or, should that lie before, when the last ones were."""
        size = len(data)
        last = self._last
        if time_ms < self._last_ms:  # noqa: PLR1730  # max() takes as long as all of this
            time_ms = self._last_ms  # the clock was set back; times in a log never go back
        if size >= LARGE_BATCH_BYTES:
            self._start_piece(data, count, kind, time_ms)
        else:
            if last.kind is not kind or type(last.data) is bytes or len(last.data) >= OPEN_PIECE_BYTES:
                last = self._start_piece(bytearray(), 0, kind, time_ms)
            elif time_ms != self._last_ms:
                last.note_time(self.end_offset, time_ms)
            last.data += data
            last.count += count
        self._last_ms = time_ms
        self._end_place += size
        self.end_offset += count

    def add_records(self, data: bytes, count: int, newest_ms: int) -> None:
        """Put a batch of records at the end, the newest of which has that time, whatever that is."""
        piece = self._start_piece(data, count, RecordBatch, newest_ms)
        self._newest_ms = max(self._newest_ms, newest_ms)
        self._end_place += piece.size
        self.end_offset += count

    def _start_piece(self, data: bytes | bytearray, count: int, kind: type[Batch], time_ms: int) -> Piece:
        last = self._last
        if type(last.data) is bytearray:
            last.data = bytes(last.data)  # exactly as large as its content: a bytearray keeps room to grow
        piece = Piece(self.end_offset, self._end_place, count, data, kind, time_ms)
        piece.before_ms = max(self._last_ms, self._newest_ms)
        last.following = piece
        self._last = piece
        if not self._pieces[-1].count:  # the chain's first, or the one after all were dropped
            self._pieces.pop()
        self._pieces.append(piece)
        self._note_first()
        return piece

    def drop_first(self) -> Piece:
        """Drop the oldest piece, which is returned."""
        if len(self._pieces) - self._first == 1:
            self._start_piece(bytearray(), 0, Batch, self._last_ms)
        dropped = self._pieces[self._first]
        self._first += 1
        if self._first > len(self._pieces) // 2:  # half of a list is moved for each half that is dropped
            del self._pieces[: self._first]
            self._first = 0
        self._note_first()
        return dropped

    @property
    def piece_count(self) -> int:
        """How many pieces there are, at least one."""
        return len(self._pieces) - self._first

    def _note_first(self) -> None:
        first = self._pieces[self._first]
        if first.following is not None:
            self.first_end = first.following.place
        else:
            self.first_end = NEVER if type(first.data) is bytearray else first.place + first.size

    # --- reading

    def read_on(self, offset: int, max_messages: int, max_bytes: int) -> list[Batch]:
        """Messages from this offset on: at most so many, and about so many bytes of them. May block this greenlet."""
        cursor = Cursor(self, self._pieces[self._first])
        cursor.move(*self.find(offset))
        cursor.place = NOWHERE  # it is none of those for which messages are kept
        found: list[Batch] = []
        while max_messages > 0 and max_bytes > 0:
            batch = cursor.read(max_messages, max_bytes)
            if batch is not None:
                found.append(batch)
                max_messages -= batch.count
                max_bytes -= len(batch.data)
            elif not cursor.wait():
                break
            elif cursor.offset < self.first_offset:  # it was dropped meanwhile
                cursor.move(*self.find(cursor.offset))
                cursor.place = NOWHERE
        cursor.close()
        return found

    def find_time(self, time_ms: int) -> int:
        """The offset of the first message that was published then or later; the end, if there is none.

        Of records: of the first batch that has such a one.
        """
        at = bisect_left(self._pieces, time_ms, lo=self._first, key=lambda each: each.before_ms)
        for piece in self._pieces[max(self._first, at - 1) :]:
            if piece.count and (offset := piece.find_time(time_ms)) is not None:
                return offset
        return self.end_offset

    def find(self, offset: int) -> tuple[Piece, int, int]:
        """The piece of the message at this offset, where in it that begins, and the offset, which is made fit."""
        offset = min(max(offset, self.first_offset), self.end_offset)
        piece = self.piece_at(offset)
        before = offset - piece.offset
        if piece.kind is RecordBatch and before < piece.count:
            return StandIn(piece, offset), 0, offset
        data = piece.data
        if before == piece.count:
            return piece, piece.size, offset
        return piece, piece.kind.find_end(data, 0, len(data), before, piece.count) if before else 0, offset

    def pieces(self) -> list[Piece]:
        """All pieces, the oldest first."""
        return self._pieces[self._first :]

    def piece_at(self, offset: int) -> Piece:
        """The piece of the message at this offset, which must be kept; at the end, the last piece."""
        return self._pieces[bisect_right(self._pieces, offset, lo=self._first, key=lambda each: each.offset) - 1]

    def seek(self, cursor: Cursor, offset: int) -> None:
        """Move a cursor to this offset, or to the nearest that is kept."""
        cursor.move(*self.find(offset))
        self.settle()

    def settle(self) -> None:
        """The slowest cursor has moved."""


def do_nothing(*_: object) -> None:
    """Nothing."""


class Cursor:
    """A reader's place in a chain."""

    __slots__ = (
        "_chain",
        "_opened_bytes",
        "_piece",
        "_position",
        "_time_end",
        "_time_ms",
        "offset",
        "on_read",
        "place",
    )

    def __init__(self, chain: Chain, piece: Piece) -> None:
        self._chain = chain
        self._piece = piece
        self._position = 0
        self._time_ms = 0
        self._time_end = 0  # up to this offset, messages were published at _time_ms
        self._opened_bytes = 0  # of records that were unpacked for it
        self.offset = piece.offset
        """Of the next message."""
        self.place = piece.place
        """Where that begins, in bytes since the chain's beginning."""
        self.on_read: Callable[[], None] = do_nothing
        """Called when there is more to read than there was, but not for what is stored."""

    error: Exception | None = None
    """Why what follows could not be read."""
    on_missing: Callable[[int, int], object]

    @property
    def is_loading(self) -> bool:
        """Whether what follows is being read from somewhere else, or unpacked."""
        piece = self._piece
        return type(piece) is StandIn and piece.is_loading

    def wait(self) -> bool:
        """Return when what follows is unpacked, whether it was not. Blocks this greenlet; ``on_read`` is not called."""
        piece = self._piece
        if type(piece) is not StandIn or not piece.is_loading:
            return False
        piece.wait()
        return True

    def read(self, max_messages: int, max_bytes: int) -> Batch | None:
        """The next messages: at most ``max_messages``, and at most ``max_bytes`` of them but always one.

        None at the end of the chain, and while ``is_loading``. May return fewer than there are: what lies together in
        one piece.
        """
        piece = self._piece
        offset = self.offset
        available = piece.offset + piece.count - offset
        while not available:
            following = piece.following
            if following is None:
                return None
            if following.kind is RecordBatch:
                is_open = self._enter(following)
                if is_open:
                    return self._read_records(max_messages, max_bytes)
                if is_open is None:
                    return None
                piece, offset = self._piece, self.offset
                continue
            piece = self._piece = following
            self._position = 0
            available = piece.count
            offset = piece.offset
        data = piece.data
        start = self._position
        count = min(max_messages, available)
        kind = piece.kind
        if count == 1 and kind is Batch:
            end = data.find(LF, start) + 1
        else:
            end = kind.find_end(data, start, len(data), count, available)
            if end - start > max_bytes and count > 1:
                count, end = kind.find_fitting(data, start, max_bytes)
        times = self._time_ms if offset + count <= self._time_end else self._times(piece, offset, count)
        chain = self._chain
        place = self.place
        self._position = end
        self.place = place + end - start
        self.offset = offset + count
        if place == chain.low_place:
            if chain.alone and self.place < chain.first_end:  # what settle would do, for nearly every message
                chain.low_place = self.place
                chain.budget.used_bytes -= end - start
            else:
                chain.settle()
        return kind(offset, count, bytes(data[start:end]), times, chain.partition)

    def _enter(self, piece: Piece) -> bool | None:
        """Be within a piece of records, which follows. False: it has no message, and was passed over; None: not yet."""
        entered = self._piece
        if type(entered) is not StandIn or entered.following is not piece:
            entered = self._piece = StandIn(piece, piece.offset)
            self.offset = piece.offset
        chain = self._chain
        try:
            is_open = entered.open(chain.partition, chain.budget.pool, self.on_read)
        except StorageError:  # nobody who stores something is to be told; who waits looks again
            return None
        if is_open:
            self._hold(entered.opened_bytes)
            return True
        if entered.is_loading:
            return None
        self._leave(piece)
        return False

    def _hold(self, size: int) -> None:
        self._chain.budget.held_bytes += size - self._opened_bytes
        self._opened_bytes = size

    def close(self) -> None:
        """Hold nothing any more."""
        self._hold(0)

    def _read_records(self, max_messages: int, max_bytes: int) -> Batch:
        """The next messages of the records that are open; their place is where these begin, until all are read."""
        entered, offset = self._piece, self.offset
        assert type(entered) is StandIn
        found = entered.read(offset, max_messages, max_bytes)
        assert entered.following is not None
        self.offset = offset + found.count
        if self.offset == entered.following.offset + entered.following.count:
            self._leave(entered.following)
        return found

    def _leave(self, piece: Piece) -> None:
        """Be at the end of a piece of records."""
        before = self.place
        self._hold(0)
        self._piece, self._position, self.offset = piece, len(piece.data), piece.offset + piece.count
        self.place = before + piece.size  # where it is, unless it is nowhere
        if before == self._chain.low_place:
            self._chain.settle()

    def seek(self, offset: int) -> None:
        """Go to this offset, or to the nearest that is kept."""
        self._chain.seek(self, offset)

    def move(self, piece: Piece, position: int, offset: int) -> None:
        """Go to where this message lies."""
        if self._opened_bytes:
            self._hold(0)
        self._piece, self._position, self.offset = piece, position, offset
        self.place = piece.place + position
        self._time_end = 0

    @property
    def lag(self) -> int:
        """How many messages lie between here and the end."""
        return self._chain.end_offset - self.offset

    def _times(self, piece: Piece, offset: int, count: int) -> Times:
        """When these messages were published; no more than has to be remembered for them."""
        self._time_end = piece.offset + piece.count
        if isinstance(piece.times, int):
            self._time_ms = piece.times
            return self._time_ms
        offsets, times = piece.times
        first = bisect_right(offsets, offset) - 1
        following = bisect_left(offsets, offset + count, first + 1)
        if following > first + 1:
            self._time_end = offset
            return offsets[first:following], times[first:following]
        if following < len(offsets):
            self._time_end = offsets[following]
        self._time_ms = times[first]
        return self._time_ms
