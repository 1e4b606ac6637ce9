"""Reading what is on disk and not in memory any more, for cursors, ahead of what they need.

Files are read in the engine's threads. A cursor that has come to the end of what is in memory finds nothing for the
moment, and is told when there is more. What is read ahead of all cursors together is bounded: a cursor that finds no
room waits until others have read theirs on, or have not touched it for a while.

Knows no group.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from gevent import get_hub

from gstream.agenda import Agenda
from gstream.batch import Batch
from gstream.errors import StorageError
from gstream.storage.chain import Cursor, Piece, do_nothing
from gstream.storage.failure import failure
from gstream.storage.recordbatch import Hole, size_of
from gstream.storage.threads import Threads, Work

if TYPE_CHECKING:
    from gstream.storage.stored import StoredLog

__all__ = ["DiskCursor", "Reading", "stored_part"]

log = logging.getLogger(__name__)

READ_BYTES = 512 * 1024
"""So much is read at once: a few thousand messages, beside which the way to a thread and back does not count.

Of records that become much more when they are unpacked, no more than that either, or else a sixteenth of a batch."""

PIECE_BYTES = 200
"""What is read takes so much for each batch, beside its bytes."""

IDLE_SECONDS = 1.0
"""What is in memory for a cursor that has not moved for so long makes room for others."""


class DiskCursor(Cursor):
    """A place in a log of which a part is in memory: what was read for this cursor, and the log's newest messages.

    on_missing: told of offsets that are not there.
    """

    __slots__ = (
        "_reading",
        "ahead",
        "error",
        "held_bytes",
        "is_loading",
        "not_before",
        "number",
        "on_missing",
        "touched",
    )

    _chain: StoredLog
    is_loading: bool

    def __init__(self, log: StoredLog, piece: Piece, reading: Reading) -> None:
        super().__init__(log, piece)
        self._reading = reading
        self.ahead: tuple[Piece, int] | None = None
        """What was read ahead: its first piece, and its size."""
        self.held_bytes = 0
        """Of what is in memory for this cursor alone, with what is read ahead."""
        self.is_loading = False
        self.number = 0
        """Of the places at which it was put: what is read for another one is of no use."""
        self.error: StorageError | None = None
        """Why nothing could be read the last time."""
        self.not_before = 0.0
        """Until then, of the agenda's clock, that is not tried again."""
        self.touched = False
        """Whether something was read since it was last looked at."""
        self.on_missing: Callable[[int, int], object] = do_nothing

    def read(self, max_messages: int, max_bytes: int) -> Batch | None:
        """As Cursor's. None, too, while more is being read from the disk; then ``is_loading``."""
        batch = Cursor.read(self, max_messages, max_bytes)
        if batch is None:
            chain = self._chain
            while batch is None and self.offset < chain.end_offset and self._reading.bring(chain, self):
                batch = Cursor.read(self, max_messages, max_bytes)
            if batch is None and self.held_bytes and self.offset >= chain.end_offset:
                self.put(self.offset)
        return batch

    def is_in(self, piece: Piece) -> bool:
        """Whether what it reads next lies there, or behind it."""
        return self._piece is piece

    def put(self, offset: int) -> None:
        """Go to this offset, and hold nothing of what lies there."""
        self.number += 1
        if self.is_loading:  # who waits for that looks again
            self.is_loading = False
            get_hub().loop.run_callback(self.on_read)
        self.error = None
        self.move(Piece(offset, 0, 0, b"", Batch, 0), 0, offset)
        self._reading.free(self)


class Reading:
    """What is in memory of logs for cursors that lie behind, up to so many bytes."""

    def __init__(self, pool: Threads, agenda: Agenda, max_bytes: int) -> None:
        self._pool = pool
        self._agenda = agenda
        self._max_bytes = max_bytes
        self.used_bytes = 0
        self._waiting: deque[tuple[StoredLog, DiskCursor, int]] = deque()
        self._holders: dict[DiskCursor, None] = {}
        self._sweeping = False

    def bring(self, log: StoredLog, cursor: DiskCursor) -> bool:
        """Get what follows for a cursor that is at the end of what it has; whether it is there now."""
        cursor.touched = True
        if cursor.offset >= log.first_offset:
            place = log.find(cursor.offset)
            cursor.put(cursor.offset)
            cursor.move(*place)
            return True
        if cursor.ahead is not None:
            piece, size = cursor.ahead
            cursor.ahead = None
            self._hold(cursor, size)
            cursor.move(piece, 0, piece.offset)
            self._load_ahead(log, cursor, piece)
            return True
        if not cursor.is_loading and self._agenda.clock() >= cursor.not_before:
            self._hold(cursor, 0)
            self._request(log, cursor, cursor.offset)
        return False

    def free(self, cursor: DiskCursor) -> None:
        """Hold nothing for this cursor."""
        cursor.ahead = None
        self._hold(cursor, 0)

    def _hold(self, cursor: DiskCursor, size: int) -> None:
        self.used_bytes += size - cursor.held_bytes
        cursor.held_bytes = size
        if size:
            self._holders[cursor] = None
        else:
            self._holders.pop(cursor, None)
        self._start_waiting()

    # --- loading

    def _load_ahead(self, log: StoredLog, cursor: DiskCursor, piece: Piece) -> None:
        """Read what follows the pieces that begin with this one, while they are consumed."""
        while piece.following is not None:
            piece = piece.following
        following = piece.offset + piece.count
        if following < log.first_offset and self.used_bytes + READ_BYTES <= self._max_bytes:
            self._request(log, cursor, following)

    def _request(self, log: StoredLog, cursor: DiskCursor, offset: int) -> None:
        cursor.is_loading = True
        if self._waiting or (self.used_bytes and self.used_bytes + READ_BYTES > self._max_bytes):
            self._waiting.append((log, cursor, cursor.number))
            self._sweep_later()
        else:
            self._start(log, cursor, offset)

    def _start_waiting(self) -> None:
        while self._waiting and (not self.used_bytes or self.used_bytes + READ_BYTES <= self._max_bytes):
            log, cursor, number = self._waiting.popleft()
            if cursor.number == number:
                self._start(log, cursor, cursor.offset)

    def _start(self, log: StoredLog, cursor: DiskCursor, offset: int) -> None:
        cursor.held_bytes += READ_BYTES  # until it is known how much it is
        self.used_bytes += READ_BYTES
        self._holders[cursor] = None
        loaded = partial(self._loaded, log, cursor, cursor.number, offset)
        self._pool.spawn(log.files.read, offset, READ_BYTES).then(loaded)

    def _loaded(self, log: StoredLog, cursor: DiskCursor, number: int, offset: int, work: Work) -> None:
        if cursor.number != number:
            return  # it was put elsewhere; what was held for it is counted no more
        batches = [] if work.error is not None else _without_last_holes(stored_part(work.get(), log.end_offset))
        size = sum([size_of(batch) + PIECE_BYTES for batch in batches])
        cursor.held_bytes += size - READ_BYTES
        self.used_bytes += size - READ_BYTES
        cursor.is_loading = False
        if work.error is not None:
            self._failed(cursor, failure(work.error, "reading", topic=log.topic))
            return
        cursor.error = None
        end = offset
        pieces: list[Piece] = []
        for batch in batches:
            if batch.offset > end:
                self._miss(log, cursor, end, batch.offset)
            end = batch.offset + batch.count
            if isinstance(batch, Hole):  # its records tell of no message, or that was told
                cursor.on_missing(batch.offset, end)
            else:
                pieces.append(_piece_of(batch))
        if not batches:  # nothing of it can be read: go on with what is in memory
            self._miss(log, cursor, offset, log.first_offset)
            end = log.first_offset
        if not pieces:
            pieces.append(Piece(end, 0, 0, b"", Batch, 0))
        for piece, following in pairwise(pieces):
            piece.following = following
        cursor.ahead = pieces[0], size
        self._start_waiting()
        cursor.on_read()

    def _miss(self, each: StoredLog, cursor: DiskCursor, first: int, end: int) -> None:
        """These messages are not there, though nobody has let them go."""
        facts = {"topic": each.topic, "partition": each.partition, "first": first, "messages": end - first}
        log.error("messages cannot be read, and are passed over; gstream log verify tells more", extra=facts)
        cursor.on_missing(first, end)

    def _failed(self, cursor: DiskCursor, error: StorageError) -> None:
        """Nothing could be read for now: who waits for it looks again in a while."""
        log.error("cannot read: %s", error)
        cursor.error = error
        cursor.not_before = self._agenda.clock() + IDLE_SECONDS
        self._agenda.at(cursor.not_before, cursor.on_read)
        self._start_waiting()
        cursor.on_read()

    # --- making room

    def _sweep_later(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._agenda.at(self._agenda.clock() + IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """While somebody waits: take from those who have not read since the last time."""
        self._sweeping = False
        if not self._waiting:
            return
        for cursor in list(self._holders):
            if not cursor.touched and not cursor.is_loading:
                cursor.put(cursor.offset)
            cursor.touched = False
        self._sweep_later()


def _piece_of(batch: Batch) -> Piece:
    piece = Piece(batch.offset, 0, batch.count, batch.data, type(batch), 0)
    piece.times = batch.times  # type: ignore[assignment]  # of records they may be many, and are arrays, too
    return piece


def _without_last_holes(batches: list[Batch]) -> list[Batch]:
    """Batches that end with messages, if there are any: what follows these is found again."""
    count = len(batches)
    while count and isinstance(batches[count - 1], Hole):
        count -= 1
    return batches[:count] or batches


def stored_part(batches: list[Batch], end: int) -> list[Batch]:
    """Of what a file holds, the messages before this offset: others may be written, and not on disk yet."""
    while batches and batches[-1].offset + batches[-1].count > end:
        last = batches.pop()
        if last.offset < end:
            batches.append(last.part(0, end - last.offset))
    return batches
