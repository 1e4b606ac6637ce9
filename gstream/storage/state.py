"""What groups and topics have to remember, on its way to ``meta.db``.

Whoever has changed says so; soon afterwards all who have changed are asked what they want to be kept, and that is
written in one transaction, in the engine's threads. What could not be written is tried again, together with what has
changed since.

Knows no topic and no group.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from gstream.commit import Commit
from gstream.errors import DiskError, StorageError
from gstream.storage.changes import Changes
from gstream.storage.failure import failure
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
        self._error: StorageError | None = None  # until something was written again
        self._may_try = False  # whoever asks next, although it fails: nothing else is tried
        self._writer: gevent.Greenlet[[], None] = gevent.Greenlet(self._run)

    @property
    def is_failing(self) -> bool:
        """Whether what has changed could not be written the last time."""
        return self._error is not None

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

    def check(self) -> None:
        """Whether it makes sense to begin what has to be written before it is answered.

        Raises DiskError while nothing can be written. If nothing is left to try that with, one each second may begin.
        """
        if self._error is not None:
            if not self._may_try:
                raise DiskError(str(self._error)) from self._error
            self._may_try = False
            self.note()

    def _run(self) -> None:
        while True:
            self._changed.wait()
            self._urgent.wait(AGAIN_SECONDS if self.is_failing else WRITE_SECONDS)
            with self._turn:
                self._write()

    def _write(self) -> None:
        self._changed.clear()
        self._urgent.clear()
        sources, self._sources = self._sources, {}
        changes, self.changes = self.changes, Changes()
        commit, self._commit = self._commit, None
        error: StorageError | None
        try:
            missed = _collect(sources, changes)
            error = self._store(changes) or missed
        except Exception as bug:  # noqa: BLE001  # whoever waits must not wait for ever, and others go on
            error = failure(bug, "writing the groups' state")
        if commit is not None:
            commit.finish(error)

    def _store(self, changes: Changes) -> StorageError | None:
        if not changes:
            self._may_try = True
            return None  # which tells nothing of whether something could be written
        error: StorageError | None = None
        try:
            self._pool.apply(self.meta.write, changes)
        except Exception as raised:  # noqa: BLE001  # there may be no thread to be had, either
            error = failure(raised, "writing the groups' state")
        if error is not None:
            self._may_try = False
            self.changes.merge_older(changes)
            self._changed.set()
            if self._error is None:
                log.error("cannot write the groups' state: %s", error)
        elif self._error is not None:
            log.warning("can write the groups' state again")
        self._error = error
        return error

    def close(self) -> None:
        """Write what has changed, and close. Blocks this greenlet."""
        with self._turn:
            self._writer.kill()
            self._write()
            if self.changes:
                log.error("the last changes of the groups' state are not written: messages may come twice")
            self._pool.apply(self.meta.close)


def _collect(sources: Iterable[Source], changes: Changes) -> StorageError | None:
    """Ask all of them; one that fails is asked again when it has changed again."""
    error = None
    for source in sources:
        try:
            source.collect(changes)
        except Exception as bug:  # noqa: BLE001  # the others have something to remember, too
            error = failure(bug, "collecting what a group has done")
    return error
