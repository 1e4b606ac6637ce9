"""What goes from a log in memory by the limits that are set for its topic, whether it was taken or not.

How old a message is counts from when it was stored. That is noted for all messages of a while together, so that a limit
is kept to a quarter of it, as on disk; and whole pieces go, of 64 KiB and more.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from gstream.agenda import Agenda, Entry
from gstream.storage.terms import Limits

__all__ = ["Expiring", "Expiry"]

PER_LIMIT = 4
"""How old messages are is noted so often in the time that they may stay."""

SHORTEST_SECONDS = 0.05
"""And no more often than that."""


EARLY = 0.999
"""Of a limit: four quarters are not always a whole, as floats."""


class Expiring(Protocol):
    """A log from which messages can go."""

    @property
    def end_offset(self) -> int:
        """The offset of the next message."""

    def end_piece(self) -> None:
        """What comes goes into another piece than what there is, so that they can go one without the other."""

    def find_excess(self, size: int) -> int:
        """Before which offset pieces can go so that at least so many bytes stay."""

    def lose_before(self, end: int) -> None:
        """Let go of the pieces before this offset, whether they were taken or not."""


class Expiry:
    """Looks after one log."""

    __slots__ = ("_agenda", "_entry", "_limit_bytes", "_limit_seconds", "_log", "_marks", "_noted_offset", "_step")

    def __init__(self, log: Expiring, agenda: Agenda) -> None:
        self._log = log
        self._agenda = agenda
        self._limit_bytes = 0
        self._limit_seconds = 0.0
        self._step = 0.0
        self._marks: deque[tuple[float, int]] = deque()  # when, and where the log ended then
        self._noted_offset = 0  # of the last one
        self._entry: Entry | None = None

    def set(self, limits: Limits) -> bool:
        """Keep to these limits from now on; whether there are any."""
        self.stop()
        self._limit_bytes, self._limit_seconds = limits
        self._step = max(SHORTEST_SECONDS, self._limit_seconds / PER_LIMIT)
        if not self._limit_seconds:
            self._marks.clear()
            self._noted_offset = 0
        elif self._log.end_offset:
            self._look()
        self.note()
        return bool(self._limit_bytes or self._limit_seconds)

    def note(self) -> None:
        """Something was stored."""
        if self._limit_bytes:
            end = self._log.find_excess(self._limit_bytes)
            if end:
                self._log.lose_before(end)
        if self._entry is None and self._limit_seconds and self._log.end_offset > self._noted_offset:
            self._look_later()

    def stop(self) -> None:
        """Look no more."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None

    def _look_later(self) -> None:
        self._entry = self._agenda.at(self._agenda.clock() + self._step, self._look)

    def _look(self) -> None:
        self._entry = None
        now = self._agenda.clock()
        log, marks = self._log, self._marks
        if log.end_offset > self._noted_offset:
            self._noted_offset = log.end_offset
            marks.append((now, log.end_offset))
            log.end_piece()
        end = 0
        oldest = now - self._limit_seconds * EARLY
        while marks and marks[0][0] <= oldest:
            end = marks.popleft()[1]
        if end:
            log.lose_before(end)
        if marks:
            self._look_later()
