"""A batch: messages that are stored and handed on together.

Its bodies are *packed lines*: one bytes object in which each message is ``p``, its body and LF, which is how a run of
published lines arrives. They are kept like that until somebody reads them, and then converted a whole run at a time by
``bytes`` methods: no Python object is made for a message (19 bytes for a 17-byte message, where an object each costs 60
and up). A body therefore never holds LF; it may hold anything else. What a line cannot carry is a batch of another
kind, :class:`~gstream.counted.CountedBatch`, with the same methods.

Knows no socket, no group and no storage.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

__all__ = [
    "LF",
    "OFFSET_BITS",
    "PACKING_BYTES",
    "PARTITION_SHIFT",
    "Batch",
    "Message",
    "Times",
    "lines_end",
    "pack",
    "unpack",
]

LF = b"\n"
PACKING_BYTES = 2
"""What a packed line has beyond its body."""

PARTITION_SHIFT = 48
"""A message's id is one integer: its partition's number above its offset."""

OFFSET_BITS = (1 << PARTITION_SHIFT) - 1

FEW = 4
"""So many lines are found one by one."""


Times: TypeAlias = "int | tuple[Sequence[int], Sequence[int]]"
"""When messages were published, in milliseconds since 1970: all at one time; or offsets, and the time from each on."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message with all that is known of it.

    time_ms: when it was published, in milliseconds since 1970. headers: names and values, in order.
    """

    offset: int
    body: bytes
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    time_ms: int = 0


class Batch:
    """Consecutive messages of one partition.

    offset: the first message's place in its log, from 0.
    count: how many messages, at least 1.
    data: their packed lines; exactly ``count`` LFs, the last byte is one.
    times: when they were published.
    attempt: which delivery to its group this is, from 1.
    partition: the number of its partition.

    While they are leased, ``deadline`` says when that ends, in seconds of the agenda's clock. It stands here because a
    million leases are a million batches, and another object for each would cost more than its message; for the same
    reason partition and offset are kept as one integer, the first message's id.
    """

    __slots__ = ("attempt", "count", "data", "deadline", "id", "times")

    id: int
    deadline: float

    magic: ClassVar[int] = ord("p")
    """What tells this kind of batch from others, where it is kept."""

    is_lines: ClassVar[bool] = True
    """Whether ``data`` are packed lines, so that no body holds LF and no message has more than its body."""

    def __init__(
        self, offset: int, count: int, data: bytes, times: Times = 0, partition: int = 0, attempt: int = 1
    ) -> None:
        self.id = partition << PARTITION_SHIFT | offset if partition else offset
        self.count = count
        self.data = data
        self.times = times
        self.attempt = attempt

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.offset}+{self.count}, {len(self.data)} bytes>"

    def __lt__(self, other: Batch) -> bool:
        """Whether it comes before: heaps ask, where one place was given out twice because a disk lost what it had."""
        return self.id < other.id

    @property
    def offset(self) -> int:
        """The first message's place in its log."""
        return self.id & OFFSET_BITS

    @property
    def partition(self) -> int:
        """The number of its partition."""
        return self.id >> PARTITION_SHIFT

    def bodies(self) -> list[bytes]:
        """The messages' bodies, in order."""
        return self.data[1:-1].split(b"\np")

    def messages(self) -> Iterator[Message]:
        """The messages with all that is known of them, in order."""
        for offset, body in enumerate(self.bodies(), self.offset):
            yield Message(offset, body, time_ms=self.time_ms(offset))

    def time_ms(self, offset: int) -> int:
        """When the message at this offset was published."""
        if isinstance(self.times, int):
            return self.times
        offsets, times = self.times
        return times[bisect_right(offsets, offset) - 1]

    def part(self, first: int, count: int) -> Batch:
        """``count`` of these messages, from the ``first`` on, which is counted from 0."""
        assert first >= 0 < count <= self.count - first
        if count == self.count:
            return self
        stop, left = len(self.data), self.count
        start = self.find_end(self.data, 0, stop, first, left) if first else 0
        end = self.find_end(self.data, start, stop, count, left - first)
        return type(self)(self.offset + first, count, self.data[start:end], self.times, self.partition, self.attempt)

    def split(self, count: int) -> tuple[Batch, Batch]:
        """The first ``count`` messages and the others; both sides must have at least one."""
        assert 0 < count < self.count
        return self.part(0, count), self.part(count, self.count - count)

    @staticmethod
    def find_end(data: bytes | bytearray, start: int, stop: int, count: int, available: int) -> int:
        """The position behind the ``count``-th message of ``data[start:stop]``, which has ``available`` of them."""
        return lines_end(data, start, stop, count, available)

    @staticmethod
    def find_fitting(data: bytes | bytearray, start: int, max_bytes: int) -> tuple[int, int]:
        """How many messages from ``start`` on take at most ``max_bytes``, but always one, and where they end."""
        end = data.rfind(LF, start, start + max_bytes) + 1 or data.find(LF, start) + 1
        return data.count(LF, start, end), end


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
