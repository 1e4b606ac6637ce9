"""``gstream stats``: what the server tells of itself and of its topics."""

from __future__ import annotations

import json
from typing import Any

import click

from gstream.cli.groups import stats_of
from gstream.cli.options import CONTEXT, connect, connection_options, topic_option
from gstream.cli.output import print_lines, told_in_one_line

__all__ = ["stats"]


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
