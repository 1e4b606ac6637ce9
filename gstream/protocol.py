"""The line protocol without I/O: bytes to commands, replies to bytes. ``docs/protocol.md`` is its definition.

Strategy: what arrives is looked at in *runs*, not lines. Consecutive ``p`` lines are one :class:`Publish` with a
count, consecutive ``c`` lines one :class:`Consume`, each found and packed by one pass of C over the whole burst; a
single line is a run of one. Everything else is a line, looked up by its first byte in :data:`COMMANDS`.

A new command is a row of that table, a class beside the others, and a handler in the server's table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, TypeAlias

from gstream.batch import LF, pack, unpack
from gstream.errors import ArgumentError, ReplyError, TooBigError, UnknownCommandError
from gstream.telnet import IAC, TelnetFilter

__all__ = [
    "BANNER",
    "COMMANDS",
    "Command",
    "Consume",
    "Decoder",
    "Failure",
    "ForeignProtocol",
    "Help",
    "Negotiate",
    "Ping",
    "Publish",
    "Quit",
    "Wait",
    "encode_done",
    "encode_end",
    "encode_failure",
    "encode_help",
    "encode_http_refusal",
    "encode_lines",
    "encode_message",
    "encode_notice",
    "encode_oks",
]

CRLF: Final = b"\r\n"


@dataclass(slots=True)
class Publish:
    """``p`` lines: ``count`` bodies as packed lines. ``eol`` is the ending that all these lines had."""

    data: bytes
    count: int
    eol: bytes


@dataclass(slots=True)
class Consume:
    """``c`` lines, ``count`` of them."""

    count: int
    eol: bytes


@dataclass(slots=True)
class Quit:
    """``q``: close once everything before it is answered."""

    eol: bytes


@dataclass(slots=True)
class Ping:
    """``z``: answer with the token."""

    token: bytes
    eol: bytes


@dataclass(slots=True)
class Help:
    """``h``: list the commands."""

    eol: bytes


@dataclass(slots=True)
class Wait:
    """``w``: consume up to ``count`` messages, waiting up to ``seconds`` for the first (None: for ever).

    ``counted`` says whether a count was given: such a list always ends with ``.``.
    """

    seconds: float | None
    count: int
    counted: bool
    eol: bytes


@dataclass(slots=True)
class Failure:
    """A line that cannot be executed."""

    error: ReplyError
    eol: bytes


@dataclass(slots=True)
class Negotiate:
    """An answer that a telnet client waits for, to be sent as it is."""

    answer: bytes


@dataclass(slots=True)
class ForeignProtocol:
    """The client speaks something else ("http" or "tls"); nothing more will be decoded."""

    name: str


Command: TypeAlias = Publish | Consume | Quit | Ping | Help | Wait | Failure | Negotiate | ForeignProtocol


# --- the table of commands ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One command: how its argument is decoded (raising ReplyError), and what ``h`` says of it."""

    usage: str
    summary: str
    decode: Callable[[bytes, bytes], Command]


def _no_argument(command: Callable[[bytes], Command]) -> Callable[[bytes, bytes], Command]:
    def decode(argument: bytes, eol: bytes) -> Command:
        if argument:  # ``connection: close`` is no consume
            raise UnknownCommandError("no such command; h lists them")
        return command(eol)

    return decode


def _decode_wait(argument: bytes, eol: bytes) -> Command:
    match = re.fullmatch(rb"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})?(?: (\d{1,9}))?", argument)
    if match is None:
        raise ArgumentError("w takes [seconds[ messages]], as in w5 or w0.5 100")
    seconds, count = match.groups()
    if count is not None and (seconds is None or int(count) == 0):
        raise ArgumentError("w takes seconds, then a number of messages from 1 on, as in w0.5 100")
    return Wait(
        seconds=None if seconds is None else float(seconds),
        count=1 if count is None else int(count),
        counted=count is not None,
        eol=eol,
    )


COMMANDS: Final[dict[int, CommandRow]] = {
    ord(row.usage[0]): row
    for row in (
        CommandRow("pXXX", "publish content XXX", lambda argument, eol: Publish(pack(argument), 1, eol)),
        CommandRow("c", "consume new content", _no_argument(lambda eol: Consume(1, eol))),
        CommandRow("q", "close stream", _no_argument(Quit)),
        CommandRow("w[seconds[ n]]", "wait for a message, or for up to n of them", _decode_wait),
        CommandRow("z[token]", "ping: answers + token", Ping),
        CommandRow("h", "this list", _no_argument(Help)),
    )
}

BANNER: Final = b"".join(f"{COMMANDS[letter].usage} -> {COMMANDS[letter].summary}\r\n".encode() for letter in b"pcq")


# --- bytes to commands -------------------------------------------------------------------------------------------

_P, _C, _LF = b"pc\n"
_CONSUME_LINES = {b"c\n": LF, b"c\r\n": CRLF}
_PUBLISH_RUN_END = re.compile(rb"\n(?!p)")
_CONSUME_RUN = re.compile(rb"(?:c\n)+|(?:c\r\n)+")
_HTTP_REQUEST = re.compile(rb"[A-Z]+ \S+ HTTP/\d(?:\.\d)?\r?\n")
_TLS_HELLO = re.compile(rb"\x16\x03[\x00-\x04]")


class Decoder:
    """Turns what one client sends into commands, however the bytes are cut.

    max_message_bytes: the longest body, and the longest argument of any command. Longer lines are skipped to their
    end in constant memory and become a Failure.

    A connection is taken for a telnet client from the first line on that begins with IAC (no command does); until
    then byte 255 is data like any other.
    """

    __slots__ = (
        "_at_first_line",
        "_between_lines",
        "_ended",
        "_held",
        "_max_message_bytes",
        "_skipped_last",
        "_skipping",
        "_telnet",
    )

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._held = bytearray()  # the beginning of a line whose end has not come yet
        self._skipping = False
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
                if whole and len(data) <= self._max_message_bytes and b"\r" not in data:
                    return (Publish(data, count, LF),)
            elif data == b"c\n" * count:
                return (Consume(count, LF),)
        return self._commands(data)

    def _commands(self, data: bytes) -> Iterator[Command]:
        data = yield from self._resume(data)
        start = 0
        size = len(data)
        while start < size:
            first = data[start]
            if first == IAC and self._telnet is None:
                self._telnet = TelnetFilter()
                yield from self._commands(data[start:])
                return
            end = data.find(LF, start) + 1
            if not end:
                self._hold(data[start:])
                return
            if first == _P:
                if end < size and data[end] == _P:
                    match = _PUBLISH_RUN_END.search(data, end)
                    end = match.end() if match else data.rfind(LF) + 1
                run = data[start:end]
                if b"\r" in run or len(run) > self._max_message_bytes:
                    yield from self._uneven_publish_run(run)
                else:
                    yield Publish(run, run.count(LF), LF)
            elif first == _C and (eol := _CONSUME_LINES.get(data[start:end])):
                if end < size and data[end] == _C and (match := _CONSUME_RUN.match(data, start)):
                    end = match.end()
                yield Consume((end - start) // (1 + len(eol)), eol)
            elif command := self._line(data[start:end]):
                yield command
            start = end
        self._between_lines = not (self._held or self._skipping or self._ended or self._telnet)

    def close(self) -> Iterator[Command]:
        """The client sends nothing more: a last line is complete without its ending, or with half a CRLF."""
        if self._held or self._skipping:
            yield from self.feed(LF)

    def _resume(self, data: bytes) -> Generator[Command, None, bytes]:
        """Go on where the last call stopped, and look at the first line; returns what remains to be decoded."""
        if self._telnet is not None:
            data, answer = self._telnet.feed(data)
            if answer:
                yield Negotiate(answer)
        if self._skipping:
            data = yield from self._skip(data)
        if self._at_first_line and not self._ended and _TLS_HELLO.match(bytes(self._held[:3]) + data[:3]):
            self._ended = True
            yield ForeignProtocol("tls")
        if self._held:
            if LF not in data and self._fits(len(self._held) + len(data)):
                self._held += data
                return b""
            data = bytes(self._held) + data
            self._held.clear()
        if self._at_first_line and LF in data and not self._ended:
            if _HTTP_REQUEST.match(data):
                self._ended = True
                yield ForeignProtocol("http")
            else:
                self._at_first_line = False
        return b"" if self._ended else data

    def _fits(self, size: int) -> bool:
        """Whether an unfinished line of this size can still be within the limit: it has its letter and maybe a CR."""
        return size <= self._max_message_bytes + 2

    def _hold(self, rest: bytes) -> None:
        self._between_lines = False
        if self._fits(len(rest)):
            self._held += rest
        else:
            self._skipping = True
            self._skipped_last = rest[-1:]

    def _skip(self, data: bytes) -> Generator[Command, None, bytes]:
        """Pass over the rest of a line that is too long; returns what follows it."""
        end = data.find(LF) + 1
        if not end:
            self._skipped_last = data[-1:] or self._skipped_last
            return b""
        ending = (self._skipped_last + data[:end])[-2:]
        self._skipping = False
        self._at_first_line = False
        yield self._too_big(CRLF if ending == CRLF else LF)
        return data[end:]

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

    def _line(self, line: bytes) -> Command | None:
        eol = CRLF if line.endswith(CRLF) else LF
        line = line[: -len(eol)]
        if not line:
            return None
        if len(line) - 1 > self._max_message_bytes:
            return self._too_big(eol)
        row = COMMANDS.get(line[0])
        try:
            if row is None:
                raise UnknownCommandError("no such command; h lists them")
            return row.decode(line[1:], eol)
        except ReplyError as error:
            return Failure(error, eol)

    def _too_big(self, eol: bytes) -> Failure:
        return Failure(TooBigError(f"longer than {self._max_message_bytes} bytes, the server's --max-message"), eol)


# --- replies to bytes --------------------------------------------------------------------------------------------

_READY_OKS: Final = 16384
_OKS: Final = b"ok\r\n" * _READY_OKS
_COUNTED = re.compile(rb"[\r\n\0]")


def encode_oks(count: int) -> bytes:
    """The replies to ``count`` published messages. They always end in CRLF."""
    if count <= _READY_OKS:
        return _OKS[: 4 * count]
    return b"ok\r\n" * count


def encode_lines(data: bytes, eol: bytes) -> bytes:
    """The replies to ``c``: packed lines without their packing, each ending the way the command did."""
    lines = unpack(data)
    return lines if eol == LF else lines.replace(LF, eol)


def encode_message(offset: int, attempt: int, body: bytes, eol: bytes) -> bytes:
    """A typed message; counted where a body holds CR, LF or NUL, which readers of lines would trip over."""
    if _COUNTED.search(body):
        return b"$ %d %d %d%b%b%b" % (offset, attempt, len(body), eol, body, eol)
    return b"= %d %d %b%b" % (offset, attempt, body, eol)


def encode_done(text: bytes, eol: bytes) -> bytes:
    """``+ text``: done."""
    return b"+ %b%b" % (text, eol)


def encode_end(eol: bytes) -> bytes:
    """``.``: nothing there, timed out, or the end of a list."""
    return b"." + eol


def encode_failure(error: ReplyError, eol: bytes) -> bytes:
    """``- code text``."""
    return b"- %b %b%b" % (error.code.encode(), str(error).encode(), eol)


def encode_notice(text: str, eol: bytes) -> bytes:
    """``# text``: may come at any time; clients skip it."""
    return b"# %b%b" % (text.encode(), eol)


def encode_help(eol: bytes) -> bytes:
    """Every command, one a line, and ``.``."""
    return b"".join(b"%b -> %b%b" % (r.usage.encode(), r.summary.encode(), eol) for r in COMMANDS.values()) + b"." + eol


def encode_http_refusal() -> bytes:
    """The whole response to somebody who sent an HTTP request here."""
    text = (
        b"This is a gstream server: it speaks a line protocol, not HTTP.\n"
        b"Try: printf 'pHello\\nc\\nq\\n' | nc HOST PORT\n"
    )
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % len(text) + text
