"""docs/operations.md, and what README.md shows of the disk engine: their sessions in a real shell, and the names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gstream import Client
from gstream.testing import ServerProcess
from tests.integration.sessions import DOCS, README, ROOT, check, read_plays

OPERATIONS = DOCS / "operations.md"

PLAYS = [*read_plays(README, "--data-dir"), *read_plays(OPERATIONS)]


def test_the_documents_have_sessions() -> None:
    names = [play.name for play in PLAYS]
    assert sum(name.startswith("operations") for name in names) == OPERATIONS.read_text("utf-8").count("```console\n")
    assert len(names) > 5
    assert names[0].startswith("README")


def test_sessions(tmp_path: Path) -> None:
    """One after the other, in a folder for each document, as somebody would who reads on."""
    for play in PLAYS:
        folder = tmp_path / play.name.partition("-")[0]
        folder.mkdir(exist_ok=True)
        check(play, folder)


def table(heading: str) -> list[str]:
    """What stands first, and as code, in the rows of the table that begins so."""
    rows = OPERATIONS.read_text(encoding="utf-8").partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def test_what_is_told_of_the_engine(tmp_path: Path) -> None:
    with ServerProcess("--data-dir", str(tmp_path / "data")) as server, Client(server.host, server.port) as client:
        rows = client.stats()
        memory = {name for name in rows if name.startswith("memory.")}
        disk = {name for name in rows if name.startswith("disk.")}
        assert set(table("row")) == {"engine", "sync", *memory, *disk}
        assert (rows["engine"], rows["sync"]) == ("disk", "always")


def test_lines_of_the_log_are_as_the_server_writes_them() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "gstream").rglob("*.py"))
    lines = table("line")
    assert len(lines) > 10
    for line in lines:
        text = line.removesuffix(" at")  # of findings, whose kind comes before the place
        assert f'"{text}' in sources, line


@pytest.mark.parametrize("name", re.findall(r"`(--[a-z-]+)", OPERATIONS.read_text(encoding="utf-8")))
def test_options_that_are_named_exist(name: str) -> None:
    assert f"`{name}" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
