"""Room for requests, or for replies: how many bytes of them the server holds at once, of all clients together.

Who finds none waits. Knows no socket.
"""

from __future__ import annotations

from collections import deque

from gevent.event import Event

__all__ = ["Room"]


class Room:
    """So many bytes; what is larger is let in if there is nothing else."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self._waiting: deque[tuple[int, Event]] = deque()

    def take(self, size: int) -> None:
        """Take so many bytes, when it is one's turn and they are there. Blocks this greenlet until then."""
        if self._waiting or not self._fits(size):
            entry = size, Event()
            self._waiting.append(entry)
            try:
                entry[1].wait()
            except BaseException:  # this greenlet is killed
                if entry in self._waiting:
                    self._waiting.remove(entry)
                else:
                    self.give(size)
                raise
        else:
            self.used_bytes += size

    def note(self, size: int) -> None:
        """Take so many bytes although they may not be there."""
        self.used_bytes += size

    def wait(self) -> None:
        """Return when the bytes that are taken are there. Blocks this greenlet until then."""
        if self.used_bytes > self.max_bytes:
            self.take(0)

    def give(self, size: int) -> None:
        """Give so many back."""
        self.used_bytes -= size
        while self._waiting and self._fits(self._waiting[0][0]):
            wanted, event = self._waiting.popleft()
            self.used_bytes += wanted
            event.set()

    def _fits(self, size: int) -> bool:
        return not self.used_bytes or self.used_bytes + size <= self.max_bytes
