"""The manual, and the scripts for shells: both are made from the commands."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from gstream.cli import cli
from gstream.cli.manual import manual

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_document_is_up_to_date():
    assert DOCUMENT.read_text(encoding="utf-8") == manual(), "python -m gstream.cli.manual > docs/cli.md"


def commands_of(group, *names):
    """Each command by its names, and those that it has."""
    for name, command in group.commands.items():
        yield " ".join([*names, name]), command
        if isinstance(command, click.Group):
            yield from commands_of(command, *names, name)


COMMANDS = dict(commands_of(cli))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_in_it(name):
    title = f"\n{'#' * len(['#', *name.split()])} gstream {name}\n"
    section = re.split(r"\n#+ gstream ", manual().partition(title)[2])[0]
    assert "Examples:\n\n```text\ngstream" in section.replace('eval "$(gstream', "gstream").replace("echo hello | ", "")
    for option in COMMANDS[name].params:
        assert max(option.opts, key=len) in section or option.metavar in section


def test_no_cell_of_a_table_is_cut_in_two():
    for line in manual().splitlines():
        if line.startswith("| "):
            assert line.replace("\\|", "").count("|") == 3, line


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_asks_this_program(run, shell):
    output, code = run("completion", shell)
    assert code == 0
    assert f"_GSTREAM_COMPLETE={shell}_complete" in output
