"""One connection, its client at the other end of a pair of sockets, both in this hub."""

from __future__ import annotations

import logging
import random
import socket

import gevent
import pytest
from gevent.event import Event
from gevent.socket import wait_read

from gstream.commit import Commit
from gstream.kafka import connection as module
from gstream.kafka.connection import ClientGone, KafkaConnection, LateError
from gstream.outbox import Outbox
from gstream.testing import TIMEOUT_SECONDS

HANDLED = "handled"


class Ends:
    """A connection whose greenlet runs ``serve(connection)``, and its client's socket, which does not block."""

    def __init__(self, serve, *, send_bytes=0):
        self.ours, self.client = tcp_pair()
        if send_bytes:
            self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
        self.connection = None
        self.greenlet = gevent.spawn(self._run, serve)
        gevent.sleep(0)

    def _run(self, serve):
        self.connection = KafkaConnection(self.ours, Outbox())
        try:
            return serve(self.connection)
        except (ClientGone, LateError) as error:
            return type(error)
        finally:
            self.connection.close()

    def receive(self, size):
        data = b""
        while len(data) < size:
            wait_read(self.client.fileno(), timeout=TIMEOUT_SECONDS)
            more = self.client.recv(min(1 << 16, size - len(data)))
            assert more, f"the end after {len(data)} of {size} bytes"
            data += more
        return data

    def result(self):
        return self.greenlet.get(timeout=TIMEOUT_SECONDS)


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    for each in (ours, client):
        each.setblocking(False)
    return ours, client


@pytest.fixture
def connect():
    made = []

    def connect(serve, **more):
        made.append(Ends(serve, **more))
        return made[-1]

    yield connect
    for ends in made:
        ends.client.close()
        ends.greenlet.kill()
        assert ends.ours.fileno() == -1


def turn():
    """Let the loop poll, and everybody else go on; a timer of 0 would not."""
    gevent.sleep(0.001)


def wait_until(condition):
    with gevent.Timeout(TIMEOUT_SECONDS):
        while not condition():
            turn()


def read_all(connection):
    """Read to the end, as a server does."""
    data = b""
    while (more := connection.read()) != b"":
        data += more or b""
    return data


def test_what_comes_is_read(connect):
    ends = connect(read_all)
    for text in (b"one ", b"two ", b"three"):
        ends.client.send(text)
        turn()
    ends.client.shutdown(socket.SHUT_WR)
    assert ends.result() == b"one two three"


def test_into_a_buffer_too(connect):
    buffer = bytearray(10)

    def serve(connection):
        view = memoryview(buffer)
        while view:
            view = view[connection.read_into(view) or 0 :]
        return connection.read_into(memoryview(bytearray(1)))

    ends = connect(serve)
    ends.client.send(b"12345")
    turn()
    ends.client.send(b"67890")
    ends.client.shutdown(socket.SHUT_WR)
    assert ends.result() == 0
    assert buffer == b"1234567890"


def test_a_reader_can_be_woken(connect):
    ends = connect(lambda connection: connection.read())
    ends.connection.wake()
    assert ends.result() is None


SIZES = [[10], [1000] * 50, [1] * 5000, [3_000_000], [7, 200_000] * 20, [70_000, 1, 0, 5] * 30]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("send_bytes", [0, 4096])
def test_every_byte_arrives_in_order(connect, sizes, send_bytes):
    chance = random.Random(1)
    buffers = [memoryview(chance.randbytes(size)) if size % 2 else chance.randbytes(size) for size in sizes]

    def serve(connection):
        connection.write(buffers)
        connection.finish(linger=False)

    ends = connect(serve, send_bytes=send_bytes)
    assert ends.receive(sum(sizes)) == b"".join(buffers)
    ends.result()


def test_a_greenlet_that_waits_for_something_else_holds_no_reply_back(connect):
    event = Event()

    def serve(connection):
        connection.write([b"reply"])
        event.wait()
        return connection.read()

    ends = connect(serve)
    ends.client.send(b"more, which must not wake it")
    assert ends.receive(5) == b"reply"
    turn()
    assert not ends.greenlet.ready()
    event.set()
    assert ends.result() == b"more, which must not wake it"


def test_replies_wait_for_what_is_to_be_stored(connect):
    commit = Commit()

    def serve(connection):
        connection.write([b"1"])
        connection.write_when(commit, lambda: [b"2", b"3"], 100)
        connection.write([b"4"])
        connection.finish(linger=False)

    ends = connect(serve)
    assert ends.receive(1) == b"1"
    turn()
    with pytest.raises(BlockingIOError):
        ends.client.recv(1)
    commit.finish()
    assert ends.receive(3) == b"234"
    ends.result()


def test_who_stores_much_waits(connect):
    commits = [Commit() for _ in range(3)]

    def serve(connection):
        for commit in commits:
            connection.write_when(commit, lambda: [b"x"], module.STORING_BYTES // 2)
            connection.wait_for_room()
        return HANDLED

    ends = connect(serve)
    assert not ends.greenlet.ready()
    commits[0].finish()
    turn()
    assert not ends.greenlet.ready()
    commits[1].finish()
    assert ends.result() == HANDLED


def test_who_is_not_read_from_waits(connect):
    data = bytes(16 << 20)

    def serve(connection):
        connection.write([data])
        connection.wait_for_room()
        return HANDLED

    ends = connect(serve, send_bytes=1 << 17)
    turn()
    assert not ends.greenlet.ready()
    assert ends.receive(len(data) - module.QUEUE_BYTES) == data[module.QUEUE_BYTES :]
    assert ends.result() == HANDLED


def test_who_takes_nothing_is_given_up(connect, monkeypatch, caplog):
    monkeypatch.setattr(module, "UNREAD_SECONDS", 0.02)
    caplog.set_level(logging.WARNING)

    def serve(connection):
        connection.write([bytes(8 << 20)])
        connection.finish(linger=False)

    ends = connect(serve, send_bytes=4096)
    assert ends.result() is ClientGone
    assert "does not read its replies" in caplog.text


def test_who_comes_to_no_end_is_late(connect):
    def serve(connection):
        connection.read()
        connection.set_due(0.01)
        return read_all(connection)

    ends = connect(serve)
    ends.client.send(b"half")
    assert ends.result() is LateError


def test_what_is_due_no_more_is_not_late(connect):
    def serve(connection):
        connection.set_due(0.001)
        connection.set_due(None)
        return connection.read()

    ends = connect(serve)
    gevent.sleep(0.01)
    ends.client.send(b"late")
    assert ends.result() == b"late"


def reset(client):
    module.kernel.reset_on_close(client)
    client.close()


def test_a_reader_learns_of_a_reset(connect):
    ends = connect(read_all)
    reset(ends.client)
    assert ends.result() is ClientGone


def test_also_of_one_that_comes_with_what_it_reads(connect):
    event = Event()

    def serve(connection):
        event.wait()
        return read_all(connection)

    ends = connect(serve)
    ends.client.send(b"last words")
    reset(ends.client)
    turn()
    event.set()
    assert ends.result() is ClientGone


def test_a_writer_learns_of_a_reset(connect):
    def serve(connection):
        connection.write([bytes(8 << 20)])
        connection.finish(linger=False)

    ends = connect(serve, send_bytes=4096)
    ends.receive(10)
    reset(ends.client)
    assert ends.result() is ClientGone


@pytest.mark.parametrize("leave", [socket.socket.close, reset, lambda client: client.shutdown(socket.SHUT_WR)])
def test_whoever_waits_can_ask_whether_the_client_is_gone(connect, leave):
    event = Event()

    def serve(connection):
        event.wait()

    ends = connect(serve)
    ends.client.send(b"behind it")
    assert not ends.connection.is_gone()
    leave(ends.client)
    wait_until(ends.connection.is_gone)
    event.set()


def test_a_client_can_be_given_up(connect):
    ends = connect(read_all)
    ends.connection.drop()
    assert ends.result() is ClientGone
    with pytest.raises(ClientGone):
        ends.connection.read()


def test_the_last_reply_is_not_lost_though_the_client_still_sends(connect):
    def serve(connection):
        connection.read()
        connection.write([b"goodbye"])
        connection.finish(linger=True)
        return HANDLED

    ends = connect(serve)
    ends.client.send(bytes(100_000))
    assert ends.receive(7) == b"goodbye"
    assert ends.client.recv(1) == b""
    ends.client.close()
    assert ends.result() == HANDLED


def test_but_it_is_not_read_from_for_ever(connect, monkeypatch):
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.01)

    def serve(connection):
        connection.finish(linger=True)
        return HANDLED

    assert connect(serve).result() == HANDLED
