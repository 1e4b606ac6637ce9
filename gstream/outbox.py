"""The outbox: which connections have replies to write at the end of the turn.

Replies of all connections are written in a row: a client that was woken by the first write is awake for the others, and
waking is a sixth of what a small write costs. Knows no sockets.
"""

from __future__ import annotations

from typing import Protocol

from gevent import get_hub

__all__ = ["Outbox"]


class Writer(Protocol):
    """What has replies to write."""

    def flush_from_hub(self) -> None:
        """Write what can be written without waiting."""


class Outbox:
    """The writers of this hub that have something to write."""

    def __init__(self) -> None:
        self._first: list[Writer] = []
        self._waiting: list[Writer] = []
        self._loop = get_hub().loop

    def add(self, writer: Writer, *, first: bool = False) -> None:
        """Write its replies when all that is ready now has been read.

        first: before others, because somebody has waited for them, while the others' clients have just asked.
        """
        if not (self._waiting or self._first):
            self._loop.run_callback(self._write)  # runs before the loop polls again
        (self._first if first else self._waiting).append(writer)

    def _write(self) -> None:
        waiting = self._first + self._waiting
        self._first.clear()
        self._waiting.clear()
        for writer in waiting:
            writer.flush_from_hub()
