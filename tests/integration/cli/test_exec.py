"""``gstream consume --exec``: commands that succeed, fail, take long, and are interrupted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gstream.testing import TIMEOUT_SECONDS, wait_until


class Gate:
    """Commands that wait until they are let through.

    wait: what such a command begins with.
    """

    def __init__(self, home: Path) -> None:
        path = f"{home}/gate"
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR)  # nobody sees an end, and nobody waits for a reader
        self._started = home / "started"
        self._started.mkdir()
        self.wait = f'> "{self._started}/$GSTREAM_ID.$GSTREAM_ATTEMPT"; read go < {path}'

    def wait_for(self, count: int) -> None:
        """Wait until so many commands have begun."""
        wait_until(lambda: len(os.listdir(self._started)) == count, f"{count} commands run")

    def open(self) -> None:
        """Let one command through: one byte, which two cannot share."""
        os.write(self._descriptor, b"\n")

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.close()


def acknowledged(queue: Any) -> tuple[object, ...]:
    figures = queue.client().stats("default")
    return tuple(figures[f"group.default.{name}"] for name in ("backlog", "leased", "acknowledged", "returned"))


def test_the_command_gets_the_body_and_the_rest_as_variables(queue: Any) -> None:
    body = bytes(range(256)) * 1000  # more than a pipe holds
    queue.client(topic="t").publish(body, key=b"\xfcser 7")
    names = ("ID", "ATTEMPT", "MESSAGE_TOPIC", "MESSAGE_GROUP", "KEY")
    show = 'printf "%s " ' + " ".join(f'"$GSTREAM_{name}"' for name in names) + "; cat"
    printed = queue.output("consume", "-t", "t", "-g", "workers", "--exec", show)
    assert printed == b"0 1 t workers \xfcser 7 " + body


def test_a_key_is_no_other_messages_and_one_with_nul_is_none(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GSTREAM_KEY", "mine")
    client = queue.client()
    for key in (b"a", None, b"\0"):
        client.publish(b"", key=key)
    assert queue.output("consume", "-n3", "--exec", 'echo "<$GSTREAM_KEY>"') == b"<a>\n<>\n<>\n"


def test_one_unless_told_and_nothing_there(queue: Any) -> None:
    queue.put(b"a", b"b", b"c")
    assert queue.output("consume", "--exec", "cat") == b"a"
    assert queue.output("consume", "--exec", "cat", "--exit-empty") == b"bc"
    assert queue.run("consume", "--exec", "cat", "--exit-empty", "-j3") == (1, b"", b"")
    assert acknowledged(queue) == (0, 0, 3, 0)


def test_a_command_need_not_read(queue: Any) -> None:
    queue.put(b"x" * 1_000_000)
    assert queue.output("consume", "--exec", "echo done") == b"done\n"
    assert acknowledged(queue) == (0, 0, 1, 0)


def test_a_command_that_fails_gives_the_message_back(queue: Any) -> None:
    queue.put(b"a")
    code, printed, errors = queue.run("consume", "--exec", "cat; exit 7")
    assert (code, printed) == (1, b"a")
    assert errors.decode().splitlines() == [
        "gstream: message 0, attempt 1: exit code 7, given back",
        "gstream: 1 of 1 command failed",
    ]
    assert queue.output("consume", "--wait", "60", "--exec", 'echo "$GSTREAM_ATTEMPT"') == b"2\n"


def test_a_command_that_is_killed_has_failed(queue: Any) -> None:
    queue.put(b"a")
    code, _, errors = queue.run("consume", "--exec", "kill -9 $$")
    assert code == 1
    assert errors.startswith(b"gstream: message 0, attempt 1: ended by SIGKILL, given back\n")


def test_what_fails_too_often_is_a_dead_letter(queue: Any) -> None:
    queue.put(b"good", b"bad", b"good")
    code, printed, errors = queue.run(
        "consume", "--exit-empty", "--retry-delay", "0", "--exec", "read -r word; echo $word; test $word = good"
    )
    assert code == 1
    assert sorted(printed.split()) == [b"bad"] * 5 + [b"good"] * 2
    told = [line for line in errors.decode().splitlines() if "given back" not in line]
    assert told == [
        "gstream: message 1, attempt 5: exit code 1, now a dead letter in default.dlq",
        "gstream: 5 of 7 commands failed; new dead letters: 1",
    ]
    assert queue.output("consume", "-t", "default.dlq", "--exec", "cat") == b"bad"


def test_a_retry_comes_after_its_delay(queue: Any) -> None:
    queue.put(b"a")
    assert queue.run("consume", "--exec", "false", "--retry-delay", "60")[0] == 1
    assert queue.run("consume", "--exit-empty", "--exec", "true") == (1, b"", b"")
    assert queue.client().stats("default")["group.default.lag"] == 1


def test_the_first_retry_comes_after_a_second_and_does_not_hold_exit_empty(queue: Any) -> None:
    queue.put(b"a")
    code, _, errors = queue.run("consume", "--exit-empty", "--exec", "false")
    assert (code, errors.count(b"given back")) == (1, 1)
    started = time.monotonic()
    (message,) = queue.client().lease(wait_seconds=60)
    assert message.attempt == 2
    assert time.monotonic() - started <= 1


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_dead_letter_is_tried_once_in_a_run(queue: Any, jobs: str) -> None:
    queue.put(b"a", b"b", b"c", topic="jobs.dlq")
    arguments = ("consume", "-t", "jobs.dlq", "--exit-empty", "-j", jobs, "--retry-delay", "0")
    code, printed, errors = queue.run(*arguments, "--exec", "cat; exit 1")
    assert (code, sorted(printed)) == (1, list(b"abc"))
    assert errors.endswith(b"gstream: 3 of 3 commands failed\n")
    assert [message.attempt for message in queue.client(topic="jobs.dlq").lease(9)] == [2, 2, 2]


@pytest.mark.parametrize(("command", "code"), [("/none/such", 127), (".", 126), ("mial -s x me", 127)])
def test_a_command_that_is_none(queue: Any, tmp_path: Path, command: str, code: int) -> None:
    if code == 126:
        command = f"{tmp_path}/program"
        Path(command).write_bytes(b"")
    queue.put(b"a", b"b")
    for _ in range(6):
        ended, _, errors = queue.run("consume", "--exit-empty", "--exec", command)
        text = f"gstream: --exec: {command!r} cannot be run (exit code {code}); nothing was lost"
        assert (ended, errors.decode().splitlines()[1:]) == (2, [text])
    assert [(message.body, message.attempt) for message in queue.client().lease(9)] == [(b"a", 1), (b"b", 1)]


def test_those_that_run_are_waited_for_when_one_cannot_be_run(queue: Any, gate: Gate) -> None:
    queue.put(b"a")
    command = f'test "$GSTREAM_ID" = 1 && exit 127; {gate.wait}; cat'
    consumer = queue.start("consume", "--follow", "-j2", "--exec", command)
    gate.wait_for(1)
    queue.put(b"b", b"c")
    queue.wait_for("group.default.backlog", 2)
    queue.wait_for("group.default.leased", 1)
    gate.open()
    code, printed, errors = consumer.end()
    assert (code, printed) == (2, b"a")
    assert errors.endswith(b"cannot be run (exit code 127); nothing was lost\n")
    assert acknowledged(queue)[:3] == (2, 0, 1)


def test_outputs_of_several_do_not_mix(queue: Any, gate: Gate) -> None:
    """Each prints a part, waits for the other, and prints the rest: more than is held in memory."""
    queue.put(b"a", b"b")
    half = "head -c 1500000 /dev/zero | tr '\\0' \"$body\""
    command = f'read -r body; {half}; echo "<$body" > /dev/stderr; {gate.wait}; {half}; echo "$body>" >&2'
    consumer = queue.start("consume", "-n2", "-j2", "--exec", command)
    gate.wait_for(2)
    gate.open()
    gate.open()
    code, printed, errors = consumer.end()
    assert code == 0
    assert sorted([printed[:3_000_000], printed[3_000_000:]]) == [b"a" * 3_000_000, b"b" * 3_000_000]
    assert sorted([errors[:6], errors[6:]]) == [b"<a\na>\n", b"<b\nb>\n"]


def test_what_is_collected_and_cannot_be_written_is_no_attempt(queue: Any) -> None:
    queue.put(b"a", b"b")
    text = queue.error("consume", "--exit-empty", "-j2", "--exec", "cat", redirect="> /dev/full")
    assert text == "cannot print: No space left on device"
    assert [message.attempt for message in queue.client().lease(9)] == [1, 1]


def test_four_at_a_time(queue: Any, gate: Gate) -> None:
    queue.put(*(b"%d" % number for number in range(9)))
    consumer = queue.start("consume", "--exit-empty", "-j", "4", "--exec", f"{gate.wait}; cat; echo")
    queue.wait_for("group.default.leased", 4)
    for done in range(9):
        gate.open()
        queue.wait_for("group.default.acknowledged", done + 1)
        queue.wait_for("group.default.leased", min(4, 9 - done - 1))
    code, printed, errors = consumer.end()
    assert (code, sorted(printed.split()), errors) == (0, [b"%d" % number for number in range(9)], b"")


def test_the_count_is_for_all_jobs_together(queue: Any) -> None:
    queue.put(*(b"%d\n" % number for number in range(9)))
    assert len(queue.output("consume", "-n", "5", "-j", "3", "--exec", "cat").split()) == 5
    assert queue.client().stats("default")["group.default.backlog"] == 4


@pytest.mark.parametrize("queue", [{"lease_seconds": 1.5}], indirect=True, ids=str)
def test_a_lease_lasts_as_long_as_its_command(queue: Any, gate: Gate) -> None:
    queue.put(b"a")
    slow = queue.start("consume", "--exec", f"{gate.wait}; cat")
    gate.wait_for(1)
    assert queue.run("consume", "--wait", "3") == (1, b"", b"")
    gate.open()
    assert slow.end() == (0, b"a", b"")
    assert acknowledged(queue) == (0, 0, 1, 0)


def test_a_message_whose_consumer_is_killed_is_delivered_again(queue: Any, gate: Gate) -> None:
    queue.put(b"a")
    consumer = queue.start("consume", "--exec", f"{gate.wait}")
    gate.wait_for(1)
    consumer.send(signal.SIGKILL)
    assert consumer.process.wait(TIMEOUT_SECONDS) == -signal.SIGKILL
    assert queue.output("consume", "--wait", "60", "--exec", 'echo "$GSTREAM_ATTEMPT"; cat') == b"2\na"
    gate.open()  # the command that is left behind


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_starts_no_more_and_waits_for_those_that_run(
    queue: Any, gate: Gate, number: signal.Signals, code: int
) -> None:
    queue.put(b"a", b"b", b"c")
    consumer = queue.start("consume", "--follow", "-j2", "--exec", f"{gate.wait}; cat; echo")
    gate.wait_for(2)
    consumer.send(number)
    assert consumer.read_error() == b"gstream: waits for 2 running commands; a second signal kills them\n"
    for done in (1, 2):
        gate.open()
        queue.wait_for("group.default.acknowledged", done)
    got, printed, errors = consumer.end()
    assert (got, sorted(printed.split()), errors) == (code, [b"a", b"b"], b"")
    assert queue.output("consume") == b"c\n"


def test_a_second_signal_kills_them(queue: Any, gate: Gate) -> None:
    queue.put(b"a")
    consumer = queue.start("consume", "--follow", "--exec", f"{gate.wait}; echo never")
    gate.wait_for(1)
    consumer.send(signal.SIGINT)
    assert consumer.read_error() == b"gstream: waits for 1 running command; a second signal kills them\n"
    consumer.send(signal.SIGTERM)
    code, printed, errors = consumer.end()
    assert (code, printed) == (130, b"")
    assert errors.startswith(b"gstream: message 0, attempt 1: ended by SIGKILL, given back\n")
    assert queue.output("consume", "--wait", "60") == b"a\n"


def test_a_signal_ends_those_that_wait_at_once(queue: Any) -> None:
    consumer = queue.start("consume", "--follow", "-j3", "--exec", "cat")
    queue.wait_for("group.default.waiting", 3)
    consumer.send(signal.SIGTERM)
    assert consumer.end() == (1, b"", b"")
    queue.wait_for("group.default.consumers", 0)


def test_ctrl_c_on_a_terminal_does_not_reach_the_command(queue: Any, on_terminal: Any, gate: Gate) -> None:
    queue.put(b"a")
    consumer = on_terminal("consume", "--exec", f"{gate.wait}; cat; echo finished")
    gate.wait_for(1)
    consumer.send(b"\x03")
    consumer.expect_somewhere(b"a second signal kills them")
    gate.open()
    consumer.expect_somewhere(b"finished")
    assert consumer.wait() == 130
    assert acknowledged(queue) == (0, 0, 1, 0)


def test_a_server_that_goes_while_a_command_runs(queue: Any, gate: Gate) -> None:
    queue.put(b"a")
    consumer = queue.start("consume", "-n2", "--exec", f"{gate.wait}; cat")
    gate.wait_for(1)
    queue.server.stop()
    gate.open()
    code, printed, errors = consumer.end()
    assert (code, printed) == (2, b"a")
    first, second = errors.decode().splitlines()
    assert first.startswith("gstream: message 0, attempt 1: the command succeeded, but is perhaps run again: ")
    assert second.startswith("gstream: ")
