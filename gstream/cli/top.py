"""``gstream top``: a table that lives in the terminal. rich and termios are imported when it is shown."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from gstream.cli.options import CONTEXT, address_of, check_seconds, connect, connection_options, topic_option
from gstream.cli.output import CommandError, print_bytes, told_in_one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from gstream.cli.samples import Sample, Usage
    from gstream.errors import ClientError

__all__ = ["top"]

SHORTEST_INTERVAL_SECONDS = 0.05
ROWS_AROUND = 9
"""Lines of the screen that are no topics: the server, the heading, the frame, the last line."""

KIB = 1024


@click.command(
    context_settings=CONTEXT,
    epilog="""
MESSAGES are kept in the topic; IN is published, OUT consumed and acknowledged, in messages a second. Retained is what
all groups have taken, and what goes when there is no other room. A server that is lost is told, and looked for until it
is back. q or Ctrl-C ends it.

\b
Examples:
  gstream top
  gstream top -t orders --interval 5
  gstream top --once
""",
)
@topic_option("Show this topic only.  [default: all topics]", default=None)
@click.option(
    "--interval",
    metavar="SECONDS",
    type=float,
    default=1.0,
    callback=lambda _context, _option, value: max(SHORTEST_INTERVAL_SECONDS, check_seconds(value)),
    help="Measure for so long.  [default: 1]",
)
@click.option("--once", is_flag=True, help="Print one table, and end.")
@connection_options
@told_in_one_line
def top(topic: str | None, interval: float, once: bool, **options: Any) -> None:
    """Watch topics and groups at work."""
    if not once and (sys.stdout is None or not sys.stdout.isatty()):
        raise CommandError("standard output is no terminal: --once prints one table")
    from gstream.cli.samples import take_sample, usages
    from gstream.errors import ClientError

    host, port, socket_path = address_of(options)
    where = socket_path or f"{host}:{port}"
    with ExitStack() as stack:
        client = stack.enter_context(connect(options))
        before = take_sample(client, topic)
        if once:
            if topic is not None and not before.topics[topic]:
                raise CommandError(f"no such topic: {topic}")
            time.sleep(interval)
            now = take_sample(client, topic)
            print_bytes(_plain(where, now, usages(before, now)))
            return
        from rich.live import Live

        with _keys() as keys, Live(screen=True, auto_refresh=False) as live:
            now = before
            loss: ClientError | None = None
            while True:
                room = live.console.height - ROWS_AROUND
                live.update(_view(where, now, usages(before, now), room, loss), refresh=True)
                if _ends(keys, interval):
                    return
                try:
                    if loss is not None:
                        client.close()
                        client = stack.enter_context(connect(options))
                    before, now, loss = now, take_sample(client, topic), None
                except ClientError as error:
                    loss = error


def _view(
    where: str,
    sample: Sample,
    rows: Sequence[Usage],
    room: int | None = None,
    loss: ClientError | None = None,
) -> RenderableType:
    """The whole picture; no more than ``room`` rows. loss: why there is no connection, if there is none."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    server = sample.server
    used, limit = (_size(server.get(f"memory.{name}", 0)) for name in ("used", "limit"))
    on_disk = server.get("engine") == "disk"
    more = (
        f"on disk {_size(server.get('disk.bytes', 0))}"
        if on_disk
        else f"retained {_size(server.get('memory.retained', 0))}"
    )
    head = Text.assemble(
        ("gstream ", "bold"),
        f"{server.get('version', '')} at {where}, up {_duration(server.get('uptime', 0))}\n",
        f"connections {server.get('connections', 0)}, topics {server.get('topics', 0)}, ",
        f"memory {used} of {limit}, {more}, engine {server.get('engine', '')}",
    )
    if loss is not None:
        head.append(f"\nno connection, the figures are old: {loss}", style="bold red")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("TOPIC", "GROUP"):
        table.add_column(name, no_wrap=True)
    for name in ("MESSAGES", "IN/s", "OUT/s", "BACKLOG", "LEASED", "CONSUMERS"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = rows if room is None else rows[: max(1, room)]
    for row in shown:
        if row.group is None:
            table.add_row(row.topic, "", f"{row.messages:,.0f}", _rate(row.rate), "", "", "", "", style="bold")
        else:
            figures = (f"{value:,.0f}" for value in (row.backlog, row.leased, row.consumers))
            table.add_row("", row.group, "", "", _rate(row.rate), *figures)
    left = len(rows) - len(shown)
    notes = [f"{left} more rows; make the terminal higher, or choose a topic with -t"] if left else []
    if sample.left_out:
        notes.append(f"{sample.left_out} topics with fewer messages are left out")
    if not rows:
        notes.append("no topics yet")
    return Group(head, table, Text("\n".join(notes), style="dim"))


def _plain(where: str, sample: Sample, rows: Sequence[Usage]) -> bytes:
    """The picture for standard output, in colours if that is a terminal."""
    from io import StringIO

    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    text = StringIO()
    console: Console = Console(file=text, force_terminal=terminal, width=None if terminal else 200)
    console.print(_view(where, sample, rows))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join(lines).rstrip().encode() + b"\n"


@contextmanager
def _keys() -> Iterator[int | None]:
    """The descriptor from which single keys can be read, if standard input is a terminal."""
    import termios
    import tty

    if sys.stdin is None or not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _ends(keys: int | None, seconds: float) -> bool:
    """Wait so long; True if q is pressed meanwhile, or the terminal is gone."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if keys is None:
            time.sleep(left)
        elif select.select([keys], [], [], left)[0] and os.read(keys, 1) in {b"q", b"Q", b""}:
            return True
    return False


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"  # noqa: PLR2004  # two digits that say something


def _size(value: float | str) -> str:
    size = float(value)
    for unit in ("B", "KiB", "MiB"):
        if size < KIB:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= KIB
    return f"{size:.1f} GiB"


def _duration(value: float | str) -> str:
    minutes, seconds = divmod(int(float(value)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return (f"{days} d " if days else "") + f"{hours}:{minutes:02}:{seconds:02}"
