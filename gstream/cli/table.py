"""Plain tables: aligned columns under a heading, the same in a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["table_lines"]


def table_lines(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of a table. A column whose values are all numbers is aligned to the right."""
    texts = [list(heading), *([str(value) for value in row] for row in rows)]
    columns = range(len(heading))
    widths = [max(len(row[at]) for row in texts) for at in columns]
    numeric = [all(isinstance(row[at], int | float) for row in rows) for at in columns]
    return [
        "  ".join(row[at].rjust(widths[at]) if numeric[at] else row[at].ljust(widths[at]) for at in columns).rstrip()
        for row in texts
    ]
