"""What a log says to those who store record batches in it, and fetch them.

Knows no log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gstream.commit import Commit

__all__ = ["Fetched", "OffsetOutOfRangeError", "Placed"]


class OffsetOutOfRangeError(LookupError):
    """An offset before the oldest message that is kept, or behind the end."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a record batch lies.

    offset: of its first message. commit: when it is stored; None: it is. is_duplicate: it was there already.
    """

    offset: int
    commit: Commit | None
    is_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """Whole record batches, one behind the other.

    chunks: their bytes. size: of all of them. next_offset: of the message behind them.
    """

    chunks: list[bytes | memoryview]
    size: int
    next_offset: int
