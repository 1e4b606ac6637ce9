"""A data directory that cannot be used: one line says why, and the exit code is 2."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gstream.testing import TIMEOUT_SECONDS, ServerProcess, Session


def refusal(directory: Path) -> str:
    """The line that the server says when it does not start."""
    command = [sys.executable, "-m", "gstream", "serve", "--port", "0", "--data-dir", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gstream: ")
    assert done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("gstream: ").removesuffix("\n")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory that a server has used."""
    directory = tmp_path / "data"
    with ServerProcess("--data-dir", str(directory)) as server:
        with Session(server) as session:
            session.send(b"pHello\nr0\n")
            session.expect(b"ok\r\n= 0 1 Hello\n")
        assert server.stop() == 0
    return directory


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert refusal(path) == f"{path}: Not a directory"


def test_a_directory_in_one_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "data"
    assert refusal(path) == f"{path}: No such file or directory"


def test_a_directory_with_something_else_in_it(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Sir", encoding="ascii")
    assert refusal(tmp_path) == f"{tmp_path}: neither empty nor a directory of gstream's"


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """Root may write everywhere but where there is nothing to write on."""
    directory = Path("/sys") if os.geteuid() == 0 else tmp_path
    if directory == tmp_path:
        directory.chmod(0o500)
    path = directory / "data"
    said = refusal(path)
    assert said.startswith(f"{path}: ")
    assert said.removeprefix(f"{path}: ") in {"Permission denied", "Operation not permitted", "Read-only file system"}


def test_a_directory_that_another_server_has(data: Path) -> None:
    with ServerProcess("--data-dir", str(data)) as server, Session(server) as session:
        assert refusal(data) == f"{data}: in use by process {server.process.pid}"
        session.send(b"r0\n")
        session.expect(b"= 0 2 Hello\n")


def test_the_lock_of_a_killed_server_is_none(data: Path) -> None:
    for _ in range(2):
        with ServerProcess("--data-dir", str(data)) as server:
            server.kill()
    with ServerProcess("--data-dir", str(data)) as server, Session(server) as session:
        session.send(b"r0\n")
        session.expect(b"= 0 2 Hello\n")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"gstream 2\n", "has version 2, this gstream reads 1"),
        (b"", "its version cannot be read"),
        (b"gstream 1", "its version cannot be read"),
    ],
)
def test_a_version_that_is_not_known(data: Path, content: bytes, expected: str) -> None:
    (data / "version").write_bytes(content)
    assert refusal(data) == f"{data}: {expected}"


@pytest.mark.parametrize("content", [b"no database at all\n" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_state_that_is_damaged(data: Path, content: bytes) -> None:
    path = data / "meta.db"
    path.write_bytes(content)
    for left in data.glob("meta.db-*"):
        left.unlink()
    assert refusal(data).startswith(f"{path}: ")
    assert path.read_bytes() == content, "it is left as it was found"


def test_state_of_another_program(data: Path) -> None:
    path = data / "meta.db"
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE letters (text)")
    database.close()
    assert refusal(data).startswith(f"{path}: ")


def test_what_was_there_is_there_again(data: Path) -> None:
    with ServerProcess("--data-dir", str(data)) as server, Session(server) as session:
        session.send(b"r0\n")
        session.expect(b"= 0 2 Hello\n")
        assert server.greeting[1] == f"disk: messages are on disk, in {data}, before they are answered"
