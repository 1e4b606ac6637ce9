"""Walks the frames of a segment, and finds its way on when something there is none.

A frame is believed if its checksum is right and its offset is the one that was due. Where that is not so, the walk
goes on at the next frame that can be believed, and tells what it left out: a gap. Nothing within the bytes that a
broken frame claims is taken for a frame just because its checksum is right: a message may hold the bytes of a frame
(somebody publishes a segment's file). It is one if the checksum of the broken frame says that this one ends there; and
what is found elsewhere must lead, frame by frame, to where the walk goes on anyway.

Reads with the calls of ``files``, a window at a time. Knows no log and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from crc32c import crc32c

from gstream.header import CHECKED_FROM, HEADER_BYTES, LENGTH_FROM, MIN_LENGTH, Header, unpack_header
from gstream.storage.files import Files
from gstream.storage.finding import Finding, Kind
from gstream.storage.frame import Frame, FrameError, check_crc, decode_header, is_records
from gstream.storage.index import Index

__all__ = ["NO_LIMIT", "WINDOW_BYTES", "Gap", "Window", "scan"]

WINDOW_BYTES: Final = 1 << 20
NO_LIMIT: Final = 1 << 62
"""More than any offset."""

_EPOCH_AND_MAGIC: Final = re.compile(rb"\0\0\0\0(?=[\x02Pp])")
"""What every frame that we wrote has in its bytes 12 to 16."""
_EPOCH_FROM: Final = 12
_MARK_BYTES: Final = 5


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes that are left out.

    position, end: where they lie in the file. offset: the one that was due. next_offset: of the frame that follows,
    None if there is none up to the end: a torn tail. why: what is wrong with the first of them.
    holds_frames: whether a frame that cannot be placed was found in them.
    """

    position: int
    end: int
    offset: int
    next_offset: int | None
    why: str
    holds_frames: bool = False

    @property
    def size(self) -> int:
        """In bytes."""
        return self.end - self.position

    def damage(self, path: str, limit: int | None) -> Finding:
        """What there is to tell of it, in this file. limit: where the next segment begins; None: there is none."""
        following = limit if self.next_offset is None else self.next_offset
        return Finding(Kind.DAMAGED, path, self.why, self.position, self.size, self.offset, following)


class Window:
    """The part of a file that is in memory.

    fd: an open descriptor. end: nothing is read behind this position. limit: no frame holds this offset or a later one.
    window_bytes: how much is read at a time.
    """

    __slots__ = ("_buffer", "_fd", "_files", "_start", "_window_bytes", "end", "limit")

    def __init__(
        self, files: Files, fd: int, end: int, limit: int = NO_LIMIT, window_bytes: int = WINDOW_BYTES
    ) -> None:
        self._files = files
        self._fd = fd
        self._window_bytes = window_bytes
        self._buffer = b""
        self._start = 0
        self.end = end
        self.limit = limit

    def _take(self, position: int, size: int) -> int:
        """Have so many bytes in memory, as far as there are so many; returns where in the buffer they begin."""
        start = position - self._start
        if start < 0 or start + size > len(self._buffer):
            wanted = min(max(size, self._window_bytes), self.end - position)
            self._buffer = self._files.read(self._fd, max(0, wanted), position)
            self._start = position
            return 0
        return start

    def header(self, position: int, offset: int | None = None) -> Header:
        """The header there, its checksum not checked. Raises FrameError."""
        start = self._take(position, HEADER_BYTES)
        return decode_header(self._buffer, start, offset)

    def raw_header(self, position: int) -> Header | None:
        """What stands where a header's fields would be."""
        return unpack_header(self._buffer, self._take(position, HEADER_BYTES))

    def frame(self, position: int, offset: int | None = None) -> Frame:
        """The frame there, which must have this offset, if one is given. Raises FrameError."""
        start = self._take(position, HEADER_BYTES)
        header = decode_header(self._buffer, start, offset)
        size = header.size
        if header.next_offset > self.limit:
            raise FrameError(f"offset {header.next_offset - 1} in a segment that ends before {self.limit}")
        if position + size > self.end:
            raise FrameError(f"cut off: {self.end - position} of {size} bytes")
        if start + size > len(self._buffer):
            start = self._take(position, size)
            if start + size > len(self._buffer):
                raise FrameError("cut off: the file has become shorter")
        check_crc(header, self._buffer, start)
        return Frame(header, self._buffer, start, position)

    def holds(self, position: int) -> bool:
        """Whether the frame there, if there is one, is in memory as a whole."""
        start = position - self._start
        header = unpack_header(self._buffer, start)
        return header is not None and start + header.size <= len(self._buffer)

    def run(self, position: int, offset: int, first: int, end: int, max_bytes: int) -> tuple[memoryview, int] | None:
        """Consecutive record batches from the one on that holds the offset ``first``, and the offset behind them.

        At this position, the frame with ``offset`` is due. At least one batch, and others as far as they are in memory,
        begin before ``end`` and fit; None: something else is among them, and has to be looked at frame by frame. This
        takes a third of what that takes.
        """
        start = self._take(position, HEADER_BYTES)
        buffer = self._buffer
        view = memoryview(buffer)
        began, size = start, 0
        while offset < end:
            header = unpack_header(buffer, start)
            if header is None:
                break
            base_offset, length, _, magic, crc, attributes, last_delta, _, _, _, _, _, records = header
            stop = start + length + LENGTH_FROM
            following = offset + last_delta + 1
            if not is_records(magic, attributes, last_delta, records) or base_offset != offset or length < MIN_LENGTH:
                return None
            if stop > len(buffer) or (size and stop - began > max_bytes):
                break
            if following > first:
                if following > self.limit or crc32c(view[start + CHECKED_FROM : stop]) != crc:
                    return None
                size = stop - began
            else:
                began = stop
            start, offset = stop, following
        return (view[began : began + size], offset) if size else None

    def checksum(self, position: int, end: int, crc: int) -> int:
        """The checksum of bytes that follow those whose checksum is given."""
        for start in range(position, end, WINDOW_BYTES):
            crc = crc32c(self._files.read(self._fd, min(WINDOW_BYTES, end - start), start), crc)
        return crc

    def marks(self, position: int, stop: int) -> Iterator[int]:
        """Positions before ``stop`` where a frame might begin: zeros and a known magic are in their places."""
        at = position + _EPOCH_FROM
        while at < stop:
            # Read apart from the window: it is needed where the frames are that this finds.
            chunk = self._files.read(self._fd, min(WINDOW_BYTES + _MARK_BYTES - 1, self.end - at), at)
            if len(chunk) < _MARK_BYTES:
                return
            if chunk.strip(b"\0"):  # a tail of zeros is what some file systems leave, and it may be long
                for match in _EPOCH_AND_MAGIC.finditer(chunk):
                    if match.start() < WINDOW_BYTES and at + match.start() - _EPOCH_FROM < stop:
                        yield at + match.start() - _EPOCH_FROM
            at += WINDOW_BYTES


def scan(window: Window, position: int, offset: int, index: Index | None = None) -> Iterator[Frame | Gap]:
    """The frames from this position on, where the one with this offset is due, and the gaps between them.

    index: helps to find the way on. Raises OSError.
    """
    while position < window.end:
        try:
            frame = window.frame(position, offset)
        except FrameError as error:
            following, holds_frames = _find_following(window, position, offset, index)
            if following is None:
                yield Gap(position, window.end, offset, None, str(error), holds_frames)
                return
            yield Gap(position, following.position, offset, following.offset, str(error), holds_frames)
            position, offset = following.position, following.offset
        else:
            yield frame
            position, offset = frame.end, frame.next_offset


class _Claim:
    """The bytes that a broken frame says are its own. It may be right but for the length, which no checksum covers."""

    __slots__ = ("_checked", "_crc", "_header", "_window", "end")

    def __init__(self, window: Window, position: int, header: Header) -> None:
        self._window = window
        self._header = header
        self._checked = position + CHECKED_FROM
        self._crc = 0
        self.end = position + header.size

    def ends_at(self, position: int) -> bool:
        """Whether its checksum says that it ends there. Positions must not go back."""
        if position > self._checked:
            self._crc = self._window.checksum(self._checked, position, self._crc)
            self._checked = position
        return self._crc == self._header.crc


def _find_following(window: Window, position: int, offset: int, index: Index | None) -> tuple[Frame | None, bool]:
    """The first frame behind a broken one, and whether there was another that cannot be placed."""
    likely = {offset}
    if raw := window.raw_header(position):  # no single fault spoils both of these
        likely |= {offset + raw.last_offset_delta + 1, offset + raw.records}
    claim = None
    with suppress(FrameError):
        header = window.header(position)
        claim = _Claim(window, position, header) if header.base_offset == offset else None
        claimed = position + header.size
        if claimed == window.end:
            return None, False
        following = window.frame(claimed)
        if following.offset >= offset and _is_borne_out(window, following, likely):
            return following, False
    known = None
    if index is not None:
        for each, its_offset in index.after(position):
            with suppress(FrameError):
                known = window.frame(each, its_offset)
                break
    stop = known.position if known else window.end
    holds_frames = False
    for mark in window.marks(position + 1, stop):
        with suppress(FrameError):
            frame = window.frame(mark)
            if frame.offset < offset:
                continue
            if claim is not None and mark < claim.end:
                if frame.offset in likely and claim.ends_at(mark):
                    return frame, holds_frames
                if claim.end > stop:  # a message's bytes, as far as anybody can tell
                    continue
            if _leads_to(window, frame, known, likely):
                return frame, holds_frames
            holds_frames = True
    return known, holds_frames


def _leads_to(window: Window, frame: Frame, known: Frame | None, likely: set[int]) -> bool:
    """Whether one comes from this frame, header by header, to the one that is known, or else to the end."""
    stop = known.position if known else window.end
    position, offset = frame.end, frame.next_offset
    with suppress(FrameError):
        while position < stop:
            header = window.header(position, offset)
            position, offset = position + header.size, header.next_offset
    if position != stop:
        return False
    return offset == known.offset if known else _is_borne_out(window, frame, likely)


def _is_borne_out(window: Window, frame: Frame, likely: set[int]) -> bool:
    """Whether something else says that its offset is right: the checksum does not cover it."""
    if frame.offset in likely:
        return True
    if frame.end == window.end:
        return frame.next_offset == window.limit
    with suppress(FrameError):
        window.header(frame.end, frame.next_offset)
        return True
    return False
