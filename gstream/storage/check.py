"""Reads the files of the disk engine as somebody who does not own them: to show what is in them, or to verify them.

It changes nothing and takes no lock, so it works beside a running server: what is appended after a segment was opened
is not looked at, the end of the last segment may be half written, an index may be just being written, and a segment or
a topic may be dropped meanwhile. ``meta.db`` is read as SQLite's readers do, which stop no writer.

Never holds more than a window of a segment and one batch. Knows the directory's layout, and no log. Blocks; raises
StorageError.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

from gstream.errors import StorageError, VersionError
from gstream.header import CHECKED_FROM
from gstream.storage import salvage
from gstream.storage.contents import contradiction
from gstream.storage.directory import NAMES, TOPICS, VERSION_FILE, has_version, is_partition, is_topic
from gstream.storage.files import Files, storage_errors
from gstream.storage.finding import Finding, Kind
from gstream.storage.frame import Frame, FrameError
from gstream.storage.index import ENTRY_BYTES, INDEX_HEADER_BYTES, Index, IndexFileError
from gstream.storage.meta import META
from gstream.storage.scan import NO_LIMIT, Window, scan
from gstream.storage.segment import CUT, INDEX, LOG, base_of, name_of
from gstream.storage.snapshot import PRODUCERS, SnapshotError, decode_snapshot

__all__ = ["Dumped", "Progress", "Totals", "dump", "verify"]

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many bytes of how many have been read."""

PROGRESS_BYTES: Final = 8 << 20
"""It is told so often, and at the end of each segment."""

LARGE_BYTES: Final = 64 << 20
"""A frame that claims more than that is not read before its checksum was seen to be right."""

MAX_NAMES: Final = 10
"""Of topics, in an error."""

EXPECTED: Final = (
    "a data directory (with the file version), or in it a topic's (topics/NAME) or a partition's (topics/NAME/0)"
)


@dataclass(frozen=True, slots=True)
class Dumped:
    """A whole frame, and the file in which it lies."""

    path: str
    frame: Frame


@dataclass(slots=True)
class Totals:
    """What has been read so far.

    files: segments, and the indexes that are there; bytes: their size. batches, messages: those that are whole.
    """

    files: int = 0
    bytes: int = 0
    batches: int = 0
    messages: int = 0


@dataclass(frozen=True, slots=True)
class _Part:
    """A segment to be read. limit: where the next one begins; None if it is the last."""

    path: str
    base_offset: int
    size: int
    limit: int | None


def dump(
    target: str,
    progress: Progress | None = None,
    files: Files | None = None,
    *,
    topic: str | None = None,
    from_offset: int = 0,
) -> Iterator[Dumped | Finding]:
    """What is in a segment's file, a partition's, a topic's or the whole directory, in order; and what is wrong there.

    topic: this one only, of a whole directory. from_offset: in each partition, from the frame on that holds it.

    Raises StorageError if the target cannot be read, VersionError if another version wrote it.
    """
    files = files or Files()
    with storage_errors(target):
        parts = [each for each in _find(files, target, topic) if isinstance(each, _Part)]
        meter = _Meter([each for each in parts if each.limit is None or each.limit > from_offset], progress)
        for part in meter.parts:
            with suppress(FileNotFoundError):  # dropped meanwhile
                for found in _read(files, part, meter, from_offset):
                    if isinstance(found, Finding):
                        yield found
                    elif found.next_offset > from_offset:
                        yield Dumped(part.path, found)
            meter.finish(part)


def verify(
    target: str,
    progress: Progress | None = None,
    files: Files | None = None,
    *,
    topic: str | None = None,
    totals: Totals | None = None,
) -> Iterator[Finding]:
    """All that is not as it should be in a segment's file, a partition's, a topic's or the whole directory.

    Of these only Kind.DAMAGED may have cost messages. totals: is told what was read, but for ``meta.db``, which comes
    last, and only with the whole directory. For the rest see :func:`dump`.
    """
    files = files or Files()
    totals = totals or Totals()
    with storage_errors(target):
        found = list(_find(files, target, topic))
        yield from (each for each in found if isinstance(each, Finding))
        meter = _Meter([each for each in found if isinstance(each, _Part)], progress)
        for part in meter.parts:
            with suppress(FileNotFoundError):  # dropped meanwhile
                yield from _verify_part(files, part, meter, totals)
            meter.finish(part)
        if topic is None:
            yield from salvage.verify(os.path.join(target, META))


class _Meter:
    """How much of the parts has been read."""

    def __init__(self, parts: list[_Part], progress: Progress | None) -> None:
        self.parts = parts
        self._progress = progress
        self._total = sum(part.size for part in parts)
        self._done = 0

    def reach(self, part: _Part, position: int) -> None:
        """A part has been read up to there; it may have grown."""
        if self._progress is not None:
            self._progress(self._done + min(position, part.size), self._total)

    def finish(self, part: _Part) -> None:
        """A part has been read."""
        self._done += part.size
        self.reach(part, 0)


# --- what there is


def _find(files: Files, target: str, topic: str | None) -> Iterator[_Part | Finding]:
    """The segments of the target, and what is in its directories besides."""
    parts: Iterator[_Part | Finding]
    if not files.is_directory(target):
        parts = _find_file(files, target)
    else:
        names = files.names(target)
        if TOPICS in names or VERSION_FILE in names:
            yield from _find_in_directory(files, target, names, topic)
            return
        if any(is_partition(name) and files.is_directory(os.path.join(target, name)) for name in names):
            parts = _find_in_topic(files, target)
        elif any(base_of(name, suffix) is not None for name in names for suffix in (LOG, INDEX, CUT)):
            parts = _find_in_partition(files, target)
        else:
            raise StorageError(f"{target}: holds no messages; expected {EXPECTED}")
    if topic is not None:
        raise StorageError(f"{target}: there are no topics to choose from; only a data directory has them")
    yield from parts


def _find_file(files: Files, target: str) -> Iterator[_Part | Finding]:
    files.close(files.open(target))  # whether there is one at all
    base = base_of(os.path.basename(target), LOG)
    if base is None:
        text = f"neither a directory nor a segment, whose name is 20 digits and {LOG}; expected one of those, or"
        raise StorageError(f"{target}: {text} {EXPECTED}")
    for each in _find_in_partition(files, os.path.dirname(target) or "."):
        if isinstance(each, _Part) and each.base_offset == base:
            yield each


def _find_in_directory(files: Files, path: str, names: list[str], topic: str | None) -> Iterator[_Part | Finding]:
    if not has_version(files, path):
        raise VersionError(f"{path}: has no version")
    topics = os.path.join(path, TOPICS)
    there = files.names(topics) if TOPICS in names else []
    if topic is not None:
        if topic not in there:
            known = ", ".join(there[:MAX_NAMES]) + (", ..." if len(there) > MAX_NAMES else "")
            raise StorageError(f"{path}: no such topic: {topic} (there are: {known or 'none'})")
        yield from _find_in_topic(files, os.path.join(topics, topic))
        return
    for name in names:
        if name not in NAMES and not name.startswith(META):  # SQLite has more
            yield _strange(path, name)
    for name in there:
        if is_topic(name) and files.is_directory(os.path.join(topics, name)):
            with suppress(FileNotFoundError):  # removed meanwhile
                yield from _find_in_topic(files, os.path.join(topics, name))
        else:
            yield _strange(topics, name)


def _find_in_topic(files: Files, path: str) -> Iterator[_Part | Finding]:
    for name in sorted(files.names(path), key=lambda name: (len(name), name)):
        if is_partition(name) and files.is_directory(os.path.join(path, name)):
            yield from _find_in_partition(files, os.path.join(path, name))
        else:
            yield _strange(path, name)


def _find_in_partition(files: Files, path: str) -> Iterator[_Part | Finding]:
    sizes = files.sizes(path)
    bases = sorted(base for name in sizes if (base := base_of(name, LOG)) is not None)
    for name in files.names(path):
        if base_of(name, CUT) is not None:
            text = "cut off the end of its segment; it holds frames that could not be placed"
            yield Finding(Kind.KEPT_ASIDE, os.path.join(path, name), text, 0, sizes.get(name, 0))
        elif all(base_of(name, suffix) is None for suffix in (LOG, INDEX, PRODUCERS)):
            yield _strange(path, name)
    for base, limit in pairwise([*bases, None]):
        assert base is not None
        name = name_of(base, LOG)
        yield _Part(os.path.join(path, name), base, sizes[name], limit)


def _strange(path: str, name: str) -> Finding:
    return Finding(Kind.STRANGE, os.path.join(path, name), "not one of gstream's files")


# --- what is in it


class _CheckedWindow(Window):
    """A window that a broken length does not make as large as a file."""

    def frame(self, position: int, offset: int | None = None) -> Frame:
        """The frame there; see Window."""
        header = self.header(position, offset)
        end = position + header.size
        is_large = LARGE_BYTES < header.size <= self.end - position
        if is_large and self.checksum(position + CHECKED_FROM, end, 0) != header.crc:
            raise FrameError("the checksum is wrong")
        return super().frame(position, offset)


def _read(files: Files, part: _Part, meter: _Meter, from_offset: int = 0) -> Iterator[Frame | Finding]:
    """The frames of a segment, from one on that is not behind this offset, and what is wrong between them."""
    with files.opening(part.path) as fd:
        size = files.size(fd)
        kind = _CheckedWindow if size > LARGE_BYTES else Window  # which takes a third less for small frames
        window = kind(files, fd, size, NO_LIMIT if part.limit is None else part.limit)
        end, end_offset = _begin(files, part, window, from_offset)
        due = end + PROGRESS_BYTES
        for found in scan(window, end, end_offset):
            if isinstance(found, Frame):
                yield found
                end, end_offset = found.end, found.next_offset
                if end >= due:
                    meter.reach(part, end)
                    due = end + PROGRESS_BYTES
            elif found.next_offset is None and part.limit is None:
                yield Finding(Kind.TORN, part.path, found.why, found.position, found.size, found.offset)
            else:
                yield found.damage(part.path, part.limit)
    if part.limit is not None and end == size and end_offset < part.limit:
        text = f"ends at {end_offset}, the next segment begins at {part.limit}"
        yield Finding(Kind.DAMAGED, part.path, text, size, 0, end_offset, part.limit)


def _begin(files: Files, part: _Part, window: Window, offset: int) -> tuple[int, int]:
    """Where to begin to look for this offset: a position, and the offset of the frame that begins there."""
    if offset > part.base_offset:
        with suppress(FileNotFoundError, IndexFileError, FrameError):
            index = _read_index(files, part.path.removesuffix(LOG) + INDEX, part)
            position, due = index.find(offset)
            window.frame(position, due)
            return position, due
    return 0, part.base_offset


def _verify_part(files: Files, part: _Part, meter: _Meter, totals: Totals) -> Iterator[Finding]:
    path = part.path.removesuffix(LOG) + INDEX
    entries: dict[int, int] = {}
    with suppress(FileNotFoundError, IndexFileError):
        entries.update((position, offset) for offset, position in _read_index(files, path, part))
    totals.files += 1
    end = 0
    for found in _read(files, part, meter):
        if isinstance(found, Finding):
            if not _is_there(files, part.path):
                return  # and so, perhaps, is what is missing in it or behind it
            yield found
            end = found.position + found.size
            for position in [each for each in entries if found.position <= each < end]:
                del entries[position]  # it may be right: there was a frame
            continue
        end = found.end
        totals.batches += 1
        totals.messages += found.header.records
        if entries.get(found.position) == found.offset:
            del entries[found.position]
        if why := contradiction(found):
            yield Finding(Kind.DAMAGED, part.path, why, found.position, found.size, found.offset, found.next_offset)
    totals.bytes += end
    yield from _verify_snapshot(files, part)
    wrong = "it leads to where no frame begins" if entries else ""
    try:  # once more: one that was just being written is whole by now
        index = _read_index(files, path, part)
        totals.files += 1
        totals.bytes += INDEX_HEADER_BYTES + ENTRY_BYTES * len(index)
        if part.limit is not None and index.end != end:
            wrong = f"it ends at {index.end} of {end} bytes"
    except FileNotFoundError:
        wrong = "it is missing" if part.limit is not None else ""
    except IndexFileError as error:
        wrong = str(error)
    if wrong and _is_there(files, part.path):  # an index goes before its segment
        yield Finding(Kind.INDEX, path, wrong)


def _verify_snapshot(files: Files, part: _Part) -> Iterator[Finding]:
    path = part.path.removesuffix(LOG) + PRODUCERS
    with suppress(FileNotFoundError), files.opening(path) as fd:
        data = files.read(fd, files.size(fd), 0)
        try:
            decode_snapshot(data, part.base_offset)
        except SnapshotError as error:
            yield Finding(Kind.INDEX, path, str(error))


def _read_index(files: Files, path: str, part: _Part) -> Index:
    with files.opening(path) as fd:
        return Index.decode(files.read(fd, files.size(fd), 0), part.base_offset)


def _is_there(files: Files, path: str) -> bool:
    try:
        files.close(files.open(path))
    except FileNotFoundError:
        return False
    return True
