"""Producer ids: numbers by which logs tell producers apart, so that a batch that is sent again is not stored twice.

They are taken in blocks, and a block is kept before any id of it is given, so that none is given twice over restarts.

Knows no topic and no socket.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gstream.commit import Commit
from gstream.storage.facts import Facts

__all__ = ["ProducerIds"]

BLOCK_IDS = 1000

FACT = "producer-ids"
"""The first id of the next block, in digits."""


class ProducerIds:
    """Gives ids.

    facts: where it is kept which blocks are taken.
    clock: seconds since 1970. Where nothing is kept, ids begin with a number made of it: a server whose memory ended,
    or whose file was lost, meets producers that still have an id of before, and logs that know it.
    """

    def __init__(self, facts: Facts, clock: Callable[[], float] = time.time) -> None:
        self._facts = facts
        self._clock = clock
        self._next = self._end = 0
        self._commit: Commit | None = None  # of the block

    def take(self) -> int:
        """An id that nobody has had. Blocks this greenlet until its block is kept; raises DiskError if it is not."""
        if self._next == self._end:
            self._take_block()
        id = self._next
        self._next += 1
        commit = self._commit
        if commit is not None and commit.is_done:
            # What could not be written is still to be written; another commit says when it is.
            commit = self._commit = None if commit.error is None else self._facts.commit()
        if commit is not None:
            commit.wait()
        return id

    def _take_block(self) -> None:
        kept = self._facts.get(FACT)
        self._next = int(self._clock()) * BLOCK_IDS if kept is None else int(kept)
        self._end = self._next + BLOCK_IDS
        self._facts.put(FACT, b"%d" % self._end)
        self._commit = self._facts.commit()
