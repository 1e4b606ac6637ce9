"""The budget: how much memory the messages of a server may take.

Each engine is one. Knows no message and no log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gstream.storage.threads import Threads

__all__ = ["Budget"]


class Budget:
    """Bytes of messages in memory, and how many there may be.

    A message costs its body and PACKING_BYTES; what Python itself adds is a few percent.
    """

    pool: Threads | None = None
    """The threads in which is done what takes long; None: there are none, and everything is done in its turn."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        """Of messages in logs that a group has still to take, if logs are in memory."""
        self.held_bytes = 0
        """Of what is kept outside of logs: leased and returned messages, delayed ones, ids."""

    @property
    def room_bytes(self) -> int:
        """How much may still be stored, if everything that could be given up is."""
        return self.max_bytes - self.used_bytes - self.held_bytes

    def make_room(self, size: int) -> None:
        """Give up what need not be in memory until so many bytes fit in, as far as that is possible."""
