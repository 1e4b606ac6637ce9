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

`gstream` without a command is `gstream serve`. Each command tells the same as here with `--help`."""


def manual() -> str:
    """The whole text."""
    parts = [INTRODUCTION, *_epilog(cli)]
    for name, command in cli.commands.items():
        parts += [f"## gstream {name}", f"```text\n{_usage(name, command)}\n```", command.help or ""]
        parts += ["\n".join(_options(command)), *_epilog(command)]
    return "\n\n".join(parts) + "\n"


def _usage(name: str, command: click.Command) -> str:
    arguments = [each.metavar or "" for each in command.params if isinstance(each, click.Argument)]
    return " ".join(["gstream", name, "[OPTIONS]", *arguments])


def _options(command: click.Command) -> Iterator[str]:
    yield "| option | |"
    yield "| --- | --- |"
    for option in command.params:
        if isinstance(option, click.Option):
            names = ", ".join([*option.opts, *option.secondary_opts])
            shown = names if option.is_flag else f"{names} {option.metavar}"
            help = re.sub(r"  \[(.*)\]$", r" (\1)", option.help or "")
            yield f"| `{shown}` | {help} |"


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
