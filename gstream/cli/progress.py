"""A progress bar on standard error, where that is a terminal; elsewhere nothing. rich is imported when it is shown."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

__all__ = ["Progress"]


class Progress:
    """A bar and a text, while the ``with`` block runs.

    text: what stands before the bar. total: what ``advance`` adds up to, if that is known.
    """

    def __init__(self, text: str, total: int | None) -> None:
        self._text = text
        self._total = total
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr is not None and sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.TimeElapsedColumn())
            self._bar = progress.Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task(self._text, total=self._total)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, size: int, text: str) -> None:
        """So much more is done; and what stands before the bar now."""
        if self._bar is not None:
            self._bar.update(self._task, advance=size, description=text)
