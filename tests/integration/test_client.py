"""The Python client against a real server."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from gstream import Client, Message, RefusedError
from gstream.testing import ServerThread

EVERY_BYTE = bytes(range(256))


@pytest.fixture
def client(server):
    with Client(server.host, server.port) as client:
        yield client


def another(server, **arguments):
    return Client(server.host, server.port, **arguments)


def test_publish_and_consume(client):
    assert client.consume() == []
    assert client.publish(b"one") == 1
    assert client.publish(iter([b"two", bytearray(b"three"), memoryview(b"four")])) == 3
    assert client.consume() == [b"one"]
    assert client.consume(10) == [b"two", b"three", b"four"]
    assert client.consume(10, wait_seconds=0.001) == []


def test_bodies_with_every_byte(client):
    bodies = [EVERY_BYTE, b"", b"\n", b"\r", b"\r\n", b"a\r", b"\n\n", b"\0", b"plain", b"\xff\xff", EVERY_BYTE * 1000]
    bodies += [bytes([byte]) for byte in range(256)]
    assert client.publish(bodies) == len(bodies)
    assert [bytes(message) for message in client.peek(1000)] == bodies
    with client.lease(1000) as lease:
        assert [message.body for message in lease] == bodies
    client.seek("oldest")
    assert client.consume(1000) == bodies


@pytest.mark.parametrize("details", [False, True])
def test_many_messages_of_all_lengths_keep_their_order(server, details):
    bodies = [b"%d " % number * (number % 50) + b"\n" * (number % 7 == 0) for number in range(20_000)]
    with another(server, details=details) as client:
        assert client.publish(bodies) == len(bodies)
        taken = []
        while part := client.consume(7000):
            taken += part
        assert taken == bodies


def test_a_megabyte(client):
    body = EVERY_BYTE * 4095
    client.publish([body, b"x" * (1 << 20), b"small"])
    assert client.consume(3) == [body, b"x" * (1 << 20), b"small"]
    with pytest.raises(RefusedError) as caught:
        client.publish([b"a", b"x" * ((1 << 20) + 1), b"\n" * ((1 << 20) + 1), b"b"])
    assert (caught.value.code, caught.value.confirmed) == ("toobig", 1)
    client.ping()


def test_a_refusal_leaves_the_rest():
    with ServerThread(max_memory_bytes=12) as server, another(server) as client:
        with pytest.raises(RefusedError) as caught:
            client.publish([b"Hello", b"world!", b"again"])
        assert (caught.value.code, caught.value.confirmed) == ("full", 1)
        assert client.consume(9) == [b"Hello"]


def test_details(server):
    before = datetime.now(UTC) - timedelta(seconds=1)
    with another(server, details=True) as client, another(server) as plain:
        client.publish([b"one", b"two"], key=EVERY_BYTE)
        client.publish(b"three")
        one, two, three = client.peek(3)
        assert (one.key, two.key, three.key) == (EVERY_BYTE, EVERY_BYTE, None)
        assert before < one.time <= three.time < datetime.now(UTC) + timedelta(seconds=1)
        assert one.headers == ()
        assert plain.peek() == [Message("0", 1, b"one")]


def test_an_id_is_published_once(client):
    assert client.publish(b"a", id="7") == 1
    assert client.publish(b"a", id=b"7") == 1
    assert client.publish(b"b", id="an other\n") == 1
    assert client.consume(9) == [b"a", b"b"]


def test_what_is_delayed_comes_later(client):
    client.publish([b"tomorrow"] * 2, delay_seconds=86_400)
    client.publish(b"now")
    assert client.consume(9) == [b"now"]
    assert client.stats("default")["delayed"] == 2
    client.publish(b"soon", delay_seconds=0.01)
    assert client.consume(9, wait_seconds=30) == [b"soon"]


# --- the group, and what is going on


def test_topics_are_made_and_removed(server, client):
    client.create_topic("log", partitions=2)
    client.create_topic("log")
    with another(server, topic="log") as other:
        assert [other.publish(body) for body in (b"a", b"b\n")] == [1, 1]
        assert [message.id for message in other.peek(9)] == ["0:0", "1:0"]
        with other.lease(9) as lease:
            with pytest.raises(RefusedError) as caught:
                client.delete_topic("log")
            assert caught.value.code == "busy"
            assert len(lease) == 2
        client.delete_topic("log")
        assert client.topics() == {}
        assert other.consume() == []
        other.publish(b"anew")
        assert [message.id for message in other.peek()] == ["0"]
    for code, call in (
        ("name", lambda: client.delete_topic("none")),
        ("name", lambda: client.change_topic("none")),
        ("args", lambda: client.create_topic("log", 2)),
    ):
        with pytest.raises(RefusedError) as caught:
            call()
        assert caught.value.code == code
    assert client.topics() == {"log": 1}


def test_groups_and_topics(server, client):
    client.publish([b"1", b"2"])
    client.use(group="audit")
    assert client.consume(9) == [b"1", b"2"]
    client.use("news", "default")
    client.publish(b"n")
    with another(server, topic="news", group="b") as other:
        assert other.consume() == [b"n"]
    client.use("default")
    assert client.consume(9) == [b"1", b"2"]
    assert client.topics() == {"default": 2, "news": 1}
    client.forget_group("audit")
    with pytest.raises(RefusedError) as caught:
        client.forget_group("audit")
    assert caught.value.code == "name"
    with pytest.raises(RefusedError) as caught:
        client.use("no spaces")
    assert caught.value.code == "name"


def test_seek(client):
    client.publish([b"0", b"1", b"2", b"3"])
    client.consume(9)
    for where, id, body in [
        (1, "1", b"1"),
        ("2", "2", b"2"),
        (-1, "3", b"3"),
        ("oldest", "0", b"0"),
        (datetime.now(UTC) - timedelta(minutes=1), "0", b"0"),
    ]:
        assert client.seek(where) == [id]
        assert client.consume() == [body]
    assert client.seek("end") == ["4"]
    assert client.consume() == []
    assert client.seek(datetime.now(UTC) + timedelta(days=1)) == ["4"]


def test_seek_to_the_time_of_a_message(server):
    with another(server, details=True) as client:
        client.publish([b"0", b"1"])
        (first, *_) = client.lease().messages
        assert client.seek(first.time) == ["0"]


def test_partitions():
    with ServerThread(partitions=3) as server, another(server, details=True) as client:
        client.publish([b"%d" % number for number in range(30)])
        client.publish([b"a", b"b", b"c"], key="same")
        messages = client.peek(100)
        (partition,) = {message.id.partition(":")[0] for message in messages if message.key == b"same"}
        assert [message.body for message in messages if message.key] == [b"a", b"b", b"c"]
        with client.lease(100) as lease:
            assert len(lease) == 33
        last = lease.messages[-1]
        assert client.seek(last.id) == [last.id]
        assert partition in {"0", "1", "2"}
        assert [message.id for message in client.peek()] == [last.id]


def test_peek_takes_nothing(client):
    client.publish([b"1", b"2"])
    for _ in range(2):
        assert [(message.id, message.attempt, message.body) for message in client.peek(9)] == [
            ("0", 1, b"1"),
            ("1", 1, b"2"),
        ]
    assert client.consume(9) == [b"1", b"2"]


def test_stats_and_ping(client):
    client.publish(b"x")
    stats = client.stats("default")
    assert (stats["messages"], stats["published"], stats["partition.0.end"]) == (1, 1, 1)
    assert client.stats()
    assert all(isinstance(value, int | float | str) for value in client.stats().values())
    with pytest.raises(RefusedError, match="name: "):
        client.stats("none")
    assert 0 < client.ping() < 30


def test_a_unix_socket(tmp_path):
    path = f"{tmp_path}/gstream.sock"
    with ServerThread(socket=path), Client(socket_path=path) as client:
        client.publish([b"a", b"\n"])
        with client.lease(2) as lease:
            assert [bytes(message) for message in lease] == [b"a", b"\n"]


PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys, gevent, gstream

port = int(sys.argv[1])
with gstream.Client(port=port) as consumer, gstream.Client(port=port) as producer:
    waiting = gevent.spawn(consumer.consume, 1, wait_seconds=60)
    gevent.idle()
    assert not waiting.ready()
    producer.publish(b"Hello")
    print(waiting.get(timeout=30))

    def work():
        with consumer.subscribe(credit=2) as messages:
            for message in messages:
                print(message.body)
                if message.body == b"2":
                    messages.acknowledge(message)
                    return

    working = gevent.spawn(work)
    producer.publish([b"0", b"1", b"2"])
    working.get(timeout=30)
    print(consumer.stats("default")["group.default.acknowledged"], 0 < consumer.ping())
"""


def test_under_monkey_patching(process):
    """One greenlet waits for messages that another publishes: that is only possible if neither blocks the hub."""
    done = subprocess.run(
        [sys.executable, "-c", PATCHED, str(process.port)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stderr, done.stdout) == ("", "[b'Hello']\nb'0'\nb'1'\nb'2'\n4 True\n")
