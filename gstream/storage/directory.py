"""The directory in which the disk engine keeps everything.

It owns the lock, the version, and where each partition's log lies: ``topics/<name>/<partition>``. A topic's name is a
directory's name as it is: its characters are safe in every file system, and it is not longer than 255 bytes.

Knows no gevent and no topic's settings: every call blocks, and raises StorageError.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import ExitStack, suppress
from typing import Final

from gstream.errors import LockedError, StorageError, VersionError
from gstream.storage.files import Files, storage_errors
from gstream.storage.finding import Report
from gstream.storage.log import Log, LogSettings
from gstream.storage.segment import write_all

__all__ = ["NAMES", "TOPICS", "VERSION", "VERSION_FILE", "Directory", "has_version", "is_partition", "is_topic"]

VERSION: Final = 1
"""Of the layout; a server reads no other."""

TOPICS: Final = "topics"
REMOVED: Final = "removed"
"""Where a topic's directory goes before its files are removed, so that they are gone all at once."""
LOCK: Final = "lock"
VERSION_FILE: Final = "version"
_NEW_VERSION_FILE: Final = "version.new"
_OURS: Final = {LOCK, _NEW_VERSION_FILE}
"""What there may be before there is a version."""
NAMES: Final = {TOPICS, REMOVED, VERSION_FILE, *_OURS}
"""What is in it, but for the groups' state."""

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
        with storage_errors(self.path):
            if self._make(path):
                self._files.sync_directory(os.path.dirname(os.path.abspath(path)))
            names = self._files.names(path)
            if VERSION_FILE not in names and not _OURS.issuperset(names):
                raise VersionError(f"{path}: neither empty nor a directory of gstream's")
            self._lock: int | None = self._take_lock()
            try:
                if not has_version(self._files, path):
                    self._write_version()
                if self._make(self._topics):
                    self._files.sync_directory(path)
                self._make(os.path.join(path, REMOVED))  # while there is room for it
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
        with ExitStack() as on_failure:
            on_failure.callback(files.close, fd)
            if not files.lock(fd):
                pid = files.read(fd, _FEW_BYTES, 0).decode("ascii", "replace").strip()
                raise LockedError(f"{self.path}: in use by process {pid or 'unknown'}")
            files.truncate(fd, 0)
            on_failure.pop_all()
        with suppress(OSError):  # the lock is held, whether there is room for a number or not
            write_all(files, fd, [b"%d\n" % os.getpid()], 0)
        return fd

    def _write_version(self) -> None:
        """All or nothing: a version that is half written would lock everybody out."""
        files = self._files
        new = os.path.join(self.path, _NEW_VERSION_FILE)
        with files.opening(new, os.O_RDWR | os.O_CREAT) as fd:
            files.truncate(fd, 0)
            write_all(files, fd, [b"gstream %d\n" % VERSION], 0)
            files.sync(fd)
        files.rename(new, os.path.join(self.path, VERSION_FILE))
        files.sync_directory(self.path)

    # --- what is in it

    def topics(self) -> dict[str, list[int]]:
        """The topics, and the numbers of the partitions that each has."""
        with storage_errors(self.path):
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
        with storage_errors(self.path):
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
        with storage_errors(self.path):
            if not self._files.is_directory(home):
                return
            self._files.rename(home, os.path.join(self.path, REMOVED, topic))
            self._files.sync_directory(self._topics)
            self._known.discard(topic)
            self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        removed = os.path.join(self.path, REMOVED)
        for name in self._files.names(removed):
            self._remove_tree(os.path.join(removed, name))

    def _remove_tree(self, path: str) -> None:
        if not self._files.is_directory(path):
            self._files.remove(path)
            return
        for name in self._files.names(path):
            self._remove_tree(os.path.join(path, name))
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


def has_version(files: Files, path: str) -> bool:
    """Whether the directory has a version yet. Raises VersionError if that is not the one read here; OSError."""
    try:
        with files.opening(os.path.join(path, VERSION_FILE)) as fd:
            data = files.read(fd, _FEW_BYTES, 0)
    except FileNotFoundError:
        return False
    match = _VERSION.fullmatch(data)
    if not match:
        raise VersionError(f"{path}: its version cannot be read")
    if int(match[1]) != VERSION:
        raise VersionError(f"{path}: has version {int(match[1])}, this gstream reads {VERSION}")
    return True
