"""The directory in which the disk engine keeps everything.

It owns the lock, the version, and where each partition's log lies: ``topics/<name>/<partition>``. A topic's name is a
directory's name as it is: its characters are safe in every file system, and it is not longer than 255 bytes.

Knows no gevent and no topic's settings: every call blocks, and raises StorageError.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from gstream.errors import LockedError, StorageError, VersionError
from gstream.storage.files import Files, storage_error
from gstream.storage.finding import Report
from gstream.storage.log import Log, LogSettings
from gstream.storage.segment import write_all

__all__ = ["LOCK", "TOPICS", "VERSION", "Directory", "is_partition", "is_topic", "read_version"]

VERSION: Final = 1
"""Of the layout; a server reads no other."""

TOPICS: Final = "topics"
REMOVED: Final = "removed"
"""Where a topic's directory goes before its files are removed, so that they are gone all at once."""
LOCK: Final = "lock"
_VERSION_FILE: Final = "version"
_NEW_VERSION_FILE: Final = "version.new"
_OURS: Final = {LOCK, _NEW_VERSION_FILE}
"""What there may be before there is a version."""

_TOPIC: Final = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._-]{1,249}(?:\.dlq)?")
_PARTITION: Final = re.compile(r"0|[1-9][0-9]{0,4}")
_VERSION: Final = re.compile(rb"gstream ([0-9]{1,9})\n")
_FEW_BYTES: Final = 64


def is_topic(name: str) -> bool:
    """Whether a directory of this name can be a topic's."""
    return _TOPIC.fullmatch(name) is not None


def is_partition(name: str) -> bool:
    """Whether a directory of this name can be a partition's."""
    return _PARTITION.fullmatch(name) is not None


class Directory:
    """The directory, locked for this process until it is closed.

    path: is made if it does not exist. report: is told what is found to be wrong in it.

    Opening raises LockedError, VersionError, StorageError.
    """

    def __init__(
        self, path: str, report: Report, settings: LogSettings | None = None, files: Files | None = None
    ) -> None:
        self.path = path
        self._report = report
        self._settings = settings or LogSettings()
        self._files = files or Files()
        self._topics = os.path.join(path, TOPICS)
        self._known: set[str] = set()
        """Names of topics as the disk has them."""
        with self._errors():
            if self._make(path):
                self._files.sync_directory(os.path.dirname(os.path.abspath(path)))
            names = self._files.names(path)
            if _VERSION_FILE not in names and not _OURS.issuperset(names):
                raise VersionError(f"{path}: neither empty nor a directory of gstream's")
            self._lock: int | None = self._take_lock()
            try:
                self._check_version()
                if self._make(self._topics):
                    self._files.sync_directory(path)
                self._remove_leftovers()
            except BaseException:
                self.close()
                raise

    def __repr__(self) -> str:
        return f"<Directory {self.path}>"

    def close(self) -> None:
        """Let others have it. Its logs must have been closed before."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            self._files.close(lock)

    # --- the lock and the version

    def _take_lock(self) -> int:
        files = self._files
        fd = files.open(os.path.join(self.path, LOCK), os.O_RDWR | os.O_CREAT)
        try:
            taken = files.lock(fd)
            if taken:
                files.truncate(fd, 0)
            else:
                pid = files.read(fd, _FEW_BYTES, 0).decode("ascii", "replace").strip()
        except BaseException:
            files.close(fd)
            raise
        if not taken:
            files.close(fd)
            raise LockedError(f"{self.path}: in use by process {pid or 'unknown'}")
        with suppress(OSError):  # the lock is held, whether there is room for a number or not
            write_all(files, fd, [b"%d\n" % os.getpid()], 0)
        return fd

    def _check_version(self) -> None:
        version = read_version(self._files, self.path)
        if version is None:
            self._write_version()
        elif version != VERSION:
            raise VersionError(f"{self.path}: has version {version}, this gstream reads {VERSION}")

    def _write_version(self) -> None:
        """All or nothing: a version that is half written would lock everybody out."""
        files = self._files
        new = os.path.join(self.path, _NEW_VERSION_FILE)
        fd = files.open(new, os.O_RDWR | os.O_CREAT)
        try:
            files.truncate(fd, 0)
            write_all(files, fd, [b"gstream %d\n" % VERSION], 0)
            files.sync(fd)
        finally:
            files.close(fd)
        files.rename(new, os.path.join(self.path, _VERSION_FILE))
        files.sync_directory(self.path)

    # --- what is in it

    def topics(self) -> dict[str, list[int]]:
        """The topics, and the numbers of the partitions that each has."""
        with self._errors():
            found = {}
            for name in self._files.names(self._topics):
                path = os.path.join(self._topics, name)
                if is_topic(name) and self._files.is_directory(path):
                    found[name] = sorted(int(each) for each in self._files.names(path) if is_partition(each))
            return found

    def open_log(self, topic: str, partition: int = 0) -> Log:
        """The log of a partition, which is made if it does not exist. Raises ValueError for a name that is none."""
        if not is_topic(topic) or not is_partition(str(partition)):
            raise ValueError(f"no topic's name and partition: {topic!r}, {partition}")
        home = os.path.join(self._topics, topic)
        path = os.path.join(home, str(partition))
        with self._errors():
            if self._make(home):
                self._files.sync_directory(self._topics)
                self._known.add(topic)
            elif topic not in self._known:
                self._known.update(self._files.names(self._topics))
            if topic not in self._known:
                raise StorageError(f"{home}: this disk cannot tell it from one whose name differs in case")
            if self._make(path):
                self._files.sync_directory(home)
        return Log(path, self._report, self._settings, self._files, partition)

    def remove_topic(self, topic: str) -> None:
        """Remove all files of a topic, whose logs must be closed. Afterwards it can be made anew."""
        home = os.path.join(self._topics, topic)
        with self._errors():
            if not self._files.is_directory(home):
                return
            self._make(os.path.join(self.path, REMOVED))
            self._files.rename(home, os.path.join(self.path, REMOVED, topic))
            self._files.sync_directory(self._topics)
            self._known.discard(topic)
            self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        removed = os.path.join(self.path, REMOVED)
        if self._files.is_directory(removed):
            self._remove_tree(removed)
            self._files.sync_directory(self.path)

    def _remove_tree(self, path: str) -> None:
        for name in self._files.names(path):
            inner = os.path.join(path, name)
            if self._files.is_directory(inner):
                self._remove_tree(inner)
            else:
                self._files.remove(inner)
        self._files.remove_directory(path)

    def _make(self, path: str) -> bool:
        """Have a directory; says whether it is new."""
        try:
            self._files.make_directory(path)
        except FileExistsError:
            if not self._files.is_directory(path):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
            return False
        return True

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(error, error.filename or self.path) from error


def read_version(files: Files, path: str) -> int | None:
    """The version of the directory; None if there is none yet. Raises VersionError, OSError."""
    try:
        fd = files.open(os.path.join(path, _VERSION_FILE))
    except FileNotFoundError:
        return None
    try:
        data = files.read(fd, _FEW_BYTES, 0)
    finally:
        files.close(fd)
    match = _VERSION.fullmatch(data)
    if not match:
        raise VersionError(f"{path}: its version cannot be read")
    return int(match[1])
