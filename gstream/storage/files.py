"""Every call that the disk engine makes to the file system, in one thin object.

It owns nothing and decides nothing: what is written when, and what a failure means, is said by those who call. It is
one object so that tests can record the calls, let them fail, and play a loss of power.

Knows no format, no gevent and no thread: every call blocks.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeAlias

from gstream.errors import DiskFullError, StorageError

__all__ = ["Buffer", "Files", "storage_error", "storage_errors"]

Buffer: TypeAlias = bytes | memoryview

_MAX_BUFFERS = 1024
"""IOV_MAX of Linux and macOS: as many as one call takes."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""EFBIG is what RLIMIT_FSIZE gives."""

_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Files:
    """The file system. All methods raise OSError."""

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor; children do not inherit it."""
        return os.open(path, flags | os.O_CLOEXEC, 0o640)

    def close(self, fd: int) -> None:
        """Give the descriptor back. Errors of writing are found by :meth:`sync`."""
        os.close(fd)

    @contextmanager
    def opening(self, path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
        """A descriptor within the ``with`` block."""
        fd = self.open(path, flags)
        try:
            yield fd
        finally:
            self.close(fd)

    def write(self, fd: int, buffers: Sequence[Buffer], position: int) -> int:
        """Write all buffers at this position in one call; returns how many bytes were written."""
        if len(buffers) > _MAX_BUFFERS:
            buffers = [b"".join(buffers)]
        return os.pwritev(fd, buffers, position)

    def read(self, fd: int, size: int, position: int) -> bytes:
        """Up to so many bytes from this position; fewer only at the end of the file."""
        return os.pread(fd, size, position)

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file to this size."""
        os.ftruncate(fd, size)

    def size(self, fd: int) -> int:
        """Of the file, in bytes."""
        return os.fstat(fd).st_size

    def written_ms(self, path: str) -> int:
        """When the file was written last, in milliseconds since 1970."""
        return os.stat(path).st_mtime_ns // 1_000_000

    def sync(self, fd: int) -> None:
        """Return when the file's bytes and its size are on disk."""
        _sync_data(fd)

    def sync_directory(self, path: str) -> None:
        """Return when the names in a directory are on disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def forget(self, fd: int) -> None:
        """Let the next read come from the disk and not from memory, where the system can do that."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def lock(self, fd: int) -> bool:
        """Take the file's lock, which ends with its descriptor; False if another has it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def sizes(self, path: str) -> dict[str, int]:
        """The files in a directory, and their sizes in bytes."""
        sizes = {}
        with os.scandir(path) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # removed meanwhile: others may look on
                    if entry.is_file():
                        sizes[entry.name] = entry.stat().st_size
        return sizes

    def names(self, path: str) -> list[str]:
        """What is in a directory, in order."""
        return sorted(os.listdir(path))

    def is_directory(self, path: str) -> bool:
        """Whether this is one; False if there is nothing."""
        return os.path.isdir(path)

    def make_directory(self, path: str) -> None:
        """A new directory in one that exists."""
        os.mkdir(path, 0o750)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; a file that has it already is gone."""
        os.replace(old, new)

    def remove(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)

    def remove_directory(self, path: str) -> None:
        """Remove a directory that is empty."""
        os.rmdir(path)


def storage_error(error: OSError, path: str) -> StorageError:
    """What a failed call means to those who keep messages: one line that names the file."""
    kind = DiskFullError if error.errno in _FULL else StorageError
    return kind(f"{path}: {error.strerror or error}")


@contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """Raises OSError of the ``with`` block as StorageError. path: what it is about, if the error names no file."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, error.filename or path) from error
