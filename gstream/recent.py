"""The ids under which messages were published lately, so that none is published twice.

A window: an id is known until so many others came, or so much time has passed. Knows no topic.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from gstream.commit import Commit, chained
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
        # When it came, the answer, and whether that was told to ``keep``.
        self._answers: OrderedDict[bytes, tuple[float, int | None, bool]] = OrderedDict()
        self._unsure: dict[bytes, Commit] = {}  # those whose messages are not stored yet

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, id: bytes) -> bool:
        return id in self._answers

    def find(self, id: bytes) -> int | None:
        """The id of the message that was published so; None while it is delayed. Raises KeyError when there is none."""
        return self._answers[id][1]

    def commit(self, id: bytes) -> Commit | None:
        """When it is known whether it was published (None: it was)."""
        return self._unsure.get(id)

    def remember(self, id: bytes, message_id: int | None) -> None:
        """It was published (None: it is delayed). What is known already is corrected."""
        self._add(id, message_id)
        self._tell(id)

    def remember_with(self, id: bytes, message_id: int | None, commit: Commit) -> None:
        """The same, of what is stored together with the id: if that fails, it was not published."""
        self.remember(id, message_id)
        self._wait_for(id, commit)

    def remember_after(self, id: bytes, message_id: int, stored: Commit, keep: Callable[[], Commit]) -> Commit:
        """The same, of a message that is being stored: the id is kept when it is, and not before.

        Else the id would stay, after a crash, of a message that was not stored, whose place another one has.

        keep: has what was told kept. Returns what says when both are done.
        """
        self._add(id, message_id)
        whole = chained(stored, partial(self._tell_and, id, keep))
        self._wait_for(id, whole)
        return whole

    def _tell_and(self, id: bytes, keep: Callable[[], Commit]) -> Commit:
        self._tell(id)
        return keep()

    def _wait_for(self, id: bytes, commit: Commit) -> None:
        self._unsure[id] = commit
        commit.then(partial(self._settle, id, commit))

    def _settle(self, id: bytes, commit: Commit) -> None:
        if self._unsure.get(id) is commit:
            del self._unsure[id]
            if commit.error is not None:
                self.forget(id)

    def _add(self, id: bytes, message_id: int | None) -> None:
        known = self._answers.get(id)
        if known is None:
            self._budget.held_bytes += ID_BYTES + len(id)
            known = self._clock(), message_id, False
        self._answers[id] = known[0], message_id, known[2]
        if len(self._answers) > RECENT_IDS:
            self._forget_oldest()

    def _tell(self, id: bytes) -> None:
        """Have it kept, unless it was forgotten meanwhile."""
        if self._keep is not None and id in self._answers:
            when, message_id, _ = self._answers[id]
            self._answers[id] = when, message_id, True
            self._keep(id, (message_id, self._clock() - when))

    def restore(self, answers: Mapping[bytes, tuple[int | None, float]]) -> None:
        """Those that were kept, the oldest first: what was answered, and how many seconds ago."""
        now = self._clock()
        for id, (message_id, seconds) in answers.items():
            self._budget.held_bytes += ID_BYTES + len(id)
            self._answers[id] = now - seconds, message_id, True

    def forget(self, id: bytes) -> None:
        """It was not published after all."""
        known = self._answers.pop(id, None)
        if known is not None:
            self._forgotten(id, was_told=known[2])

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
        id, (_, _, was_told) = self._answers.popitem(last=False)
        self._forgotten(id, was_told=was_told)

    def _forgotten(self, id: bytes, *, was_told: bool) -> None:
        self._budget.held_bytes -= ID_BYTES + len(id)
        if self._keep is not None and was_told:
            self._keep(id, None)
