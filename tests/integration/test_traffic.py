"""Many producers and competing consumers at once, against a real server."""

from __future__ import annotations

import pytest

from gstream.testing import ServerProcess, ServerThread, Session
from gstream.traffic import Traffic


@pytest.mark.parametrize("waiting", [False, True], ids=["asking", "waiting"])
def test_16_producers_and_16_consumers_get_32000_messages_exactly_once_and_in_order(*, waiting: bool) -> None:
    with ServerProcess() as server:
        traffic = Traffic(server, producers=16, consumers=16, messages=32_000, waiting=waiting)
        traffic.run()
        traffic.check()
        with Session(server) as client:
            client.send(b"c\n")
            client.expect_nothing()


@pytest.mark.parametrize("seed", range(5))
def test_traffic_of_other_shapes(seed: int) -> None:
    with ServerThread(max_memory_bytes=1 << 20) as server:
        traffic = Traffic(
            server, producers=1 + seed, consumers=5 - seed, messages=2000, waiting=seed % 2 == 0, seed=seed
        )
        traffic.run()
        traffic.check()
        assert server.call(lambda service: service.engine.used_bytes) == 0


def test_traffic_over_a_unix_socket(tmp_path: object) -> None:
    path = f"{tmp_path}/gstream.sock"
    with ServerThread(socket=path):
        traffic = Traffic(path, producers=4, consumers=4, messages=4000)
        traffic.run()
        traffic.check()


def test_one_consumer_gets_one_producers_messages_in_order() -> None:
    bodies = [b"message %d" % number for number in range(50_000)]
    with ServerThread() as server, Session(server) as producer, Session(server) as consumer:
        for start in range(0, len(bodies), 1000):
            window = bodies[start : start + 1000]
            producer.send(b"".join(b"p%b\n" % body for body in window))
            producer.expect(b"ok\r\n" * len(window))
            consumer.send(b"c\n" * len(window))
            consumer.expect(b"".join(body + b"\n" for body in window))
