"""``gstream peek``: the next messages, which stay where they are."""

from __future__ import annotations

import sys
from typing import Any

import click

from gstream.cli.options import CONTEXT, connect, connection_options, group_option, topic_option
from gstream.cli.output import EXIT_NOTHING, print_bytes, told_in_one_line
from gstream.cli.records import encode_message

__all__ = ["peek"]


@click.command(
    context_settings=CONTEXT,
    epilog="""
\b
Examples:
  gstream peek
  gstream peek -t orders -g billing -n 10 --json
  gstream peek -t default.dlq --json | jq '.headers."dead.reason"'

The server shows at most 1,000 messages at once. Exit code 0: something is there; 1: nothing is; 2: an error; 141:
whoever read the output, as head does, left before its end.
""",
)
@topic_option("The topic to look at.")
@group_option("The group whose next messages these are.")
@click.option("-n", "count", metavar="N", type=click.IntRange(1, 1000), default=1, help="So many.  [default: 1]")
@click.option("--null", is_flag=True, help="End each message with NUL instead of LF.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line, as consume --json does.")
@connection_options
@told_in_one_line
def peek(topic: str, group: str, count: int, null: bool, as_json: bool, **options: Any) -> None:
    """Print the next messages without taking them."""
    if null and as_json:
        raise click.UsageError("--null or --json, not both")
    with connect(options, topic=topic, group=group, details=as_json) as client:
        messages = client.peek(count)
    for message in messages:
        print_bytes(encode_message(message, topic) if as_json else message.body + (b"\0" if null else b"\n"))
    if not messages:
        sys.exit(EXIT_NOTHING)
