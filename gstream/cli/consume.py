"""``gstream consume``: messages to lines, or to commands.

Messages are leased, and acknowledged once they have been written: what could not be printed stays in the queue.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from gstream.cli.options import CONTEXT, connect, connection_options, group_option, seconds_option, topic_option
from gstream.cli.output import EXIT_NOTHING, CommandError, note, print_bytes, told_in_one_line
from gstream.cli.records import encode_message
from gstream.errors import ClientError, GstreamError, RefusedError

if TYPE_CHECKING:
    from gstream.client import Client
    from gstream.client.lease import Lease
    from gstream.client.message import Message

__all__ = ["Wanted", "consume"]

CHUNK_MESSAGES = 100
"""Leased at a time: so many may be printed twice if this process is killed."""

RECONNECT_SECONDS = 30.0
"""Who follows outlives a restart of the server."""


@dataclass
class Wanted:
    """How many messages are wanted, and how long to wait for the next.

    count: at most so many (inf: all). seconds: how long to wait in total, or, if ``each``, for each (inf: for ever).
    """

    count: float
    seconds: float
    each: bool
    started: float = field(default_factory=time.monotonic)

    def wait_seconds(self) -> float | None:
        """How long to wait for the next message; None: for ever."""
        if math.isinf(self.seconds):
            return None
        return self.seconds if self.each else max(0.0, self.started + self.seconds - time.monotonic())


@click.command(
    context_settings=CONTEXT,
    epilog="""
A message is taken from the queue when it has been written to standard output, or when CMD has ended with exit code 0.
Whoever is killed before that loses nothing: the message is delivered again.

--exec runs CMD with the shell, the body on its standard input, and GSTREAM_ID, GSTREAM_ATTEMPT, GSTREAM_TOPIC,
GSTREAM_GROUP, and GSTREAM_KEY if there is one, in its environment. If CMD fails the message goes back, to be tried
again, until it has failed --max-attempts times (the server's) and is a dead letter. While CMD runs the message stays
leased. SIGINT or SIGTERM starts no more and waits for those that run; a second one kills them.

With --json each line is an object: id, attempt, topic, time (ISO 8601), key, headers, body. What is not UTF-8 is
base64: body_base64, key_base64.

\b
Examples:
  gstream consume
  gstream consume -n 1000 > batch.txt
  gstream consume -t orders -g billing --follow --json | jq .body
  while gstream consume --wait 60; do :; done
  gstream consume -t mail --follow -j 4 --exec 'sendmail "$GSTREAM_KEY"' --retry-delay 30
  gstream consume -t files --exit-empty --null | xargs -0 ls -l

Exit code 0: at least one message was there, and all commands succeeded; 1: nothing there, or a command failed (which
is told on standard error); 2: an error; 130: interrupted.
""",
)
@topic_option("The topic to consume from.")
@group_option("The group to consume as; each gets every message.")
@click.option("-n", "count", metavar="N", type=click.IntRange(1), help="At most so many.  [default: 1]")
@seconds_option("--wait", "Wait so long for them to come.  [default: do not wait]", default=None)
@click.option(
    "--exit-empty", is_flag=True, help="Go on until nothing is there (with --wait: until nothing came for so long)."
)
@click.option("-f", "--follow", is_flag=True, help="Go on without end, or to the Nth; wait for what comes.")
@click.option("--null", is_flag=True, help="End each message with NUL instead of LF.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line; see below.")
@click.option("--exec", "command", metavar="CMD", help="Run CMD for each message instead of printing it; see below.")
@click.option(
    "-j", "--jobs", metavar="N", type=click.IntRange(1, 1000), help="Run so many CMD at a time.  [default: 1]"
)
@seconds_option("--retry-delay", "When CMD fails, try again after so long.  [default: at once]", default=None)
@connection_options
@told_in_one_line
def consume(
    topic: str,
    group: str,
    count: int | None,
    wait: float | None,
    exit_empty: bool,
    follow: bool,
    null: bool,
    as_json: bool,
    command: str | None,
    jobs: int | None,
    retry_delay: float | None,
    **options: Any,
) -> None:
    """Take messages and print them, one a line, oldest first."""
    if follow and (exit_empty or wait is not None):
        raise click.UsageError("--follow waits without end: it goes without --wait and --exit-empty")
    if null and as_json:
        raise click.UsageError("--null or --json, not both")
    if command is None and (jobs is not None or retry_delay is not None):
        raise click.UsageError("--jobs and --retry-delay are for --exec")
    if command is not None and (null or as_json):
        raise click.UsageError("--exec prints nothing: it goes without --null and --json")
    wanted = Wanted(
        count or (math.inf if follow or exit_empty else 1), math.inf if follow else wait or 0.0, each=exit_empty
    )

    def start() -> Client:
        return connect(
            options,
            topic=topic,
            group=group,
            details=as_json or command is not None,
            reconnect_seconds=RECONNECT_SECONDS if follow else 0.0,
        )

    if command is not None:
        from gstream.cli.execute import Executor

        sys.exit(Executor(start, command, wanted, jobs=jobs or 1, retry_seconds=retry_delay or 0.0).run())
    with start() as client:
        encode = (lambda message: encode_message(message, topic)) if as_json else _encoder(b"\0" if null else b"\n")
        if not _print_all(client, wanted, encode):
            sys.exit(EXIT_NOTHING)


def _encoder(ending: bytes) -> Callable[[Message], bytes]:
    return lambda message: message.body + ending


def _print_all(client: Client, wanted: Wanted, encode: Callable[[Message], bytes]) -> int:
    """Print what is wanted; gives how many messages that were."""
    printed = 0
    while printed < wanted.count:
        lease = client.lease(int(min(CHUNK_MESSAGES, wanted.count - printed)), wait_seconds=wanted.wait_seconds())
        if not lease:
            break
        _print_lease(lease, encode)
        printed += len(lease)
    return printed


def _print_lease(lease: Lease, encode: Callable[[Message], bytes]) -> None:
    """Print messages and acknowledge them; those that could not be printed are given back."""
    left = list(reversed(lease.messages))
    printed: list[Message] = []

    def while_blocked() -> None:
        _acknowledge(lease, printed)
        for message in left:
            with suppress(ClientError):  # the acknowledgement will tell
                lease.extend(message)

    try:
        while left:
            print_bytes(encode(left[-1]), " (what was not printed stays in the queue)", while_blocked=while_blocked)
            printed.append(left.pop())
    except BaseException:
        with suppress(GstreamError):  # why it ends says more
            lease.acknowledge(*printed)
        for message in reversed(left):
            with suppress(GstreamError):
                lease.give_back(message)
        raise
    _acknowledge(lease, printed)


def _acknowledge(lease: Lease, printed: list[Message]) -> None:
    """Acknowledge these messages, which leaves none."""
    done = tuple(printed)
    printed.clear()
    if not done:
        return
    try:
        lease.acknowledge(*done)
    except RefusedError as error:
        if error.code != "gone":
            raise
        note(f"{error}: printed later than the lease allows, and perhaps delivered again")
    except ClientError as error:
        raise CommandError(f"{error} ({len(done)} printed messages are perhaps delivered again)") from None
