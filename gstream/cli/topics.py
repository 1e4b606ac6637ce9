"""``gstream topics``: the topics of a server; and, by sub-commands, topics made, changed and removed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from gstream.cli.groups import stats_of
from gstream.cli.options import CONTEXT, check_name, complete_topic, connect, connection_options, inherited
from gstream.cli.output import (
    EXIT_INTERRUPTED,
    EXIT_NOTHING,
    CommandError,
    plural,
    print_lines,
    told_in_one_line,
)
from gstream.cli.table import table_lines
from gstream.config import settings

__all__ = ["topics"]

F = TypeVar("F", bound=Callable[..., Any])

SERVERS = "default"
"""What is said for a limit that is to be the server's again."""

READ = {setting.option: setting.read for _, setting in settings()}
"""How the server's options of these names are read, and so a topic's."""


@click.group(
    context_settings=CONTEXT,
    invoke_without_command=True,
    subcommand_metavar="[create|delete|set ...]",
    epilog="""
\b
Examples:
  gstream topics
  gstream topics --json | jq -r 'select(.messages > 0).topic'
  gstream topics create orders --partitions 8
  gstream topics delete orders

Exit code 0: there are some; 1: there are none; 2: an error. gstream topics COMMAND --help tells of the others.
""",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@connection_options
@click.pass_context
@told_in_one_line
def topics(context: click.Context, /, as_json: bool, **options: Any) -> None:
    """List the topics, and how many messages each keeps; or make, change and remove some."""
    if context.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("--json is for the list")
        return
    with connect(options) as client:
        found = sorted(client.topics().items())
    if not found:
        sys.exit(EXIT_NOTHING)
    if as_json:
        print_lines(*(json.dumps({"topic": name, "messages": messages}) for name, messages in found))
    else:
        print_lines(*table_lines(["TOPIC", "MESSAGES"], found))


def _read_as(option: str, *, or_default: bool) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Reads a value as the server's option of that name is read, and ``default``, where there is that, as it is."""

    def read(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
        if value is None or (or_default and value == SERVERS):
            return value
        try:
            return READ[option](value)
        except ValueError as error:
            more = f", or {SERVERS}" if or_default else ""
            raise click.BadParameter(f"expected {error}{more}, got {value!r}") from None

    return read


def _limit_options(command: F) -> F:
    command = click.option(
        "--retain-seconds",
        metavar="SECONDS|default",
        callback=_read_as("retain-seconds", or_default=True),
        help="How old its messages may become; older ones go, taken or not. 0: no limit; default: the server's.",
    )(command)
    return click.option(
        "--retain-bytes",
        metavar="SIZE|default",
        callback=_read_as("retain-bytes", or_default=True),
        help="How large each of its partitions may become; then the oldest messages go, taken or not. 0: no limit; "
        "default: the server's.",
    )(command)


@topics.command(
    context_settings=CONTEXT,
    epilog="""
One that is there already stays as it is, but for the limits that are named.

\b
Examples:
  gstream topics create orders --partitions 8
  gstream topics create audit --retain-seconds 2592000 --retain-bytes 10GiB

Exit code 0: it is there; 2: an error.
""",
)
@click.argument("name", metavar="NAME", callback=check_name)
@click.option(
    "--partitions",
    metavar="N",
    callback=_read_as("partitions", or_default=False),
    help="How many it has; order holds within one.  [default: as many as the server gives every topic]",
)
@_limit_options
@connection_options
@click.pass_context
@told_in_one_line
def create(context: click.Context, /, name: str, partitions: int | None, **options: Any) -> None:
    """Make a topic before somebody uses it."""
    with connect(inherited(context)) as client:
        client.create_topic(name, partitions, **_limits(options))


@topics.command(
    "set",
    context_settings=CONTEXT,
    epilog="""
gstream stats -t NAME shows the limits that are set.

\b
Examples:
  gstream topics set audit --retain-seconds 86400
  gstream topics set audit --retain-bytes default

Exit code 0: it is so; 2: an error.
""",
)
@click.argument("name", metavar="NAME", callback=check_name, shell_complete=complete_topic)
@_limit_options
@connection_options
@click.pass_context
@told_in_one_line
def change(context: click.Context, /, name: str, **options: Any) -> None:
    """Change the limits of a topic."""
    from gstream.errors import RefusedError

    limits = _limits(options)
    if not any(value is not None for value in limits.values()):
        raise click.UsageError("nothing to set: --retain-bytes or --retain-seconds")
    with connect(inherited(context)) as client:
        try:
            client.change_topic(name, **limits)
        except RefusedError as error:
            if error.code != "name":
                raise
            raise CommandError(f"no such topic: {name}") from None


def _limits(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("retain_bytes", "retain_seconds")}


@topics.command(
    context_settings=CONTEXT,
    epilog="""
Their messages, taken or not, and their groups are gone for good; the dead letters of NAME stay, in the topic NAME.dlq.
A topic that has consumers stays. Whoever publishes to it later makes it anew.

\b
Examples:
  gstream topics delete orders
  gstream topics delete orders orders.dlq --yes

Exit code 0: they are gone; 1: it was not confirmed; 2: an error.
""",
)
@click.argument(
    "names",
    metavar="NAME...",
    nargs=-1,
    required=True,
    callback=lambda context, argument, values: [check_name(context, argument, value) for value in values],
    shell_complete=complete_topic,
)
@click.option("--yes", is_flag=True, help="Do not ask; without a terminal nobody can be asked.")
@connection_options
@click.pass_context
@told_in_one_line
def delete(context: click.Context, /, names: list[str], yes: bool, **_options: Any) -> None:
    """Remove topics with all their messages; asks first."""
    from gstream.errors import RefusedError

    with connect(inherited(context)) as client:
        kept = {name: int(stats_of(client, name, must_exist=True)["messages"]) for name in names}
    if not yes:
        _confirm(kept)
    with connect(inherited(context)) as client:  # anew: whoever was asked may have taken his time
        for name in kept:
            try:
                client.delete_topic(name)
            except RefusedError as error:
                raise CommandError(f"{name} stays: {error}") from None


def _confirm(kept: Mapping[str, int]) -> None:
    """Ask whether these topics, which keep so many messages, may go; the end if not."""
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError("there is no terminal to ask on: --yes removes without asking")
    names = ", ".join(f"{name} ({plural(count, 'message')})" for name, count in kept.items())
    while (answer := _ask(f"Remove {names}? [y/N]: ")) not in {"y", "yes"}:
        if answer in {"", "n", "no"}:
            sys.exit(EXIT_NOTHING)
        click.echo("y or n?", err=True)


def _ask(question: str) -> str:
    """What is typed; the end at Ctrl-C, and at the end of the input.

    Not by input(), which click.confirm uses: it prints the question itself, and does not hear Ctrl-C for a moment then.
    """
    click.echo(question, nl=False, err=True)
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        answer = ""
    if not answer:
        sys.exit(EXIT_INTERRUPTED)
    return answer.strip().lower()
