"""A turn: how long one connection may keep the loop to itself while all others wait.

Counts time and not commands, of which one may take a thousand times as long as another.
"""

from __future__ import annotations

import time

from gstream.connection import Connection

__all__ = ["Turn"]

TURN_SECONDS = 0.001


class Turn:
    """Begins when it is made."""

    __slots__ = ("_connection", "_ends")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ends = time.perf_counter() + TURN_SECONDS

    def go_on(self) -> None:
        """Between two pieces of work: let others have their turns, if this one is over. Raises ClientGone."""
        if time.perf_counter() > self._ends:
            self._connection.flush()
            self._connection.pause()
            self._ends = time.perf_counter() + TURN_SECONDS
