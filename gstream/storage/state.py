"""What groups and topics have to remember, on its way to ``meta.db``.

Whoever has changed says so; soon afterwards all who have changed are asked what they want to be kept, and that is
written in one transaction, in the engine's threads. What could not be written is tried again, together with what has
changed since.

Knows no topic and no group.
"""

from __future__ import annotations

import logging
from typing import Protocol

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from gstream.commit import Commit
from gstream.errors import StorageError
from gstream.storage.changes import Changes
from gstream.storage.meta import Meta
from gstream.storage.threads import Threads

__all__ = ["Source", "State"]

log = logging.getLogger(__name__)

WRITE_SECONDS = 0.1
"""What has changed is written after so long: what a crash may cost."""

AGAIN_SECONDS = 1.0
"""What could not be written is tried again after so long."""


class Source(Protocol):
    """Who has something to remember."""

    def collect(self, changes: Changes) -> None:
        """Add what has changed since the last time."""


class State:
    """Writes what has changed.

    changes: what is written next; whoever adds to it calls :meth:`note`.
    """

    def __init__(self, meta: Meta, pool: Threads) -> None:
        self.meta = meta
        self.changes = Changes()
        self._pool = pool
        self._sources: dict[Source, None] = {}
        self._commit: Commit | None = None
        self._changed = Event()
        self._urgent = Event()
        self._turn = Semaphore()
        self._failed = False
        self._writer: gevent.Greenlet[[], None] = gevent.Greenlet(self._run)

    @property
    def is_failing(self) -> bool:
        """Whether what has changed could not be written the last time."""
        return self._failed

    def start(self) -> None:
        """Write what was put right while it was read, and from here on whatever changes. Blocks this greenlet."""
        self._write()
        self._writer.start()

    def note(self, source: Source | None = None) -> None:
        """Somebody, or ``changes`` itself, has something to be written."""
        if source is not None:
            self._sources[source] = None
        self._changed.set()

    def commit(self) -> Commit:
        """What says when all that has changed until now is written, which is done at once."""
        if self._commit is None:
            self._commit = Commit()
            self._urgent.set()
            self._changed.set()
        return self._commit

    def _run(self) -> None:
        while True:
            self._changed.wait()
            self._urgent.wait(AGAIN_SECONDS if self._failed else WRITE_SECONDS)
            with self._turn:
                self._write()

    def _write(self) -> None:
        self._changed.clear()
        self._urgent.clear()
        sources, self._sources = self._sources, {}
        changes, self.changes = self.changes, Changes()
        commit, self._commit = self._commit, None
        for source in sources:
            source.collect(changes)
        error = None
        if changes:
            error = self._pool.apply(_write, (self.meta, changes))
        if error is not None:
            self.changes.merge_older(changes)
            self._changed.set()
            if not self._failed:
                log.error("cannot write the groups' state: %s", error)
        elif self._failed:
            log.warning("can write the groups' state again")
        self._failed = error is not None
        if commit is not None:
            commit.finish(error)

    def close(self) -> None:
        """Write what has changed, and close. Blocks this greenlet."""
        with self._turn:
            self._writer.kill()
            self._write()
            if self._failed:
                log.error("the last changes of the groups' state are not written: messages may come twice")
            self._pool.apply(self.meta.close)


def _write(meta: Meta, changes: Changes) -> StorageError | None:
    """In a thread."""
    try:
        meta.write(changes)
    except StorageError as error:
        return error
    except Exception as bug:
        log.exception("bug: writing the groups' state failed")
        return StorageError(f"a bug in the server: {bug}")
    return None
