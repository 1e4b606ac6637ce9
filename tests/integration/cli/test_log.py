"""``gstream log`` as a process of its own: beside whoever writes, interrupted, on a terminal, read in part only."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gstream.batch import Batch, pack
from gstream.storage.directory import Directory
from gstream.storage.log import Log, LogSettings
from gstream.testing import TIMEOUT_SECONDS

GSTREAM = (sys.executable, "-m", "gstream", "log")
TIME_MS = 1764020000000
FRAMES = 4000
FRAME_BYTES = 61 + len(b"pa message\n")


def run(*arguments: str | Path) -> tuple[int, bytes, bytes]:
    """The command, to its end: exit code, and what it has printed where."""
    ended = subprocess.run([*GSTREAM, *arguments], capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the command; what it prints is not read, so that it has to wait when the pipe is full."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        started.append(subprocess.Popen([*GSTREAM, *arguments], stdout=pipe, stderr=pipe))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory with many small batches in one segment; every other one is damaged."""
    path = tmp_path / "data"
    with closing(Directory(str(path), print)) as directory, closing(directory.open_log("news")) as log:
        for _ in range(FRAMES):
            log.append([Batch(0, 1, pack(b"a message"), TIME_MS)])
    with open(path / "topics" / "news" / "0" / f"{0:020d}.log", "r+b") as file:
        for number in range(0, FRAMES, 2):
            file.seek((number + 1) * FRAME_BYTES - 2)
            file.write(b"X")
    return path


def test_everything_is_seen(data: Path) -> None:
    code, printed, errors = run("dump", data)
    assert (code, errors) == (0, b"")
    assert (printed.count(b"damaged"), printed.count(b" ok\n")) == (FRAMES // 2, FRAMES // 2)
    code, printed, errors = run("verify", data)
    assert (code, errors) == (1, b"")
    assert printed.splitlines()[-1].startswith(b"damaged in 2,000 places: ")


@pytest.mark.parametrize("command", [["dump"], ["dump", "--json"], ["verify"], ["verify", "--json"]], ids=" ".join)
def test_an_interrupted_command_says_nothing(start: Any, data: Path, command: list[str]) -> None:
    process = start(*command, data)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, errors) == (130, b"")


@pytest.mark.parametrize("command", [["dump"], ["dump", "--json"], ["verify"], ["verify", "--json"]], ids=" ".join)
def test_a_reader_that_has_had_enough(start: Any, data: Path, command: list[str]) -> None:
    process = start(*command, data)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(TIMEOUT_SECONDS) == 141
    assert process.stderr.read() == b""


def test_on_a_terminal(program: Any, data: Path) -> None:
    verifying = program(*GSTREAM, "verify", data / "topics", on_terminal=True)
    verifying.expect_somewhere(b"holds no messages")
    assert verifying.wait() == 2
    dumping = program(*GSTREAM, "dump", data, "-n", "1", on_terminal=True)
    dumping.expect_somewhere(b"damaged")
    dumping.expect_somewhere(b" ok\r\n")
    assert dumping.wait() == 0


class Writer(threading.Thread):
    """Appends, and drops what is old, for as long as others look on."""

    def __init__(self, log: Log) -> None:
        super().__init__(daemon=True)
        self.log = log
        self.is_over = threading.Event()
        self.has_begun = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.is_over.is_set():
            self.log.append([Batch(0, 3, pack(b"%d" % number, b"x" * 100, b"y" * (number % 5000)), TIME_MS + number)])
            if number % 50 == 0:
                self.log.sync()
                self.log.drop_before(self.log.end_offset - 1500)
                self.has_begun.set()
            number += 1


def test_beside_a_log_that_grows_and_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "data"
    settings = LogSettings(segment_bytes=1 << 16)
    with closing(Directory(str(path), print, settings)) as directory, closing(directory.open_log("news")) as log:
        writer = Writer(log)
        writer.start()
        try:
            assert writer.has_begun.wait(TIMEOUT_SECONDS)
            for _ in range(4):
                code, printed, errors = run("verify", path)
                assert (code, errors) == (0, b""), printed
                assert printed.splitlines()[-1].startswith(b"sound: ")
                code, printed, errors = run("dump", path, "--json")
                assert (code, errors) == (0, b"")
                found = [json.loads(line) for line in printed.splitlines()]
                assert {each["kind"] for each in found if each["type"] == "finding"} <= {"torn"}
                offsets = [each["base_offset"] for each in found if each["type"] == "batch"]
                assert offsets == sorted(set(offsets))
        finally:
            writer.is_over.set()
            writer.join()
