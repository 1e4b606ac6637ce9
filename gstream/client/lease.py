"""What a client does with messages that it has leased.

    with client.lease(100, wait_seconds=5) as lease:
        for message in lease:
            work(message.body)

Knows the commands that settle a lease; how messages are asked for is not its business.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType

from gstream.client.link import GONE, Link
from gstream.client.message import Message
from gstream.client.window import encode_seconds
from gstream.client.wire import Wire
from gstream.errors import ClientError, RefusedError

__all__ = ["Holder", "Lease", "acknowledge_lines", "give_back_line", "refuse", "release_lines", "settle"]

SETTLED_AT_ONCE = 1000
"""So many ids stand in a line, which is far below the server's limit for one."""

SETTLING_BYTES = 64 * 1024
"""So much is sent before its replies are read, which are hardly longer."""


class Holder(ABC):
    """Who holds leased messages, and can settle them one by one.

    Each method raises RefusedError with the code ``gone`` when it comes too late: the lease has ended, and the message
    is delivered again, or was already.
    """

    def acknowledge(self, *messages: Message) -> None:
        """These messages are done. Those that are not gone are acknowledged even if others are."""
        self._settle(acknowledge_lines([message.id for message in messages]), *messages)

    def give_back(self, message: Message, delay_seconds: float = 0.0) -> None:
        """Let the message be delivered again, to whomever, ``delay_seconds`` from now."""
        self._settle([give_back_line(message.id, delay_seconds)], message)

    def bury(self, message: Message, why: str = "") -> None:
        """Make the message a dead letter: it goes to the topic ``<topic>.dlq``, with the reason in a header."""
        reason = re.sub(r"[\r\n]+", " ", f" {why}" if why else "").encode(errors="backslashreplace")
        self._settle([b"d%b%b\n" % (message.id.encode(), reason)], message)

    def extend(self, message: Message, seconds: float | None = None) -> None:
        """Let the message's lease end ``seconds`` from now (None: let it start anew); it stays to be settled."""
        wanted = b"" if seconds is None else b" " + encode_seconds(seconds)
        self._settle([b"e%b%b\n" % (message.id.encode(), wanted)], message, still_held=True)

    def _settle(self, lines: Sequence[bytes], *messages: Message, still_held: bool = False) -> None:
        if not lines:
            return
        try:
            self._exchange(lines)
        except RefusedError as error:
            if error.code == GONE:
                self._forget(messages)
            raise
        if not still_held:
            self._forget(messages)

    @abstractmethod
    def _exchange(self, lines: Sequence[bytes]) -> None:
        """Send these commands, each of which is answered with a line, and read the answers."""

    @abstractmethod
    def _forget(self, messages: Sequence[Message]) -> None:
        """The messages are not held any more."""


class Lease(Holder):
    """Messages that were lent by one :meth:`Client.lease <gstream.client.Client.lease>`: sized, iterable, in order.

    Used in a ``with`` statement: at its end those that were not settled one by one are acknowledged, all at once; if
    the block raises, they are given back instead, and what it raised goes on. An acknowledgement that comes too late
    raises RefusedError with the code ``gone`` there, too: some of the work may be done twice. So it does when the
    connection was lost in the meantime, since leases end with their connection; if it is lost during the
    acknowledgement, DisconnectedError, and it is not known which way it went.

    Otherwise whatever is not settled stays leased until the server's ``--lease`` is over.
    """

    def __init__(self, link: Link, messages: list[Message]) -> None:
        self.messages = messages
        self._link = link
        self._generation = link.generation
        self._place = (link.topic, link.group)
        self._held = {message.id: message for message in messages}

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        held = tuple(self._held.values())
        if error is None:
            self.acknowledge(*held)
            return
        with suppress(ClientError, RuntimeError):  # they come back, if later; what the block raised says more
            self._settle([give_back_line(message.id) for message in held], *held)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    def _exchange(self, lines: Sequence[bytes]) -> None:
        self._link.call_held(self._generation, lambda wire: self._exchange_on(wire, lines))

    def _exchange_on(self, wire: Wire, lines: Sequence[bytes]) -> None:
        now = (self._link.topic, self._link.group)
        if now == self._place:
            settle(wire, lines)
            return
        # Ids count in the topic that is chosen.
        _go(wire, *self._place)
        try:
            settle(wire, lines)
        finally:
            _go(wire, *now)

    def _forget(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._held.pop(message.id, None)


def acknowledge_lines(ids: Sequence[str]) -> list[bytes]:
    """The commands that acknowledge these ids; none for none."""
    return _lines(b"a", ids)


def give_back_line(id: str, delay_seconds: float = 0.0) -> bytes:
    """The command that gives a message back."""
    return b"n%b %b\n" % (id.encode(), encode_seconds(delay_seconds)) if delay_seconds else b"n%b\n" % id.encode()


def release_lines(ids: Sequence[str]) -> list[bytes]:
    """The commands that give messages with these ids back untouched; none for none."""
    return _lines(b"o", ids)


def settle(wire: Wire, lines: Iterable[bytes]) -> None:
    """Send commands that are answered with a line each, and read the answers; raises RefusedError at the end."""
    refused: list[RefusedError] = []
    for window in _windows(lines):
        wire.send(b"".join(window))
        for _ in window:
            try:
                wire.read_line()
            except RefusedError as error:
                refused.append(error)
    refuse(refused)


def refuse(refused: list[RefusedError]) -> None:
    """Raise the first of these errors, with the texts of all that have its code; nothing if there is none."""
    if refused:
        code = refused[0].code
        texts = [str(error).removeprefix(f"{code}: ") for error in refused if error.code == code]
        raise RefusedError(code, " ".join(texts))


def _lines(letter: bytes, ids: Sequence[str]) -> list[bytes]:
    return [
        b"%b%b\n" % (letter, " ".join(ids[first : first + SETTLED_AT_ONCE]).encode())
        for first in range(0, len(ids), SETTLED_AT_ONCE)
    ]


def _windows(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    window: list[bytes] = []
    size = 0
    for line in lines:
        if window and size + len(line) > SETTLING_BYTES:
            yield window
            window = []
            size = 0
        window.append(line)
        size += len(line)
    if window:
        yield window


def _go(wire: Wire, topic: bytes, group: bytes) -> None:
    """Choose a topic and a group; if that is refused, what follows must not be done elsewhere."""
    wire.send(b"t%b\ng%b\n" % (topic, group))
    replies = [wire.read_any_line(), wire.read_any_line()]
    for line in replies:
        if not line.startswith(b"+ "):
            raise wire.garbage(line, "another topic")
