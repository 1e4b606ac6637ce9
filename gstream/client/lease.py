"""What a client does with messages that it has leased.

    with client.lease(100, wait_seconds=5) as lease:
        for message in lease:
            work(message.body)

Knows the commands that settle a lease; how messages are asked for is not its business.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    is delivered again, or was already. So it does for any other than the very objects that were handed out here and
    are not settled: a message of an earlier connection or attempt may have the id of another one.
    """

    def acknowledge(self, *messages: Message) -> None:
        """These messages are done. Those that are not gone are acknowledged even if others are.

        Raises TypeError for none.
        """
        if not messages:
            raise TypeError("acknowledge takes the messages that are done, as in acknowledge(message)")
        self._settle(acknowledge_lines, messages)

    def give_back(self, message: Message, delay_seconds: float = 0.0) -> None:
        """Let the message be delivered again, to whomever, ``delay_seconds`` from now."""
        self._settle(lambda ids: [give_back_line(id, delay_seconds) for id in ids], [message])

    def release(self, *messages: Message) -> None:
        """Give these messages back untouched: they are delivered again, at once, and this was no attempt.

        Those that are not gone are released even if others are.
        """
        self._settle(release_lines, messages)

    def bury(self, message: Message, why: str = "") -> None:
        """Make the message a dead letter: it goes to the topic ``<topic>.dlq``, with the reason in a header."""
        reason = re.sub(r"[\r\n]+", " ", f" {why}" if why else "").encode(errors="backslashreplace")
        self._settle(lambda ids: [b"d%b%b\n" % (id.encode(), reason) for id in ids], [message])

    def extend(self, message: Message, seconds: float | None = None) -> None:
        """Let the message's lease end ``seconds`` from now (None: let it start anew); it stays to be settled."""
        wanted = b"" if seconds is None else b" " + encode_seconds(seconds)
        self._settle(lambda ids: [b"e%b%b\n" % (id.encode(), wanted) for id in ids], [message], still_held=True)

    def _settle(
        self, encode: Callable[[Sequence[str]], list[bytes]], messages: Sequence[Message], *, still_held: bool = False
    ) -> None:
        """Settle those of the messages that are held; ``encode`` gives a line for every SETTLED_AT_ONCE ids."""
        held = [message for message in messages if self._holds(message)]
        strangers = [message.id for message in messages if not self._holds(message)]
        refused = [RefusedError(GONE, " ".join(strangers))] if strangers else []
        if held:
            answers = self._exchange(encode([message.id for message in held]))
            for number, error in enumerate(answers):
                if error is None and still_held:
                    continue
                if error is None or error.code == GONE:
                    self._forget(held[number * SETTLED_AT_ONCE : (number + 1) * SETTLED_AT_ONCE])
            refused += filter(None, answers)
        refuse(refused)

    @abstractmethod
    def _exchange(self, lines: Sequence[bytes]) -> list[RefusedError | None]:
        """Send these commands, each of which is answered with a line; gives the error that each answer is, or None."""

    @abstractmethod
    def _holds(self, message: Message) -> bool:
        """Whether this very object was handed out here and is not settled."""

    @abstractmethod
    def _forget(self, messages: Sequence[Message]) -> None:
        """The messages are not held any more."""


class Lease(Holder):
    """Messages that were lent by one :meth:`Client.lease <gstream.client.Client.lease>`: sized, iterable, in order.

    Used in a ``with`` statement: at its end those that were not settled one by one are acknowledged, all at once. If
    the block raises, those that iteration handed out are given back instead, and the others, which nobody has
    touched, released: that was no attempt. Who takes messages from ``messages`` settles them by name. What the block
    raised goes on. An acknowledgement that comes too late
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
        self._handed_out: set[str] = set()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        held = tuple(self._held.values())
        if error is None:
            self._settle(acknowledge_lines, held)
            return
        lines = [give_back_line(message.id) for message in held if message.id in self._handed_out]
        lines += release_lines([message.id for message in held if message.id not in self._handed_out])
        with suppress(ClientError, RuntimeError):  # they come back, if later; what the block raised says more
            self._exchange(lines)
        self._forget(held)

    def __iter__(self) -> Iterator[Message]:
        for message in self.messages:
            self._handed_out.add(message.id)
            yield message

    def __len__(self) -> int:
        return len(self.messages)

    def _exchange(self, lines: Sequence[bytes]) -> list[RefusedError | None]:
        return self._link.call_held(self._generation, lambda wire: self._exchange_on(wire, lines)) if lines else []

    def _exchange_on(self, wire: Wire, lines: Sequence[bytes]) -> list[RefusedError | None]:
        now = (self._link.topic, self._link.group)
        if now == self._place:
            return settle(wire, lines)
        # Ids count in the topic that is chosen.
        _go(wire, *self._place)
        try:
            return settle(wire, lines)
        finally:
            _go(wire, *now)

    def _holds(self, message: Message) -> bool:
        return self._held.get(message.id) is message

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


def settle(wire: Wire, lines: Iterable[bytes]) -> list[RefusedError | None]:
    """Send commands that are answered with a line each, and read the answers; gives the error that each is, or None."""
    answers: list[RefusedError | None] = []
    for window in _windows(lines):
        wire.send(b"".join(window))
        for _ in window:
            try:
                wire.read_line()
            except RefusedError as error:
                answers.append(error)
            else:
                answers.append(None)
    return answers


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
