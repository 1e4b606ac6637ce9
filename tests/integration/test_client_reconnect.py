"""The Python client, and servers that come and go."""

from __future__ import annotations

import sys
from itertools import islice

import pytest

from gstream import Client, DisconnectedError, RefusedError, ServerUnreachableError
from gstream.testing import ServerProcess, ServerThread, wait_until


def another(server, **arguments):
    return Client(server.host, server.port, **arguments)


def test_a_restart_on_the_same_port():
    """What can be repeated is, what was chosen is chosen again, and what is published with an id is published once."""
    with ServerThread() as server:
        client = another(server, topic="news", group="a")
        client.publish(b"before", id="1")
        port = server.port
    with client, ServerThread(port=port):
        assert client.ping() > 0
        assert (client.topic, client.group) == ("news", "a")
        assert client.publish(b"after", id="2") == 1
        assert client.publish(b"after", id="2") == 1
        assert client.consume(9) == [b"after"]
        assert client.topics() == {"news": 1}


def test_a_publish_whose_answer_is_lost_is_repeated_if_it_has_an_id(server):
    with another(server) as client, another(server) as other:
        cut_off_after_the_next_send(client)
        assert client.publish(b"with", id="7") == 1
        cut_off_after_the_next_send(client)
        with pytest.raises(DisconnectedError) as caught:
            client.publish(b"without")
        assert caught.value.confirmed == 0
        wait_until(lambda: other.stats("default")["published"] == 2, "both were stored, and none twice")
        assert client.consume(9) == [b"with", b"without"]


def cut_off_after_the_next_send(client):
    """Let what is sent next arrive, and nothing come back."""
    wire = client._link._wire
    send = wire.send

    def send_and_close(data):
        send(data)
        wire.close()

    wire.send = send_and_close


def test_a_lease_does_not_outlive_its_connection():
    with ServerThread() as server:
        client = another(server)
        client.publish(b"one")
        lease = client.lease()
        port = server.port
    with client, ServerThread(port=port) as server:
        with pytest.raises(RefusedError, match=r"^gone: the connection"), lease:
            pass
        client.publish(b"two")
        with client.lease(9) as lease:
            assert [bytes(message) for message in lease] == [b"two"]


def test_a_wait_goes_on_at_the_next_server(program):
    """A server that stops tells who waits, and the wait is taken to the next one."""
    with ServerProcess() as server:
        client = another(server)
        client.consume()
        waiting = program(sys.executable, "-c", WAIT, str(server.port))
        wait_until(lambda: client.stats("default")["group.default.waiting"] == 1, "it waits")
        assert server.stop() == 0
    with ServerThread(port=server.port), client:
        client.publish(b"at last")
        assert waiting.read_all() == b"[b'at last']\n"
        assert waiting.wait() == 0


WAIT = "import sys, gstream; print(gstream.Client(port=int(sys.argv[1])).consume(wait_seconds=60))"


def test_a_server_that_is_gone_for_good():
    with ServerThread() as server:
        client = another(server, reconnect_seconds=0.05)
    for _ in range(2):
        with pytest.raises(ServerUnreachableError, match="Connection refused"):
            client.ping()
    with pytest.raises(ServerUnreachableError, match="Connection refused"):
        another(server)


def test_a_subscription_outlives_the_server():
    with ServerThread() as server:
        client = another(server)
        client.publish([b"one", b"two"])
        messages = client.subscribe(credit=2)
        assert next(messages).body == b"one"
        port = server.port
    with client, ServerThread(port=port) as server, another(server) as producer:
        producer.publish([b"three", b"four"])
        assert [bytes(message) for message in islice(messages, 2)] == [b"three", b"four"]
