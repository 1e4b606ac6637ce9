"""``gstream seek``: where a group goes on."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from gstream.cli.options import CONTEXT, connect, connection_options, group_option, topic_option
from gstream.cli.output import print_lines, told_in_one_line

__all__ = ["seek"]

_ID = re.compile(r"(?:[0-9]{1,5}:)?[0-9]{1,15}")
_BEFORE_END = re.compile(r"-[0-9]{1,15}")
_SECONDS = re.compile(r"-?[0-9]{1,11}(?:\.[0-9]*)?")


@click.command(
    # -10 is a place, and no option
    context_settings={**CONTEXT, "ignore_unknown_options": True},
    epilog="""
\b
WHERE is
  7, 1:7        the message with this id (1:7: of partition 1, and only that partition moves)
  -10           ten before the end
  ^             the oldest message that is kept
  $             the end: only what is published from now on
  @-60          what was published since a minute ago
  @1764020000   what was published since then (seconds since 1970)
  @2026-11-24T21:30:00Z   the same, as a date, or a date and a time (UTC unless it says otherwise)

\b
Examples:
  gstream seek -t orders -g audit ^
  gstream seek -t orders -g audit @-3600
  gstream seek -- -10

What is not there any more, or not yet, is replaced by the nearest. It prints where the group is now. What the group had
leased or given back is forgotten.
""",
)
@click.argument("where", metavar="WHERE", callback=lambda _context, _argument, value: _place(value))
@topic_option("The topic.")
@group_option("The group to move.")
@connection_options
@told_in_one_line
def seek(where: int | str | datetime, topic: str, group: str, **options: Any) -> None:
    """Move a group to WHERE: it goes on from there."""
    with connect(options, topic=topic, group=group) as client:
        print_lines(*client.seek(where))


def _place(text: str) -> int | str | datetime:
    """What Client.seek takes for it; raises click.BadParameter."""
    if text in {"^", "$"} or _ID.fullmatch(text):
        return text
    if _BEFORE_END.fullmatch(text):
        return int(text) or "$"
    if text.startswith("@"):
        try:
            return _time(text[1:])
        except (ValueError, OverflowError):
            pass
    raise click.BadParameter(f"{text!r} is no id, -N, ^, $ or @TIME, as in 7, -10, @-60 or @2026-11-24T21:30:00Z")


def _time(text: str) -> datetime:
    if _SECONDS.fullmatch(text):
        seconds = float(text)
        if text.startswith("-"):
            return datetime.now(UTC) + timedelta(seconds=seconds)
        return datetime.fromtimestamp(seconds, UTC)
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
