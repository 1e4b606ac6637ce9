"""What is to be done later: leases that end, delays that are over.

The core notes here what it wants to be called for and when; whoever owns the hub runs what is due. Knows no greenlets,
so that the core can be tested with a clock of its own.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from itertools import count

__all__ = ["Agenda", "Entry"]

SWEEP_ENTRIES = 1000
"""From so many entries on, those that were cancelled are looked for."""


class Entry:
    """Something to be done at a time; until then it can be cancelled."""

    __slots__ = ("action", "when")

    def __init__(self, when: float, action: Callable[[], None]) -> None:
        self.when = when
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Do not do it."""
        self.action = None


class Agenda:
    """Entries in the order of their times.

    clock: seconds, never going back; the times of entries are this clock's.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.on_earlier: Callable[[], None] = lambda: None
        """Called when an entry comes before all others: whoever waits for those waits too long."""
        self._entries: list[tuple[float, int, Entry]] = []
        self._numbers = count()
        self._sweep_at = SWEEP_ENTRIES

    def at(self, when: float, action: Callable[[], None]) -> Entry:
        """Have ``action()`` called at this time; it must not block, and may note new entries."""
        entry = Entry(when, action)
        if len(self._entries) >= self._sweep_at:
            self._sweep()
        entries = self._entries
        heapq.heappush(entries, (when, next(self._numbers), entry))
        if entries[0][2] is entry:
            self.on_earlier()
        return entry

    def run_next(self) -> float | None:
        """Do the next thing, if it is due; seconds until the next one after that, or None if there is none.

        One thing at a time: the caller gives others a turn in between.
        """
        entries = self._entries
        if entries and entries[0][0] <= self.clock():
            action = heapq.heappop(entries)[2].action
            if action is not None:
                action()
        while entries and entries[0][2].action is None:
            heapq.heappop(entries)
        return max(0.0, entries[0][0] - self.clock()) if entries else None

    def _sweep(self) -> None:
        """Forget what was cancelled: its time may be far."""
        self._entries = [each for each in self._entries if each[2].action is not None]
        heapq.heapify(self._entries)
        self._sweep_at = max(SWEEP_ENTRIES, 2 * len(self._entries))
