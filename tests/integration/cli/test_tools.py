"""The commands around the messages: groups, seek, ping, top, bench and the shells' completion."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gstream.testing import TIMEOUT_SECONDS, ServerProcess, wait_until

GSTREAM = (sys.executable, "-m", "gstream")


def test_groups_and_topics_as_tables(queue: Any) -> None:
    queue.put(b"a", b"b", b"c", topic="orders")
    queue.output("consume", "-t", "orders", "-g", "billing")
    assert queue.output("topics").split() == b"TOPIC MESSAGES orders 3".split()
    heading, row = queue.output("groups").splitlines()
    assert row.split() == b"orders billing 2 2 0 0 1 1 0 0".split()
    assert len(heading.split()) == len(row.split())
    assert queue.output("groups", "-t", "orders", "--forget", "billing") == b""
    assert queue.run("groups", "-t", "orders") == (1, b"", b"")
    assert b"published 3\n" in queue.output("stats", "-t", "orders")
    assert json.loads(queue.output("stats", "--json"))["topics"] == 1


def test_topics_are_made_and_removed(queue: Any) -> None:
    assert queue.output("topics", "create", "orders", "--partitions", "3") == b""
    queue.put(b"a", b"b", topic="orders")
    assert queue.output("topics", "create", "orders") == b""
    assert json.loads(queue.output("topics", "--json")) == {"topic": "orders", "messages": 2}
    assert b"partitions 3\n" in queue.output("stats", "-t", "orders")
    text = "args: the topic has 3 partitions; their number cannot be changed"
    assert queue.error("topics", "create", "orders", "--partitions", "1") == text
    assert queue.output("topics", "set", "orders", "--retain-bytes", "1MiB") == b""
    assert b"retain.bytes 1048576\n" in queue.output("stats", "-t", "orders")
    assert queue.error("topics", "set", "none", "--retain-seconds", "60") == "no such topic: none"
    text = "there is no terminal to ask on: --yes removes without asking"
    assert queue.error("topics", "delete", "orders") == text
    with queue.client(topic="orders").lease():
        assert queue.error("topics", "delete", "orders", "--yes") == "orders stays: busy: the topic has consumers"
    assert queue.output("topics", "delete", "orders", "--yes") == b""
    assert queue.run("topics") == (1, b"", b"")


@pytest.mark.parametrize(
    ("typed", "code", "left"),
    [
        (b"y\n", 0, []),
        (b"what?\nYes\n", 0, []),
        (b"n\n", 1, ["a", "b"]),
        (b"\n", 1, ["a", "b"]),
        (b"\x03", 130, ["a", "b"]),
        (b"\x04", 130, ["a", "b"]),
    ],
    ids=["y", "what-Yes", "n", "Enter", "Ctrl-C", "Ctrl-D"],
)
def test_it_asks_before_it_removes(queue: Any, on_terminal: Any, typed: bytes, code: int, left: list[str]) -> None:
    queue.put(*[b"x"] * 1234, topic="a")
    queue.put(b"x", topic="b")
    removing = on_terminal("topics", "delete", "a", "b")
    removing.expect_somewhere(b"Remove a (1,234 messages), b (1 message)? [y/N]: ")
    removing.send(typed)
    assert removing.wait() == code
    assert sorted(queue.client().topics()) == left


def test_seek_moves_the_group(queue: Any) -> None:
    queue.put(*(b"%d" % number for number in range(10)))
    for where, place, following in (
        ("7", b"7\n", b"7\n8\n9\n"),
        ("-2", b"8\n", b"8\n9\n"),
        ("^", b"0\n", b"".join(b"%d\n" % number for number in range(10))),
        ("@-60", b"0\n", b"".join(b"%d\n" % number for number in range(10))),
    ):
        assert queue.output("seek", where) == place
        assert queue.output("consume", "--exit-empty") == following
    assert queue.output("seek", "^") == b"0\n"
    assert queue.output("seek", "$") == b"10\n"
    assert queue.run("peek") == (1, b"", b"")
    assert queue.output("seek", "@2100-01-01") == b"10\n"


@pytest.mark.parametrize("queue", [{"partitions": 2}], indirect=True, ids=str)
def test_seek_moves_one_partition(queue: Any) -> None:
    for body in (b"a", b"b", b"c", b"d"):
        queue.put(body)  # partitions take turns
    queue.output("consume", "--exit-empty")
    queue.output("seek", "1:1")
    (row,) = queue.output("consume", "--exit-empty", "--json").splitlines()
    assert json.loads(row)["id"] == "1:1"


def test_ping(queue: Any) -> None:
    lines = queue.output("ping", "-c", "3", "--interval", "0").decode().splitlines()
    where = f"127.0.0.1:{queue.server.port}"
    assert [re.sub(r"[0-9.]+ ms", "T ms", line) for line in lines[:3]] == [
        f"{where}: seq={number} time=T ms" for number in (1, 2, 3)
    ]
    assert re.fullmatch(r"3 answers, round trip min/avg/max/mdev = ([0-9.]+/){3}[0-9.]+ ms", lines[-1])


def test_an_interrupted_ping_tells_what_it_has_seen(queue: Any) -> None:
    pinging = queue.start("ping", "--interval", "60")
    assert b" seq=1 " in pinging.read_line()
    pinging.send(signal.SIGINT)
    code, printed, errors = pinging.end()
    assert (code, errors) == (130, b"")
    assert b"\n1 answer, " in printed


def test_top_once_in_a_pipe(queue: Any) -> None:
    queue.put(b"a", b"b", topic="orders")
    queue.output("consume", "-t", "orders", "-g", "billing")
    lines = queue.output("top", "--once", "--interval", "0.05").decode().splitlines()
    assert re.fullmatch(rf"gstream \S+ at 127.0.0.1:{queue.server.port}, up \d+:\d\d:\d\d", lines[0])
    rows = [" ".join(line.split()) for line in lines]
    assert "TOPIC GROUP MESSAGES IN/s OUT/s BACKLOG LEASED CONSUMERS" in rows
    assert {"orders 2 0", "billing 0 1 0 0"} <= set(rows)
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(("key", "code"), [(b"q", 0), (b"\x03", 130)], ids=["q", "Ctrl-C"])
def test_top_on_a_terminal(queue: Any, on_terminal: Any, key: bytes, code: int) -> None:
    queue.put(b"a", topic="orders")
    top = on_terminal("top", "--interval", "0.05")
    top.expect_somewhere(b"orders")
    queue.put(b"a", topic="new")
    top.expect_somewhere(b"new")
    top.send(key)
    assert top.wait() == code
    top.expect_somewhere(b"\x1b[?1049l")  # the screen is as it was


def test_top_tells_that_there_is_no_connection_and_finds_the_server_again(queue: Any, on_terminal: Any) -> None:
    with ServerProcess() as server:
        port = str(server.port)
        top = on_terminal("top", "--interval", "0.05", "--port", port)
        top.expect_somewhere(b"no topics yet")
        server.stop()
        top.expect_somewhere(b"no connection")
    serve = subprocess.Popen([*GSTREAM, "serve", "--port", port], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with serve:
        assert serve.stdout is not None
        serve.stdout.readline()
        queue.output("publish", "--port", port, "-t", "orders", input=b"a\n")
        top.expect_somewhere(b"orders")
        top.send(b"q")
        assert top.wait() == 0
        serve.terminate()


def test_bench_measures_and_leaves_nothing_behind(queue: Any) -> None:
    rows = [json.loads(line) for line in queue.run("bench", "-n", "2000", "-c", "3", "--json")[1].splitlines()]
    assert [row["test"] for row in rows] == ["ping", "publish", "consume", "lease"]
    for row in rows:
        assert row["count"] == 2000
        assert row["rate"] == pytest.approx(2000 / row["seconds"], rel=0.01)
        assert 0 < row["p50"] <= row["p90"] <= row["p99"] <= row["p99.9"] <= row["max"] <= row["seconds"] * 1000
    assert [row["bytes_per_second"] > 0 for row in rows] == [False, True, True, True]
    assert queue.client().topics() == {}
    figures = queue.client().stats()
    assert [figures[f"memory.{name}"] for name in ("used", "held", "retained")] == [0, 0, 0]


def test_bench_as_a_table_with_a_window(queue: Any) -> None:
    code, printed, _ = queue.run("bench", "publish", "lease", "-n", "3000", "-w", "100", "-s", "2000")
    assert code == 0
    first, _, heading, *rows = printed.decode().splitlines()
    assert first == "10 connections, 2000 bytes, window 100"
    assert heading.split()[:2] == ["TEST", "COUNT"]
    assert [row.split()[:2] for row in rows] == [["publish", "3000"], ["lease", "3000"]]


@pytest.mark.parametrize("queue", [{"partitions": 3}], indirect=True, ids=str)
def test_bench_in_a_topic_that_is_used(queue: Any) -> None:
    queue.put(b"theirs", topic="orders")
    assert queue.run("bench", "consume", "-n", "500", "-t", "orders")[0] == 0
    assert b"theirs" in queue.output("consume", "-t", "orders", "-g", "billing", "--exit-empty").split()
    assert b"bench" not in queue.output("groups") + queue.output("topics")


@pytest.mark.parametrize("queue", [{"max_memory_bytes": 50_000}], indirect=True, ids=str)
def test_bench_tells_a_wrong_answer(queue: Any) -> None:
    code, printed, errors = queue.run("bench", "publish", "-n", "5000")
    assert (code, printed) == (2, b"")
    assert errors.startswith(b"gstream: the server said: - full no room within 50000 bytes")
    assert queue.client().stats()["memory.used"] == 0


def test_bench_over_a_unix_socket(queue: Any, tmp_path: Path) -> None:
    path = f"{tmp_path}/socket"
    served = subprocess.Popen([*GSTREAM, "serve", "--port", "0", "--socket", path], stdout=subprocess.PIPE, stderr=-3)
    with served:
        assert served.stdout is not None
        served.stdout.readline()
        code = queue.run("bench", "publish", "-n", "500", "--socket", path)[0]
        served.terminate()
    assert code == 0


@pytest.fixture
def gstream_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of the name that the scripts call."""
    program = tmp_path / "bin" / "gstream"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gstream "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def complete(shell: str, *words: str) -> list[str]:
    """What the program answers to the scripts of bash and zsh about the last of these words."""
    variables = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    environment = {**os.environ, **variables, "_GSTREAM_COMPLETE": f"{shell}_complete"}
    ended = subprocess.run(GSTREAM, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    assert ended.stderr == b""
    return ended.stdout.decode().splitlines()


def test_commands_options_topics_and_groups_are_completed(queue: Any) -> None:
    queue.put(b"a", topic="orders")
    queue.put(b"a", topic="others")
    queue.client(topic="orders", group="billing.eu").consume()
    assert complete("bash", "gstream", "pe") == ["plain,peek"]
    assert complete("bash", "gstream", "consume", "--exi") == ["plain,--exit-empty"]
    assert complete("bash", "gstream", "consume", "-t", "o") == ["plain,orders", "plain,others"]
    assert complete("bash", "gstream", "consume", "-t", "orders", "-g", "b") == ["plain,billing.eu"]
    assert complete("bash", "gstream", "groups", "-t", "orders", "--forget", "b") == ["plain,billing.eu"]
    assert complete("bash", "gstream", "topics", "") == ["plain,create", "plain,delete", "plain,set"]
    assert complete("bash", "gstream", "topics", "set", "or") == ["plain,orders"]
    assert complete("bash", "gstream", "topics", "delete", "orders", "o") == ["plain,orders", "plain,others"]


def test_without_a_server_nothing_is_completed(queue: Any) -> None:
    assert complete("bash", "gstream", "consume", "--port", "1", "-t", "o") == [""]
    assert complete("bash", "gstream", "consume", "--port", "no", "-g", "o") == [""]


@pytest.mark.parametrize("shell", [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)])
def test_the_scripts_are_scripts(queue: Any, shell: str) -> None:
    script = queue.output("completion", shell)
    assert len(script.splitlines()) > 10
    ended = subprocess.run([shell, "-n"], input=script, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_bash_completes_with_the_script(queue: Any, gstream_on_path: None) -> None:
    queue.put(b"a", topic="orders")
    session = """
        eval "$(gstream completion bash)"
        COMP_WORDS=(gstream consume -t or) COMP_CWORD=3
        _gstream_completion gstream
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    ended = subprocess.run(["bash", "--norc"], input=session.encode(), capture_output=True, check=False)
    assert (ended.stdout, ended.stderr) == (b"orders\n", b"")


def test_an_interrupted_bench_leaves_nothing_behind(queue: Any) -> None:
    bench = queue.start("bench", "publish", "-n", "5000000", "-w", "10")
    client = queue.client()
    wait_until(lambda: client.stats()["published"] > 1000, "it publishes")
    bench.send(signal.SIGINT)
    assert bench.end() == (130, b"", b"")
    assert client.stats()["memory.used"] == 0
    assert client.topics() == {}


def test_an_interrupted_bench_of_leases_leaves_no_topic_behind(queue: Any) -> None:
    bench = queue.start("bench", "lease", "-n", "1000000", "-w", "100")
    client = queue.client()
    wait_until(lambda: any(name.endswith(".taken") and value for name, value in own(client)), "it leases")
    bench.send(signal.SIGINT)
    assert bench.end()[0] == 130
    assert client.topics() == {}


def own(client: Any) -> list[tuple[str, Any]]:
    """The figures of the only topic, if there is one."""
    return [figure for name in client.topics() for figure in client.stats(name).items()]
