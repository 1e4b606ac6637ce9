"""Messages on their way to one client: written, but not known to have arrived.

A client can be gone before its reply is (``echo c | nc.traditional -q0``), and the kernel takes the reply all the
same. So each delivery is remembered with its place in the stream of replies until the client's TCP has acknowledged
its last byte; what never was goes back to its group.

Knows places in a stream, no socket.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from gstream.batch import LF, Batch
from gstream.consumer import Consumer
from gstream.group import Group

__all__ = ["Delivery", "InFlight"]


@dataclass(slots=True)
class Delivery:
    """A batch that was written to the client.

    start: where in the stream of replies the reply begins.
    ends: where in the reply each message ends; None where each message is one line of it.
    group: where the messages were taken, when it had been moved ``seeks`` times in their partition.
    consumer: who has leased them; None where they were taken for good.
    """

    start: int
    reply: bytes
    batch: Batch
    group: Group
    consumer: Consumer | None = None
    ends: Sequence[int] | None = None
    seeks: int = 0

    def arrived(self, place: int) -> int:
        """How many of the messages lie wholly before this place of the stream."""
        size = place - self.start
        if size <= 0:
            return 0
        if size >= len(self.reply):
            return self.batch.count
        if self.ends is not None:
            return bisect_right(self.ends, size)
        return self.reply.count(LF, 0, size)


class InFlight:
    """The deliveries of one connection, in the order in which they were written.

    ``size_bytes`` and ``deliveries`` say how much is remembered, so that the owner can bound it.
    """

    __slots__ = ("deliveries", "size_bytes")

    def __init__(self) -> None:
        self.deliveries: deque[Delivery] = deque()
        self.size_bytes = 0

    def add(self, delivery: Delivery) -> None:
        """Remember a delivery, which comes behind all others in the stream."""
        self.deliveries.append(delivery)
        self.size_bytes += len(delivery.reply)

    def acknowledged(self, place: int) -> None:
        """The client has everything before this place of the stream: forget it."""
        deliveries = self.deliveries
        while deliveries and deliveries[0].start + len(deliveries[0].reply) <= place:
            self.size_bytes -= len(deliveries.popleft().reply)

    def give_back(self, place: int, seen_place: int | None = None) -> int:
        """The client got what lies before this place and will get nothing more: return the rest to its groups.

        seen_place: what lies before this one it may have got (None: the same). Who has leased such a message may have
        died of it, so it stays leased: that was an attempt.

        Returns how many messages that were. A message of which only a part arrived goes back.
        """
        self.acknowledged(place)
        returned = 0
        for delivery in self.deliveries:
            batch = delivery.batch
            group = delivery.group
            leased = delivery.consumer is not None
            arrived = delivery.arrived(seen_place if leased and seen_place is not None else place)
            if arrived == batch.count:
                continue
            if arrived:
                batch = batch.split(arrived)[1]
            if delivery.consumer is not None:
                returned += group.undo_lease(delivery.consumer, batch)
            elif delivery.seeks == group.seeks[batch.partition] and not group.removed:
                group.undo(batch)
                returned += batch.count
        self.deliveries.clear()
        self.size_bytes = 0
        return returned
