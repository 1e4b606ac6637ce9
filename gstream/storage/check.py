"""Reads the files of the disk engine as somebody who does not own them: to show what is in them, or to verify them.

It changes nothing and takes no lock, so it works beside a running server: what is appended after a segment was opened
is not looked at, the end of the last segment may be half written, and a segment may be dropped meanwhile.

Knows the directory's layout, and no log. Blocks; raises StorageError.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

from gstream.batch import Batch
from gstream.errors import StorageError, VersionError
from gstream.storage.directory import LOCK, TOPICS, VERSION, is_partition, is_topic, read_version
from gstream.storage.files import Files, storage_error
from gstream.storage.finding import Finding, Kind
from gstream.storage.frame import Frame
from gstream.storage.index import Index, IndexFileError
from gstream.storage.scan import NO_LIMIT, Gap, Window, scan
from gstream.storage.segment import CUT, INDEX, LOG, base_of, name_of

__all__ = ["Dumped", "Progress", "dump", "verify"]

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many bytes of how many have been read."""

_BESIDES: Final = ("meta.db",)
"""What else the disk engine keeps in its directory: whatever begins like this."""


@dataclass(frozen=True, slots=True)
class Dumped:
    """A whole frame, and the file in which it lies."""

    path: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class _Part:
    """A segment to be read. limit: where the next one begins; None if it is the last."""

    path: str
    base_offset: int
    size: int
    limit: int | None


def dump(target: str, progress: Progress | None = None, files: Files | None = None) -> Iterator[Dumped | Finding]:
    """What is in a segment's file, a partition's, a topic's or the whole directory, in order; and what is wrong there.

    Raises StorageError if the target cannot be read, VersionError if another version wrote it.
    """
    files = files or Files()
    with _errors(target):
        parts = [each for each in _find(files, target) if isinstance(each, _Part)]
        for part in _with_progress(parts, progress):
            with suppress(FileNotFoundError):  # dropped meanwhile
                yield from _read(files, part, Index(part.base_offset))


def verify(target: str, progress: Progress | None = None, files: Files | None = None) -> Iterator[Finding]:
    """All that is not as it should be in a segment's file, a partition's, a topic's or the whole directory.

    Of these only Kind.DAMAGED has cost messages. Raises as :func:`dump` does.
    """
    files = files or Files()
    with _errors(target):
        found = list(_find(files, target))
        yield from (each for each in found if isinstance(each, Finding))
        for part in _with_progress([each for each in found if isinstance(each, _Part)], progress):
            with suppress(FileNotFoundError):  # dropped meanwhile
                yield from _verify_part(files, part)


def _with_progress(parts: list[_Part], progress: Progress | None) -> Iterator[_Part]:
    total = sum(part.size for part in parts)
    done = 0
    for part in parts:
        yield part
        done += part.size
        if progress is not None:
            progress(done, total)


# --- what there is


def _find(files: Files, target: str) -> Iterator[_Part | Finding]:
    """The segments of the target, and what is in its directories besides."""
    if not files.is_directory(target):
        name = os.path.basename(target)
        base = base_of(name, LOG)
        if base is None:
            raise StorageError(f"{target}: neither a directory nor a segment, whose name is 20 digits and {LOG}")
        parts = _find_in_partition(files, os.path.dirname(target) or ".")
        found = [each for each in parts if isinstance(each, _Part) and each.base_offset == base]
        if not found:
            raise StorageError(f"{target}: no such file")
        yield from found
        return
    names = files.names(target)
    if TOPICS in names or "version" in names:
        yield from _find_in_directory(files, target, names)
    elif names and all(is_partition(name) for name in names):
        yield from _find_in_topic(files, target)
    else:
        yield from _find_in_partition(files, target)


def _find_in_directory(files: Files, path: str, names: list[str]) -> Iterator[_Part | Finding]:
    version = read_version(files, path)
    if version is None:
        raise VersionError(f"{path}: has no version")
    if version != VERSION:
        raise VersionError(f"{path}: has version {version}, this gstream reads {VERSION}")
    for name in names:
        if name not in {TOPICS, LOCK, "version"} and not name.startswith(_BESIDES):
            yield _strange(path, name)
    topics = os.path.join(path, TOPICS)
    for name in files.names(topics) if TOPICS in names else ():
        if is_topic(name) and files.is_directory(os.path.join(topics, name)):
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
        elif base_of(name, LOG) is None and base_of(name, INDEX) is None:
            yield _strange(path, name)
    for base, limit in pairwise([*bases, None]):
        assert base is not None
        name = name_of(base, LOG)
        yield _Part(os.path.join(path, name), base, sizes[name], limit)


def _strange(path: str, name: str) -> Finding:
    return Finding(Kind.STRANGE, os.path.join(path, name), "not one of gstream's files")


# --- what is in it


def _read(files: Files, part: _Part, index: Index) -> Iterator[Dumped | Finding]:
    """The frames of a segment, which are added to the index, and what is wrong between them."""
    limit = NO_LIMIT if part.limit is None else part.limit
    fd = files.open(part.path)
    try:
        size = files.size(fd)
        for found in scan(Window(files, fd, size, limit), 0, part.base_offset):
            if isinstance(found, Frame):
                index.add(found.header, found.position)
                yield Dumped(part.path, found)
            elif found.next_offset is None and part.limit is None:
                yield Finding(Kind.TORN, part.path, found.why, found.position, found.size, found.offset)
            else:
                yield _damaged(part, found)
    finally:
        files.close(fd)
    if part.limit is not None and index.end == size and index.end_offset < part.limit:
        text = f"ends at {index.end_offset}, the next segment begins at {part.limit}"
        yield Finding(Kind.DAMAGED, part.path, text, size, 0, index.end_offset, part.limit)


def _damaged(part: _Part, gap: Gap) -> Finding:
    following = part.limit if gap.next_offset is None else gap.next_offset
    return Finding(Kind.DAMAGED, part.path, gap.why, gap.position, gap.size, gap.offset, following)


def _verify_part(files: Files, part: _Part) -> Iterator[Finding]:
    path = part.path.removesuffix(LOG) + INDEX
    wrong = ""
    entries: set[tuple[int, int]] = set()
    try:
        index = _read_index(files, path, part)
        entries.update(index)
    except FileNotFoundError:
        wrong = "it is missing" if part.limit is not None else ""
    except IndexFileError as error:
        wrong = str(error)
    for found in _read(files, part, Index(part.base_offset)):
        if isinstance(found, Finding):
            yield found
            continue
        frame = found.frame
        entries.discard((frame.offset, frame.position))
        if not frame.is_records and (why := _contradiction(frame.batch())):
            yield Finding(Kind.DAMAGED, part.path, why, frame.position, frame.size, frame.offset, frame.next_offset)
    if entries:
        wrong = "it leads to where no frame begins"
    if wrong:
        yield Finding(Kind.INDEX, path, wrong)


def _read_index(files: Files, path: str, part: _Part) -> Index:
    fd = files.open(path)
    try:
        index = Index.decode(files.read(fd, files.size(fd), 0), part.base_offset)
    finally:
        files.close(fd)
    if part.limit is not None and index.end != part.size:
        raise IndexFileError(f"it ends at {index.end} of {part.size} bytes")
    return index


def _contradiction(batch: Batch) -> str:
    """What is wrong with a batch whose checksum is right: it was wrong when it was written."""
    data = batch.data
    if batch.is_lines:
        sound = data[:1] == b"p" and data[-1:] == b"\n" and data.count(b"\n") == data.count(b"\np") + 1 == batch.count
    else:
        try:
            sound = batch.find_end(data, 0, len(data), batch.count, batch.count + 1) == len(data)
            sound = sound and sum(1 for _ in batch.messages()) == batch.count
        except (struct.error, UnicodeDecodeError):
            sound = False
    return "" if sound else "its messages do not fill it"


@contextmanager
def _errors(target: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, error.filename or target) from error
