"""Facts: small things that are to be known after a restart, by kind and key.

What belongs to a topic or a group of its own has tables of its own; this is for what only one part of the program
reads: Kafka's groups and their offsets, producer ids, transactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from gstream.commit import Commit

__all__ = ["Facts", "Key"]

Key: TypeAlias = tuple[str | int, ...]


class Facts:
    """Facts by kind and key, in memory."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[Key, bytes]] = {}

    def all(self, kind: str) -> Mapping[Key, bytes]:
        """The facts of a kind, as they are now."""
        return self._kinds.get(kind, {})

    def put(self, kind: str, key: Key, value: bytes | None) -> None:
        """A fact, in place of the one of that key; None: there is none any more."""
        facts = self._kinds.setdefault(kind, {})
        if value is None:
            facts.pop(key, None)
        else:
            facts[key] = value

    def commit(self) -> Commit | None:
        """When all that was put is stored, which is done at once; None: nothing is kept."""
        return None
