"""The manual of the command line, in Markdown, made from the commands themselves.

python -m gstream.cli.manual > docs/cli.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from gstream.cli import cli
from gstream.cli.output import print_lines

__all__ = ["manual"]

INTRODUCTION = """\
# The command line

Made from the commands by `python -m gstream.cli.manual > docs/cli.md`; a test sees to it that it is up to date.

`gstream` without a command is `gstream serve`. Each command tells the same as here with `--help`.

When the server is lost, commands end with one line and exit code 2; two go on. `publish` tells how many messages are
known to be stored; what it has not read yet is not published, and nothing is sent again. `consume` has acknowledged
what it printed, but for the last messages, which are perhaps delivered again. `consume --follow` says once that it lost
the server, goes on trying for 30 seconds, and takes up where it was; a command of `--exec` that runs meanwhile is
waited for, and its message is delivered again. `top` shows that there is no connection, keeps the last figures, and
goes on trying until it is ended."""


BAR = r"\|"
"""Within a table, also in code."""


def manual() -> str:
    """The whole text."""
    parts = [INTRODUCTION, *_epilog(cli)]
    for name, command in cli.commands.items():
        parts += _command(f"gstream {name}", command, "##")
    return "\n\n".join(parts) + "\n"


def _command(name: str, command: click.Command, level: str) -> Iterator[str]:
    """The section of a command, and those of its own commands."""
    yield from (f"{level} {name}", f"```text\n{_usage(name, command)}\n```", command.help or "")
    if options := list(_options(command)):
        yield "\n".join(["| option | |", "| --- | --- |", *options])
    yield from _epilog(command)
    if isinstance(command, click.Group):
        for each, inner in command.commands.items():
            yield from _command(f"{name} {each}", inner, f"{level}#")


def _usage(name: str, command: click.Command) -> str:
    arguments = [each.metavar or "" for each in command.params if isinstance(each, click.Argument)]
    inner = [command.subcommand_metavar or ""] if isinstance(command, click.Group) else []
    return " ".join([name, "[OPTIONS]", *arguments, *inner])


def _options(command: click.Command) -> Iterator[str]:
    for option in command.params:
        if isinstance(option, click.Option):
            names = ", ".join([*option.opts, *option.secondary_opts])
            shown = names if option.is_flag else f"{names} {option.metavar}"
            help = re.sub(r"  \[(.*)\]$", r" (\1)", option.help or "")
            yield f"| `{shown.replace('|', BAR)}` | {help} |"


def _epilog(command: click.Command) -> Iterator[str]:
    """Paragraphs as they are; those that click is told to leave alone as code."""
    for block in re.split(r"\n{2,}", (command.epilog or "").strip()):
        if not block.startswith("\b"):
            yield re.sub(r"(--[a-z-]+|GSTREAM_[A-Z_]+)", r"`\1`", block)
            continue
        lines = block.removeprefix("\b").strip("\n").split("\n")
        if not lines[0].startswith(" "):
            yield lines.pop(0)
        yield "```text\n" + "\n".join(line.removeprefix("  ") for line in lines) + "\n```"


if __name__ == "__main__":
    print_lines(manual().rstrip("\n"))
