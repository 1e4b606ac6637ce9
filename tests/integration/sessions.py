"""Sessions of documents, typed into a real shell: what is printed has to be what the document says.

Behind ``$`` stands what is typed, below it what is printed; ``…`` stands for what is different each time.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from gstream.testing import TIMEOUT_SECONDS

__all__ = ["DOCS", "README", "ROOT", "Play", "Step", "check", "read_plays"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"

BLOCK = re.compile(r"^```console\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ ([^0-9].*\n)", re.MULTILINE)
"""A number there is the id of a counted message, which is printed."""
PORTS = {"8080": "GSTREAM_PORT", "8081": "", "9092": "GSTREAM_KAFKA_PORT", "9093": ""}
"""Of the documents, each with the variable that makes it the default; in their places are some that are free here."""
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


def read_plays(path: Path, having: str = "") -> Iterator[Play]:
    """The sessions in which this is typed."""
    document = path.read_text(encoding="utf-8")
    for block in BLOCK.finditer(document):
        if having in block["text"]:
            parts = COMMAND.split(block["text"])
            assert parts[0] == "", f"something before the first command in {block[0]}"
            line = document.count("\n", 0, block.start()) + 1
            steps = [Step(command, output) for command, output in zip(parts[1::2], parts[2::2], strict=True)]
            yield Play(f"{path.name}-line-{line}", steps)


def check(play: Play, folder: Path) -> None:
    """Play it in this folder; raises AssertionError when something else is printed."""
    printed = play_all(play.steps, folder)
    for step, text in zip(play.steps, printed, strict=True):
        assert step.is_printed_by(text), f"{play.name}: {step.command}printed {text!r}, not {step.output!r}"


def play_all(steps: list[Step], folder: Path) -> list[str]:
    """What each command prints, when they are typed one after the other; servers that are left are ended."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    script = "".join(f"printf '{MARK}'\n{step.command}" for step in steps)
    script = re.sub(rf"\b(?:{'|'.join(PORTS)})\b", lambda named: ports[named[0]], script)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GSTREAM_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment |= {variable: ports[named] for named, variable in PORTS.items() if variable}
    with subprocess.Popen(
        ["bash"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as shell:
        try:
            printed = shell.communicate(script.encode(), timeout=3 * TIMEOUT_SECONDS)[0].decode()
        finally:
            with suppress(ProcessLookupError):  # usually nothing is left
                os.killpg(shell.pid, signal.SIGKILL)
    for named, ours in ports.items():
        printed = printed.replace(f":{ours}", f":{named}")
    return ENDED.sub("", printed.replace("\r\n", "\n")).split(MARK)[1:]


def free_ports(count: int) -> list[str]:
    """So many; together, so that they differ."""
    with ExitStack() as holding:
        sockets = [holding.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [str(each.getsockname()[1]) for each in sockets]
