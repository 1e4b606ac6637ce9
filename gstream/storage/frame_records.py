"""What is in frames, as records: for those who fetch batches.

Records are given as they are stored. Consecutive frames of messages of another kind become one batch, so that those
that were published one at a time are not fetched one at a time.

Knows no file.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from gstream.batch import Batch, Times
from gstream.storage.converted import Converted
from gstream.storage.frame import Frame
from gstream.storage.placed import Fetched

__all__ = ["fetch"]

JOINED_BYTES = 64 * 1024
"""More frames are not made into one batch."""


def fetch(frames: Sequence[Frame], place: tuple[Converted, int], offset: int, max_bytes: int, end: int) -> Fetched:
    """Whole batches from the one on that holds this offset: see DiskLog.read_records.

    place: where converted messages are kept, and the log's number there.
    """
    chunks: list[bytes | memoryview] = []
    size = 0
    for run in _runs([frame for frame in frames if frame.offset < end]):
        if run[0].is_records:
            fitting = _fitting(run, max_bytes - size, always=not chunks)
            if fitting:
                chunk: bytes | memoryview = run[0].through(run[fitting - 1])
                offset = run[fitting - 1].next_offset
        else:
            chunk, fitting = _convert(run, place, offset), len(run)
            if chunks and size + len(chunk) > max_bytes:
                fitting = 0
            else:
                offset = run[-1].next_offset
        if not fitting:
            break
        chunks.append(chunk)
        size += len(chunk)
        if fitting < len(run) or size >= max_bytes:
            break
    return Fetched(chunks, size, offset)


def _runs(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """The frames in groups that can be given as one: records that lie side by side, or messages of one kind."""
    numbers = [0]
    size = 0
    for before, frame in pairwise(frames):
        if frame.is_records:
            is_new = not before.is_records or not frame.follows(before)
        else:
            size += before.size
            is_gap = frame.offset != before.next_offset
            is_new = frame.header.magic != before.header.magic or is_gap or size + frame.size > JOINED_BYTES
            size = 0 if is_new else size
        numbers.append(numbers[-1] + is_new)
    for _, run in groupby(zip(numbers, frames, strict=False), key=lambda each: each[0]):
        yield [frame for _, frame in run]


def _fitting(run: list[Frame], max_bytes: int, *, always: bool) -> int:
    """How many of the frames take at most so many bytes."""
    for number, frame in enumerate(run):
        max_bytes -= frame.size
        if max_bytes < 0:
            return max(number, int(always))
    return len(run)


def _convert(run: list[Frame], place: tuple[Converted, int], offset: int) -> bytes:
    """Messages as one batch of records, which begins at this offset if that lies within the first frame."""
    converted, number = place
    first = run[0].batch(0, offset)
    count = run[-1].next_offset - first.offset
    at = (number, first.offset, count)
    made = converted.get(at)
    if made is None:
        made = converted.make(at, first if len(run) == 1 else _join(first, run, count))
    return made


def _join(first: Batch, run: list[Frame], count: int) -> Batch:
    offsets, times = array("q", [first.offset]), array("q", [run[0].header.base_ms])
    for frame in run[1:]:
        if frame.header.base_ms != times[-1]:
            offsets.append(frame.offset)
            times.append(frame.header.base_ms)
    joined: Times = times[0] if len(times) == 1 else (offsets, times)
    data = b"".join([first.data, *[frame.data for frame in run[1:]]])
    return type(first)(first.offset, count, data, joined)
