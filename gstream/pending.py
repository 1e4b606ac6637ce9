"""Pending replies: what one client is told as soon as something is stored, and what it is told after that.

So a client's greenlet goes on reading while the disk is at work. Knows no socket and no command.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from gstream.commit import Commit

__all__ = ["Pending", "Refuse"]

ENTRY_BYTES = 200
"""What a reply costs beyond its own bytes."""

Refuse: TypeAlias = Callable[[Exception], bytes]
"""What to say instead, when it could not be stored."""


class Pending:
    """Replies in the order in which they go out.

    release: called, from the hub, with those that can go out now.
    """

    __slots__ = ("_awaited", "_queue", "_release", "size_bytes")

    def __init__(self, release: Callable[[list[bytes]], object]) -> None:
        self._release = release
        self._queue: deque[tuple[Commit | None, bytes, Refuse | None, int]] = deque()
        self._awaited: Commit | None = None
        self.size_bytes = 0
        """Of the messages that are being stored, and of the replies."""

    def __len__(self) -> int:
        """How many replies there are."""
        return len(self._queue)

    def add(self, commit: Commit, reply: bytes, refuse: Refuse, size: int) -> None:
        """A reply for when that is stored, which is so many bytes large."""
        size += len(reply) + ENTRY_BYTES
        self._queue.append((commit, reply, refuse, size))
        self.size_bytes += size
        if commit is not self._awaited or commit.is_done:
            self._awaited = commit
            commit.then(self._look)

    def add_behind(self, reply: bytes) -> None:
        """A reply that goes out after those."""
        size = len(reply) + ENTRY_BYTES
        self._queue.append((None, reply, None, size))
        self.size_bytes += size

    def clear(self) -> None:
        """Nobody is told anything any more."""
        self._queue.clear()
        self.size_bytes = 0

    def _look(self) -> None:
        queue = self._queue
        ready = []
        while queue:
            commit, reply, refuse, size = queue[0]
            if commit is not None:
                if not commit.is_done:
                    break
                if commit.error is not None and refuse is not None:
                    reply = refuse(commit.error)
            queue.popleft()
            self.size_bytes -= size
            ready.append(reply)
        if ready:
            self._release(ready)
