"""A progress bar on standard error, where that is a terminal; elsewhere nothing. rich is imported when it is shown.

What is done within a second shows none, and the bar leaves nothing behind.
"""

from __future__ import annotations

import sys
from time import monotonic
from types import TracebackType
from typing import Any

__all__ = ["Progress"]

SHOWN_AFTER_SECONDS = 1.0


class Progress:
    """A bar and a text, while the ``with`` block runs.

    total: how much there is to be done, if that is known; may be set until it is shown. wanted: whether there is to be
    one at all.
    """

    def __init__(self, total: int | None, *, wanted: bool = True) -> None:
        self.total = total
        self._wanted = wanted and sys.stderr is not None and sys.stderr.isatty()
        self._started = monotonic()
        self._done = 0
        self._bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, size: int, text: str) -> None:
        """So much more is done; and what stands before the bar now."""
        self.reach(self._done + size, text)

    def reach(self, done: int, text: str) -> None:
        """So much is done in all; and what stands before the bar now."""
        self._done = done
        if self._bar is None and self._wanted and monotonic() - self._started >= SHOWN_AFTER_SECONDS:
            self._show(text)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=text)

    def hide(self) -> None:
        """Make room for something that is to be printed; it is shown again a second later."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._started = monotonic()

    def _show(self, text: str) -> None:
        from rich import progress
        from rich.console import Console

        columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.TimeElapsedColumn())
        self._bar = progress.Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar.start()
        self._task = self._bar.add_task(text, total=self.total)
