"""A log's snapshots: what was known of its producers where a segment begins, in a file beside that segment.

There is one only where something is known, and only for the last segment: what came after it is in that segment's
headers. It is on disk before the segment begins.

Knows the layout of the file (docs/format.md). Blocks; raises OSError.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from struct import Struct
from typing import Final

from crc32c import crc32c

from gstream.storage.files import Files
from gstream.storage.producers import ProducerStates
from gstream.storage.segment import base_of, name_of, write_all

__all__ = ["PRODUCERS", "SnapshotError", "Snapshots", "decode_snapshot"]

PRODUCERS: Final = ".producers"

_MAGIC: Final = b"gspr"
_START: Final = Struct(">4sI")
"""The magic, and the checksum of all that follows."""
_BASE: Final = Struct(">q")


class SnapshotError(ValueError):
    """A snapshot that cannot be used; the text says why."""


class Snapshots:
    """The snapshots in the directory of a log.

    names: of the files that are there.
    """

    def __init__(self, files: Files, directory: str, names: Iterable[str]) -> None:
        self._files = files
        self._directory = directory
        self._bases = {base for name in names if (base := base_of(name, PRODUCERS)) is not None}

    def path(self, base_offset: int) -> str:
        """Where the snapshot at this offset lies."""
        return os.path.join(self._directory, name_of(base_offset, PRODUCERS))

    def write(self, base_offset: int, states: ProducerStates) -> None:
        """Keep what is known where the segment with this base offset is to begin."""
        if not len(states):
            self._remove(base_offset)
            return
        checked = _BASE.pack(base_offset) + states.encode()
        self._bases.add(base_offset)
        with self._files.opening(self.path(base_offset), os.O_RDWR | os.O_CREAT) as fd:
            self._files.truncate(fd, 0)
            write_all(self._files, fd, [_START.pack(_MAGIC, crc32c(checked)), checked], 0)
            self._files.sync(fd)
        self._files.sync_directory(self._directory)  # a segment without it would be one before which nobody was known

    def read(self, base_offset: int) -> ProducerStates:
        """What was known where this segment begins: nothing if there is no snapshot. Raises SnapshotError."""
        if base_offset not in self._bases:
            return ProducerStates()
        with self._files.opening(self.path(base_offset)) as fd:
            data = self._files.read(fd, self._files.size(fd), 0)
        return decode_snapshot(data, base_offset)

    def keep_only(self, base_offset: int) -> None:
        """Remove all others. One that cannot be removed is in nobody's way."""
        for base in self._bases - {base_offset}:
            with suppress(OSError):
                self._remove(base)

    def _remove(self, base_offset: int) -> None:
        if base_offset in self._bases:
            with suppress(FileNotFoundError):
                self._files.remove(self.path(base_offset))
            self._bases.discard(base_offset)


def decode_snapshot(data: bytes, base_offset: int) -> ProducerStates:
    """What is in the file for the segment with this base offset. Raises SnapshotError."""
    if len(data) < _START.size + _BASE.size:
        raise SnapshotError(f"{len(data)} bytes are no snapshot")
    magic, crc = _START.unpack_from(data)
    if magic != _MAGIC:
        raise SnapshotError("it does not begin as a snapshot does")
    if crc32c(memoryview(data)[_START.size :]) != crc:
        raise SnapshotError("the checksum is wrong")
    (base,) = _BASE.unpack_from(data, _START.size)
    if base != base_offset:
        raise SnapshotError(f"it is the snapshot of another segment, {base}")
    try:
        return ProducerStates.decode(data[_START.size + _BASE.size :])
    except ValueError as error:
        raise SnapshotError(str(error)) from None
