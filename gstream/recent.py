"""The ids under which messages were published lately, so that none is published twice.

A window: an id is known until so many others came, or so much time has passed. Knows no topic.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TypeAlias

from gstream.storage.budget import Budget

__all__ = ["Keep", "RecentIds"]

RECENT_IDS = 100_000
RECENT_SECONDS = 300.0

ID_BYTES = 250
"""What an id costs beyond its own bytes: its place in the dict, and three objects."""


FORGOTTEN_AT_ONCE = 1000
"""Half a millisecond."""

Keep: TypeAlias = Callable[[bytes, "tuple[int | None, float] | None"], object]
"""Told of an id, what was answered, and how many seconds ago; None: it is forgotten."""


class RecentIds:
    """Ids, and what was answered to each.

    budget: that they count against. clock: seconds, never going back.
    keep: told of each that changes, if they are kept.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float], keep: Keep | None = None) -> None:
        self._budget = budget
        self._clock = clock
        self._keep = keep
        # The oldest first. A dict would look for its first entry behind all that were removed: 44 us an id, not 0.4.
        self._answers: OrderedDict[bytes, tuple[float, int | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, id: bytes) -> bool:
        return id in self._answers

    def find(self, id: bytes) -> int | None:
        """The id of the message that was published so; None while it is delayed. Raises KeyError when there is none."""
        return self._answers[id][1]

    def remember(self, id: bytes, message_id: int | None) -> None:
        """It was published (None: it is delayed). What is known already is corrected."""
        known = self._answers.get(id)
        if known is None:
            self._budget.held_bytes += ID_BYTES + len(id)
        when = known[0] if known else self._clock()
        self._answers[id] = (when, message_id)
        if self._keep is not None:
            self._keep(id, (message_id, self._clock() - when))
        if len(self._answers) > RECENT_IDS:
            self._forget_oldest()

    def restore(self, answers: Mapping[bytes, tuple[int | None, float]]) -> None:
        """Those that were kept, the oldest first: what was answered, and how many seconds ago."""
        now = self._clock()
        for id, (message_id, seconds) in answers.items():
            self._budget.held_bytes += ID_BYTES + len(id)
            self._answers[id] = (now - seconds, message_id)

    def forget(self, id: bytes) -> None:
        """It was not published after all."""
        if id in self._answers:
            del self._answers[id]
            self._forgotten(id)

    def clear(self) -> None:
        """Forget all."""
        while self._answers:
            self._forget_oldest()

    def forget_old(self) -> float | None:
        """Forget those whose time is over, a piece of them; when to go on, or None if none are left."""
        now = self._clock()
        for _ in range(FORGOTTEN_AT_ONCE):
            if not self._answers:
                return None
            when = next(iter(self._answers.values()))[0] + RECENT_SECONDS
            if when > now:
                return when
            self._forget_oldest()
        return now

    def _forget_oldest(self) -> None:
        id, _ = self._answers.popitem(last=False)
        self._forgotten(id)

    def _forgotten(self, id: bytes) -> None:
        self._budget.held_bytes -= ID_BYTES + len(id)
        if self._keep is not None:
            self._keep(id, None)
