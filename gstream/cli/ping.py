"""``gstream ping``: is the server there, and how quickly does it answer, as ping(8) tells it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import click

from gstream.cli.options import CONTEXT, address_of, connect, connection_options, seconds_option
from gstream.cli.output import plural, print_lines, told_in_one_line

__all__ = ["ping"]


@click.command(
    context_settings=CONTEXT,
    epilog="""
\b
Examples:
  gstream ping
  gstream ping -c 1 > /dev/null && echo it is there
  gstream ping -c 1000 --interval 0

Exit code 0: all were answered; 2: one was not; 130: interrupted.
""",
)
@click.option("-c", "--count", metavar="N", type=click.IntRange(1), default=4, help="So often.  [default: 4]")
@seconds_option("--interval", "So long after the one before.  [default: 1]", default=1.0)
@connection_options
@told_in_one_line
def ping(count: int, interval: float, **options: Any) -> None:
    """Measure round trips to the server."""
    host, port, socket_path = address_of(options)
    where = socket_path or f"{host}:{port}"
    seconds: list[float] = []
    with connect(options) as client:
        try:
            for number in range(1, count + 1):
                if seconds:
                    time.sleep(interval)
                seconds.append(client.ping())
                print_lines(f"{where}: seq={number} time={seconds[-1] * 1000:.3f} ms")
        finally:
            if seconds:
                print_lines(*_summary(where, seconds))


def _summary(where: str, seconds: Sequence[float]) -> list[str]:
    mean = sum(seconds) / len(seconds)
    deviation = math.sqrt(sum((each - mean) ** 2 for each in seconds) / len(seconds))
    figures = "/".join(f"{each * 1000:.3f}" for each in (min(seconds), mean, max(seconds), deviation))
    return ["", f"--- {where} ---", f"{plural(len(seconds), 'answer')}, round trip min/avg/max/mdev = {figures} ms"]
