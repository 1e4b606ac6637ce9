"""Batches of records that were made of messages of other kinds, kept as long as they are asked for.

Knows no log.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from threading import Lock
from typing import Final, TypeAlias

from gstream.batch import Batch
from gstream.records import encode_messages

__all__ = ["Converted", "Place"]

MAX_BYTES: Final = 8 << 20

Place: TypeAlias = tuple[int, int, int]
"""Where messages lie: their log's number, the first one's offset, and how many they are."""


class Converted:
    """What was made last, up to so many bytes. Any thread may ask."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._made: OrderedDict[Place, bytes] = OrderedDict()
        self._lock = Lock()
        self._numbers = count()
        self.used_bytes = 0

    def new_number(self) -> int:
        """Of a log that begins, or begins anew."""
        return next(self._numbers)

    def get(self, place: Place) -> bytes | None:
        """What was made of the messages that lie there."""
        with self._lock:
            made = self._made.get(place)
            if made is not None:
                self._made.move_to_end(place)
            return made

    def make(self, place: Place, batch: Batch) -> bytes:
        """The batch of records with these messages, which lie there, and will never be more or others."""
        made = encode_messages(batch)
        with self._lock:
            before = self._made.pop(place, b"")
            self._made[place] = made
            self.used_bytes += len(made) - len(before)
            while self.used_bytes > self._max_bytes:
                self.used_bytes -= len(self._made.popitem(last=False)[1])
        return made
