"""Committed offsets: how far a group says that it has come in each partition.

Each is a fact of its topic, and goes with it: ``topic/<topic>/offset/<group>/<partition>``, the group's name as in a
URL. Its value is a line of text: offset, leader epoch, when it was committed (milliseconds since 1970), and whatever
the client has said of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias
from urllib.parse import quote, unquote

from gstream.kafka.codes import Code
from gstream.storage.facts import Facts

__all__ = ["Committed", "Offsets", "Place", "check_metadata", "decode", "encode", "parse_name"]

MAX_METADATA_BYTES = 4096
"""Kafka calls it offset.metadata.max.bytes."""

MANY_PLACES = 1000
"""From so many on, those whose topics are gone are looked for."""

_PARTS = 5
"""Of a name."""

Place: TypeAlias = tuple[str, int]
"""A topic and a partition."""


class Committed(NamedTuple):
    """What was committed. time_ms: when; 0: now, if it is to be kept.

    topic_id: while it waits for the end of a transaction, of which topic of that name it is: there may be another one
    by then.
    """

    offset: int
    leader_epoch: int = -1
    metadata: str = ""
    time_ms: int = 0
    topic_id: str = ""


def check_metadata(metadata: str | None) -> Code:
    """Whether a client may say so much of an offset."""
    too_long = metadata is not None and len(metadata.encode()) > MAX_METADATA_BYTES
    return Code.OFFSET_METADATA_TOO_LARGE if too_long else Code.NONE


def encode(committed: Committed) -> bytes:
    """As it is kept."""
    return f"{committed.offset} {committed.leader_epoch} {committed.time_ms} {committed.metadata}".encode()


def decode(value: bytes) -> Committed:
    """What was kept. Raises ValueError."""
    offset, leader_epoch, time_ms, metadata = value.decode().split(" ", 3)
    return Committed(int(offset), int(leader_epoch), metadata, int(time_ms))


def parse_name(name: str) -> tuple[str, Place] | None:
    """Of which group and which partition this fact is the offset; None: it is another one."""
    parts = name.split("/")
    if len(parts) != _PARTS or parts[2] != "offset" or not parts[4].isdigit():
        return None
    return unquote(parts[3]), (parts[1], int(parts[4]))


class Offsets:
    """What one group has committed."""

    def __init__(self, facts: Facts, group: str) -> None:
        self._facts = facts
        self._group = quote(group, safe="")
        self._places: dict[Place, None] = {}
        self._look_at = MANY_PLACES
        self.latest_ms = 0
        """When something was committed last."""

    def _name(self, place: Place) -> str:
        topic, partition = place
        return f"topic/{topic}/offset/{self._group}/{partition}"

    def get(self, place: Place) -> Committed | None:
        """What was committed there; None: nothing, or the topic is gone."""
        value = self._facts.get(self._name(place))
        return None if value is None else decode(value)

    def __contains__(self, place: object) -> bool:
        """Whether something was committed there."""
        return place in self._places

    def put(self, place: Place, committed: Committed) -> None:
        """Commit, or commit anew."""
        self._places[place] = None
        if len(self._places) >= self._look_at:
            self._places = {each: None for each, _ in self} | {place: None}
            self._look_at = max(MANY_PLACES, 2 * len(self._places))
        self.latest_ms = max(self.latest_ms, committed.time_ms)
        self._facts.put(self._name(place), encode(committed))

    def remove(self, place: Place) -> None:
        """As if nothing had been committed."""
        self._places.pop(place, None)
        self._facts.put(self._name(place), None)

    def restore(self, place: Place, committed: Committed) -> None:
        """Know of what was kept."""
        self._places[place] = None
        self.latest_ms = max(self.latest_ms, committed.time_ms)

    def __iter__(self) -> Iterator[tuple[Place, Committed]]:
        """All there are, in the order in which they were committed first."""
        for place in list(self._places):
            committed = self.get(place)
            if committed is None:
                del self._places[place]  # its topic is gone
            else:
                yield place, committed

    def __bool__(self) -> bool:
        """Whether there are any."""
        return next(iter(self), None) is not None

    def clear(self) -> None:
        """All go."""
        for place in list(self._places):
            self.remove(place)
