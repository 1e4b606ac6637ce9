"""Replies that wait for something to be stored, and those that go out behind them, in the order of the requests.

So a client's greenlet goes on reading while the disk is at work. Knows no socket and no API.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from gstream.commit import Commit
from gstream.kafka.api import Buffer

__all__ = ["Replies"]

ENTRY_BYTES = 200
"""What a reply costs beyond its own bytes."""


class Replies:
    """The replies of one connection that cannot go out yet.

    release: called, from the hub, with the buffers of those that can go out now.
    """

    __slots__ = ("_awaited", "_queue", "_release", "size_bytes")

    def __init__(self, release: Callable[[list[Buffer]], object]) -> None:
        self._release = release
        self._queue: deque[tuple[Commit | None, Callable[[], Sequence[Buffer]], int]] = deque()
        self._awaited: Commit | None = None
        self.size_bytes = 0
        """Of the requests that are being stored, and of replies behind them."""

    def __len__(self) -> int:
        """How many replies there are."""
        return len(self._queue)

    def add_when(self, commit: Commit, finish: Callable[[], Sequence[Buffer]], size: int) -> None:
        """A reply for when that is stored, which is so many bytes large, or has failed. ``finish()`` gives it."""
        size += ENTRY_BYTES
        self._queue.append((commit, finish, size))
        self.size_bytes += size
        if commit is not self._awaited or commit.is_done:
            self._awaited = commit
            commit.then(self._look)

    def add_behind(self, buffers: Sequence[Buffer], size: int) -> None:
        """A reply of that size, which goes out after those."""
        size += ENTRY_BYTES
        self._queue.append((None, lambda: buffers, size))
        self.size_bytes += size

    def clear(self) -> None:
        """Nothing is answered any more."""
        self._queue.clear()
        self.size_bytes = 0

    def _look(self) -> None:
        queue = self._queue
        ready: list[Buffer] = []
        before = self.size_bytes
        while queue:
            commit, finish, size = queue[0]
            if commit is not None and not commit.is_done:
                break
            queue.popleft()
            self.size_bytes -= size
            ready += finish()
        if self.size_bytes != before:  # some have no bytes, and yet somebody may wait for their room
            self._release(ready)
