"""A backlog that is published, and then consumed by several at once, each in its own way; and what that takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from gstream import Client
from gstream.testing import ServerProcess

__all__ = ["pass_backlog"]

SIZES = (10_000, 100, 100_000, 100, 100, 30_000)
_FILLER = b"The quick brown fox jumps over the lazy dog. " * (max(SIZES) // 45 + 2)

PUBLISH_MESSAGES = 60
LEASE_MESSAGES = 50


def pass_backlog(directory: Path, size: int, *arguments: str) -> int:
    """Publish so many bytes, and take all of them as two groups at once; gives the most memory that the server had.

    arguments: of the server. Memory is in bytes (VmHWM, so that no moment is missed).
    """
    with ServerProcess("--data-dir", str(directory), *arguments) as server:
        with Client(server.host, server.port) as client:
            count = 0
            while count * sum(SIZES) < size * len(SIZES):
                client.publish([make_body(number) for number in range(count, count + PUBLISH_MESSAGES)])
                count += PUBLISH_MESSAGES
        failures: list[BaseException] = []
        consumers = [
            threading.Thread(target=_run, args=(consume, server, count, failures), daemon=True)
            for consume in (_lease_all, _stream_all)
        ]
        for consumer in consumers:
            consumer.start()
        for consumer in consumers:
            consumer.join()
        if failures:
            raise failures[0]
        return _peak_bytes(server)


def make_body(number: int) -> bytes:
    """A message that no other is like."""
    start = number % 45
    return b"%d " % number + _FILLER[start : start + SIZES[number % len(SIZES)]]


def _run(
    consume: Callable[[Client, int], Iterator[bytes]], server: ServerProcess, count: int, failures: list[BaseException]
) -> None:
    try:
        with Client(server.host, server.port, group=consume.__name__) as client:
            for number, body in enumerate(consume(client, count)):
                assert body == make_body(number), f"{body[:40]!r} is not message {number}"
            assert client.stats(client.topic)[f"group.{consume.__name__}.lag"] == 0
    except BaseException as error:  # noqa: BLE001  # raised in the test's own thread
        failures.append(error)


def _lease_all(client: Client, count: int) -> Iterator[bytes]:
    while count:
        with client.lease(LEASE_MESSAGES) as lease:
            for message in lease:
                count -= 1
                yield message.body


def _stream_all(client: Client, count: int) -> Iterator[bytes]:
    with client.subscribe(credit=None) as messages:
        for message in messages:
            yield message.body
            count -= 1
            if not count:
                return


def _peak_bytes(server: ServerProcess) -> int:
    for line in Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM in status")
