"""An alarm: has something done when the next of many things is due, and lets those that are due soon wait for it.

Knows no greenlets and no group.
"""

from __future__ import annotations

from collections.abc import Callable

from gstream.agenda import Agenda, Entry

__all__ = ["Alarm"]


class Alarm:
    """Calls ``action()`` at the earliest time that it was told, but not more often than every so many seconds.

    action: calls :meth:`ring` first, and then :meth:`expect` for what is still to come.
    """

    def __init__(self, agenda: Agenda, resolution: float, action: Callable[[], None]) -> None:
        self._agenda = agenda
        self._resolution = resolution
        self._action = action
        self._entry: Entry | None = None
        self._rang = float("-inf")

    @property
    def when(self) -> float:
        """When it will ring, at the latest; inf if nothing is expected."""
        return float("inf") if self._entry is None else self._entry.when

    def expect(self, when: float) -> None:
        """Something is due then; what is due soon after another thing waits a little, and is done with more."""
        self.expect_at(max(when, self._rang + self._resolution))

    def expect_at(self, when: float) -> None:
        """Something is due exactly then."""
        if self._entry is not None:
            if self._entry.when <= when:
                return
            self._entry.cancel()
        self._entry = self._agenda.at(when, self._action)

    def ring(self) -> float:
        """It rings now: what time that is."""
        self._entry = None
        self._rang = self._agenda.clock()
        return self._rang

    def cancel(self) -> None:
        """Expect nothing."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None
