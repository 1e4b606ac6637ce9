"""Counted bodies: what follows a ``P`` line, however it is cut.

Strategy: what lies whole in the bytes at hand is cut out of them, a run of plain ``P`` lines in one loop
(:func:`take_run`). Only a body that does not, or whose line has fields or has failed, gets a :class:`BodyReader`, which
gathers the pieces in place, or counts what it passes over.
"""

from __future__ import annotations

import re

from gstream.errors import ArgumentError
from gstream.protocol.commands import CRLF, BodyFollows, Failure, PublishCounted

__all__ = ["BodyReader", "take_run"]

_CR, _LF = b"\r\n"
_PLAIN_LINE = re.compile(rb"P(\d{1,15})(\r?\n)")


def take_run(data: bytes, start: int, max_message_bytes: int) -> tuple[PublishCounted, int] | None:
    """The plain ``P`` lines from ``start`` on with their bodies, and where they end.

    As far as they are whole, alike in their line ending, and within the limit; None: not even the first one is.
    """
    bodies: list[bytes] = []
    sizes: dict[bytes, int] = {}  # the lines that were met, and what they say
    size = len(data)
    line = eol = b""
    body_bytes = 0
    while True:
        if not line or not data.startswith(line, start):
            line = data[start : data.find(_LF, start) + 1]
            if line not in sizes:
                match = _PLAIN_LINE.fullmatch(line)
                if match is None or int(match[1]) > max_message_bytes or match[2] != (eol or match[2]):
                    break
                eol = match[2]
                sizes[line] = int(match[1])
            body_bytes = sizes[line]
        body = start + len(line)
        end = body + body_bytes
        if end < size and data[end] == _LF:
            start = end + 1
        elif data.startswith(CRLF, end):
            start = end + 2
        else:
            break
        bodies.append(data[body:end])
    return (PublishCounted(bodies, None, 0.0, None, eol), start) if bodies else None


class BodyReader:
    """Takes the body that a ``P`` line announced, and its line ending.

    command: what became of it; None until it is over.
    astray: what follows the body is no line ending; the rest of that line is not for this reader.
    """

    __slots__ = ("_after_cr", "_held", "_missing_bytes", "_pending", "astray", "command")

    def __init__(self, announced: BodyFollows) -> None:
        self.command: PublishCounted | Failure | None = None
        self.astray = False
        self._pending = announced.command
        self._missing_bytes = announced.size_bytes
        self._held = bytearray()
        self._after_cr = False

    def feed(self, data: bytes, start: int) -> int:
        """Take what is the body's from ``start`` on; returns where that ends."""
        if self._missing_bytes:
            end = min(len(data), start + self._missing_bytes)
            if isinstance(self._pending, PublishCounted):
                self._held += data[start:end]
            self._missing_bytes -= end - start
            start = end
        if start < len(data) and data[start] == _CR and not self._after_cr:
            self._after_cr = True
            start += 1
        if start < len(data):
            self.astray = data[start] != _LF
            start += 1
            self._finish()
        return start

    def _finish(self) -> None:
        command = self._pending
        if isinstance(command, PublishCounted):
            if self.astray:
                command = Failure(ArgumentError("the body is not followed by a line ending"), command.eol)
            else:
                command.bodies.append(bytes(self._held))
        self.command = command
