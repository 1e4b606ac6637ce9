"""A commit: something that is on its way to the disk, and those who wait until it is there.

Knows no log and no file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from gevent import get_hub, getcurrent

from gstream.errors import DiskError

__all__ = ["Commit", "after", "chained", "together"]

log = logging.getLogger(__name__)


class Commit:
    """What is stored together, and becomes safe together.

    error: why it was not stored, once it has failed.
    """

    __slots__ = ("_links", "error", "is_done")

    def __init__(self) -> None:
        self._links: list[Callable[[], object]] = []
        self.is_done = False
        self.error: Exception | None = None

    def wait(self) -> None:
        """Return when it is stored. Blocks this greenlet. Raises DiskError when it was not stored."""
        if not self.is_done:
            link = getcurrent().switch
            self._links.append(link)
            try:
                get_hub().switch()
            finally:
                if not self.is_done:  # this greenlet is killed
                    self._links.remove(link)
        if self.error is not None:
            raise DiskError(str(self.error)) from self.error

    def then(self, action: Callable[[], object]) -> None:
        """Have ``action()`` called in the hub when it is stored, or has failed; at once, if that is so already."""
        if self.is_done:
            action()
        else:
            self._links.append(action)

    def finish(self, error: Exception | None = None) -> None:
        """Tell all who wait, in the order in which they came; from the hub, where greenlets can be switched to."""
        hub = get_hub()
        if getcurrent() is not hub:
            hub.loop.run_callback(self.finish, error)
            return
        self.error = error
        self.is_done = True
        links, self._links = self._links, []
        for link in links:
            try:
                link()
            except Exception:  # the others must not wait for ever
                log.exception("bug: something that was to follow a commit failed")


def after(commit: Commit | None, action: Callable[[], object]) -> None:
    """Have ``action()`` called when it is known what became of this; None: it is stored already."""
    if commit is None:
        action()
    else:
        commit.then(action)


def chained(commit: Commit, start: Callable[[], Commit]) -> Commit:
    """What is done when this is, and then what ``start()`` began when it was stored; it fails when the first one does.

    start: called in the hub, and only when the first one was stored.
    """
    whole = Commit()

    def go_on() -> None:
        if commit.error is not None:
            whole.finish(commit.error)
            return
        try:
            other = start()
        except Exception as bug:
            whole.finish(bug)
            raise
        other.then(whole.finish)

    commit.then(go_on)
    return whole


def together(commits: Iterable[Commit | None]) -> Commit | None:
    """What is done when all of these are, and has failed when one of them has; None: it is stored already."""
    pending = list(dict.fromkeys(commit for commit in commits if commit is not None))
    if len(pending) <= 1:
        return pending[0] if pending else None
    whole = Commit()

    def check() -> None:
        if not whole.is_done and all(commit.is_done for commit in pending):
            whole.finish(next((commit.error for commit in pending if commit.error is not None), None))

    for commit in pending:
        commit.then(check)
    return whole
