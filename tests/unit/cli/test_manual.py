"""The manual, and the scripts for shells: both are made from the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from gstream.cli import cli
from gstream.cli.manual import manual

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_document_is_up_to_date():
    assert DOCUMENT.read_text(encoding="utf-8") == manual(), "python -m gstream.cli.manual > docs/cli.md"


SUB_COMMANDS = {f"topics {name}": command for name, command in cli.commands["topics"].commands.items()}
COMMANDS = {**cli.commands, **SUB_COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_in_it(name):
    section = manual().partition(f"## gstream {name}\n")[2].partition("\n## ")[0]
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
