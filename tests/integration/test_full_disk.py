"""The disk is full: publishing is refused, everything else goes on, and it works again when there is room.

On a small file system of its own, where this process may mount one; and under a limit on the size of files, which gives
the server the same trouble, everywhere.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gstream import Client
from gstream.testing import ServerProcess, Session

MIB = 1 << 20
FILLER = b"x" * 50_000
ROOM_BYTES = 8 * MIB
BALLAST_BYTES = 3 * MIB
FILE_BYTES = 4 * MIB
MOST = 2 * ROOM_BYTES // len(FILLER)
"""So many messages fit nowhere here."""


@dataclass
class Little:
    """A place where there is little room.

    tighten: from here on there is; make_room: there is more. Both take the server's process id.
    """

    directory: Path
    tighten: Callable[[int], None]
    make_room: Callable[[int], None]


def limit_files(pid: int, size: int) -> None:
    """No file of this process may become larger from now on."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def under_a_limit(path: Path) -> Little:
    return Little(
        path,
        lambda pid: limit_files(pid, FILE_BYTES),
        lambda pid: limit_files(pid, resource.RLIM_INFINITY),
    )


def on_a_small_file_system(path: Path, stack: ExitStack) -> Little | None:
    """One of 8 MiB, in memory; None where this process may not mount it."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        return None
    stack.callback(subprocess.run, ["umount", str(path)], check=True)
    ballast = path / "ballast"
    return Little(
        path / "data", lambda _pid: (ballast.write_bytes(bytes(BALLAST_BYTES)), None)[1], lambda _pid: ballast.unlink()
    )


@pytest.fixture(params=["file system", "limit"])
def little(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Little]:
    with ExitStack() as stack:
        small = on_a_small_file_system(tmp_path / "small", stack) if request.param == "file system" else None
        yield small or under_a_limit(tmp_path / "data")


def body(number: int) -> bytes:
    return b"%d " % number + FILLER


def publish_until_refused(session: Session, first: int) -> int:
    """Publish one after the other; the number of the first that was refused."""
    for number in range(first, first + MOST):
        session.send(b"p%b\n" % body(number))
        reply = session.read_line()
        if reply != b"ok\r\n":
            assert reply.startswith(b"- disk "), reply
            return number
    raise AssertionError("there is room for everything")


def test_a_full_disk_refuses_messages_and_nothing_else(little: Little) -> None:
    arguments = ("--data-dir", str(little.directory))
    with ServerProcess(*arguments) as server, Session(server) as producer, Session(server) as consumer:
        little.tighten(server.process.pid)
        first_refused = publish_until_refused(producer, 0)
        assert first_refused > 10
        for _ in range(3):
            assert publish_until_refused(producer, first_refused) == first_refused, "there is no room yet"

        consumer.send(b"r0 10\n")
        for number in range(10):
            consumer.expect(b"= %d 1 %b\n" % (number, body(number)))
        consumer.expect(b".\n")
        consumer.send(b"a0 1 2 3 4 5 6 7 8\nn9\nc\n")
        consumer.expect(b"+ 9\n+ 9\n%b\n" % body(9))
        consumer.expect_nothing()

        little.make_room(server.process.pid)
        producer.send(b"p%b\n" % body(first_refused))
        producer.expect(b"ok\r\n")
        last = first_refused + 1
        for number in range(10, last):
            consumer.send(b"c\n")
            consumer.expect(body(number) + b"\n")
        consumer.send(b"w0\n")
        consumer.expect(b".\n")
        assert "Traceback" not in server.log
        assert "cannot store" in server.log
        assert "can store again" in server.log
        server.stop(signal.SIGKILL)

    with ServerProcess(*arguments) as server, Client(server.host, server.port, group="again") as client:
        assert client.consume(last + 1) == [body(number) for number in range(last)], "all of it, in order, once"
