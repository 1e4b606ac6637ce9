"""A client for Python programs: plain blocking sockets, with or without gevent.

    with Client() as client:
        client.publish([b"one", b"two"])
        client.consume()                      # [b"one"]
        with client.lease(100, wait_seconds=5) as lease:
            for message in lease:
                work(message.body)            # acknowledged at the end of the block

One connection, one thread at a time. Under ``gevent.monkey.patch_all()`` it cooperates like any other socket.

This file has the calls; what they rest on is the :class:`~gstream.client.link.Link`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TypeVar

from gstream.client.arguments import (
    MAX_COUNT,
    Bytes,
    Seconds,
    check_address,
    check_count,
    encode_name,
    encode_place,
    encode_settings,
    read_wait,
)
from gstream.client.lease import Lease
from gstream.client.link import Link
from gstream.client.message import Decode, Message, decode_bodies, decode_messages
from gstream.client.subscription import Subscription
from gstream.client.window import BODY_TYPES, Body, encode_fields, encode_seconds, windows
from gstream.client.wire import END, Wire
from gstream.errors import ClientError

__all__ = ["Client"]

T = TypeVar("T")

WAIT_SECONDS = 3600.0
"""A longer wait is made of several: a timeout of 50 days is too long for poll(2)."""


class Client:
    """A connection to a server.

    host, port: where it listens; or socket_path: its unix socket.
    topic, group: what the calls are about, until :meth:`use` chooses others.
    timeout: seconds that the server may be silent owing an answer, beyond the time that a call waits by itself.
    reconnect_seconds: for how long a call tries to get a lost connection back; 0: never.
    greeting_seconds: how long the server may take for its first answer; None: the timeout.
    details: whether messages come with their time, key and headers.

    Raises ServerUnreachableError when nothing answers there, and RefusedError (full) when the server takes no more
    connections; what was never there is not waited for. A server that is not there is told within a second, one that
    is slow to answer after ``timeout``.

    Every call may raise RefusedError, which is the server's answer and changes nothing else, and DisconnectedError. A
    call that finds the connection broken connects again, pausing 0.05 to 2 seconds between attempts; when
    ``reconnect_seconds`` are over it raises what the last attempt met. If the connection breaks while the call runs,
    it is repeated where that is safe, as each call says; otherwise it raises DisconnectedError, and the next call
    connects again. A server that is stopping counts as a broken connection. Topic and group are chosen again on each
    connection; leases end with theirs.

    After :meth:`close`, while a subscription is open, and while another thread is in one, calls raise RuntimeError.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        *,
        topic: str = "default",
        group: str = "default",
        socket_path: str | None = None,
        timeout: float = 10.0,
        reconnect_seconds: float = 30.0,
        greeting_seconds: float | None = None,
        details: bool = False,
    ) -> None:
        if socket_path is None:
            check_address(host, port)
        self._subscription: Subscription | None = None
        self._counted = socket_path is not None
        """A unix socket cannot be reset: a line that breaks off would be published as far as it came."""
        self._link = Link(
            socket_path or (host, port),
            topic=encode_name(topic),
            group=encode_name(group),
            details=details,
            timeout=timeout,
            reconnect_seconds=reconnect_seconds,
            greeting_seconds=greeting_seconds,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, and first the subscription that is open; what is still leased goes back."""
        try:
            if self._subscription is not None:
                # What was not acknowledged is delivered again; who waits in another thread is told there.
                with suppress(ClientError, RuntimeError):
                    self._subscription.close()
        finally:
            self._link.close()

    @property
    def topic(self) -> str:
        """The chosen topic."""
        return self._link.topic.decode()

    @property
    def group(self) -> str:
        """The chosen group."""
        return self._link.group.decode()

    def use(self, topic: str | None = None, group: str | None = None) -> None:
        """Choose another topic, another group, or both, for the calls that follow.

            client.use(topic="orders", group="billing")

        A lease is still settled where its messages came from. Raises RefusedError (name) for what cannot be a name;
        the topic is chosen before the group. Repeated when the connection breaks.
        """
        if topic is not None:
            name = encode_name(topic)
            self._ask(b"t%b\n" % name, repeatable=True)
            self._link.topic = name
        if group is not None:
            name = encode_name(group)
            self._ask(b"g%b\n" % name, repeatable=True)
            self._link.group = name

    def publish(
        self,
        bodies: Body | Iterable[Body],
        *,
        key: bytes | str | None = None,
        delay_seconds: float = 0.0,
        id: bytes | str | None = None,
    ) -> int:
        """Publish a message, or many in order; returns how many, once the server has confirmed every one.

            client.publish(b"Hello")
            client.publish((line.encode() for line in lines), key="user 1")
            client.publish(b"paid", id="invoice 7")         # once, however often this is run
            client.publish(b"try again", delay_seconds=60)

        bodies: any bytes; many are sent in windows, as they are needed, and never held all at once.
        key: messages with the same key keep their order. delay_seconds: they are published so much later.
        id: the topic takes a message with this id once; only for one message.

        Raises TypeError for a str, and ValueError for an id with many messages. RefusedError means that the server
        has refused one or more of a window, DisconnectedError that the connection broke while answers were missing,
        ServerUnreachableError that it was lost between two windows: ``confirmed`` says how many messages are known to
        be stored. Nothing is sent behind such a window, and nothing is ever sent again, but for a message with an id.
        """
        if id is not None and not isinstance(bodies, BODY_TYPES):
            raise ValueError("an id is for one message: give it bytes, not many")
        fields = encode_fields(key, delay_seconds, id)
        confirmed = 0
        for count, data in windows(bodies, fields, counted=self._counted):
            try:
                confirmed += self._link.call(partial(_publish, count, data), repeatable=id is not None)
            except ClientError as error:
                error.confirmed += confirmed
                raise
        return confirmed

    def consume(self, count: int = 1, *, wait_seconds: float | None = 0.0) -> list[bytes]:
        """Take up to ``count`` messages for good, oldest first; an empty list when there is none.

        wait_seconds: how long to wait for the first one (None: for ever).

        When the connection breaks before anything came this is repeated; when it breaks later, those that came are
        returned: they are taken.
        """
        return self._take(b"w", count, wait_seconds, decode_bodies)

    def lease(self, count: int = 1, *, wait_seconds: float | None = 0.0) -> Lease:
        """Borrow up to ``count`` messages, oldest first; the lease is empty, and false, when there is none.

            with client.lease(10, wait_seconds=60) as lease:
                for message in lease:
                    work(message.body)

        At the end of the block they are acknowledged, and given back if it raises: see :class:`Lease`. What was not
        touched is better released: ``lease.release(message)`` is no attempt. Within the block the client may be used
        for anything else, another topic included.

        wait_seconds: how long to wait for the first one (None: for ever). Repeated when the connection breaks.
        """
        return Lease(self._link, self._take(b"r", count, wait_seconds, decode_messages))

    def subscribe(self, *, credit: int | None = 100, wait_seconds: float | None = None) -> Subscription:
        """Iterate over messages as they come: see :class:`Subscription`.

            with client.subscribe() as messages:
                for message in messages:
                    work(message.body)

        credit: at most so many are leased at a time; None: they are not leased but taken for good.
        wait_seconds: iteration ends when none came for so long (None: never); it may be taken up again.
        """
        if credit is not None and not 0 < credit <= MAX_COUNT:
            raise ValueError(f"a credit is 1 to {MAX_COUNT}, or None, not {credit!r}")
        self._subscription = Subscription(self._link, credit, read_wait(wait_seconds))
        return self._subscription

    def peek(self, count: int = 1) -> list[Message]:
        """The next messages that the group would get, which stay where they are.

        Repeated when the connection breaks.
        """
        check_count(count)

        def talk(wire: Wire) -> list[Message]:
            messages: list[Message] = []
            wire.send(b"v%d\n" % count)
            wire.read_list(decode_messages, messages, count)
            return messages

        return self._link.call(talk, repeatable=True)

    def seek(self, where: int | str | datetime) -> list[str]:
        """Move the group, so that it goes on at another message; returns the ids where it is now.

            client.seek(7)                      # the message with the id 7
            client.seek("1:7")                  # that of partition 1; the others stay where they are
            client.seek(message.id)
            client.seek(-10)                    # ten before the end
            client.seek("oldest")               # or "^": the oldest that is kept
            client.seek("end")                  # or "$": behind the newest
            client.seek(datetime.now(UTC) - timedelta(hours=1))

        A datetime, which must have a time zone, is the first message published then or later. What does not exist any
        more, or not yet, is replaced by the nearest. Whatever the group had leased or given back is forgotten.

        Raises ValueError or TypeError for what is none of these. Repeated when the connection breaks, unless the place
        is counted from the end, which moves.
        """
        place = encode_place(where)
        answer = self._ask(b"f%b\n" % place, repeatable=place[:1] not in {b"-", b"$"})
        return answer.decode(errors="replace").split()

    def stats(self, topic: str | None = None) -> dict[str, int | float | str]:
        """What is going on in the server, or in a topic, by name; the names are in ``docs/protocol.md``.

        Raises RefusedError (name) if there is no such topic. Repeated when the connection breaks.
        """
        lines = self._list(b"i%b\n" % (b"" if topic is None else encode_name(topic)))
        return {name: value if name == "version" else _number(value) for name, value in lines}

    def topics(self) -> dict[str, int]:
        """The topics, each with how many messages are kept. Repeated when the connection breaks."""
        pairs = [(*name.partition("."), value) for name, value in self._list(b"l\n")]
        return {name: int(value) for kind, _, name, value in pairs if kind == "topic" and value.isdecimal()}

    def create_topic(
        self, name: str, partitions: int | None = None, *, retain_bytes: Bytes = None, retain_seconds: Seconds = None
    ) -> None:
        """Make a topic before somebody uses it; one that is there already stays, and gets these limits.

            client.create_topic("orders", partitions=8)
            client.create_topic("audit", retain_seconds=30 * 86_400)

        partitions: how many it has; None: as many as the server gives every topic.
        retain_bytes, retain_seconds: what makes a partition larger, or is older, goes, taken or not; 0: no limit;
        "default": the server's, as it is with a new topic.

        Raises RefusedError: ``args`` if it is there with other partitions;
        ``full`` if there are too many. Chooses nothing. Repeated when the connection breaks.
        """
        fields = encode_settings(partitions, retain_bytes, retain_seconds)
        self._ask(b"m%b%b\n" % (encode_name(name), fields), repeatable=True)

    def change_topic(self, name: str, *, retain_bytes: Bytes = None, retain_seconds: Seconds = None) -> None:
        """Change the limits of a topic, as :meth:`create_topic` has them; None: this one stays as it is.

        Raises RefusedError: ``name`` if there is no such topic, ``args`` where there are no limits. Repeated when the
        connection breaks.
        """
        fields = encode_settings(None, retain_bytes, retain_seconds)
        self.stats(name)  # or it would be made
        self._ask(b"m%b%b\n" % (encode_name(name), fields), repeatable=True)

    def delete_topic(self, name: str) -> None:
        """Remove a topic: its messages, taken or not, and its groups. Its dead letters stay, in a topic of their own.

        Whoever uses it next, this client or another, makes it anew.

        Raises RefusedError: ``name`` if there is none, ``busy`` if it has consumers, this client's own leases included.
        Not repeated.
        """
        self._ask(b"y%b\n" % encode_name(name))

    def forget_group(self, name: str) -> None:
        """Forget a group of the chosen topic: nothing is kept for it any more.

        Raises RefusedError: ``name`` if there is none, ``busy`` if it has consumers. Not repeated.
        """
        self._ask(b"x%b\n" % encode_name(name))

    def ping(self) -> float:
        """Make sure that the server answers; returns the seconds that it took. Repeated when the connection breaks."""

        def talk(wire: Wire) -> float:
            start = time.perf_counter()
            wire.send(b"z\n")
            wire.read_line()
            return time.perf_counter() - start

        return self._link.call(talk, repeatable=True)

    def _take(self, command: bytes, count: int, wait_seconds: float | None, decode: Decode[T]) -> list[T]:
        check_count(count)
        for_good = command == b"w"
        asked = 0.0
        """When the wait that is under way was asked for, and how long it was to be."""
        left = read_wait(wait_seconds)
        waiting = 0.0

        def talk(wire: Wire) -> list[T]:
            nonlocal asked, left, waiting
            if asked:  # on a connection that is lost by now
                left = max(0.0, left + waiting - (time.monotonic() - asked))
            asked = time.monotonic()
            waiting = min(left, WAIT_SECONDS)
            left -= waiting
            items: list[T] = []
            wire.send(b"%b%b %d\n" % (command, encode_seconds(waiting), count))
            try:
                wire.read_list(decode, items, count, waiting)
            except ClientError:
                if not (items and for_good):
                    raise
                wire.broken = True
            return items

        while True:
            items = self._link.call(talk, repeatable=True)
            if items or left <= 0:
                return items
            asked = 0.0

    def _ask(self, line: bytes, *, repeatable: bool = False) -> bytes:
        """Send a command that is answered ``+ text``; gives the text."""

        def talk(wire: Wire) -> bytes:
            wire.send(line)
            answer = wire.read_line()
            if not answer.startswith(b"+ "):
                raise wire.garbage(answer, "+")
            return answer[2:-1]

        return self._link.call(talk, repeatable=repeatable)

    def _list(self, line: bytes) -> list[tuple[str, str]]:
        """Send a command that is answered with ``name value`` lines."""

        def talk(wire: Wire) -> list[tuple[str, str]]:
            wire.send(line)
            pairs: list[tuple[str, str]] = []
            while (answer := wire.read_line()) != END:
                name, space, value = answer[:-1].decode(errors="replace").partition(" ")
                if not space:
                    raise wire.garbage(answer, "a name and a value")
                pairs.append((name, value))
            return pairs

        return self._link.call(talk, repeatable=True)


def _publish(count: int, data: bytes, wire: Wire) -> int:
    wire.send(data)
    return wire.read_confirmations(count)


def _number(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    return value
