"""docs/operations.md, and what README.md shows of the disk engine: their sessions in a real shell, and the names."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from gstream import Client
from gstream.testing import TIMEOUT_SECONDS, ServerProcess

ROOT = Path(__file__).parents[2]
OPERATIONS = ROOT / "docs" / "operations.md"
README = ROOT / "README.md"
BLOCK = re.compile(r"^```console\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PORTS = ("8080", "8081")
"""Of the documents; in their places are two that are free here."""
MARK = "\x01"
"""Printed before the output of each command."""
ENDED = re.compile(rf"[^\s{MARK}]+: line \d+: +\d+ (?:Killed|Terminated) .*\n")
"""What a shell that is no terminal's says of a server that was killed."""


@dataclass(frozen=True)
class Step:
    """A command, and what it prints: a line that is ``…`` stands for any, within a line it stands for some of it."""

    command: str
    output: str

    def is_printed_by(self, text: str) -> bool:
        return re.fullmatch(re.escape(self.output).replace("…", ".*"), text) is not None


@dataclass(frozen=True)
class Play:
    """One session of a document."""

    name: str
    steps: list[Step]


def read_plays(path: Path, having: str) -> Iterator[Play]:
    """The sessions in which this is typed."""
    document = path.read_text(encoding="utf-8")
    for block in BLOCK.finditer(document):
        if having in block["text"]:
            parts = re.split(r"^\$ (.*\n)", block["text"], flags=re.MULTILINE)
            assert parts[0] == "", f"something before the first command in {block[0]}"
            line = document.count("\n", 0, block.start()) + 1
            steps = [Step(command, output) for command, output in zip(parts[1::2], parts[2::2], strict=True)]
            yield Play(f"{path.name}-line-{line}", steps)


def free_ports() -> list[str]:
    """As many as the documents use; together, so that they differ."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return [str(each.getsockname()[1]) for each in (one, other)]


def play_all(steps: list[Step], folder: Path) -> list[str]:
    """What each command prints, when they are typed one after the other; servers that are left are ended."""
    ports = free_ports()
    script = "".join(f"printf '{MARK}'\n{step.command}" for step in steps)
    for named, ours in zip(PORTS, ports, strict=True):
        script = re.sub(rf"\b{named}\b", ours, script)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GSTREAM_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "GSTREAM_PORT": ports[0]}
    shell = subprocess.Popen(
        ["bash"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        printed = shell.communicate(script.encode(), timeout=4 * TIMEOUT_SECONDS)[0].decode()
    finally:
        with suppress(ProcessLookupError):  # usually nothing is left
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    for named, ours in zip(PORTS, ports, strict=True):
        printed = printed.replace(f":{ours}", f":{named}")
    return ENDED.sub("", printed).split(MARK)[1:]


PLAYS = [*read_plays(README, "--data-dir"), *read_plays(OPERATIONS, "")]


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
        printed = play_all(play.steps, folder)
        for step, text in zip(play.steps, printed, strict=True):
            assert step.is_printed_by(text), f"{play.name}: {step.command}printed {text!r}, not {step.output!r}"


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
