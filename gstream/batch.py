"""A batch: messages that are stored and handed on together.

Its bodies are *packed lines*: one bytes object in which each message is ``p``, its body and LF, which is how a run of
published lines arrives. They are kept like that until somebody reads them, and then converted a whole run at a time by
``bytes`` methods: no Python object is made for a message (19 bytes for a 17-byte message, where an object each costs 60
and up). A body therefore never holds LF; it may hold anything else.

Knows no socket, no group and no storage.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["LF", "PACKING_BYTES", "Batch", "lines_end", "pack", "unpack"]

LF = b"\n"
PACKING_BYTES = 2
"""What a packed line has beyond its body."""

FEW = 4
"""So many lines are found one by one."""


class Batch:
    """Consecutive messages.

    offset: the first message's place in its log, from 0.
    count: how many messages, at least 1.
    data: their packed lines; exactly ``count`` LFs, the last byte is one.
    """

    __slots__ = ("count", "data", "offset")

    def __init__(self, offset: int, count: int, data: bytes) -> None:
        self.offset = offset
        self.count = count
        self.data = data

    def __repr__(self) -> str:
        return f"<Batch {self.offset}+{self.count}, {len(self.data)} bytes>"

    def bodies(self) -> Iterator[bytes]:
        """The messages' bodies, in order."""
        return iter(unpack(self.data)[:-1].split(LF))

    def split(self, count: int) -> tuple[Batch, Batch]:
        """The first ``count`` messages and the others; both sides must have at least one."""
        assert 0 < count < self.count
        end = lines_end(self.data, 0, len(self.data), count, self.count)
        return Batch(self.offset, count, self.data[:end]), Batch(
            self.offset + count, self.count - count, self.data[end:]
        )


def pack(*bodies: bytes) -> bytes:
    """Bodies, none of which holds LF, as packed lines."""
    return b"".join(b"p%b\n" % body for body in bodies)


def unpack(data: bytes) -> bytes:
    """Packed lines as plain ones: each body followed by LF."""
    return data[1:].replace(b"\np", LF)


def lines_end(data: bytes | bytearray, start: int, stop: int, count: int, available: int) -> int:
    """The position behind the ``count``-th LF of ``data[start:stop]``, which has ``available`` of them.

    Interpolates: lines of about equal length are found with one ``count`` over the bytes before the result
    (6 us a 1000 lines of 18 bytes), where splitting would make an object for each line.
    """
    if count == available:
        return stop
    while count > FEW:
        step = max(1, (stop - start) * count // available)
        found = data.count(LF, start, start + step)
        while found > count:  # shorter lines come first: look nearer
            step //= 2
            found = data.count(LF, start, start + step)
        if found:
            start = data.rfind(LF, start, start + step) + 1
        else:  # a long line comes first
            start = data.find(LF, start) + 1
            found = 1
        count -= found
        available -= found
    while count:
        start = data.find(LF, start, stop) + 1
        count -= 1
    return start
