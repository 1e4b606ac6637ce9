"""Streams, through real sockets: credit, fair shares, slow readers and those that are gone."""

from __future__ import annotations

import contextlib
import select
import threading
from collections.abc import Iterator
from itertools import chain

import pytest

from gstream.service import Service
from gstream.testing import TIMEOUT_SECONDS, ServerThread, Session, wait_until

BURST = 10_000


def publish(client: Session, *bodies: bytes) -> None:
    client.send(b"".join(b"p%b\n" % body for body in bodies))
    client.expect(b"ok\r\n" * len(bodies))


def wait_for_streams(server: ServerThread, count: int) -> None:
    def waiting(service: Service) -> int:
        return len(service.broker.topic().group().waiting)

    wait_until(lambda: server.call(waiting) == count, f"{count} wait")


@contextlib.contextmanager
def streams(server: ServerThread, count: int, command: bytes = b"s\n") -> Iterator[list[Session]]:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Session(server)) for _ in range(count)]
        for client in clients:
            client.send(command)
        wait_for_streams(server, count)
        yield clients


def read_until(clients: list[Session], total: int, *, acknowledge: bool = False) -> list[list[int]]:
    """What each of the clients reads, whoever has something, until they have so many messages together."""
    got: list[list[int]] = [[] for _ in clients]
    pending = [b"" for _ in clients]
    numbers = {client.socket: number for number, client in enumerate(clients)}
    while sum(map(len, got)) < total:
        ready = select.select(list(numbers), [], [], TIMEOUT_SECONDS)[0]
        assert ready, f"only {sum(map(len, got))} messages came"
        for each in ready:
            number = numbers[each]
            *lines, pending[number] = (pending[number] + each.recv(1 << 16)).split(b"\n")
            ids = [int(line.split(b" ", 2)[1]) for line in lines if line.startswith(b"=")]
            assert len(ids) == len(lines) or acknowledge
            got[number] += ids
            if acknowledge and ids:
                clients[number].send(b"a" + b" ".join(b"%d" % id for id in ids) + b"\n")
    assert not any(pending)
    return got


@pytest.mark.parametrize("count", [4, 8])
def test_streams_that_keep_up_share_a_burst_evenly(count: int) -> None:
    with ServerThread() as server, Session(server) as producer, streams(server, count) as clients:
        sender = threading.Thread(target=publish, args=(producer, *(b"%d" % number for number in range(BURST))))
        sender.start()
        got = read_until(clients, BURST)
        sender.join()
        assert sorted(chain.from_iterable(got)) == list(range(BURST))
        assert all(ids == sorted(ids) for ids in got)
        shares = [len(ids) for ids in got]
        assert max(shares) <= 2 * BURST / count, shares
        assert min(shares) >= BURST / count / 4, shares


def test_streams_with_a_credit_share_too_and_each_message_is_done_once() -> None:
    with ServerThread() as server, Session(server) as producer, streams(server, 4, b"s50\n") as clients:
        publish(producer, *(b"%d" % number for number in range(2000)))
        got = read_until(clients, 2000, acknowledge=True)
        assert sorted(chain.from_iterable(got)) == list(range(2000))
        assert max(map(len, got)) <= 2 * 2000 / 4
        for client in clients:
            client.send(b"s0\nzend\n")
            lines = list(iter(client.read_line, b"+ end\n"))
            assert {line[:1] for line in lines} <= {b"+", b"."}
        assert server.call(lambda service: service.engine.held_bytes) == 0


def test_no_more_than_the_credit_comes(server: ServerThread) -> None:
    with Session(server) as producer, streams(server, 1, b"s2\n") as (client,):
        publish(producer, b"a", b"b", b"c", b"d")
        client.expect(b"= 0 1 a\n= 1 1 b\n")
        client.expect_nothing()
        client.send(b"a0\n")
        client.expect(b"+ 1\n= 2 1 c\n")
        client.send(b"n1 600\n")
        client.expect(b"+ 1\n= 3 1 d\n")
        client.send(b"d2\n")
        client.expect(b"+ 2\n")
        client.expect_nothing()


def test_a_lease_that_ends_makes_room_for_the_next() -> None:
    with ServerThread(lease_seconds=0.05, max_attempts=1) as server, Session(server) as producer:
        with streams(server, 1, b"s1\n") as (client,):
            publish(producer, b"a", b"b", b"c")
            client.expect(b"= 0 1 a\n= 1 1 b\n= 2 1 c\n")
        dead = server.call(lambda service: service.broker.topic("default.dlq").message_count)
        assert dead >= 2


def test_a_stream_ends_and_begins_again(server: ServerThread) -> None:
    with Session(server) as producer, streams(server, 1, b"s3\n") as (client,):
        publish(producer, b"a")
        client.expect(b"= 0 1 a\n")
        client.send(b"s0\n")
        client.expect(b".\n")
        publish(producer, b"b")
        client.expect_nothing()
        client.send(b"s\n")
        client.expect(b"= 1 1 b\n")
        client.send(b"s0\na0\nw0\n")
        client.expect(b".\n+ 1\n.\n")


def test_a_stream_ends_with_what_the_client_sends(server: ServerThread) -> None:
    with Session(server) as producer, streams(server, 1, b"s3\n") as (client,):
        publish(producer, b"a", b"b")
        client.expect(b"= 0 1 a\n= 1 1 b\n")
        client.send(b"a0\n")
        client.half_close()
        assert client.read_all() == b"+ 1\n"
        producer.send(b"w\nw0\n")
        producer.expect(b"= 1 2 b\n.\n")


def test_a_stream_that_is_gone_takes_nothing_with_it(server: ServerThread) -> None:
    with Session(server) as producer, streams(server, 2) as (gone, stays):
        gone.reset()
        wait_for_streams(server, 1)
        publish(producer, b"a", b"b")
        stays.expect(b"= 0 1 a\n= 1 1 b\n")


def test_a_slow_reader_holds_nobody_and_its_leases_end() -> None:
    body = b"x" * 100_000
    with ServerThread(lease_seconds=0.3, max_attempts=0) as server, Session(server) as producer:
        with streams(server, 1, b"s100000\n") as (slow,):
            for _ in range(100):  # 10 MB: more than the system's buffers take
                publish(producer, body)
            with Session(server) as other:
                done: set[int] = set()
                while len(done) < 100:
                    other.send(b"r600\n")
                    id = int(other.read_line().split()[1])
                    other.send(b"a%d\n" % id)
                    if other.read_line() == b"+ 1\n":
                        done.add(id)
            slow.reset()
        wait_until(lambda: server.call(lambda service: service.engine.held_bytes) == 0, "nothing is held")


def test_a_stream_follows_its_group(server: ServerThread) -> None:
    with Session(server) as producer, streams(server, 1, b"s2\n") as (client,):
        publish(producer, b"a", b"b", b"c")
        client.expect(b"= 0 1 a\n= 1 1 b\n")
        producer.send(b"f1\n")
        producer.expect(b"+ 1\n")
        client.expect(b"= 1 1 b\n= 2 1 c\n")
        client.send(b"a0\na1 2\n")
        client.expect(b"- gone 0\n+ 2\n")
