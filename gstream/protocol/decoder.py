"""Bytes to commands, however the bytes are cut.

Strategy: what arrives is looked at in *runs*, not lines. Consecutive ``p`` lines are one :class:`Publish` with a
count, consecutive ``c`` lines one :class:`Consume`, each found and packed by one pass of C over the whole burst; a
single line is a run of one. Consecutive ``P`` lines without fields are one :class:`PublishCounted`, by one loop over
them. Everything else is a line, looked up by its first byte in :data:`COMMANDS`.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from itertools import groupby

from gstream.batch import LF
from gstream.errors import ReplyError, TooBigError, UnknownCommandError
from gstream.protocol.bodies import BodyReader, take_run
from gstream.protocol.commands import (
    CRLF,
    BodyFollows,
    Command,
    Consume,
    Failure,
    ForeignProtocol,
    Negotiate,
    Publish,
)
from gstream.protocol.table import COMMANDS
from gstream.telnet import IAC, TelnetFilter

__all__ = ["Decoder"]

_P, _C, _COUNTED_P, _CR, _LF = b"pcP\r\n"
_NOT_ALONE = frozenset((_P, _C, _COUNTED_P, IAC))
_CONSUME_LINES = {b"c\n": LF, b"c\r\n": CRLF}
_PUBLISH_RUN_END = re.compile(rb"\n(?!p)")
_CONSUME_RUN = re.compile(rb"(?:c\n)+|(?:c\r\n)+")
_BLANK = frozenset(b"\r\n")
_BLANK_LINES = re.compile(rb"(?:\r?\n)+")
_HTTP_REQUEST = re.compile(rb"[A-Z]+ \S+ HTTP/\d(?:\.\d)?\r?\n")
_HTTP_BEGINNING = re.compile(rb"[A-Z]+ (?:/|\*|https?:)")
_TLS_HELLO = re.compile(rb"\x16\x03[\x00-\x04]")


FEW_LINES = 4
"""So many lines in a burst are decoded without a generator: ``a`` and ``r`` together take 2.4 us instead of 3.9."""


class Decoder:
    """Turns what one client sends into commands, however the bytes are cut.

    max_message_bytes: the longest body, and the longest argument of any command. Longer lines, and longer bodies of
    ``P``, are skipped to their end in constant memory and become a Failure.

    A connection is taken for a telnet client from the first line on that begins with IAC (no command does); until
    then byte 255 is data like any other.
    """

    __slots__ = (
        "_at_first_line",
        "_between_lines",
        "_body",
        "_ended",
        "_held",
        "_max_message_bytes",
        "_skipped_for",
        "_skipped_last",
        "_skipping",
        "_telnet",
    )

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._held = bytearray()  # the beginning of a line whose end has not come yet
        self._body: BodyReader | None = None  # of a body whose end has not come yet
        self._skipping = False
        self._skipped_for: Failure | None = None  # what the skipped line comes to; None: it is too big
        self._skipped_last = b""  # the last byte skipped: it tells CRLF from LF
        self._at_first_line = True
        self._ended = False
        self._telnet: TelnetFilter | None = None
        self._between_lines = False  # none of the above applies

    def feed(self, data: bytes) -> Iterable[Command]:
        """The commands that these bytes complete. Exhaust the iterable before the next call.

        It is lazy: a burst of ten thousand commands never exists as so many objects.
        """
        if self._between_lines and data:
            # Nearly every burst is one run and nothing else; to see that takes no generator.
            count = data.count(LF)
            if data[0] == _P:
                whole = data[-1] == _LF and (count == 1 or data.count(b"\np") == count - 1)
                if whole and len(data) <= self._max_message_bytes and _CR not in data:
                    return (Publish(data, count, LF),)
            elif data == b"c\n" * count:
                return (Consume(count, LF),)
            elif 0 < count <= FEW_LINES and data[-1] == _LF and (commands := self._few(data)):
                return commands
        return self._commands(data)

    def _few(self, data: bytes) -> list[Command] | None:
        """The commands of a few whole lines; None if some of them are more than that, or are seldom sent alone."""
        commands: list[Command] = []
        for line in data.split(LF)[:-1]:
            if not line or line[0] in _NOT_ALONE or line[-1] == _CR:
                return None
            command = self._line(line, LF)
            if isinstance(command, BodyFollows):
                return None
            commands.append(command)
        return commands

    def _commands(self, data: bytes) -> Iterator[Command]:  # noqa: PLR0912 - a branch for all that may begin here
        data = yield from self._resume(data)
        start = 0
        size = len(data)
        while start < size:
            first = data[start]
            if first == IAC and self._telnet is None:
                self._telnet = TelnetFilter()
                yield Negotiate(b"")
                yield from self._commands(data[start:])
                return
            end = data.find(LF, start) + 1
            if not end:
                yield from self._hold(data[start:])
                return
            if first == _P:
                if end < size and data[end] == _P:
                    match = _PUBLISH_RUN_END.search(data, end)
                    end = match.end() if match else data.rfind(LF) + 1
                run = data[start:end]
                if _CR in run or len(run) > self._max_message_bytes:
                    yield from self._uneven_publish_run(run)
                else:
                    yield Publish(run, run.count(LF), LF)
            elif first == _C and (eol := _CONSUME_LINES.get(data[start:end])):
                if end < size and data[end] == _C and (match := _CONSUME_RUN.match(data, start)):
                    end = match.end()
                yield Consume((end - start) // (1 + len(eol)), eol)
            elif first in _BLANK and (match := _BLANK_LINES.match(data, start)):
                end = match.end()
            elif first == _COUNTED_P and (counted := take_run(data, start, self._max_message_bytes)):
                yield counted[0]
                end = counted[1]
            else:
                eol = CRLF if data.endswith(CRLF, start, end) else LF
                command = self._line(data[start : end - len(eol)], eol)
                if isinstance(command, BodyFollows):
                    end = yield from self._body_follows(command, data, end)
                else:
                    yield command
            start = end
        unfinished = self._held or self._body or self._skipping
        self._between_lines = not (unfinished or self._at_first_line or self._ended or self._telnet)

    def close(self) -> Iterator[Command]:
        """The client sends nothing more: a last line is complete without its ending, or with half a CRLF.

        So is a last counted body of which nothing else is missing; one of which more is missing is dropped.
        """
        if self._telnet is not None:
            self._telnet.end()
        if self._held or self._skipping:
            yield from self.feed(LF)
        if self._body is not None:  # one of which more is missing takes this LF for its own, and does not end
            yield from self.feed(LF)
        self._body = None

    def _resume(self, data: bytes) -> Generator[Command, None, bytes]:
        """Go on where the last call stopped, and look at the first line; returns what remains to be decoded."""
        if self._telnet is not None:
            data, answer = self._telnet.feed(data)
            if answer:
                yield Negotiate(answer)
        if self._body is not None or self._skipping:
            data = data[(yield from self._go_on(data, 0)) :]
        if self._at_first_line and not self._ended and _TLS_HELLO.match(bytes(self._held[:3]) + data[:3]):
            self._ended = True
            yield ForeignProtocol("tls")
        if self._held:
            if _LF not in data and self._fits(len(self._held) + len(data)):
                self._held += data
                return b""
            data = bytes(self._held) + data
            self._held.clear()
        if self._at_first_line and _LF in data and not self._ended and (self._telnet or data[0] != IAC):
            if self._is_http(data):
                self._ended = True
                yield ForeignProtocol("http")
            else:
                self._at_first_line = False
        return b"" if self._ended else data

    def _is_http(self, data: bytes) -> bool:
        """Whether this first line is an HTTP request's. If it is too long to be kept, its beginning decides."""
        size = data.find(LF) if _LF in data else len(data)
        pattern = _HTTP_REQUEST if self._fits(size) else _HTTP_BEGINNING
        return pattern.match(data) is not None

    def _fits(self, size: int) -> bool:
        """Whether an unfinished line of this size can still be within the limit: it has its letter and maybe a CR."""
        return size <= self._max_message_bytes + 2

    def _hold(self, rest: bytes) -> Iterator[Command]:
        self._between_lines = False
        if self._fits(len(rest)):
            self._held += rest
        elif self._at_first_line and self._is_http(rest):
            self._ended = True
            yield ForeignProtocol("http")
        else:
            self._skipping = True
            self._skipped_last = rest[-1:]

    def _body_follows(self, announced: BodyFollows, data: bytes, start: int) -> Generator[Command, None, int]:
        """A ``P`` line, and as much of its body as there is from ``start`` on; returns what follows it."""
        if announced.size_bytes > self._max_message_bytes:
            announced.command = self._too_big(announced.command.eol)
        self._body = BodyReader(announced)
        return (yield from self._go_on(data, start))

    def _go_on(self, data: bytes, start: int) -> Generator[Command, None, int]:
        """Pass over what belongs to an unfinished body, or to a line that is skipped; returns what follows it."""
        if self._body is not None:
            start = self._body.feed(data, start)
            command = self._body.command
            if command is None:
                return start
            if self._body.astray:
                assert isinstance(command, Failure)
                self._skipping = True
                self._skipped_for = command
            else:
                yield command
            self._body = None
        if self._skipping:
            start = yield from self._skip(data, start)
        return start

    def _skip(self, data: bytes, start: int) -> Generator[Command, None, int]:
        """Pass over the rest of a line that cannot be executed; returns where the next one begins."""
        end = data.find(LF, start) + 1
        if not end:
            self._skipped_last = data[-1:] or self._skipped_last
            return len(data)
        ending = (self._skipped_last + data[start:end])[-2:]
        failure = self._skipped_for or self._too_big(CRLF if ending == CRLF else LF)
        self._skipping = False
        self._skipped_for = None
        self._at_first_line = False
        yield failure
        return end

    def _uneven_publish_run(self, run: bytes) -> Iterator[Command]:
        """Publish lines that end in CRLF, hold CR, or may be too long: all alike, or piece by piece."""
        endings = run.count(CRLF)
        if endings == run.count(LF) and len(run) <= self._max_message_bytes:
            yield Publish(run.replace(CRLF, LF), endings, CRLF)
            return

        def kind(line: bytes) -> tuple[bytes, bool]:
            eol = CRLF if line.endswith(b"\r") else LF
            return eol, len(line) - len(eol) > self._max_message_bytes

        for (eol, too_big), group in groupby(run.split(LF)[:-1], kind):
            lines = list(group)
            if too_big:
                yield from (self._too_big(eol) for _ in lines)
            else:
                yield Publish(b"".join(line.removesuffix(b"\r") + LF for line in lines), len(lines), eol)

    def _line(self, line: bytes, eol: bytes) -> Command | BodyFollows:
        """What a line is that is neither ``p`` nor ``c``, without its ending."""
        if len(line) - 1 > self._max_message_bytes:
            return self._too_big(eol)
        row = COMMANDS.get(line[0])
        try:
            if row is None:
                raise UnknownCommandError("no such command; h lists them")
            return row.decode(line[1:], eol)
        except ReplyError as error:
            return Failure(error, eol)
        except ValueError:
            assert row is not None
            return Failure(row.argument_error(), eol)

    def _too_big(self, eol: bytes) -> Failure:
        return Failure(TooBigError(f"longer than {self._max_message_bytes} bytes, the server's --max-message"), eol)
