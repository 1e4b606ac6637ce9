"""What a command prints, collected until it ends: the outputs of several that run at a time do not mix.

Two pipes, each read by a thread of its own. Up to a MiB of each is held in memory, and more in a temporary file. Pipes,
and no files from the start, since a script that opens /dev/stderr would empty one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from tempfile import SpooledTemporaryFile

from gstream.cli.output import CommandError, print_bytes

__all__ = ["Collected", "Outlet"]

HELD_BYTES = 1 << 20
PIECE_BYTES = 1 << 16


class Outlet:
    """Where what was collected is printed, one at a time; after a failure nothing is any more."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.error: CommandError | None = None


class Collected:
    """The output of one command: its pipes are given to it, and ``started`` says that it has them."""

    def __init__(self) -> None:
        self._streams = (_Stream(), _Stream())

    @property
    def descriptors(self) -> tuple[int, int]:
        """Where the command's standard output and standard error go."""
        output, errors = self._streams
        return output.descriptor, errors.descriptor

    def started(self) -> None:
        """The command has the descriptors now, or was not started at all: they are closed here."""
        for stream in self._streams:
            os.close(stream.descriptor)

    def wait(self, seconds: float, meanwhile: Callable[[], None]) -> None:
        """Wait until the command, and whatever it has left running, has closed its output.

        meanwhile: called each time so many seconds are over.
        """
        for stream in self._streams:
            while stream.is_read_on(seconds):
                meanwhile()

    def print(self, outlet: Outlet, seconds: float, meanwhile: Callable[[], None]) -> None:
        """Write all of it, in one piece; ``meanwhile`` is called as in ``wait``.

        Raises CommandError, once for what cannot be written and again for everything behind it.
        """
        output, errors = self._streams
        while not outlet.lock.acquire(timeout=seconds):
            meanwhile()
        try:
            with suppress(OSError):  # nobody reads it
                errors.copy(_print_error)
            if outlet.error is not None:
                raise outlet.error
            output.copy(lambda data: print_bytes(data, while_blocked=meanwhile))
        except CommandError as error:
            outlet.error = error
            raise
        finally:
            outlet.lock.release()

    def close(self) -> None:
        """Forget it."""
        for stream in self._streams:
            stream.close()


class _Stream:
    def __init__(self) -> None:
        self._source, self.descriptor = os.pipe()
        self._held = SpooledTemporaryFile(max_size=HELD_BYTES)  # noqa: SIM115  # closed by close
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def is_read_on(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return self._thread.is_alive()

    def copy(self, write: Callable[[bytes], None]) -> None:
        if self._error is not None:
            raise CommandError(f"cannot keep what the command prints: {self._error.strerror}")
        self._held.seek(0)
        while data := self._held.read(PIECE_BYTES):
            write(data)

    def close(self) -> None:
        self._held.close()

    def _read(self) -> None:
        while data := os.read(self._source, PIECE_BYTES):
            try:
                if self._error is None:
                    self._held.write(data)
            except OSError as error:  # the command goes on, whatever becomes of what it prints
                self._error = error
        os.close(self._source)


def _print_error(data: bytes) -> None:
    if sys.stderr is not None:
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()
