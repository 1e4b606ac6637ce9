"""The table of commands: by its first byte, how a line is decoded, and what ``h`` says of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gstream.batch import pack
from gstream.errors import ArgumentError, UnknownCommandError
from gstream.protocol.arguments import (
    decode_count,
    decode_fields,
    decode_name,
    decode_place,
    decode_seconds,
    decode_topic_name,
    decode_topic_settings,
    decode_waiting,
)
from gstream.protocol.commands import (
    Acknowledge,
    BodyFollows,
    ChooseGroup,
    ChooseTopic,
    Command,
    Consume,
    Counted,
    DeadLetter,
    Extend,
    Failure,
    ForgetGroup,
    GiveBack,
    Help,
    Info,
    ListTopics,
    MakeTopic,
    Peek,
    Ping,
    Publish,
    PublishCounted,
    Quit,
    Release,
    RemoveTopic,
    Seek,
    Stream,
    Wait,
)
from gstream.protocol.ids import decode_id, decode_ids

__all__ = ["BANNER", "COMMANDS", "CommandRow"]

MAX_REASON_BYTES: Final = 256

_DEFAULT_NAME = b"default"
_LENGTH = re.compile(rb"(\d{1,15})(?: (.*))?")


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One command.

    usage, summary: what ``h`` says of it.
    decode: its argument and its line ending to the command. Raises ReplyError, or ValueError for an argument that
    cannot be understood.
    takes: what is answered to such an argument, behind "<letter> takes"; empty where every argument is understood.
    """

    usage: str
    summary: str
    decode: Callable[[bytes, bytes], Command | BodyFollows]
    takes: str = ""

    def argument_error(self) -> ArgumentError:
        """What to answer to an argument that cannot be understood."""
        return ArgumentError(f"{self.usage[0]} takes {self.takes}")


def _no_argument(command: Callable[[bytes], Command]) -> Callable[[bytes, bytes], Command]:
    def decode(argument: bytes, eol: bytes) -> Command:
        if argument:  # ``connection: close`` is no consume
            raise UnknownCommandError("no such command; h lists them")
        return command(eol)

    return decode


def _decode_publish_counted(argument: bytes, eol: bytes) -> BodyFollows:
    match = _LENGTH.fullmatch(argument)
    if match is None:
        raise ValueError("no length")
    size_bytes, fields = int(match[1]), match[2]
    if fields is None:
        return BodyFollows(size_bytes, PublishCounted([], None, 0.0, None, eol))
    try:
        return BodyFollows(size_bytes, PublishCounted([], *decode_fields(fields), eol))
    except ValueError:  # the length is known, so the body is passed over instead of being taken for commands
        return BodyFollows(size_bytes, Failure(COMMANDS[ord("P")].argument_error(), eol))


def _decode_wait(*, leased: bool) -> Callable[[bytes, bytes], Wait]:
    @lru_cache(maxsize=256)  # a client says the same again and again: 0.1 us instead of 1.2
    def decode(argument: bytes, eol: bytes) -> Wait:
        seconds, count = decode_waiting(argument)
        return Wait(seconds, count or 1, count is not None, leased, eol)

    return decode


def _decode_give_back(argument: bytes, eol: bytes) -> GiveBack:
    id, space, seconds = argument.partition(b" ")
    return GiveBack(decode_id(id), decode_seconds(seconds) if space else 0.0, eol)


def _decode_extend(argument: bytes, eol: bytes) -> Extend:
    id, space, seconds = argument.partition(b" ")
    return Extend(decode_id(id), decode_seconds(seconds) if space else None, eol)


def _decode_dead_letter(argument: bytes, eol: bytes) -> DeadLetter:
    id, _, why = argument.partition(b" ")
    if len(why) > MAX_REASON_BYTES:
        raise ArgumentError(f"a reason has at most {MAX_REASON_BYTES} bytes")
    return DeadLetter(decode_id(id), why, eol)


def _decode_make_topic(argument: bytes, eol: bytes) -> MakeTopic:
    name, space, settings = argument.partition(b" ")
    topic = decode_topic_name(name)
    return MakeTopic(topic, *(decode_topic_settings(settings) if space else (None, None, None)), eol)


def _decode_peek(argument: bytes, eol: bytes) -> Peek:
    count = decode_count(argument) if argument else 1
    if not count:
        raise ValueError("nothing to look at")
    return Peek(count, eol)


COMMANDS: Final[dict[int, CommandRow]] = {
    ord(row.usage[0]): row
    for row in (
        CommandRow("pXXX", "publish content XXX", lambda argument, eol: Publish(pack(argument), 1, eol)),
        CommandRow("c", "consume new content", _no_argument(lambda eol: Consume(1, eol))),
        CommandRow("q", "close stream", _no_argument(Quit)),
        CommandRow(
            "t[topic]",
            "choose the topic; t alone: default",
            lambda argument, eol: ChooseTopic(decode_topic_name(argument or _DEFAULT_NAME), eol),
        ),
        CommandRow(
            "g[group]",
            "choose the group to consume as; g alone: default",
            lambda argument, eol: ChooseGroup(decode_name(argument or _DEFAULT_NAME), eol),
        ),
        CommandRow(
            "P<len>[ key=k][ delay=seconds][ id=i]",
            "publish the len bytes that follow this line",
            _decode_publish_counted,
            "len[ key=k][ delay=seconds][ id=i], as in P5 key=a",
        ),
        CommandRow(
            "w[seconds[ n]]",
            "wait for a message, or for up to n of them",
            _decode_wait(leased=False),
            "[seconds[ n]], as in w5 or w0.5 100",
        ),
        CommandRow(
            "r[seconds[ n]]",
            "the same, but leased: they come back unless acknowledged",
            _decode_wait(leased=True),
            "[seconds[ n]], as in r5 or r0.5 100",
        ),
        CommandRow(
            "a<id>[ id...]",
            "acknowledge leased messages",
            lambda argument, eol: Acknowledge(decode_ids(argument), eol),
            "id[ id...], as in a7 or a7 8",
        ),
        CommandRow(
            "n<id>[ seconds]",
            "give a leased message back, to be tried again after so long",
            _decode_give_back,
            "id[ seconds], as in n7 or n7 0.5",
        ),
        CommandRow(
            "o<id>[ id...]",
            "give leased messages back untouched: that was no attempt",
            lambda argument, eol: Release(decode_ids(argument), eol),
            "id[ id...], as in o7 or o7 8",
        ),
        CommandRow(
            "e<id>[ seconds]",
            "extend a lease: it ends so long from now",
            _decode_extend,
            "id[ seconds], as in e7 or e7 60",
        ),
        CommandRow(
            "d<id>[ why]",
            "make a leased message a dead letter",
            _decode_dead_letter,
            "id[ why], as in d7 or d7 no such user",
        ),
        CommandRow(
            "s[credit]",
            "stream every message; with a credit: leased, so many at a time; s0 ends it",
            lambda argument, eol: Stream(decode_count(argument) if argument else None, eol),
            "[credit], as in s, s100 or s0",
        ),
        CommandRow(
            "f<id|-n|@time|^|$>",
            "move the group: to a message, n before the end, a time, the oldest, the end",
            lambda argument, eol: Seek(*decode_place(argument), eol),
            "an id, -n, @time, ^ or $, as in f0, f-10, f@-60",
        ),
        CommandRow("v[n]", "look at the next n messages without taking them", _decode_peek, "[n], as in v or v5"),
        CommandRow("x<group>", "forget a group", lambda argument, eol: ForgetGroup(decode_name(argument), eol)),
        CommandRow(
            "m<topic>[ partitions=n][ retain-bytes=size][ retain-seconds=seconds]",
            "make a topic, or change what is set for it",
            _decode_make_topic,
            "topic[ partitions=n][ retain-bytes=size][ retain-seconds=seconds], as in mlog partitions=4",
        ),
        CommandRow(
            "y<topic>",
            "remove a topic with its messages and groups",
            lambda argument, eol: RemoveTopic(decode_topic_name(argument), eol),
        ),
        CommandRow("l", "list the topics", _no_argument(ListTopics)),
        CommandRow(
            "i[topic]",
            "what is going on in the server, or in a topic",
            lambda argument, eol: Info(decode_topic_name(argument) if argument else None, eol),
        ),
        CommandRow(
            "b[0|1|2]",
            "count every message's bytes: off, on, and with key, time and headers",
            lambda argument, eol: Counted((b"0", b"1", b"2").index(argument or b"1"), eol),
            "[0|1|2], as in b or b0",
        ),
        CommandRow("z[token]", "ping: answers + token", Ping),
        CommandRow("h", "this list", _no_argument(Help)),
    )
}

BANNER: Final = b"".join(f"{COMMANDS[letter].usage} -> {COMMANDS[letter].summary}\r\n".encode() for letter in b"pcq")
