"""``gstream consume``: messages to lines, or to commands.

Messages are leased, and acknowledged once they have been written. What was not written is released: it stays in the
queue, and that was no attempt.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from gstream.cli.options import CONTEXT, connect, connection_options, group_option, seconds_option, topic_option
from gstream.cli.output import EXIT_NOTHING, CommandError, ReaderGoneError, note, plural, print_bytes, told_in_one_line
from gstream.cli.patience import RECONNECT_SECONDS, PatientClient
from gstream.cli.records import encode_message
from gstream.errors import ClientError, GstreamError, RefusedError

if TYPE_CHECKING:
    from gstream.client import Client
    from gstream.client.lease import Lease
    from gstream.client.message import Message

__all__ = ["Wanted", "consume"]

CHUNK_MESSAGES = 100
"""Leased at a time: so many may be printed twice if this process is killed."""

EXIT_TERMINATED = 128 + signal.SIGTERM


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
Whoever is killed before that loses nothing: the message is delivered again. What could not be written, and what was
leased ahead when this ends early, goes back untouched: that is no attempt.

--exec runs CMD with the shell, the body on its standard input, and GSTREAM_ID, GSTREAM_ATTEMPT,
GSTREAM_MESSAGE_TOPIC, GSTREAM_MESSAGE_GROUP, and GSTREAM_KEY if there is one, in its environment. If CMD fails the
message goes back, to be tried again, until it has failed --max-attempts times (the server's) and is a dead letter, in
the topic NAME.dlq. It is tried again after 1 s, then after 2 s, 4 s and so on, up to 60 s; with --retry-delay always
after so long. --exit-empty does not wait for what is to be tried again later, and tries a dead letter that fails (in
NAME.dlq, for which there is no last attempt) once. While CMD runs the message stays leased. SIGINT or SIGTERM starts
no more and waits for those that run; a second one kills them.

If the shell says that CMD cannot be run (exit code 126 or 127), the message goes back untouched, no more are started,
and the exit code is 2.

With -j 1 what CMD prints goes through as it comes. With more at a time it is collected, standard output and standard
error, and written in one piece when CMD, and what it left running, has closed them; if that cannot be written, the
message goes back untouched.

With --json each line is an object: id, attempt, topic, time (ISO 8601), key, headers, body. What is not UTF-8 is
base64: body_base64, key_base64.

\b
Examples:
  gstream consume
  gstream consume -n 1000 > batch.txt
  gstream consume -t orders -g billing --follow --json | jq .body
  while gstream consume --wait 60; do :; done
  gstream consume -t mail --follow -j 4 --exec 'sendmail "$GSTREAM_KEY"'
  gstream consume -t files --exit-empty --null | xargs -0 ls -l

Exit code 0: at least one message was there, and all commands succeeded; 1: nothing there, or a command failed (which
is told on standard error); 2: an error; 130: interrupted; 143: ended by SIGTERM while it printed. If whoever reads the
output, as head does, leaves, that is no error: 0 if at least one message was printed, 141 if none was.
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
@seconds_option("--retry-delay", "When CMD fails, try again after so long.  [default: 1, 2, 4 ... 60]", default=None)
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
    if command is not None and not command.strip():
        raise click.UsageError("--exec is empty (an unset variable?)")
    if command is not None and (null or as_json):
        raise click.UsageError("--exec prints nothing: it goes without --null and --json")
    wanted = Wanted(
        count or (math.inf if follow or exit_empty else 1), math.inf if follow else wait or 0.0, each=exit_empty
    )

    def connect_once() -> Client:
        return connect(options, topic=topic, group=group, details=as_json or command is not None)

    def start(tells: bool = True) -> PatientClient:
        return PatientClient(connect_once, RECONNECT_SECONDS if follow else 0.0, tells=tells)

    if command is not None:
        from gstream.cli.execute import Executor

        sys.exit(Executor(start, command, wanted, jobs=jobs or 1, retry_seconds=retry_delay).run())
    encode = (lambda message: encode_message(message, topic)) if as_json else _encoder(b"\0" if null else b"\n")
    with _ended_by_sigterm(), start() as client:
        printer = _Printer(client, encode)
        try:
            printer.run(wanted)
        except ReaderGoneError:
            if not printer.printed:
                raise
    if not printer.printed:
        sys.exit(EXIT_NOTHING)


def _encoder(ending: bytes) -> Callable[[Message], bytes]:
    return lambda message: message.body + ending


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM raises SystemExit, so that what is leased can be released."""

    def end(_number: int, _frame: object) -> None:
        sys.exit(EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Printer:
    """Prints messages, and counts them."""

    def __init__(self, client: PatientClient, encode: Callable[[Message], bytes]) -> None:
        self.printed = 0
        self._client = client
        self._encode = encode

    def run(self, wanted: Wanted) -> None:
        """Print what is wanted. Raises CommandError, and ReaderGoneError."""
        while self.printed < wanted.count:
            count = int(min(CHUNK_MESSAGES, wanted.count - self.printed))
            lease = self._client.lease(count, wait_seconds=wanted.wait_seconds())
            if not lease:
                break
            self._print(lease)

    def _print(self, lease: Lease) -> None:
        """Print messages and acknowledge them; those that could not be printed are released."""
        left = list(reversed(lease.messages))
        printed: list[Message] = []

        def while_blocked() -> None:
            _acknowledge(lease, printed)
            for message in left:
                with suppress(ClientError):  # the acknowledgement will tell
                    lease.extend(message)

        try:
            while left:
                data = self._encode(left[-1])
                print_bytes(data, " (what was not printed stays in the queue)", while_blocked=while_blocked)
                printed.append(left.pop())
                self.printed += 1
        except BaseException:
            with suppress(GstreamError):  # why it ends says more
                if printed:
                    lease.acknowledge(*printed)
            with suppress(GstreamError):
                lease.release(*reversed(left))
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
        raise CommandError(f"{error} ({plural(len(done), 'printed message')} perhaps delivered again)") from None
