"""A link: a client's connection, which is made anew when it is lost.

``call`` runs an exchange of commands and replies. One that finds its connection broken before it began is begun on a
new one; one whose connection breaks on the way is repeated only if that does no harm, which its caller knows. Whatever
leaves the replies out of step (an interrupt, garbage, a timeout) drops the connection: what was asked for on a link is
answered, or its connection is closed. Each connection has a number, its generation, since leases end with theirs.

Knows nothing of what the commands are for, but for those that a new connection begins with.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from gstream.client.wire import Address, Wire, where
from gstream.errors import ClientError, DisconnectedError, RefusedError

__all__ = ["DEFAULT", "DRAIN", "FULL", "GONE", "Backoff", "Link"]

T = TypeVar("T")

DEFAULT = b"default"
"""The topic and the group where every connection starts."""

DRAIN, FULL, GONE = "drain", "full", "gone"
"""Codes of error lines."""

FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.05, 2.0

LONG_SECONDS = 2.0
"""An exchange that ran for so long before its connection was lost was none of the attempts to have it back."""


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
    timeout, greeting_seconds: see Wire.
    reconnect_seconds: so long a lost connection is tried to be made again; 0: never.

    Raises what :class:`~gstream.client.wire.Wire` does.
    """

    def __init__(
        self,
        address: Address,
        *,
        topic: bytes,
        group: bytes,
        details: bool,
        timeout: float,
        reconnect_seconds: float,
        greeting_seconds: float | None = None,
    ) -> None:
        self.topic, self.group = topic, group
        self.generation = 0
        self.streaming = False
        """A subscription has the link for itself."""
        self._address = address
        self._details = details
        self._timeout = timeout
        self._greeting_seconds = greeting_seconds
        self._reconnect_seconds = reconnect_seconds
        self._closed = False
        self._greeted = False
        """The server has taken the last connection that was made."""
        self._used = threading.Lock()
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

        Raises RuntimeError when the client is closed, has a subscription, or is in use by another thread.
        """
        self._check_free()
        backoff: Backoff | None = None
        with self._use():
            while True:
                wire: Wire | None = None
                begun = 0.0
                try:
                    if not self._is_usable():
                        self._reconnect()
                    wire = self._wire
                    begun = time.monotonic()
                    return self._attempt(talk)
                except ClientError as error:
                    if isinstance(error, RefusedError):
                        if error.code != DRAIN and (error.code != FULL or self._greeted):
                            raise
                        self.drop()
                    # Silence is no work: who waits for it again and again would never come to an end.
                    ran_long = wire is not None and not wire.silent and time.monotonic() - begun >= LONG_SECONDS
                    if backoff is None or ran_long:
                        backoff = self.backoff()
                    if (wire is not None and not repeatable) or not backoff.wait():
                        raise

    def call_held(self, generation: int, talk: Callable[[Wire], T]) -> T:
        """Run an exchange about leases on the connection that has them; raises RefusedError (gone) if it is lost."""
        self._check_free()
        with self._use():
            if generation != self.generation or not self._is_usable():
                raise RefusedError(GONE, "the connection that leased this is lost, and the lease with it")
            return self._attempt(talk)

    def attempt(self, talk: Callable[[Wire], T]) -> T:
        """Run a part of an exchange on the connection that is there; anything but a RefusedError drops it."""
        with self._use():
            return self._attempt(talk)

    def _attempt(self, talk: Callable[[Wire], T]) -> T:
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

    @property
    def lost(self) -> bool:
        """Whether there is no connection now."""
        return self._wire is None

    @contextmanager
    def _use(self) -> Iterator[None]:
        """One exchange at a time: two would read each other's replies."""
        if not self._used.acquire(blocking=False):
            raise RuntimeError("a client belongs to one thread at a time; make one for each")
        try:
            yield
        finally:
            self._used.release()

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
        self._greeted = False
        wire = Wire(self._address, self._timeout, self._greeting_seconds)
        self._greeted = True
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
