"""``gstream topics`` and ``gstream stats``: what the server tells of itself and of its topics."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from gstream.cli.groups import stats_of
from gstream.cli.options import CONTEXT, connect, connection_options, topic_option
from gstream.cli.output import EXIT_NOTHING, print_lines, told_in_one_line
from gstream.cli.table import table_lines

__all__ = ["stats", "topics"]


@click.command(
    context_settings=CONTEXT,
    epilog="""
\b
Examples:
  gstream topics
  gstream topics --json | jq -r 'select(.messages > 0).topic'

Exit code 0: there are some; 1: there are none; 2: an error.
""",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@connection_options
@told_in_one_line
def topics(as_json: bool, **options: Any) -> None:
    """List the topics, and how many messages each keeps."""
    with connect(options) as client:
        found = sorted(client.topics().items())
    if not found:
        sys.exit(EXIT_NOTHING)
    if as_json:
        print_lines(*(json.dumps({"topic": name, "messages": messages}) for name, messages in found))
    else:
        print_lines(*table_lines(["TOPIC", "MESSAGES"], found))


@click.command(
    context_settings=CONTEXT,
    epilog="""
\b
Examples:
  gstream stats
  gstream stats -t orders
  gstream stats --json | jq '."memory.used"'
""",
)
@topic_option("About this topic.  [default: about the server]", default=None)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@connection_options
@told_in_one_line
def stats(topic: str | None, as_json: bool, **options: Any) -> None:
    """Tell what is going on: a name and a value a line."""
    with connect(options) as client:
        figures = client.stats() if topic is None else stats_of(client, topic, must_exist=True)
    if as_json:
        print_lines(json.dumps(figures))
    else:
        print_lines(*(f"{name} {value}" for name, value in figures.items()))
