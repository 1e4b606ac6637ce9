"""``gstream log``: what lies in the files of a data directory, and whether all of it is as it should be.

Reads the files and asks no server. The file layer is imported by the command that needs it.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

import click

from gstream.cli.options import CONTEXT, check_name
from gstream.cli.output import EXIT_NOTHING, plural, print_lines, told_in_one_line
from gstream.cli.progress import Progress

if TYPE_CHECKING:
    from gstream.storage.check import Totals

__all__ = ["goes_to_a_file", "log"]

EXIT_DAMAGED = EXIT_NOTHING
PRINTED_CHARACTERS = 1 << 16
ADVICE = {
    "torn": "normal beside a running server and after a crash; is cut off when the log is opened",
    "index": "no message is lost; is made again when it is needed",
}
"""What to think of a finding that is no damage, by its kind."""


def _complete_topic(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The topics of the directory, for the shell."""
    with suppress(OSError):
        names = sorted(os.listdir(os.path.join(context.params.get("target") or ".", "topics")))
        return [name for name in names if name.startswith(incomplete)]
    return []


_target = click.argument("target", metavar="DIR|FILE", type=click.Path())
_topic = click.option(
    "-t",
    "--topic",
    metavar="NAME",
    callback=check_name,
    shell_complete=_complete_topic,
    help="This topic only, of a data directory.  [default: all topics]",
)


@click.group(
    context_settings=CONTEXT,
    short_help="Look into the files of a data directory, or verify them.",
    epilog="""
Both commands only read, take no lock, and may run beside a server that uses the directory. What they read is laid out
in docs/format.md.

\b
Examples:
  gstream log dump /var/lib/gstream -t orders -n 20
  gstream log verify /var/lib/gstream
""",
)
def log() -> None:
    """Look into the files of a data directory, or verify them."""


@log.command(
    context_settings=CONTEXT,
    short_help="Show batches, and messages, as they lie on disk.",
    epilog="""
A batch is a line: the OFFSET of its first message, how many MESSAGES it has, when they were published (TIME, and in
milliseconds since 1970), its KIND (lines, counted: messages with keys, headers or line feeds; records: Kafka's), where
in the file it begins (POSITION), its size in BYTES, and whether its checksum (CRC) is right. What is not as it should
be has a line in its place, which says so.

With --messages each is followed by its messages; what cannot be printed is escaped, as \\n is. Kafka's records are
shown, too; snappy, lz4 and zstd are unpacked with pip install 'gstream[kafka]'.

With --json each line is an object: {"type": "batch", "base_offset": 7, "count": 2, ...}, {"type": "message", ...} or
{"type": "finding", ...}. A key or a body that is no UTF-8 is its base64, as key_base64 or body_base64; headers are
pairs.

\b
Examples:
  gstream log dump /var/lib/gstream
  gstream log dump /var/lib/gstream -t orders --from 120000 -n 10 --messages
  gstream log dump /var/lib/gstream -t orders --json | jq 'select(.type == "batch") | .count'
  gstream log dump /var/lib/gstream/topics/orders/0/00000000000000000000.log

While the output goes to a file, a terminal shows how far it is. Exit code 0: something is there; 1: nothing is; 2: an
error; 130: interrupted; 141: whoever read the output, as head does, left before its end.
""",
)
@_target
@_topic
@click.option("--messages", is_flag=True, help="Show the messages, too.")
@click.option(
    "--from",
    "from_offset",
    metavar="OFFSET",
    type=click.IntRange(0),
    default=0,
    help="From this message on, in each partition.  [default: the oldest]",
)
@click.option(
    "-n", "count", metavar="COUNT", type=click.IntRange(1), help="So many batches, or with --messages so many messages."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line; see below.")
@told_in_one_line
def dump(target: str, topic: str | None, messages: bool, from_offset: int, count: int | None, as_json: bool) -> None:
    """Show what lies in DIR, a data directory, a topic's or a partition's, or in FILE, a segment."""
    from gstream.batch import Message
    from gstream.cli.dumped import JsonLines, Table, entries, first
    from gstream.record import Record
    from gstream.storage import check

    shown = JsonLines() if as_json else Table()
    with Progress(None, wanted=goes_to_a_file()) as progress, _Printer() as printer:
        found = check.dump(target, _follow(progress), topic=topic, from_offset=from_offset)
        counted = (Message, Record) if messages else (check.Dumped,)
        for entry in first(entries(found, messages=messages, from_offset=from_offset), count, counted):
            for line in shown.lines(entry):
                printer.print(line)
    if not printer.has_printed:
        sys.exit(EXIT_NOTHING)


@log.command(
    context_settings=CONTEXT,
    short_help="Read everything, and tell what is damaged.",
    epilog="""
\b
  damaged      bytes that are not what was written; their messages are not served any more
  torn         half a batch behind the last whole one: a server is just writing, or crashed
  index        an index that is missing or wrong: it is made again when it is needed
  kept aside   cut off a segment's end, and might be messages: for people to look at
  strange      something that gstream did not put there

Each of these is a line that tells the file, where in it, and which messages; the last line tells how much was read.
Only damage makes the exit code 1. With a whole DIR, groups and settings (meta.db) are verified, too; what is damaged
there is told with what becomes of it when the server is started.

\b
Examples:
  gstream log verify /var/lib/gstream
  gstream log verify /var/lib/gstream -t orders
  gstream log verify /backup/gstream --json | jq 'select(.kind == "damaged")'

Exit code 0: all is sound; 1: something is damaged; 2: an error; 130: interrupted.
""",
)
@_target
@_topic
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line; the last one is the totals.")
@told_in_one_line
def verify(target: str, topic: str | None, as_json: bool) -> None:
    """Read every segment and index in DIR, a data directory, a topic's or a partition's, or of FILE, a segment."""
    from gstream.cli.dumped import encode_finding
    from gstream.storage import check
    from gstream.storage.finding import Kind

    totals = check.Totals()
    damaged = 0
    with Progress(None) as progress:
        for finding in check.verify(target, _follow(progress), topic=topic, totals=totals):
            damaged += finding.kind is Kind.DAMAGED
            advice = ADVICE.get(finding.kind.value)
            progress.hide()
            print_lines(encode_finding(finding) if as_json else f"{finding} ({advice})" if advice else str(finding))
    print_lines(_totals_object(totals, damaged) if as_json else _totals_line(totals, damaged))
    if damaged:
        sys.exit(EXIT_DAMAGED)


def _totals_line(totals: Totals, damaged: int) -> str:
    state = f"damaged in {plural(damaged, 'place')}" if damaged else "sound"
    batches = "1 batch" if totals.batches == 1 else f"{totals.batches:,} batches"
    messages, size = plural(totals.messages, "message"), plural(totals.bytes, "byte")
    return f"{state}: {plural(totals.files, 'file')}, {batches}, {messages}, {size}"


def _totals_object(totals: Totals, damaged: int) -> str:
    read = {"files": totals.files, "batches": totals.batches, "messages": totals.messages, "bytes": totals.bytes}
    return json.dumps({"type": "totals", "sound": not damaged, "damaged": damaged, **read})


def _follow(progress: Progress) -> Callable[[int, int], None]:
    """Moves a bar as bytes are read."""

    def follow(done: int, total: int) -> None:
        progress.total = total
        progress.reach(done, f"{done >> 20:,} of {total >> 20:,} MiB")

    return follow


def goes_to_a_file() -> bool:
    """Whether standard output is a file: in a terminal, or before a pager, a bar would be in the way."""
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):  # closed, or not one of the system's
        return False


class _Printer:
    """Prints lines, many at a time; at the end, however that comes, all of them are printed."""

    def __init__(self) -> None:
        self.has_printed = False
        self._lines: list[str] = []
        self._characters = 0

    def __enter__(self) -> _Printer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._flush()

    def print(self, line: str) -> None:
        """Print a line, now or soon."""
        self.has_printed = True
        self._lines.append(line)
        self._characters += len(line)
        if self._characters >= PRINTED_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        lines, self._lines, self._characters = self._lines, [], 0  # what cannot be printed is not tried again
        if lines:
            print_lines(*lines)
