"""What a client can say: a class for each kind of command, and the table that decodes them by their first byte."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from gstream.batch import pack
from gstream.errors import ArgumentError, ReplyError, UnknownCommandError

__all__ = [
    "BANNER",
    "COMMANDS",
    "CRLF",
    "Command",
    "CommandRow",
    "Consume",
    "Failure",
    "ForeignProtocol",
    "Help",
    "Negotiate",
    "Ping",
    "Publish",
    "Quit",
    "Wait",
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
    """The client speaks telnet, and waits for this answer, to be sent as it is; at first there is none (b"")."""

    answer: bytes


@dataclass(slots=True)
class ForeignProtocol:
    """The client speaks something else ("http" or "tls"); nothing more will be decoded."""

    name: str


Command: TypeAlias = Publish | Consume | Quit | Ping | Help | Wait | Failure | Negotiate | ForeignProtocol


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
