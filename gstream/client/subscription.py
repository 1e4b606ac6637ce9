"""A subscription: every message of a topic as it comes, for as long as the program wants.

    with client.subscribe() as messages:
        for message in messages:
            work(message.body)

Knows the stream's commands and its order of replies: answers to what is sent meanwhile come between the messages.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from gstream.client.lease import Holder, acknowledge_lines, give_back_line, refuse, release_lines, settle
from gstream.client.link import Backoff, Link
from gstream.client.message import Message, decode_messages
from gstream.client.wire import END, Wire, is_notice, is_refusal, refusal
from gstream.errors import ClientError, DisconnectedError, RefusedError

__all__ = ["PING_SECONDS", "Subscription"]

PING_SECONDS = 30.0
"""A server that was silent for so long is asked whether it is still there."""


class Subscription(Holder):
    """An iterator over messages as they come; made by :meth:`Client.subscribe <gstream.client.Client.subscribe>`.

    With a credit, messages are leased. Asking for the next message says that the one before is done: it is
    acknowledged, together with others, as soon as no further message has come or half of the credit is done. When the
    loop is left in any other way (an exception, ``break``), the message at hand is not done: :meth:`close`, which is
    the end of the ``with`` statement, gives it back, with those that had come but were not asked for yet (for which
    that was no attempt). Who leaves the loop and is done with the message says so:
    ``messages.acknowledge(message)``.

    The leases of all messages that have come run at the same time, so the credit times the time that one message takes
    should stay below the server's ``--lease``. Where it does not, messages are delivered twice, and the
    acknowledgement that was too late raises RefusedError with the code ``gone`` when the next message is asked for,
    or at the end. The subscription is still open then, and may be iterated over again.

    A lost connection is made anew, and the stream goes on: messages that were not acknowledged are delivered again.
    Without a credit they are taken for good when they are sent.
    """

    def __init__(self, link: Link, credit: int | None, wait_seconds: float) -> None:
        self._link = link
        self._credit = credit
        self._flush_at = math.inf if credit is None else max(1, credit // 2)
        self._wait_seconds = wait_seconds
        self._ready: deque[Message] = deque()
        self._at_hand: Message | None = None
        self._finished: list[str] = []
        self._refused: list[RefusedError] = []
        self._owed = 0
        """So many commands are not answered yet."""
        self._answers: list[RefusedError | None] = []
        """Those to the commands that are waited for, which are the last that were sent."""
        self._waited_for = 0
        self._ended = False
        """The server has ended the stream."""
        self._closed = True
        self._backoff: Backoff | None = None
        """How patient to be, while no message comes between one lost connection and the next."""
        self._start()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            self.close()
            return
        with suppress(ClientError):  # what the block raised says more
            self.close()

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Message:
        if self._link.lost and not self._closed:
            self._forget_leases()
        if self._at_hand is not None:
            self._finished.append(self._at_hand.id)
            self._at_hand = None
        deadline = time.monotonic() + self._wait_seconds
        while not self._closed:
            self._refuse()
            try:
                if len(self._finished) >= self._flush_at:
                    self._link.attempt(self._catch_up)
                if self._ready:
                    break
                if not self._link.attempt(lambda wire: self._receive(wire, deadline)):
                    raise StopIteration
            except DisconnectedError as error:
                self._restart(error)
        if not self._ready:
            raise StopIteration
        self._backoff = None
        message = self._ready.popleft()
        if self._credit is not None:
            self._at_hand = message
        return message

    def close(self) -> None:
        """End the stream, once everything that is done is acknowledged; again is harmless.

        Without a credit, messages that had already come can still be iterated over: they are taken.

        Raises RefusedError (gone) for an acknowledgement that was too late, and DisconnectedError when the connection
        is lost before all were confirmed: what is not acknowledged is delivered again.
        """
        if self._closed:
            return
        try:
            self._link.attempt(self._end)
        finally:
            self._abandon()
        self._refuse()

    def _exchange(self, lines: Sequence[bytes]) -> list[RefusedError | None]:
        return self._link.attempt(lambda wire: self._exchange_on(wire, lines))

    def _holds(self, message: Message) -> bool:
        if self._closed:
            raise RuntimeError("this subscription is closed, and what it had leased given back")
        return message is self._at_hand

    def _forget(self, messages: Sequence[Message]) -> None:
        if any(message is self._at_hand for message in messages):
            self._at_hand = None

    def _start(self) -> None:
        self._link.call(self._start_on, repeatable=True)
        self._link.streaming = True
        self._closed = False

    def _start_on(self, wire: Wire) -> None:
        """Start the stream; the ping behind it tells whether it is refused."""
        self._forget_leases()
        self._refused.clear()
        self._owed = 0
        self._ended = False
        wire.send(b"s\nz\n" if self._credit is None else b"s%d\nz\n" % self._credit)
        while True:
            wire.decode(decode_messages, self._ready)
            line = wire.take_line()
            if line is None:
                wire.receive()
            elif is_refusal(line):
                self._refused.append(refusal(line))
            elif line.startswith(b"+ "):
                break
            elif not is_notice(line):
                raise wire.garbage(line, "a message")
        self._refuse()

    def _restart(self, error: DisconnectedError) -> None:
        if self._closed:  # meanwhile, by a signal's handler or another thread
            return
        self._backoff = self._backoff or self._link.backoff()
        self._abandon()
        if not self._backoff.wait():
            raise error
        self._start()

    def _receive(self, wire: Wire, deadline: float) -> bool:
        """Wait for a message, or for an error line: True; or until the deadline: False."""
        while True:
            self._look(wire)
            if self._ready or self._refused:
                return True
            if self._ended:
                raise wire.garbage(END, "a message")
            self._flush(wire)
            left = max(0.0, deadline - time.monotonic())
            patience = wire.timeout if self._owed else min(left, PING_SECONDS)
            if wire.poll(patience):
                continue
            if self._owed:
                raise wire.silence()
            if patience == left:
                return False
            wire.send(b"z\n")
            self._owed += 1

    def _look(self, wire: Wire) -> None:
        """Take what has come."""
        while True:
            wire.decode(decode_messages, self._ready)
            line = wire.take_line()
            if line is None:
                return
            if is_refusal(line):
                self._take_answer(refusal(line))
            elif line.startswith(b"+ "):
                self._take_answer(None)
            elif line == END:
                self._ended = True
            elif not is_notice(line):
                raise wire.garbage(line, "a message")
            if self._owed < 0:
                raise wire.garbage(line, "a message")

    def _take_answer(self, error: RefusedError | None) -> None:
        self._owed -= 1
        if self._owed < self._waited_for:
            self._answers.append(error)
        elif error is not None:
            self._refused.append(error)

    def _catch_up(self, wire: Wire) -> None:
        """See what has come, be it the end, in which what was to be acknowledged and what is ready is lost."""
        while wire.poll(0.0):
            self._look(wire)
        self._flush(wire)

    def _flush(self, wire: Wire) -> None:
        """Acknowledge what is done; the answers come between the messages."""
        lines = acknowledge_lines(self._finished)
        self._finished.clear()
        if lines:
            self._owed += len(lines)
            wire.send(b"".join(lines))

    def _exchange_on(self, wire: Wire, lines: Sequence[bytes]) -> list[RefusedError | None]:
        self._flush(wire)
        self._answers = []
        self._waited_for = len(lines)
        self._owed += len(lines)
        try:
            wire.send(b"".join(lines))
            self._look(wire)
            while self._owed:
                wire.receive()
                self._look(wire)
        finally:
            self._waited_for = 0
        return self._answers

    def _end(self, wire: Wire) -> None:
        self._flush(wire)
        wire.send(b"s0\n")
        self._look(wire)
        while self._owed or not self._ended:
            wire.receive()
            self._look(wire)
        if self._credit is not None:
            lines = [give_back_line(self._at_hand.id)] if self._at_hand is not None else []
            lines += release_lines([message.id for message in self._ready])
            settle(wire, lines)  # what is gone is back already

    def _abandon(self) -> None:
        self._closed = True
        self._link.streaming = False
        self._forget_leases()

    def _forget_leases(self) -> None:
        """What is not settled is delivered again; what was taken for good is not."""
        self._at_hand = None
        self._finished.clear()
        if self._credit is not None:
            self._ready.clear()

    def _refuse(self) -> None:
        refused, self._refused = self._refused, []
        refuse(refused)
