"""Clients that die or give up while they send: nothing torn is stored."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from gstream import Client, DisconnectedError
from gstream.testing import ServerProcess, wait_until

BODY_BYTES = 20_000_000
"""More than the buffers of a connection take while the server is stopped."""


@pytest.fixture
def stopped(tmp_path):
    """A server that does not read: it is made to go on by ``settle``."""
    with ServerProcess("--max-message", "32MiB", "--socket", path_of(tmp_path)) as server:
        yield server


def path_of(tmp_path):
    return f"{tmp_path}/gstream.sock"


def settle(server):
    """Let the server go on, and wait until it has seen the end of all other clients; gives how many were published."""
    server.process.send_signal(signal.SIGCONT)
    with Client(server.host, server.port) as client:
        wait_until(lambda: client.stats()["connections"] == 1, "the others are gone")
        return client.stats()["published"]


@pytest.mark.parametrize("over", ["TCP", "unix socket"])
def test_who_gives_up_publishes_nothing_torn(stopped, tmp_path, over):
    path = None if over == "TCP" else path_of(tmp_path)
    client = Client(stopped.host, stopped.port, socket_path=path, timeout=0.2)
    stopped.process.send_signal(signal.SIGSTOP)
    with pytest.raises(DisconnectedError, match="did not answer in time"):
        client.publish(b"x" * BODY_BYTES)
    assert settle(stopped) == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("over", ["TCP", "unix socket"])
def test_who_is_killed_publishes_nothing_torn(stopped, program, tmp_path, over, number):
    where = f"port={stopped.port}" if over == "TCP" else f"socket_path={path_of(tmp_path)!r}"
    killed = program(sys.executable, "-c", PUBLISH, where)
    killed.expect(b"connected\n")
    stopped.process.send_signal(signal.SIGSTOP)
    killed.send(b"go\n")
    wait_until(lambda: waits_for_room(killed.process.pid), "it has sent what there is room for")
    killed.process.send_signal(number)
    assert killed.wait() in {-number, 130}
    assert settle(stopped) == 0


PUBLISH = f"""
import signal, sys, gstream
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
client = eval(f"gstream.Client({{sys.argv[1]}}, timeout=60)")
print("connected", flush=True)
sys.stdin.readline()
client.publish(b"x" * {BODY_BYTES})
"""


def waits_for_room(pid):
    """Whether a process sleeps in poll(2) for a socket that it was sending to."""
    return "poll" in Path(f"/proc/{pid}/wchan").read_text(encoding="ascii")


def test_who_ends_without_closing_has_what_it_consumed(process, program):
    """A reset would bring it back: after one it is not known what the client has read."""
    with Client(process.host, process.port) as client:
        client.publish([b"one", b"two"])
        reader = program(sys.executable, "-c", CONSUME, str(process.port))
        assert reader.read_all() == b"[b'one']\n"
        assert reader.wait() == 0
        wait_until(lambda: client.stats()["connections"] == 1, "it is gone")
        assert client.consume(9) == [b"two"]


CONSUME = """
import os, sys, gstream
client = gstream.Client(port=int(sys.argv[1]))
print(client.consume(), flush=True)
os._exit(0)
"""
