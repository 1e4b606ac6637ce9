"""The harness itself: what others' test suites rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gstream import Client, testing
from gstream.testing import TIMEOUT_SECONDS, ServerProcess, ServerThread, Session, wait_until


def test_a_process_that_logs_json_is_found() -> None:
    with ServerProcess("--log-json") as process, Session(process) as client:
        client.expect_nothing()
        assert process.greeting == []
        assert process.stop() == 0


def test_a_process_says_where_it_listens() -> None:
    with ServerProcess("--log-level", "error") as process:
        first, second = process.greeting
        assert first.endswith(f" listens on 127.0.0.1:{process.port}")
        assert second == "memory: messages are lost when the server stops"


def test_a_process_that_does_not_start_is_told_at_once() -> None:
    with pytest.raises(AssertionError, match=r"did not start: gstream: --host: "):
        ServerProcess("--host", "0.0.0.0")


def test_a_process_that_does_not_end_is_told(process: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(testing, "TIMEOUT_SECONDS", 0.0)
        with pytest.raises(AssertionError, match=r"^waited 0 s in vain: the server ends$"):
            process.wait()
    assert process.stop() == 0


def test_a_server_that_nobody_stopped_does_not_hold_the_interpreter() -> None:
    code = (
        "from gstream.testing import *; thread = ServerThread(); process = ServerProcess(); print(process.process.pid)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    pid = int(done.stdout)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the process is gone, too")


def test_a_client_takes_a_server_for_host_and_port(server: ServerThread) -> None:
    with Client(*server) as client:
        assert client.publish(b"one") == 1


def test_what_a_call_raises_is_raised(server: ServerThread) -> None:
    with pytest.raises(ZeroDivisionError):
        server.call(lambda service: service.port // 0)


def test_an_expectation_that_is_not_met_says_what_came(server: ServerThread) -> None:
    with Session(server) as client:
        client.send(b"z1\n")
        with pytest.raises(AssertionError, match=r"expected b'\+ 2\\n', got b'\+ 1\\n'"):
            client.expect(b"+ 2\n")
