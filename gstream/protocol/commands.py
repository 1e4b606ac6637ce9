"""What a client can say: a class for each kind of command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from gstream.errors import ReplyError

__all__ = [
    "CRLF",
    "Acknowledge",
    "BodyFollows",
    "ChooseGroup",
    "ChooseTopic",
    "Command",
    "Consume",
    "Counted",
    "DeadLetter",
    "Extend",
    "Failure",
    "ForeignProtocol",
    "ForgetGroup",
    "GiveBack",
    "Help",
    "Info",
    "Limit",
    "ListTopics",
    "MakeTopic",
    "Negotiate",
    "Peek",
    "Ping",
    "Publish",
    "PublishCounted",
    "Quit",
    "Release",
    "RemoveTopic",
    "Seek",
    "Stream",
    "Wait",
]

CRLF: Final = b"\r\n"

Limit: TypeAlias = "float | Literal['default'] | None"
"""What is said of a topic's limit: a number (0: there is none), that it is the server's, or (None) nothing."""


@dataclass(slots=True)
class Publish:
    """``p`` lines: ``count`` bodies as packed lines. ``eol`` is the ending that all these lines had."""

    data: bytes
    count: int
    eol: bytes


@dataclass(slots=True)
class PublishCounted:
    """``P`` lines and the bodies behind them: several where they had no fields, else one.

    key: chooses the partition; None: there is none.
    delay_seconds: the message is published when these are over.
    id: the message is published once, however often it comes with this id; None: there is none.
    """

    bodies: list[bytes]
    key: bytes | None
    delay_seconds: float
    id: bytes | None
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
class ChooseTopic:
    """``t``: the topic for what follows."""

    name: str
    eol: bytes


@dataclass(slots=True)
class ChooseGroup:
    """``g``: the group to consume as."""

    name: str
    eol: bytes


@dataclass(slots=True)
class Wait:
    """``w``: consume up to ``count`` messages, waiting up to ``seconds`` for the first (None: for ever).

    ``counted`` says whether a count was given: such a list always ends with ``.``. ``leased``: it was ``r``, which
    lends the messages.
    """

    seconds: float | None
    count: int
    counted: bool
    leased: bool
    eol: bytes


@dataclass(slots=True)
class Acknowledge:
    """``a``: these messages are done. For the ids see :mod:`gstream.protocol.ids`."""

    ids: Sequence[int]
    eol: bytes


@dataclass(slots=True)
class GiveBack:
    """``n``: this message is to be tried again, after ``seconds``."""

    id: int
    seconds: float
    eol: bytes


@dataclass(slots=True)
class Release:
    """``o``: these messages were not touched; they go back, and that was no attempt."""

    ids: Sequence[int]
    eol: bytes


@dataclass(slots=True)
class Extend:
    """``e``: this lease ends ``seconds`` from now (None: it starts anew)."""

    id: int
    seconds: float | None
    eol: bytes


@dataclass(slots=True)
class DeadLetter:
    """``d``: this message becomes a dead letter; ``why`` may be empty."""

    id: int
    why: bytes
    eol: bytes


@dataclass(slots=True)
class Stream:
    """``s``: send every message as it comes; with a ``credit``, lease so many at a time; 0 ends it."""

    credit: int | None
    eol: bytes


@dataclass(slots=True)
class Seek:
    """``f``: move the group.

    to, and what ``value`` is: "id" (the message's), "before-end" (how many messages), "time" (seconds since 1970),
    "ago" (seconds before now), "oldest" and "end" (0).
    """

    to: str
    value: int | float
    eol: bytes


@dataclass(slots=True)
class Peek:
    """``v``: show the next ``count`` messages."""

    count: int
    eol: bytes


@dataclass(slots=True)
class ForgetGroup:
    """``x``: forget a group."""

    name: str
    eol: bytes


@dataclass(slots=True)
class MakeTopic:
    """``m``: make a topic, or change what is set for it.

    partitions: how many it has; None: that is not said.
    retain_bytes, retain_seconds: how much of it, and how old it may be, is kept. The bytes are a whole number.
    """

    name: str
    partitions: int | None
    retain_bytes: Limit
    retain_seconds: Limit
    eol: bytes


@dataclass(slots=True)
class RemoveTopic:
    """``y``: remove a topic."""

    name: str
    eol: bytes


@dataclass(slots=True)
class ListTopics:
    """``l``: list the topics."""

    eol: bytes


@dataclass(slots=True)
class Info:
    """``i``: tell about a topic, or the server (None)."""

    topic: str | None
    eol: bytes


@dataclass(slots=True)
class Counted:
    """``b``: which messages are counted: 0 those that have to be, 1 all, 2 all and with everything known of them."""

    mode: int
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


Command: TypeAlias = (
    Publish
    | PublishCounted
    | Consume
    | Quit
    | ChooseTopic
    | ChooseGroup
    | Wait
    | Acknowledge
    | GiveBack
    | Release
    | Extend
    | DeadLetter
    | Stream
    | Seek
    | Peek
    | ForgetGroup
    | MakeTopic
    | RemoveTopic
    | ListTopics
    | Info
    | Counted
    | Ping
    | Help
    | Failure
    | Negotiate
    | ForeignProtocol
)


@dataclass(slots=True)
class BodyFollows:
    """A ``P`` line, which is no command yet: ``size_bytes`` of a body and a line ending follow.

    The body completes the command, or is skipped where that has failed already.
    """

    size_bytes: int
    command: PublishCounted | Failure
