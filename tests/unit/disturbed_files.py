"""File systems for the tests of the file layer: one that fails where it is told to, and one that never syncs."""

from __future__ import annotations

import os

from gstream.storage.files import Files


class FaultyFiles(Files):
    """Fails where it is told to, writes less where it is told to, and notes what it is asked for.

    failures: by call, what the next ones raise (errnos). takes: of how many bytes the next writes take. opened: how
    many descriptors were not given back yet.
    """

    def __init__(self):
        self.failures = {}
        self.takes = []
        self.calls = []
        self.opened = 0

    def _meet(self, call):
        self.calls.append(call)
        if self.failures.get(call):
            code = self.failures[call].pop(0)
            raise OSError(code, os.strerror(code))

    def open(self, path, flags=os.O_RDONLY):
        self._meet("create" if flags & os.O_EXCL else "open")
        fd = super().open(path, flags)
        self.opened += 1
        return fd

    def close(self, fd):
        self.opened -= 1
        super().close(fd)

    def write(self, fd, buffers, position):
        if self.takes:
            return super().write(fd, [b"".join(buffers)[: self.takes.pop(0)]], position)
        self._meet("write")
        return super().write(fd, buffers, position)

    def truncate(self, fd, size):
        self._meet("truncate")
        super().truncate(fd, size)

    def sync(self, fd):
        self._meet("sync")
        super().sync(fd)

    def sync_directory(self, path):
        self._meet("sync directory")
        super().sync_directory(path)

    def forget(self, fd):
        self._meet("forget")
        super().forget(fd)


class QuietFiles(Files):
    """Syncs nothing: power stays on."""

    def sync(self, fd):
        pass

    def sync_directory(self, path):
        pass
