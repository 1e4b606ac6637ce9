"""What is in a chain, as records: for those who fetch batches, or look for a record by its time.

Knows no engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from gevent import sleep

from gstream.record import records_header
from gstream.records import encode_messages
from gstream.storage.batches import find_in_batch, newest_in_batch
from gstream.storage.chain import Chain
from gstream.storage.converted import Converted
from gstream.storage.piece import Piece
from gstream.storage.placed import Fetched
from gstream.storage.recordbatch import RecordBatch

__all__ = ["fetch", "find_record", "newest_record"]

CONVERTED_BYTES: Final = 128 * 1024
"""Of a larger piece, so much is made into records at once."""
MOST_CONVERTED_BYTES: Final = 2 * CONVERTED_BYTES
"""More is not made for one fetch: others wait meanwhile, some milliseconds."""

PIECES_AT_ONCE: Final = 1000
"""So many are asked for their times before others get a turn: a millisecond."""

MANY_RECORDS: Final = 1000
"""A batch with more is looked through in a thread, beside which others have their turns."""

_Found = TypeVar("_Found")


def fetch(chain: Chain, place: tuple[Converted, int], offset: int, max_bytes: int, end: int) -> Fetched:
    """Whole batches from the one on that holds this offset: see MemoryLog.read_records.

    place: where converted messages are kept, and the chain's number there.
    """
    chunks: list[bytes | memoryview] = []
    size = converted_bytes = 0
    piece: Piece | None = chain.piece_at(offset)
    while piece is not None and offset < end and converted_bytes < MOST_CONVERTED_BYTES:
        if offset >= piece.offset + piece.count:
            piece = piece.following
            continue
        if piece.kind is RecordBatch:
            if piece.offset >= end:
                break
            chunk, following = bytes(piece.data), piece.offset + piece.count
        else:
            chunk, following = _convert(piece, place, offset, max_bytes - size, end)
            converted_bytes += len(chunk)
        if chunks and size + len(chunk) > max_bytes:
            break
        chunks.append(chunk)
        size += len(chunk)
        offset = following
        if size >= max_bytes:
            break
    return Fetched(chunks, size, offset)


def _convert(piece: Piece, place: tuple[Converted, int], offset: int, max_bytes: int, end: int) -> tuple[bytes, int]:
    """Messages from this offset on as a batch of records, and the offset behind them."""
    converted, number = place
    data, kind = piece.data, piece.kind
    following = piece.offset + piece.count
    is_small = len(data) <= min(CONVERTED_BYTES, max_bytes)
    if is_small and offset == piece.offset and isinstance(data, bytes) and following <= end:
        at = (number, offset, piece.count)
        made = converted.get(at)
        if made is None:
            made = converted.make(at, kind(offset, piece.count, data, piece.times))
        return made, following
    before = offset - piece.offset
    start = kind.find_end(data, 0, len(data), before, piece.count) if before else 0
    available = piece.count - before
    count = min(available, end - offset)
    stop = kind.find_end(data, start, len(data), count, available)
    most = max(0, min(CONVERTED_BYTES, max_bytes))
    if stop - start > most and count > 1:
        count, stop = kind.find_fitting(data, start, most)
    return encode_messages(kind(offset, count, bytes(data[start:stop]), piece.times)), offset + count


def find_record(chain: Chain, time_ms: int, first: int) -> tuple[int, int] | None:
    """The first record of this time or later, from this offset on: its offset and time; None if there is none.

    May block this greenlet.
    """
    return _find_from(chain, chain.piece_at(chain.find_time(time_ms)), time_ms, first)


def _find_from(chain: Chain, piece: Piece | None, time_ms: int, first: int) -> tuple[int, int] | None:
    number = 0
    while piece is not None:
        number += 1
        if number % PIECES_AT_ONCE == 0:
            sleep(0)
        if piece.kind is RecordBatch:
            data = bytes(piece.data) if piece.first_ms >= time_ms else b""
            if data and (found := _look(chain, data, find_in_batch, data, time_ms, first)):
                return found
        elif piece.count and (offset := piece.find_time(time_ms)) is not None:
            offset = max(offset, first)
            if offset < piece.offset + piece.count:
                return offset, piece.kind(piece.offset, piece.count, b"", piece.times).time_ms(offset)
        piece = piece.following
    return None


def newest_record(chain: Chain, first: int) -> tuple[int, int] | None:
    """The first of the records with the newest time, from this offset on: its offset and time.

    From the end on: behind a piece before which nothing is as new, nobody need look. May block this greenlet.
    """
    newest: tuple[int, Piece] | None = None
    for number, piece in enumerate(reversed(chain.pieces()), 1):
        if number % PIECES_AT_ONCE == 0:
            sleep(0)
        if piece.count and piece.offset + piece.count > first:
            newest_ms = piece.newest_ms
            data = bytes(piece.data) if piece.kind is RecordBatch and piece.offset < first else b""
            if data:
                newest_ms = _look(chain, data, newest_in_batch, data, first)
            if newest is None or newest_ms >= newest[0]:
                newest = newest_ms, piece
        if newest is not None and piece.before_ms < newest[0]:
            break
    return None if newest is None else _find_from(chain, newest[1], newest[0], first)


def _look(chain: Chain, data: bytes, look: Callable[..., _Found], *asked: object) -> _Found:
    """What is found in a batch of records. Pieces may be dropped meanwhile; then they have no data."""
    pool = chain.budget.pool
    if pool is None or records_header(data).records <= MANY_RECORDS:
        return look(*asked)
    return pool.apply(look, *asked)
