"""A link: a client's connection, which is made anew when it is lost.

``call`` runs an exchange of commands and replies. One that finds its connection broken before it began is begun on a
new one; one whose connection breaks on the way is repeated only if that does no harm, which its caller knows. Whatever
leaves the replies out of step (an interrupt, garbage, a timeout) drops the connection: what was asked for on a link is
answered, or its connection is closed. Each connection has a number, its generation, since leases end with theirs.

Knows nothing of what the commands are for, but for those that a new connection begins with.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from gstream.client.wire import Address, Wire, where
from gstream.errors import ClientError, DisconnectedError, RefusedError

__all__ = ["DEFAULT", "DRAIN", "GONE", "Backoff", "Link"]

T = TypeVar("T")

DEFAULT = b"default"
"""The topic and the group where every connection starts."""

DRAIN, GONE = "drain", "gone"
"""Codes of error lines."""

FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.05, 2.0


class Backoff:
    """The pauses between attempts: twice as long each time, and nobody's like another's.

    seconds: after so long in total no more attempt is made; 0: none is.
    """

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._pause = FIRST_PAUSE_SECONDS

    def wait(self) -> bool:
        """Sleep until the next attempt is due; False if there is to be none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            return False
        jitter = random.uniform(0.5, 1.0)  # noqa: S311  # clients that were cut off together return one by one
        time.sleep(min(left, self._pause * jitter))
        self._pause = min(LAST_PAUSE_SECONDS, 2 * self._pause)
        return True


class Link:
    """A connection to the server at an address, and what is to be said again on the next one.

    topic, group: where it starts; details: whether messages come with all that is known of them.
    timeout: seconds that the server may be silent while it owes a reply.
    reconnect_seconds: so long a lost connection is tried to be made again; 0: never.

    Raises what :class:`~gstream.client.wire.Wire` does.
    """

    def __init__(
        self, address: Address, *, topic: bytes, group: bytes, details: bool, timeout: float, reconnect_seconds: float
    ) -> None:
        self.topic, self.group = topic, group
        self.generation = 0
        self.streaming = False
        """A subscription has the link for itself."""
        self._address = address
        self._details = details
        self._timeout = timeout
        self._reconnect_seconds = reconnect_seconds
        self._closed = False
        self._loss = f"the connection to {where(address)} is lost"
        self._wire: Wire | None = None
        self._connect()

    def close(self) -> None:
        """Close for good; again is harmless."""
        self._closed = True
        self.drop()

    def drop(self) -> None:
        """Close the connection; the next call makes a new one."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def call(self, talk: Callable[[Wire], T], *, repeatable: bool = False) -> T:
        """Run an exchange on a connection that works, as far as can be seen.

        talk: sends commands and reads all their replies. When it raises RefusedError it has done so, too; after
        anything else that it raises the connection is dropped.
        repeatable: nothing is lost, and nothing done twice, if it is run again on another connection.

        Raises RuntimeError when the client is closed, or has a subscription.
        """
        self._check_free()
        backoff = self.backoff()
        while True:
            begun = False
            try:
                if not self._is_usable():
                    self._reconnect()
                begun = True
                return self.attempt(talk)
            except ClientError as error:
                if isinstance(error, RefusedError):
                    if error.code != DRAIN:
                        raise
                    self.drop()
                if (begun and not repeatable) or not backoff.wait():
                    raise

    def call_held(self, generation: int, talk: Callable[[Wire], T]) -> T:
        """Run an exchange about leases on the connection that has them; raises RefusedError (gone) if it is lost."""
        self._check_free()
        if generation != self.generation or not self._is_usable():
            raise RefusedError(GONE, "the connection that leased this is lost, and the lease with it")
        return self.attempt(talk)

    def attempt(self, talk: Callable[[Wire], T]) -> T:
        """Run a part of an exchange on the connection that is there; anything but a RefusedError drops it."""
        if self._wire is None:
            raise self._lost()
        try:
            return talk(self._wire)
        except RefusedError:
            raise
        except BaseException:
            self.drop()
            raise

    def backoff(self) -> Backoff:
        """The pauses between attempts to have a connection again, from now on."""
        return Backoff(self._reconnect_seconds)

    def _check_free(self) -> None:
        if self._closed:
            raise RuntimeError("this client is closed")
        if self.streaming:
            raise RuntimeError("this client has an open subscription: close that first, or use another client")

    def _is_usable(self) -> bool:
        if self._wire is not None:
            try:
                self._wire.check()
            except DisconnectedError as error:
                self.drop()
                self._loss = str(error)
        return self._wire is not None

    def _reconnect(self) -> None:
        if not self._reconnect_seconds:
            raise self._lost()
        self._connect()

    def _connect(self) -> None:
        wire = Wire(self._address, self._timeout)
        try:
            for command, usual in ((b"t" + self.topic, b"t" + DEFAULT), (b"g" + self.group, b"g" + DEFAULT)):
                if command != usual:
                    wire.send(command + b"\n")
                    wire.read_line()
            if self._details:
                wire.send(b"b2\n")
                wire.read_line()
        except BaseException:
            wire.close()
            raise
        self._wire = wire
        self.generation += 1

    def _lost(self) -> DisconnectedError:
        return DisconnectedError(self._loss)
