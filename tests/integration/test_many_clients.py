"""Many clients: idle ones, waiting ones, one that floods."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gstream.protocol import BANNER
from gstream.testing import TIMEOUT_SECONDS, ServerProcess, ServerThread, Session, wait_until

IDLE = 10_000
IDLE_BYTES = 20 * 1024
ANSWER_SECONDS = 0.05
FLOODED_P99_SECONDS = 0.02
WAITING = 1000


@contextmanager
def raised_file_limit(needed: int) -> Iterator[int]:
    """Allow this process so many open files, or as many as the system lets it; gives the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, soft), hard))
    try:
        yield allowed
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def answer_seconds(server: ServerProcess) -> float:
    began = time.perf_counter()
    with Session(server) as client:
        client.send(b"z\n")
        client.expect(b"+ \n")
    return time.perf_counter() - began


def test_10000_idle_connections_cost_little_and_a_new_one_is_answered_at_once() -> None:
    with ServerProcess() as server, raised_file_limit(IDLE + 500) as allowed:
        count = min(IDLE, allowed - 500)
        with Session(server) as first:
            first.expect_nothing()
        before = server.rss_bytes
        idle: list[socket.socket] = []
        try:
            while len(idle) < count:
                idle.append(socket.create_connection((server.host, server.port), TIMEOUT_SECONDS))
            for client in idle:
                received = b""
                while len(received) < len(BANNER):
                    received += client.recv(len(BANNER) - len(received))
                assert received == BANNER
            assert (server.rss_bytes - before) / count <= IDLE_BYTES
            assert sorted(answer_seconds(server) for _ in range(20))[10] < ANSWER_SECONDS
        finally:
            for client in idle:
                client.close()
        assert count == IDLE, f"the limit on open files allowed only {count}"


def test_a_connection_that_floods_leaves_the_others_their_turn() -> None:
    with ServerProcess() as server, Session(server) as flood, Session(server) as other:
        stopped = threading.Event()
        burst = b"pxxxxxxxxxxxxxxxxx\n" * 1000 + b"c\n" * 1000

        def send() -> None:
            while not stopped.is_set():
                flood.send(burst)

        def read() -> None:
            while flood.socket.recv(1 << 18):
                pass

        threads = [threading.Thread(target=send), threading.Thread(target=read)]
        for thread in threads:
            thread.start()
        try:
            seconds = []
            for _ in range(500):
                began = time.perf_counter()
                other.send(b"z\n")
                other.expect(b"+ \n")
                seconds.append(time.perf_counter() - began)
        finally:
            stopped.set()
            threads[0].join()
            flood.half_close()
            threads[1].join()
        assert sorted(seconds)[494] < FLOODED_P99_SECONDS, "the 99th percentile"


def test_a_client_that_never_reads_costs_bounded_memory() -> None:
    with ServerProcess() as server, Session(server) as client, Session(server) as other:
        other.expect_nothing()
        before = server.rss_bytes
        client.socket.setblocking(False)
        sent = 0
        help_wanted = b"h\n" * 10_000
        blocked = 0
        while blocked < 20:  # the server has stopped reading: other clients are answered, and still nothing more fits
            try:
                sent += client.socket.send(help_wanted)
            except BlockingIOError:
                blocked += 1
                other.expect_nothing()
            else:
                blocked = 0
        assert sent > 0
        assert server.rss_bytes - before < 16 << 20


def test_1000_waiting_consumers_are_each_woken_once_and_in_turn() -> None:
    with ServerThread() as server, Session(server) as producer:
        waiting = []
        try:
            for number in range(WAITING):
                waiting.append(Session(server))
                waiting[-1].send(b"w\n")
                wait_until(lambda n=number: server.call(count_waiting) == n + 1, "the consumer waits")  # type: ignore[misc]
            producer.send(b"".join(b"p%d\n" % number for number in range(WAITING)))
            producer.expect(b"ok\r\n" * WAITING)
            for number, consumer in enumerate(waiting):
                consumer.expect(b"= %d 1 %d\n" % (number, number))
            for consumer in waiting[::100]:
                consumer.expect_nothing()
            assert server.call(count_waiting) == 0
        finally:
            for consumer in waiting:
                consumer.close()


def count_waiting(service: object) -> int:
    return len(service.broker.topic().group().waiting)  # type: ignore[attr-defined]
