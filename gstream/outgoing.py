"""What goes out to one client: messages as replies, remembered until they have arrived.

Owns how a batch becomes the bytes of its replies, and the list of what is on its way. Executes no commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from gstream import protocol
from gstream.batch import PARTITION_SHIFT, Batch
from gstream.connection import Connection
from gstream.consumer import Consumer
from gstream.group import Group
from gstream.inflight import Delivery, InFlight

__all__ = ["CHUNK_BYTES", "Outgoing"]

CHUNK_BYTES = 256 * 1024
"""Messages are taken and written in pieces of this size (or of one message), however many were asked for."""

CROWD_BATCHES = 4096
"""From so many deliveries on, a client gets nothing more before it has read: a megabyte of memory."""

IN_FLIGHT_BATCHES = 64
"""From so many deliveries on, the kernel is asked which of them have arrived."""


class Outgoing:
    """Writes a client's messages, and gives those back that never reach it."""

    __slots__ = ("_connection", "_in_flight", "crowded", "mode")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._in_flight = InFlight()
        self.crowded = False
        """Whether more is on its way than should be remembered."""
        self.mode = 0
        """What ``b`` was told: which messages are counted, and whether with all that is known of them."""

    def send_plain(self, group: Group, batch: Batch, eol: bytes) -> None:
        """Answer ``c`` lines: the bodies."""
        if batch.is_lines:
            self._send(group, batch, protocol.encode_lines(batch.data, eol))
            return
        bodies = batch.bodies()
        ends = list(accumulate(len(body) + len(eol) for body in bodies))
        self._send(group, batch, protocol.encode_bodies(bodies, eol), ends)

    def send(
        self, group: Group, batch: Batch, eol: bytes, consumer: Consumer | None = None, *, soon: bool = False
    ) -> None:
        """Typed messages; for good, or those that this consumer has leased.

        soon: not from the connection's own greenlet; at the end of this turn, before other replies.
        """
        reply, ends = self.encode(batch, eol, several=group.several)
        self._send(group, batch, reply, ends, consumer, soon=soon)

    def encode(self, batch: Batch, eol: bytes, *, several: bool) -> tuple[bytes, Sequence[int] | None]:
        """The typed replies, and where each message's ends, if not with its line.

        several: the topic has several partitions, so that ids name them.
        """
        prefix = b"%d:" % batch.partition if several else b""
        return protocol.encode_messages(batch, prefix, eol, self.mode)

    def _send(
        self,
        group: Group,
        batch: Batch,
        reply: bytes,
        ends: Sequence[int] | None = None,
        consumer: Consumer | None = None,
        *,
        soon: bool = False,
    ) -> None:
        in_flight = self._in_flight
        connection = self._connection
        if len(in_flight.deliveries) >= IN_FLIGHT_BATCHES or in_flight.size_bytes > CHUNK_BYTES:
            self.look()
        if consumer is None:
            group.done(batch)
        in_flight.add(
            Delivery(connection.place, reply, batch, group, consumer, ends, group.seeks[batch.id >> PARTITION_SHIFT])
        )
        if soon:
            connection.write_soon(reply)
        else:
            connection.write(reply)

    def wait_until_arrived(self) -> None:
        """Let a client read that asks for more and more and does not. Raises ClientGone."""
        self._connection.flush()
        self.look()
        while self.crowded:
            self._connection.wait_for_reader()
            self.look()

    @property
    def any_on_the_way(self) -> bool:
        """Whether there are messages that are not known to have arrived."""
        return bool(self._in_flight.deliveries)

    def look(self) -> None:
        """Note what has arrived by now."""
        self._in_flight.acknowledged(self._connection.arrived())
        self.crowded = len(self._in_flight.deliveries) > CROWD_BATCHES

    def give_back(self) -> int:
        """The client gets nothing more: what has not arrived goes back to its groups. How many messages that were."""
        place = self._connection.arrived()
        return self._in_flight.give_back(place, self._connection.perhaps_seen())
