"""Facts: small values by name, which those who need them give and ask for.

An engine on disk keeps them in ``meta.db``, one in memory as long as it runs. Knows no file, and nothing of what they
mean.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Protocol

from gstream.commit import Commit
from gstream.storage.changes import Changes

__all__ = ["MAX_BYTES", "Facts", "Keeper"]

MAX_BYTES = 256 << 20
"""When names and values take more, clients should not have anything new kept: there is no other end to it."""


class Keeper(Protocol):
    """Writes what has changed. changes: what is written next."""

    changes: Changes

    def note(self) -> None:
        """``changes`` has something to be written."""

    def commit(self) -> Commit:
        """What says when all that has changed until now is written."""


class Facts:
    """Values by name; names are ordered, so that what begins alike is found together.

    keeper: writes them; None: they end with the process. found: what was kept.
    """

    def __init__(self, keeper: Keeper | None = None, found: dict[str, bytes] | None = None) -> None:
        self._keeper = keeper
        self._values = dict(found or {})
        self._names = sorted(self._values)
        self.held_bytes = sum(len(name) + len(value) for name, value in self._values.items())
        """What names and values take."""

    @property
    def is_full(self) -> bool:
        """Whether nothing new should be kept for clients that say themselves how much that is."""
        return self.held_bytes > MAX_BYTES

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: str) -> bytes | None:
        """What was put last under this name; None: nothing."""
        return self._values.get(name)

    def put(self, name: str, value: bytes | None) -> None:
        """Keep this under this name, soon; None: nothing any more."""
        known = self._values.get(name)
        if value == known:
            return
        if known is not None:
            self.held_bytes -= len(name) + len(known)
        if value is not None:
            self.held_bytes += len(name) + len(value)
        if value is None:
            del self._values[name]
            del self._names[bisect_left(self._names, name)]
        else:
            if known is None:
                insort(self._names, name)
            self._values[name] = value
        if self._keeper is not None:
            self._keeper.changes.facts[name] = value
            self._keeper.note()

    def under(self, prefix: str) -> dict[str, bytes]:
        """All whose names begin so, by their whole names, in order."""
        found = {}
        for at in range(bisect_left(self._names, prefix), len(self._names)):
            name = self._names[at]
            if not name.startswith(prefix):
                break
            found[name] = self._values[name]
        return found

    def remove_under(self, prefix: str) -> None:
        """Keep nothing any more whose name begins so."""
        for name in self.under(prefix):
            self.put(name, None)

    def commit(self) -> Commit | None:
        """What says when all that was put until now is on disk; None: nothing is written."""
        return None if self._keeper is None else self._keeper.commit()
