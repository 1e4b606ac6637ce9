"""One segment: a file of frames, and its index beside it.

The last segment of a log grows: it has a descriptor, and its index is in memory. The others are sealed: their bytes
were on disk before the next one began, they never change, and their index is in a file. A reader opens the file for
each read, so that nobody can close it meanwhile: 5 us, where the reading takes hundreds.

Knows no other segment, and is told by its log what is due. Blocks; raises OSError.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from gstream.errors import DamagedError
from gstream.header import HEADER_BYTES, Header
from gstream.storage.files import Buffer, Files
from gstream.storage.finding import Finding, Kind, Report
from gstream.storage.frame import Frame, FrameError
from gstream.storage.index import INTERVAL_BYTES, Index, IndexFileError
from gstream.storage.scan import NO_LIMIT, WINDOW_BYTES, Gap, Window, scan

__all__ = ["CUT", "INDEX", "LOG", "Segment", "base_of", "name_of", "write_all"]

LOG: Final = ".log"
INDEX: Final = ".index"
CUT: Final = ".cut"
_DIGITS: Final = 20

_Find: TypeAlias = Callable[[Index], tuple[int, int]]
_Note: TypeAlias = Callable[[Frame], None]


def _do_nothing(_frame: Frame) -> None:
    pass


def name_of(base_offset: int, suffix: str) -> str:
    """The name of a segment's file."""
    return f"{base_offset:0{_DIGITS}d}{suffix}"


def base_of(name: str, suffix: str) -> int | None:
    """The base offset of the segment whose file has this name; None if it is no such name."""
    digits = name.removesuffix(suffix)
    if digits == name or len(digits) != _DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    return int(digits) if int(digits) < NO_LIMIT else None


class Segment:
    """Frames with rising offsets.

    directory: where its files lie. base_offset: of its first message. size: of its frames, in bytes.
    limit: where the next segment begins; None: it is the last one.
    """

    def __init__(
        self,
        files: Files,
        directory: str,
        base_offset: int,
        size: int = 0,
        limit: int | None = None,
        interval_bytes: int = INTERVAL_BYTES,
    ) -> None:
        self._files = files
        self._interval_bytes = interval_bytes
        self.base_offset = base_offset
        self.size = size
        self.limit = NO_LIMIT if limit is None else limit
        """No offset in it reaches this one."""
        self.path = os.path.join(directory, name_of(base_offset, LOG))
        self.index_path = os.path.join(directory, name_of(base_offset, INDEX))
        self.index: Index | None = None
        """What is in memory of it; :meth:`load_index` gets it."""
        self._cut_path = os.path.join(directory, name_of(base_offset, CUT))
        self._fd: int | None = None
        self._end_offset = base_offset
        self._is_removed = False
        self.synced_size = size
        """So many of its bytes are known to be on disk."""

    def __repr__(self) -> str:
        return f"<Segment {self.base_offset}, {self.size} bytes>"

    @property
    def is_sealed(self) -> bool:
        """Whether it grows no more."""
        return self.limit != NO_LIMIT

    @property
    def end_offset(self) -> int:
        """Of the message behind its last one."""
        return self.limit if self.is_sealed else self._end_offset

    # --- the one that grows

    def create(self) -> None:
        """Make its file, and be ready to grow."""
        self._fd = self._files.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self.index = Index(self.base_offset, self._interval_bytes)

    def recover(self, report: Report, note: _Note = _do_nothing) -> Index:
        """Scan all of it, cut a torn tail off, and be ready to grow. Afterwards all of it is on disk.

        note: is given each frame.
        """
        if self._fd is None:
            self._fd = self._files.open(self.path, os.O_RDWR)
        try:
            self.index = self._recover(self._fd, report, note)
        except BaseException:
            self.close()
            raise
        self._end_offset = self.index.end_offset
        return self.index

    def _recover(self, fd: int, report: Report, note: _Note) -> Index:
        files = self._files
        files.sync(fd)  # what is served from here on must not vanish, whoever wrote it
        files.forget(fd)  # and after a failed sync, perhaps another process's, memory holds what the disk does not
        index = Index(self.base_offset, self._interval_bytes)
        size = files.size(fd)
        for found in scan(Window(files, fd, size), 0, self.base_offset):
            if isinstance(found, Frame):
                index.add(found.header, found.position)
                note(found)
            elif found.next_offset is not None:
                report(self._damage(found))
            else:
                self._cut(fd, found, report)
                size = found.position
        self.size = self.synced_size = size
        return index

    def _cut(self, fd: int, tail: Gap, report: Report) -> None:
        files = self._files
        if tail.holds_frames:
            with files.opening(self._cut_path, os.O_RDWR | os.O_CREAT) as aside:
                self._copy(fd, aside, tail)
                files.sync(aside)
            text = f"what follows is not torn, but cannot be placed; it is kept in {self._cut_path}"
            files.sync_directory(os.path.dirname(self.path))
            report(Finding(Kind.KEPT_ASIDE, self.path, text, tail.position, tail.size, tail.offset))
        files.truncate(fd, tail.position)
        files.sync(fd)
        report(Finding(Kind.TORN, self.path, tail.why, tail.position, tail.size, tail.offset))

    def _copy(self, fd: int, aside: int, tail: Gap) -> None:
        files = self._files
        end = files.size(aside)
        for position in range(tail.position, tail.end, WINDOW_BYTES):
            data = files.read(fd, min(WINDOW_BYTES, tail.end - position), position)
            end += write_all(files, aside, [data], end)

    def append(self, buffers: Sequence[Buffer], headers: Iterable[Header]) -> None:
        """Write frames with one call.

        Raises OSError when they could not all be written; then none is there. Raises DamagedError when that cannot be
        said, because what was written could not be cut off again.
        """
        assert self._fd is not None
        assert self.index is not None
        try:
            written = write_all(self._files, self._fd, buffers, self.size)
        except OSError as error:
            try:
                self._files.truncate(self._fd, self.size)
            except OSError as also:
                text = f"{self.path}: half a write ({error.strerror}) cannot be cut off: {also.strerror}"
                raise DamagedError(text) from error
            raise
        position = self.size
        for header in headers:
            self.index.add(header, position)
            position += header.size
        assert position == self.size + written
        self.size = position  # after the index, and before the offset: readers look no further than either
        self._end_offset = self.index.end_offset

    def sync(self) -> None:
        """Return when all that was appended is on disk."""
        assert self._fd is not None
        size = self.size
        if size > self.synced_size:
            self._files.sync(self._fd)
            self.synced_size = size

    def write_again(self) -> None:
        """Write what is not known to be on disk once more, and see that it gets there.

        After a failed sync the system holds such bytes to be clean: it would not write them by itself.
        """
        assert self._fd is not None
        files = self._files
        files.truncate(self._fd, self.size)
        for position in range(self.synced_size, self.size, WINDOW_BYTES):
            data = files.read(self._fd, min(WINDOW_BYTES, self.size - position), position)
            write_all(files, self._fd, [data], position)
        files.sync(self._fd)

    def seal(self, limit: int) -> None:
        """It grows no more: the next segment begins with this offset. Writes the index, if there is room for it."""
        self.save_index()
        self.limit = limit  # not before: an index leaves memory only if its segment is sealed, and is in its file then
        self.close()

    def written_ms(self) -> int:
        """When something was appended last, as far as the system knows, in milliseconds since 1970."""
        return self._files.written_ms(self.path)

    def close(self) -> None:
        """Give back the descriptor."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._files.close(fd)

    def remove(self) -> None:
        """Remove its files. The index goes first: an index without a segment would be in nobody's way, but stay."""
        self._is_removed = True
        with suppress(FileNotFoundError):
            self._files.remove(self.index_path)
        self._files.remove(self.path)

    # --- its index

    def save_index(self) -> None:
        """Write the index's file. That it could not be written is no error: it can always be made again."""
        index = self.index
        if index is None:
            return
        with suppress(OSError), self._files.opening(self.index_path, os.O_RDWR | os.O_CREAT) as fd:
            data = index.encode()
            self._files.truncate(fd, 0)
            write_all(self._files, fd, [data], 0)

    def load_index(self, report: Report) -> Index:
        """The index: from memory, from its file, or made again."""
        index = self.index
        if index is None:
            try:
                index = self._read_index()
            except FileNotFoundError:
                index = self.rebuild_index(report, "it is missing")
            except IndexFileError as error:
                index = self.rebuild_index(report, str(error))
            self.index = index
        return index

    def _read_index(self) -> Index:
        with self._files.opening(self.index_path) as fd:
            data = self._files.read(fd, self._files.size(fd), 0)
        index = Index.decode(data, self.base_offset, self._interval_bytes)
        if index.end > self.size or index.end_offset > self.limit:
            raise IndexFileError("it tells of more than there is")
        if index.end < self.size:
            raise IndexFileError(f"it ends at {index.end} of {self.size} bytes")
        return index

    def rebuild_index(self, report: Report, why: str) -> Index:
        """Make the index from the segment, and write it. What is removed has none: then FileNotFoundError."""
        if self._is_removed:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path)
        index = Index(self.base_offset, self._interval_bytes)
        with self._files.opening(self.path) as fd:
            for found in scan(Window(self._files, fd, self.size, self.limit), 0, self.base_offset):
                if isinstance(found, Frame):
                    index.add(found.header, found.position)
                else:
                    report(self._damage(found))
        index.end = self.size  # whatever there is at its end
        report(Finding(Kind.INDEX, self.index_path, f"{why}; made again"))
        self.index = index
        self.save_index()
        return index

    # --- reading

    def read(self, offset: int, max_bytes: int, report: Report) -> list[Frame]:
        """Frames from the one on that holds this offset: at most so many bytes of them, but always one.

        Empty if there is none in this segment. May return fewer than there are.
        """
        frames: list[Frame] = []
        with self._files.opening(self.path) as fd:
            window, index, position, due = self._begin(fd, max_bytes, lambda index: index.find(offset), report)
            for found in scan(window, position, due, index):
                if isinstance(found, Gap):
                    report(self._damage(found))
                    continue
                if found.next_offset <= offset:
                    continue
                max_bytes -= found.size
                if frames and max_bytes < 0:
                    break
                frames.append(found)
                if max_bytes < HEADER_BYTES or not window.holds(found.end):
                    break
        return frames

    def read_run(self, offset: int, max_bytes: int, end: int, report: Report) -> tuple[memoryview, int] | None:
        """Consecutive record batches from the one on that holds this offset: see Window.run."""
        with self._files.opening(self.path) as fd:
            window, _, position, due = self._begin(fd, max_bytes, lambda index: index.find(offset), report)
            return window.run(position, due, offset, end, max_bytes)

    def frames_since(self, time_ms: int, report: Report) -> Iterator[Frame]:
        """The frames that have a message of this time or later."""
        if self.load_index(report).last_ms < time_ms:
            return
        with self._files.opening(self.path) as fd:
            window, index, position, due = self._begin(
                fd, self._interval_bytes, lambda index: index.find_time(time_ms), report
            )
            for found in scan(window, position, due, index):
                if isinstance(found, Gap):
                    report(self._damage(found))
                elif found.header.max_ms >= time_ms:
                    yield found

    def _begin(self, fd: int, window_bytes: int, find: _Find, report: Report) -> tuple[Window, Index, int, int]:
        """Where a scan begins, by an index that was seen to be right there, and the offset that is due."""
        index = self.load_index(report)
        # The size comes behind the index: one that was read from its file tells of a sealed segment, to its very end,
        # and that may have grown and been sealed just now. One that grows may tell of more: then there is nothing yet.
        window = Window(self._files, fd, self.size, self.limit, window_bytes + self._interval_bytes)
        position, due = find(index)
        if not index.is_built:
            try:
                window.frame(position, due)
            except FrameError:
                index = self.rebuild_index(report, f"it leads to position {position}, where its frame is not")
                position, due = find(index)
        return window, index, position, due

    def _damage(self, gap: Gap) -> Finding:
        return gap.damage(self.path, self.limit if self.is_sealed else None)


def write_all(files: Files, fd: int, buffers: Sequence[Buffer], position: int) -> int:
    """Write all of the buffers, in one call unless the system takes only a part; returns how many bytes that were."""
    total = sum(map(len, buffers))
    written = files.write(fd, buffers, position)
    while written < total:  # rare, and mostly followed by the error that says why
        more = files.write(fd, [b"".join(buffers)[written:]], position + written)
        if not more:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += more
    return written
