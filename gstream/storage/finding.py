"""What those who read the files of the disk engine have to tell about them.

Knows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

__all__ = ["Finding", "Kind", "Report"]


class Kind(Enum):
    """What was found.

    TORN: bytes behind the last whole frame, which a crash leaves; nothing in them was promised to anybody.
    DAMAGED: bytes that are not what was written; their messages are not served.
    INDEX: an index that is missing or wrong, and is made again.
    KEPT_ASIDE: what was cut, but looked like more than a torn tail; it is in a file of its own.
    STRANGE: something that gstream did not put there.
    """

    TORN = "torn"
    DAMAGED = "damaged"
    INDEX = "index"
    KEPT_ASIDE = "kept aside"
    STRANGE = "strange"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    path: the file. position, size: where in it, in bytes. offset, next_offset: the messages that are not served, as far
    as it is known. text: what it is, in a few words.
    """

    kind: Kind
    path: str
    text: str
    position: int = 0
    size: int = 0
    offset: int = 0
    next_offset: int | None = None

    def __str__(self) -> str:
        messages = "" if self.next_offset is None else f", messages {self.offset} to {self.next_offset - 1}"
        if self.next_offset == self.offset:
            messages = ""
        place = f" at {self.position}, {self.size} bytes{messages}" if self.size or messages else ""
        return f"{self.path}: {self.kind.value}{place}: {self.text}"


Report: TypeAlias = Callable[[Finding], None]
"""Told of each finding; called in the thread that met it."""
