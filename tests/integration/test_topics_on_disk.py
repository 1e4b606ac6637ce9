"""Topics that are made, changed and removed on a server that keeps messages on disk: what is there after a restart."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from gstream import Client, RefusedError
from gstream.testing import ServerProcess, ServerThread, Session

LIMITS = {"retain.bytes": 1 << 20, "retain.seconds": 60.0}


def start(path: Path) -> ServerThread:
    return ServerThread(data_dir=str(path / "data"))


def files_of(path: Path, topic: str) -> list[Path]:
    return [each for each in (path / "data" / "topics" / topic).rglob("*") if each.is_file()]


def limits_of(client: Client, topic: str) -> dict[str, object]:
    return {name: value for name, value in client.stats(topic).items() if name.startswith("retain.")}


def test_what_is_set_for_a_topic_is_there_after_a_restart(tmp_path: Path) -> None:
    with start(tmp_path) as server, Client(*server) as client:
        client.create_topic("log", 3, retain_bytes=1 << 20, retain_seconds=60)
        client.create_topic("plain")
        client.create_topic("changed", retain_bytes=5)
        client.change_topic("changed", retain_bytes="default", retain_seconds=0)
        assert limits_of(client, "log") == LIMITS
    with start(tmp_path) as server, Client(*server, topic="log") as client:
        assert client.topics() == {"changed": 0, "log": 0, "plain": 0}
        assert limits_of(client, "log") == LIMITS
        assert limits_of(client, "plain") == {}
        assert limits_of(client, "changed") == {"retain.seconds": 0.0}
        assert (client.stats("log")["partitions"], client.stats("plain")["partitions"]) == (3, 1)
        client.publish(b"a")
        assert client.peek()[0].id == "0:0"
        with pytest.raises(RefusedError, match=r"the topic has 3 partitions"):
            client.create_topic("log", 1)


def test_the_engine_keeps_the_limits(tmp_path: Path) -> None:
    with start(tmp_path) as server, Client(*server) as client:
        client.create_topic("log", retain_bytes=1 << 20)
        assert server.call(lambda service: service.engine.limits_of("log")) == (1 << 20, 0.0)  # type: ignore[union-attr]
        client.change_topic("log", retain_seconds=7)
        assert server.call(lambda service: service.engine.limits_of("log")) == (1 << 20, 7.0)  # type: ignore[union-attr]
        client.delete_topic("log")
        client.create_topic("log")
        assert server.call(lambda service: service.engine.limits_of("log")) == (0, 0.0)  # type: ignore[union-attr]


def test_a_removed_topic_leaves_no_files_and_does_not_come_back(tmp_path: Path) -> None:
    with start(tmp_path) as server, Client(*server, topic="log") as client:
        client.create_topic("log", 2)
        client.publish([b"%d" % number for number in range(1000)])
        client.publish(b"once", id=b"id")
        client.publish(b"later", delay_seconds=600)
        client.consume(10)
        lease = client.lease(10)
        assert files_of(tmp_path, "log")
        with pytest.raises(RefusedError, match=r"^busy: "):
            client.delete_topic("log")
        for message in lease.messages:
            lease.give_back(message, 600)
        client.delete_topic("log")
        assert files_of(tmp_path, "log") == []
        assert client.topics() == {}
        assert server.call(lambda service: service.engine.held_bytes) == 0
    with start(tmp_path) as server, Client(*server, topic="log") as client:
        assert client.topics() == {}
        client.publish(b"new", id=b"id")
        assert [(message.id, message.attempt, message.body) for message in client.peek(9)] == [("0", 1, b"new")]


def test_what_is_made_anew_at_once_is_what_is_there(tmp_path: Path) -> None:
    with start(tmp_path) as server, Client(*server, topic="log") as client:
        for turn in range(20):
            partitions = turn % 3 + 1
            client.create_topic("log", partitions)
            client.publish([b"%d" % turn] * 10)
            assert client.stats("log")["partitions"] == partitions
            assert client.consume(100) == [b"%d" % turn] * 10
            if turn < 19:
                client.delete_topic("log")
    with start(tmp_path) as server, Client(*server, topic="log") as client:
        assert client.stats("log")["partitions"] == 2
        client.seek("oldest")
        assert client.consume(100) == [b"19"] * 10


@pytest.mark.parametrize("gone", [False, True], ids=["made", "removed"])
def test_what_was_answered_outlives_the_server_that_is_killed(tmp_path: Path, gone: bool) -> None:
    options = ("--data-dir", str(tmp_path / "data"))
    with ServerProcess(*options) as process, Session(process) as client:
        client.send(b"mlog partitions=3 retain-seconds=5\ntlog\npa\nmstays\n")
        client.expect(b"+ log\n+ log\nok\r\n+ stays\n")
        if gone:
            client.send(b"ylog\n")
            client.expect(b"+ log\n")
        process.stop(signal.SIGKILL)
    with ServerProcess(*options) as process, Client(process.host, process.port) as after:
        assert after.topics() == ({"stays": 0} if gone else {"log": 1, "stays": 0})
        if not gone:
            figures = after.stats("log")
            assert (figures["partitions"], figures["retain.seconds"]) == (3, 5.0)
