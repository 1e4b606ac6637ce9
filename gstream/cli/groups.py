"""``gstream groups``: the groups of a topic, or of all, and what they have to do."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from gstream.cli.options import CONTEXT, DEFAULT, check_name, complete_group, connect, connection_options, topic_option
from gstream.cli.output import EXIT_NOTHING, CommandError, print_lines, told_in_one_line
from gstream.cli.table import table_lines

if TYPE_CHECKING:
    from gstream.client import Client

__all__ = ["Figures", "groups", "groups_of", "stats_of"]

Figures: TypeAlias = Mapping[str, int | float | str]
"""Values by name, as ``i`` gives them."""

COLUMNS = ("backlog", "lag", "leased", "consumers", "taken", "acknowledged", "returned", "dead")


@click.command(
    context_settings=CONTEXT,
    epilog="""
\b
  BACKLOG       has still to be taken
  LAG           the same, and what is leased or given back with a delay
  LEASED        taken and not acknowledged yet
  CONSUMERS     connections that wait, stream or hold leases
  TAKEN         deliveries since the server's start
  ACKNOWLEDGED, RETURNED, DEAD     how they ended; DEAD: as dead letters

\b
Examples:
  gstream groups
  gstream groups -t orders
  gstream groups -t orders --forget audit       nothing is kept for it any more

Exit code 0: there are some; 1: there are none; 2: an error.
""",
)
@topic_option("Of this topic only.  [default: all topics]", default=None)
@click.option(
    "--forget",
    metavar="NAME",
    callback=check_name,
    shell_complete=complete_group,
    help="Forget this group of the topic (default: the topic default).",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@connection_options
@told_in_one_line
def groups(topic: str | None, forget: str | None, as_json: bool, **options: Any) -> None:
    """List the groups of consumers."""
    with connect(options) as client:
        if forget is not None:
            client.use(topic=topic or DEFAULT)
            _forget(client, forget)
            return
        names = [topic] if topic is not None else sorted(client.topics())
        found = [
            (name, group, figures)
            for name in names
            for group, figures in groups_of(stats_of(client, name, must_exist=topic is not None)).items()
        ]
    if not found:
        sys.exit(EXIT_NOTHING)
    if as_json:
        print_lines(*(json.dumps({"topic": name, "group": group, **figures}) for name, group, figures in found))
        return
    rows = [(name, group, *(figures.get(column, 0) for column in COLUMNS)) for name, group, figures in found]
    print_lines(*table_lines(["TOPIC", "GROUP", *map(str.upper, COLUMNS)], rows))


def _forget(client: Client, group: str) -> None:
    from gstream.errors import RefusedError

    try:
        client.forget_group(group)
    except RefusedError as error:
        if error.code != "name":
            raise
        raise CommandError(f"no such group: {group} in topic {client.topic}") from None


def groups_of(figures: Figures) -> dict[str, dict[str, int | float | str]]:
    """The figures of each group, out of its topic's. A group's name may hold dots."""
    found: dict[str, dict[str, int | float | str]] = {}
    for name, value in figures.items():
        if name.startswith("group."):
            group, _, figure = name.removeprefix("group.").rpartition(".")
            found.setdefault(group, {})[figure] = value
    return found


def stats_of(client: Client, topic: str, *, must_exist: bool = False) -> Figures:
    """A topic's figures; none, unless it must exist (CommandError), if it does not any more."""
    from gstream.errors import RefusedError

    try:
        return client.stats(topic)
    except RefusedError as error:
        if not must_exist:
            return {}
        if error.code != "name":
            raise
        raise CommandError(f"no such topic: {topic}") from None
