"""What the log tells of dead letters: at once of the first, and then once in a while of how many there were.

Knows no topic and no group.
"""

from __future__ import annotations

import logging

from gstream.agenda import Agenda

__all__ = ["Obituaries"]

log = logging.getLogger(__name__)

TELL_SECONDS = 1.0
"""How often the log tells of dead letters, of which there may be a million at once."""


class Obituaries:
    """Dead letters of one topic, counted until they are told of."""

    def __init__(self, topic: str, agenda: Agenda) -> None:
        self._topic = topic
        self._agenda = agenda
        self._count = 0  # of which nothing was logged yet
        self._reason = ""
        self._telling = False

    def note(self, count: int, reason: str) -> None:
        """So many more died, the last of them for this reason."""
        self._count += count
        self._reason = reason
        if not self._telling:
            self._tell()

    def _tell(self) -> None:
        self._telling = self._count > 0
        if self._telling:
            facts = {"topic": self._topic, "messages": self._count, "last_reason": self._reason}
            log.warning("dead letters", extra=facts)
            self._count = 0
            self._agenda.at(self._agenda.clock() + TELL_SECONDS, self._tell)
