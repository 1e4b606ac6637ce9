"""The programs in examples/, each run against a real server: what they print, leave, take and give back."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from gstream import Client
from gstream.testing import TIMEOUT_SECONDS, ServerThread, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"

Start: TypeAlias = "Callable[..., subprocess.Popen[bytes]]"

BODIES = [
    *(b"", b" ", b"trailing  ", b"\ttabs\t", b"back\\slash \\n\\", b"$HOME * `id` $(id) 'quoted\"", b"-n", b"%s"),
    *(b". dot", b".", b"- error look-alike", b"= 0 1 message", b"$ 0 1 3", b"# notice", b"+ 1", b"ok"),
    *(b"\r", b"ends in CR\r", b"a\rb", b"\n", b"two\nlines\n", b"\r\n", b"\0", b"nul\0nul\0", b"\xff\xfe", b"\xff\xf4"),
    *(bytes(range(256)), b"\x1b[31m", "\u00e4\u20ac".encode(), b"long " * 60_000, b"\n" * 70_000, bytes(200_000)),
]

LEASE_SECONDS = 1.0
"""Where the end of a lease matters; elsewhere it is far away."""

NAMES = b"a name is 1 to 249 letters, digits, '.', '_' or '-'\n"

SAVE = 'cat >"$0/$GSTREAM_ID.$GSTREAM_ATTEMPT"'
"""A job: saves a body to a file in a folder, named after the message."""

BLOCK = 'echo >"$0/started.$GSTREAM_ID.$GSTREAM_ATTEMPT"; until [ -e "$0/gate" ]; do sleep 0.01; done'
"""A job: runs until there is a file ``gate``."""


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[ServerThread]:
    """A server with the default lease, or with that of the test's parameter."""
    with ServerThread(**getattr(request, "param", {})) as server:
        yield server


@pytest.fixture
def start(server: ServerThread, tmp_path: Path) -> Iterator[Start]:
    """Starts an example: its name, its arguments, and the environment; in the test's folder."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    common = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GSTREAM_HOST": server.host,
        "GSTREAM_PORT": str(server.port),
        "TMPDIR": str(temporary),
        "RETRY_SECONDS": "0.01",
    }
    with ExitStack() as running:

        def run(name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
            program = [sys.executable] if name.endswith(".py") else ["bash"]
            process = subprocess.Popen(
                [*program, str(EXAMPLES / name), *arguments],
                cwd=tmp_path,
                env={**common, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            running.enter_context(process)
            running.callback(process.kill)
            return process

        yield run
        # Jobs whose worker was killed end, too.
        (tmp_path / "gate").touch()


@pytest.fixture
def client(server: ServerThread) -> Iterator[Client]:
    with Client(server.host, server.port, topic="jobs") as client:
        yield client


def count(client: Client, what: str, *, topic: str = "jobs", group: str = "default") -> int:
    """One of the figures of a group."""
    return int(client.stats(topic).get(f"group.{group}.{what}", 0)) if topic in client.topics() else 0


def wait_for(client: Client, what: str, wanted: int, *, topic: str = "jobs", group: str = "default") -> None:
    wait_until(lambda: count(client, what, topic=topic, group=group) == wanted, f"{what} is {wanted}")


def saved(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0].isdigit()}


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    """Its exit code and what it wrote, when it ends by itself."""
    output, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    return process.returncode, output, errors


def stop(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> tuple[int, bytes, bytes]:
    process.send_signal(number)
    return finish(process)


# --- worker.sh


def test_the_shell_worker_gets_every_body_byte_for_byte(start: Start, client: Client, tmp_path: Path) -> None:
    client.publish(BODIES)
    workers = [start("worker.sh", "jobs", "sh", "-c", SAVE, str(tmp_path)) for _ in range(2)]
    wait_for(client, "acknowledged", len(BODIES))
    assert saved(tmp_path) == {f"{id}.1": body for id, body in enumerate(BODIES)}
    for worker in workers:
        assert stop(worker) == (0, b"", b"")
    assert list((tmp_path / "temporary").iterdir()) == []
    assert (count(client, "returned"), count(client, "lag")) == (0, 0)


def test_the_shell_worker_stays_in_step_when_a_job_reads_nothing(start: Start, client: Client) -> None:
    client.publish(BODIES * 2)
    worker = start("worker.sh", "jobs", "echo", "done")
    wait_for(client, "acknowledged", 2 * len(BODIES))
    assert stop(worker) == (0, b"done\n" * 2 * len(BODIES), b"")


def test_the_shell_worker_gives_back_what_failed(start: Start, client: Client, tmp_path: Path) -> None:
    client.publish(BODIES)
    worker = start("worker.sh", "jobs", "sh", "-c", f'{SAVE}; [ "$GSTREAM_ATTEMPT" = 3 ]', str(tmp_path))
    wait_for(client, "acknowledged", len(BODIES))
    assert saved(tmp_path) == {f"{id}.{attempt}": body for id, body in enumerate(BODIES) for attempt in (1, 2, 3)}
    assert count(client, "returned") == 2 * len(BODIES)
    assert stop(worker)[0] == 0


def test_what_fails_always_becomes_a_dead_letter(start: Start, client: Client, tmp_path: Path) -> None:
    client.publish([b"good", b"bad\0", b"good"])
    worker = start("worker.sh", "jobs", "sh", "-c", "! grep -q bad", RETRY_SECONDS="0")
    wait_for(client, "dead", 1)
    wait_for(client, "acknowledged", 2)
    assert count(client, "returned") == 4
    undertaker = start("worker.sh", "jobs.dlq", "sh", "-c", SAVE, str(tmp_path))
    wait_for(client, "acknowledged", 1, topic="jobs.dlq")
    assert saved(tmp_path) == {"0.1": b"bad\0"}
    assert (stop(worker)[0], stop(undertaker)[0]) == (0, 0)


def test_the_shell_worker_works_for_its_group(start: Start, client: Client, tmp_path: Path) -> None:
    client.publish(b"Hello")
    worker = start("worker.sh", "jobs", "sh", "-c", SAVE, str(tmp_path), GSTREAM_GROUP="billing")
    wait_for(client, "acknowledged", 1, group="billing")
    assert saved(tmp_path) == {"0.1": b"Hello"}
    assert client.consume() == [b"Hello"]
    assert stop(worker)[0] == 0


def test_a_shell_worker_that_is_killed_loses_nothing(start: Start, client: Client, tmp_path: Path) -> None:
    client.publish(BODIES)
    job = ("sh", "-c", f"{BLOCK}; {SAVE}", str(tmp_path))
    killed = start("worker.sh", "jobs", *job)
    wait_until((tmp_path / "started.0.1").exists, "the job runs")
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    # Its job still runs, and yet the message is free.
    wait_for(client, "returned", 1)
    second = start("worker.sh", "jobs", *job)
    wait_until((tmp_path / "started.0.2").exists, "the job runs again")
    (tmp_path / "gate").touch()
    wait_for(client, "acknowledged", len(BODIES))
    assert stop(second)[0] == 0
    done = saved(tmp_path)
    wait_until((tmp_path / "0.1").exists, "the job of the worker that was killed ends, too")
    assert {name: done[name] for name in done if name != "0.1"} == {
        f"{id}.{2 if id == 0 else 1}": body for id, body in enumerate(BODIES)
    }


def test_a_shell_worker_that_is_told_to_stop_finishes_its_job(start: Start, client: Client, tmp_path: Path) -> None:
    client.publish([b"one", b"two"])
    worker = start("worker.sh", "jobs", "sh", "-c", f"{BLOCK}; {SAVE}", str(tmp_path))
    wait_until((tmp_path / "started.0.1").exists, "the job runs")
    worker.send_signal(signal.SIGTERM)
    (tmp_path / "gate").touch()
    assert finish(worker) == (0, b"", b"")
    assert saved(tmp_path) == {"0.1": b"one"}
    assert (count(client, "acknowledged"), count(client, "lag")) == (1, 1)


@pytest.mark.parametrize("server", [{"lease_seconds": LEASE_SECONDS}], indirect=True)
def test_a_job_of_the_shell_worker_may_take_longer_than_a_lease(start: Start, client: Client, tmp_path: Path) -> None:
    client.publish(b"one")
    worker = start("worker.sh", "jobs", "sh", "-c", f"{BLOCK}; {SAVE}", str(tmp_path))
    wait_until((tmp_path / "started.0.1").exists, "the job runs")
    assert client.consume(wait_seconds=1.5 * LEASE_SECONDS) == []
    (tmp_path / "gate").touch()
    wait_for(client, "acknowledged", 1)
    assert saved(tmp_path) == {"0.1": b"one"}
    assert stop(worker) == (0, b"", b"")


def test_a_job_that_takes_too_long_is_somebody_elses(start: Start, client: Client, tmp_path: Path) -> None:
    client.publish(b"one")
    worker = start("worker.sh", "jobs", "sh", "-c", BLOCK, str(tmp_path), JOB_SECONDS="0.01")
    wait_until((tmp_path / "started.0.1").exists, "the job runs")
    assert client.consume(wait_seconds=TIMEOUT_SECONDS) == [b"one"]
    (tmp_path / "gate").touch()
    client.publish(b"two")
    wait_until((tmp_path / "started.1.1").exists, "the worker goes on")
    assert stop(worker)[2].startswith(b"worker.sh: gone 0\n")


def test_the_shell_worker_tells_why_it_ends(start: Start, server: ServerThread, client: Client) -> None:
    assert finish(start("worker.sh", "no spaces", "true"))[::2] == (1, b"worker.sh: name " + NAMES)
    for arguments in ([], ["jobs"]):
        code, _, errors = finish(start("worker.sh", *arguments))
        assert code != 0
        assert b"usage: worker.sh TOPIC COMMAND" in errors
    waiting = start("worker.sh", "jobs", "true")
    wait_for(client, "waiting", 1)
    server.stop()
    assert finish(waiting) == (1, b"", b"worker.sh: drain the server is stopping\n")
    code, _, errors = finish(start("worker.sh", "jobs", "true"))
    assert code != 0
    assert b"Connection refused" in errors


# --- workers.py


def test_the_pool_of_workers_does_everything_once(start: Start, client: Client, tmp_path: Path) -> None:
    contents = {f"{tmp_path}/file \u00e4 {number}": bytes([number]) * number for number in range(20)}
    for path, content in contents.items():
        Path(path).write_bytes(content)
    client.use(topic="files")
    client.publish([*(path.encode() for path in contents), b"/no/such/file"])
    pool = start("workers.py")
    wait_for(client, "acknowledged", len(contents), topic="files", group="digests")
    wait_for(client, "dead", 1, topic="files", group="digests")
    code, output, errors = stop(pool, signal.SIGINT)
    assert (code, output) == (0, b"")
    assert errors.count(b"No such file or directory: '/no/such/file'") == 5
    client.use(topic="digests")
    expected = {f"{hashlib.sha256(content).hexdigest()}  {path}".encode() for path, content in contents.items()}
    digests = client.consume(100)
    assert len(digests) == len(expected)
    assert set(digests) == expected
    client.use(topic="files.dlq")
    assert client.consume(9) == [b"/no/such/file"]


def test_a_pool_of_workers_that_is_killed_loses_nothing(start: Start, client: Client, tmp_path: Path) -> None:
    # Whoever reads it waits until somebody writes.
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    client.use(topic="files")
    client.publish([b"fifo"] * 4)
    killed = start("workers.py")
    wait_for(client, "leased", 4, topic="files", group="digests")
    client.publish(b"empty")
    assert stop(killed, signal.SIGKILL)[0] == -signal.SIGKILL
    wait_for(client, "returned", 4, topic="files", group="digests")
    (tmp_path / "fifo").unlink()
    (tmp_path / "fifo").touch()
    second = start("workers.py")
    wait_for(client, "acknowledged", 5, topic="files", group="digests")
    assert stop(second) == (0, b"", b"")
    client.use(topic="digests")
    assert sorted(line.split()[1] for line in client.consume(100)) == [b"empty", *[b"fifo"] * 4]


# --- fan_out.py


def test_every_group_gets_everything(start: Start, client: Client) -> None:
    orders = [b"order %d" % number for number in range(500)]
    client.use(topic="orders")
    programs = [start("fan_out.py", group) for group in ("billing", "audit", "audit")]
    wait_for(client, "consumers", 1, topic="orders", group="billing")
    wait_for(client, "consumers", 2, topic="orders", group="audit")
    client.publish(orders)
    for group in ("billing", "audit"):
        wait_for(client, "acknowledged", len(orders), topic="orders", group=group)
    ends = [stop(program, signal.SIGINT) for program in programs]
    assert [(code, errors) for code, _, errors in ends] == [(0, b"")] * 3
    billing, *audit = (output.splitlines() for _, output, _ in ends)
    assert billing == orders
    assert sorted(audit[0] + audit[1]) == sorted(orders)
    assert all(audit), "they share the work"


# --- pipeline.sh


def test_the_pipeline_compresses_what_there_is(start: Start, client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    names = ["shop.log", "a b  c.log", "$HOME `id` *.log", "-f.log", "new\nline.log", "\u00e4.log"]
    for name in names:
        (folder / name).write_text(name)
    (folder / "other.txt").touch()
    assert finish(start("pipeline.sh", str(folder)))[::2] == (0, b"")
    assert {path.name for path in folder.iterdir()} == {"other.txt", *(f"{name}.gz" for name in names)}
    for name in names:
        assert gzip.decompress((folder / f"{name}.gz").read_bytes()).decode() == name
    # A run that overlaps may have found it, too.
    client.use(topic="logs")
    client.publish(f"{folder}/{names[0]}".encode())
    assert finish(start("pipeline.sh", str(folder)))[0] == 0
    assert finish(start("pipeline.sh", str(folder)))[0] == 1
    assert count(client, "acknowledged", topic="logs") == len(names) + 1


def test_the_pipeline_keeps_what_failed_for_its_next_run(start: Start, client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "good.log").touch()
    (folder / "bad.log").touch()
    (folder / "bad.log.gz").mkdir()
    code, _, errors = finish(start("pipeline.sh", str(folder)))
    assert code == 1
    assert b"1 of 2 commands failed" in errors
    assert (folder / "good.log.gz").exists()
    assert (count(client, "acknowledged", topic="logs"), count(client, "lag", topic="logs")) == (1, 1)


# --- replay.sh


def test_replaying_takes_nothing(start: Start, client: Client) -> None:
    client.publish([b"%d" % number for number in range(5)])
    assert client.consume(2) == [b"0", b"1"]
    assert finish(start("replay.sh", "jobs")) == (0, b"0\n1\n2\n3\n4\n", b"")
    assert finish(start("replay.sh", "jobs", "3")) == (0, b"3\n4\n", b"")
    assert finish(start("replay.sh", "jobs", "@-3600")) == (0, b"0\n1\n2\n3\n4\n", b"")
    assert finish(start("replay.sh", "jobs", "$")) == (0, b"", b"")
    assert client.consume(9) == [b"2", b"3", b"4"]
    assert not [name for name in client.stats("jobs") if name.startswith("group.replay")]


# --- kafka_confluent.py and kafka_python_clients.py

with_kafka = pytest.mark.parametrize("server", [{"kafka": True}], indirect=True)


@with_kafka
def test_each_order_is_billed_once(start: Start, server: ServerThread) -> None:
    for _ in range(2):
        assert finish(start("kafka_confluent.py", server.bootstrap)) == (0, b"customer 7: tea\ncustomer 7: milk\n", b"")
    with Client(*server, topic="bills", details=True) as client, client.lease(9) as bills:
        assert [bill.body for bill in bills] == [b"customer 7: tea", b"customer 7: milk"] * 2
        assert {(bill.key, bill.headers) for bill in bills} == {(b"customer 7", (("source", b"shop"),))}


@with_kafka
def test_a_group_sees_each_reading_once(start: Start, server: ServerThread) -> None:
    for _ in range(2):
        code, output, errors = finish(start("kafka_python_clients.py", server.bootstrap))
        assert (code, sorted(output.splitlines()), errors) == (
            0,
            [b"attic 31.0 C", b"cellar 11.4 C", b"cellar 11.5 C"],
            b"",
        )
    with Client(*server, topic="readings", details=True) as client, client.lease(9) as readings:
        cellar = [reading for reading in readings if reading.key == b"cellar"]
        assert [reading.body for reading in cellar] == [b"11.5", b"11.4"] * 2
        assert len({reading.id.partition(":")[0] for reading in cellar}) == 1
        assert len(list(readings)) == 6


# --- all of them


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.sh")), ids=lambda path: path.name)
def test_the_shell_finds_no_fault(path: Path) -> None:
    assert subprocess.run(["bash", "-n", path], check=False, capture_output=True).stderr == b""


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_an_example_can_be_started_and_says_what_it_is(path: Path) -> None:
    assert os.access(path, os.X_OK)
    first, second, *_ = path.read_text(encoding="utf-8").splitlines()
    assert first in {"#!/usr/bin/env bash", "#!/usr/bin/env python3"}
    assert second.startswith((f"# {path.name} ", '"""'))
