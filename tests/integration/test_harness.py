"""The harness itself: what others' test suites rely on."""

from __future__ import annotations

import pytest

from gstream.testing import ServerProcess, ServerThread, Session


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


def test_what_a_call_raises_is_raised(server: ServerThread) -> None:
    with pytest.raises(ZeroDivisionError):
        server.call(lambda service: service.port // 0)


def test_an_expectation_that_is_not_met_says_what_came(server: ServerThread) -> None:
    with Session(server) as client:
        client.send(b"z1\n")
        with pytest.raises(AssertionError, match=r"expected b'\+ 2\\n', got b'\+ 1\\n'"):
            client.expect(b"+ 2\n")
