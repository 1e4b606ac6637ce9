"""``fsync`` fails: nothing is answered ``ok`` until the log was reopened, and everything that was is there afterwards.

The calls are taken by a library that is loaded before the system's own, and lets them fail while a file exists.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from gstream import Client
from gstream.testing import ServerProcess, Session, wait_until

LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int sync_unless_failing(const char *name, int fd)
{
    const char *trigger = getenv("FAILING_SYNC");
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

    if (trigger && access(trigger, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

int fsync(int fd) { return sync_unless_failing("fsync", fd); }
int fdatasync(int fd) { return sync_unless_failing("fdatasync", fd); }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, compiled."""
    folder = tmp_path_factory.mktemp("library")
    source, made = folder / "failing.c", folder / "failing.so"
    source.write_text(LIBRARY, encoding="ascii")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return made


class Publisher:
    """Publishes numbers, one after the other, and knows what became of them."""

    def __init__(self, server: ServerProcess) -> None:
        self.session = Session(server)
        self.sent = 0
        self.stored: list[bytes] = []

    def publish(self) -> bytes:
        """One more; gives the reply."""
        body = b"%d" % self.sent
        self.sent += 1
        self.session.send(b"p%b\n" % body)
        reply = self.session.read_line()
        if reply == b"ok\r\n":
            self.stored.append(body)
        return reply

    def works(self) -> bool:
        return self.publish() == b"ok\r\n"

    def is_refused(self) -> bool:
        reply = self.publish()
        assert reply == b"ok\r\n" or reply.startswith(b"- disk "), reply
        return reply != b"ok\r\n"


@pytest.mark.parametrize("sync", ["always", "0.05"])
def test_a_sync_that_fails_is_answered_and_survived(tmp_path: Path, library: Path, sync: str) -> None:
    trigger = tmp_path / "fails"
    environment = {"LD_PRELOAD": str(library), "FAILING_SYNC": str(trigger)}
    arguments = ("--data-dir", str(tmp_path / "data"), "--sync", sync)
    with ServerProcess(*arguments, environment=environment) as server, Session(server) as consumer:
        publisher = Publisher(server)
        with publisher.session:
            assert publisher.works()
            for _ in range(2):
                trigger.touch()
                wait_until(publisher.is_refused, "what cannot be synced is refused")
                assert all(publisher.is_refused() for _ in range(20)), "until it was reopened, nothing is taken"
                consumer.send(b"c\nznext\n")
                assert int(consumer.read_line()) < publisher.sent, "consuming goes on"
                consumer.expect(b"+ next\n")
                trigger.unlink()
                wait_until(publisher.works, "what failed is tried again")
                assert all(publisher.works() for _ in range(20))
        assert "Traceback" not in server.log
        assert server.log.count("cannot store") == server.log.count("can store again") == 2
        server.stop(signal.SIGKILL)

    with ServerProcess(*arguments) as server, Client(server.host, server.port, group="again") as client:
        found = client.consume(publisher.sent + 1)
    numbers = [int(each) for each in found]
    assert numbers == sorted(set(numbers)), "in order, and once"
    assert set(publisher.stored) <= set(found), "all that was answered is there"
    assert numbers[-1] < publisher.sent, "what was refused may be there, too, and nothing else"


def test_a_server_does_not_start_on_a_disk_that_fails(tmp_path: Path, library: Path) -> None:
    trigger = tmp_path / "fails"
    trigger.touch()
    environment = {"LD_PRELOAD": str(library), "FAILING_SYNC": str(trigger)}
    with pytest.raises(AssertionError, match=r"did not start: gstream: .*Input/output error\n"):
        ServerProcess("--data-dir", str(tmp_path / "data"), environment=environment)
