"""Messages through the commands and back: every byte, every order of events."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gstream.testing import TIMEOUT_SECONDS, ServerProcess

BODIES = [
    bytes(range(256)),
    b"",
    b"\n",
    b"\r\n",
    b"a\nb\r",
    b"\0",
    "ü €".encode(),
    b"\xff\xfe",
    b"x" * 300_000,
    b"end\r",
]


def test_every_byte_but_nul_through_null(queue: Any) -> None:
    bodies = [body.replace(b"\0", b"") for body in BODIES]
    data = b"".join(body + b"\0" for body in bodies)
    assert queue.output("publish", "--null", input=data) == b""
    assert queue.output("peek", "--null", "-n", "100") == data
    assert queue.output("consume", "--null", "--exit-empty") == data


def test_every_byte_through_json(queue: Any) -> None:
    queue.put(*BODIES)
    rows = [json.loads(line) for line in queue.output("consume", "--json", "--exit-empty").splitlines()]
    assert [row["id"] for row in rows] == [str(number) for number in range(len(BODIES))]
    assert {row["attempt"] for row in rows} == {1}
    assert {row["topic"] for row in rows} == {"default"}
    for row in rows:
        assert abs(datetime.fromisoformat(row["time"]) - datetime.now(UTC)) < timedelta(seconds=TIMEOUT_SECONDS)
    bodies = ({name: value for name, value in row.items() if name.startswith("body")} for row in rows)
    queue.output("publish", "--json", input=b"".join(json.dumps(body).encode() + b"\n" for body in bodies))
    assert [message.body for message in queue.client().lease(100)] == BODIES


def test_topic_key_and_id(queue: Any) -> None:
    for _ in range(3):
        queue.output("publish", "-t", "bills", "-k", "customer 7", "--id", "invoice-42", input=b"paid\n")
    queue.output("publish", "-t", "bills", "--json", input=b'{"body": "b", "key_base64": "/w==", "id": "i"}\n' * 2)
    first, second = (json.loads(line) for line in queue.output("peek", "-t", "bills", "--json", "-n9").splitlines())
    assert (first["body"], first["key"]) == ("paid", "customer 7")
    assert (second["body"], second["key_base64"]) == ("b", "/w==")


def test_delay(queue: Any) -> None:
    queue.output("publish", "--delay", "1000", input=b"much later\n")
    assert queue.run("consume") == (1, b"", b"")
    assert queue.client().stats("default")["delayed"] == 1
    queue.output("publish", "--delay", "0.2", input=b"later\n")
    assert queue.output("consume", "--wait", "60") == b"later\n"


def test_each_group_gets_every_message(queue: Any) -> None:
    queue.put(b"a", b"b")
    for group in ("one", "two"):
        assert queue.output("consume", "-g", group, "--exit-empty") == b"a\nb\n"
        assert queue.run("consume", "-g", group) == (1, b"", b"")


def test_exit_empty_waits_for_each_as_long_as_told(queue: Any) -> None:
    consumer = queue.start("consume", "--exit-empty", "--wait", "3")
    for body in (b"a", b"b"):
        queue.wait_for("group.default.waiting", 1)
        queue.put(body)
        assert consumer.read_line() == body + b"\n"
    assert consumer.end() == (0, b"", b"")


def test_follow_prints_what_comes_at_once_and_acknowledges_it(queue: Any) -> None:
    consumer = queue.start("consume", "-f")
    for number in range(3):
        queue.put(b"%d" % number)
        assert consumer.read_line() == b"%d\n" % number
        queue.wait_for("group.default.acknowledged", number + 1)
    consumer.send(signal.SIGINT)
    assert consumer.end() == (130, b"", b"")


def test_follow_ends_with_the_nth(queue: Any) -> None:
    queue.put(b"a", b"b", b"c")
    assert queue.output("consume", "--follow", "-n", "2") == b"a\nb\n"
    assert queue.output("consume") == b"c\n"


def test_follow_outlives_a_restart_of_the_server(queue: Any) -> None:
    with ServerProcess() as server:
        port = str(server.port)
        consumer = queue.start("consume", "--follow", "--port", port)
        queue.output("publish", "--port", port, input=b"one\n")
        assert consumer.read_line() == b"one\n"
        server.stop()
        serve = [sys.executable, "-m", "gstream", "serve"]
        with subprocess.Popen([*serve, "--port", port], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as again:
            assert again.stdout is not None
            assert re.search(rb"listens on", again.stdout.readline())
            queue.output("publish", "--port", port, input=b"two\n")
            assert consumer.read_line() == b"two\n"
            assert consumer.read_error().startswith(b"gstream: lost the server: ")
            consumer.send(signal.SIGINT)
            assert consumer.end() == (130, b"", b"")
            again.terminate()


def test_what_a_broken_pipe_has_not_taken_stays(queue: Any) -> None:
    size = 100_000  # more than a pipe holds
    queue.put(b"first", *(b"%d" % number * size for number in range(5)))
    consumer = queue.start("consume", "-n", "6")
    assert consumer.read_line() == b"first\n"
    assert consumer.process.stdout is not None
    consumer.process.stdout.close()
    consumer.process.stdout = None
    code, _, errors = consumer.end()
    assert (code, errors) == (0, b"")
    left = queue.client().lease(10)
    assert [(message.body, message.attempt) for message in left] == [(b"%d" % number * size, 1) for number in range(5)]


def test_a_full_disk_loses_nothing_and_is_no_attempt(queue: Any) -> None:
    queue.put(b"a", b"b", b"c")
    for _ in range(6):
        text = queue.error("consume", "-n", "10000", redirect="> /dev/full")
        assert text == "cannot print: No space left on device (what was not printed stays in the queue)"
    assert [(message.body, message.attempt) for message in queue.client().peek(9)] == [(b"a", 1), (b"b", 1), (b"c", 1)]
    assert "default.dlq" not in queue.client().topics()


@pytest.mark.parametrize("command", ["consume", "peek"])
def test_a_pipe_that_nobody_reads(queue: Any, command: str) -> None:
    queue.put(b"a", b"b")
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([sys.executable, "-m", "gstream", command, "-n", "2"], stdout=writer, stderr=-1, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_what_sigterm_has_not_let_print_is_no_attempt(queue: Any) -> None:
    size = 100_000  # more than a pipe holds
    queue.put(*(b"%d" % number * size for number in range(3)))
    consumer = queue.start("consume", "-n", "3")
    queue.wait_for("group.default.leased", 3)
    assert consumer.process.stdout is not None
    assert os.read(consumer.process.stdout.fileno(), 1) == b"0"  # it prints
    consumer.send(signal.SIGTERM)
    assert consumer.process.wait(TIMEOUT_SECONDS) == 143
    assert [message.attempt for message in queue.client().lease(10)] == [1, 1, 1]


def test_dead_letters_are_published_again_by_the_recipe(queue: Any) -> None:
    """What jq does with ``with_entries`` is done here, where there may be no jq."""
    client = queue.client(topic="jobs")
    for number, body in enumerate(BODIES):
        client.publish(body, key=b"\xff" if number % 2 else None)
    with client.lease(100) as lease:
        for message in lease:
            lease.bury(message)
    rows = [
        json.loads(line) for line in queue.output("consume", "-t", "jobs.dlq", "--exit-empty", "--json").splitlines()
    ]
    names = ("body", "body_base64", "key", "key_base64")
    kept = [{name: row[name] for name in names if row.get(name) is not None} for row in rows]
    queue.output("publish", "-t", "jobs", "--json", input=b"".join(json.dumps(row).encode() + b"\n" for row in kept))
    again = queue.client(topic="jobs", details=True).lease(100)
    assert [(message.body, message.key) for message in again] == [
        (body, b"\xff" if number % 2 else None) for number, body in enumerate(BODIES)
    ]
    assert queue.run("consume", "-t", "jobs.dlq") == (1, b"", b"")


@pytest.mark.parametrize("queue", [{"lease_seconds": 4.0}], indirect=True, ids=str)
def test_a_reader_that_is_slow_loses_and_doubles_nothing(queue: Any) -> None:
    """A pager shows the first page, and its reader thinks for longer than a lease lasts."""
    bodies = [b"%d" % number * 30_000 for number in range(4)]
    queue.put(*bodies)
    consumer = queue.start("consume", "-n", "4")
    queue.wait_for("group.default.acknowledged", 2)  # so many have gone into the pipe
    other = queue.start("consume", "--wait", "6")
    assert other.end() == (1, b"", b"")
    assert consumer.end() == (0, b"".join(body + b"\n" for body in bodies), b"")
    queue.wait_for("group.default.acknowledged", 4)


def test_a_consumer_that_is_killed_loses_nothing(queue: Any) -> None:
    queue.put(*(b"%d" % number * 100_000 for number in range(3)))
    consumer = queue.start("consume", "-n", "3")
    queue.wait_for("group.default.leased", 3)
    consumer.send(signal.SIGKILL)
    queue.wait_for("group.default.leased", 0)
    assert len(queue.client().lease(10)) == 3


def test_a_message_is_there_as_soon_as_its_line_is(queue: Any) -> None:
    publisher = queue.start("publish", "--json")
    consumer = queue.start("consume", "--follow", "--json")
    for body in ("one", "two"):
        os.write(publisher.process.stdin.fileno(), json.dumps({"body": body}).encode() + b"\n")
        assert json.loads(consumer.read_line())["body"] == body
    assert publisher.end() == (0, b"", b"")


def test_a_publisher_that_is_interrupted_tells_how_many_are_stored(queue: Any) -> None:
    publisher = queue.start("publish")
    os.write(publisher.process.stdin.fileno(), b"one\n")
    queue.wait_for("published", 1)
    publisher.send(signal.SIGINT)
    text = b"gstream: interrupted (at least 1 message was published before)\n"
    assert publisher.end() == (130, b"", text)


def test_errors_are_one_line(queue: Any) -> None:
    assert queue.error("consume", "--port", "1").startswith("no gstream server at 127.0.0.1:1: ")
    assert queue.error("groups", "-t", "none") == "no such topic: none"
    assert queue.error("stats", "-t", "none") == "no such topic: none"
    assert queue.error("top", "--once", "-t", "none") == "no such topic: none"
    queue.put(b"a")
    assert queue.error("groups", "--forget", "none") == "no such group: none in topic default"
    assert (
        queue.error("publish", "--json", input=b"1\n") == "object 1: it is no object (0 messages were published before)"
    )
    assert queue.error("top", redirect="<&-") == "standard output is no terminal: --once prints one table"


@pytest.mark.parametrize(
    "command",
    [
        "publish",
        "consume",
        "consume --exec true",
        "topics",
        "groups",
        "peek",
        "seek 1",
        "stats",
        "ping",
        "top --once",
        "bench",
    ],
)
def test_a_server_that_is_not_there(queue: Any, command: str) -> None:
    assert queue.error(*command.split(), "--port", "1").startswith("no gstream server at 127.0.0.1:1: ")
