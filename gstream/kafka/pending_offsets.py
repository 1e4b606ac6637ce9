"""Offsets that wait for the end of a transaction: until it commits, they are not those of their group.

They are kept, one fact a group and producer, ``pending/<group>/<producer id>``, since whoever was told that they wait
must find them after a restart. Knows no transaction.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from urllib.parse import quote, unquote

from gstream.kafka.committed import Committed, Place
from gstream.storage.facts import Facts

__all__ = ["PendingOffsets"]

log = logging.getLogger(__name__)

PREFIX = "pending/"


class PendingOffsets:
    """Those of all groups."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._groups: dict[str, dict[int, dict[Place, Committed]]] = {}
        for name, value in facts.under(PREFIX).items():
            try:
                _, group, producer_id = name.split("/")
                places = {(topic, partition): Committed(*rest) for topic, partition, *rest in json.loads(value)}
                self._groups.setdefault(unquote(group), {})[int(producer_id)] = places
            except (ValueError, TypeError) as error:
                log.warning("the fact %s is not what was kept, and is left out: %s", name, error)

    def __contains__(self, group: object) -> bool:
        """Whether something of this group waits."""
        return group in self._groups

    @property
    def producers(self) -> list[tuple[str, int]]:
        """Of which groups and producers something waits."""
        return [(group, producer_id) for group, producers in self._groups.items() for producer_id in producers]

    @property
    def groups(self) -> list[str]:
        """The groups of which something waits."""
        return list(self._groups)

    def waits(self, group: str, place: Place) -> bool:
        """Whether an offset in this partition does."""
        return any(place in places for places in self._groups.get(group, {}).values())

    def add(self, group: str, producer_id: int, offsets: Mapping[Place, Committed]) -> None:
        """These wait, too."""
        places = self._groups.setdefault(group, {}).setdefault(producer_id, {})
        places.update(offsets)
        rows = [[*place, *committed] for place, committed in places.items()]
        self._facts.put(_name(group, producer_id), json.dumps(rows, separators=(",", ":")).encode())

    def take(self, group: str, producer_id: int) -> dict[Place, Committed]:
        """What waits for the end of this producer's transaction, and no more."""
        producers = self._groups.get(group, {})
        places = producers.pop(producer_id, {})
        if not producers:
            self._groups.pop(group, None)
        self._facts.put(_name(group, producer_id), None)
        return places

    def remove(self, group: str) -> None:
        """The group is removed."""
        for producer_id in list(self._groups.get(group, ())):
            self.take(group, producer_id)


def _name(group: str, producer_id: int) -> str:
    return f"{PREFIX}{quote(group, safe='')}/{producer_id}"
