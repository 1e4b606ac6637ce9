"""Scenarios of the disk: messages that are stored as they are published, and read again by a server that starts.

Owns what is done with files, a server's own log above all. Every measurement has an empty directory, and begins when
nothing is left to be written of the one before; what was published is consumed in the end, to the last message.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench import PIPELINED_CONNECTIONS, SINGLE_CONNECTIONS, Bench, Figures, Scenario
from control import Control
from deliveries import BATCH, BURST, OURS, WARM_UP_SHARE, publish
from programs import BenchmarkError, Outcome
from servers import Server, Sync

BACKLOG_BYTES = 100
"""Of each message of a backlog."""
FEWER = {"beanstalkd": 30}
"""So many times fewer messages are leased of it: as it syncs each by itself, they would take minutes."""

LOGGED = ("gstream", "redis")
"""What is asked of a log of 1 GiB would take the third one minutes."""

STATES = ("dropped", "cached")
"""Whether the system has the files in its memory when they are read, too."""


def list_disk_scenarios() -> list[Scenario]:
    """In the order of the report."""
    return [
        *(
            _scenario(f"pipelined-{name}", sync=sync, connections=PIPELINED_CONNECTIONS, window=BURST)
            for name, sync in (("second", Sync.SECOND), ("always", Sync.ALWAYS))
        ),
        *(_scenario(f"single-{n}", sync=Sync.ALWAYS, connections=n, window=1) for n in (1, SINGLE_CONNECTIONS)),
        Scenario("disk-leases", _measure_leases, needs_storage=True),
        Scenario("disk-cold", _measure_cold, only=OURS),
        Scenario("disk-space", _measure_space, only=LOGGED),
        Scenario("disk-restart", _measure_restart, only=LOGGED),
    ]


def _scenario(name: str, *, sync: Sync, connections: int, window: int) -> Scenario:
    run = partial(_measure_rates, sync=sync, connections=connections, window=window)
    return Scenario(f"disk-{name}", run, needs_storage=True)


def _measure_rates(bench: Bench, server: Server, *, sync: Sync, connections: int, window: int) -> Figures:
    with _empty(bench, server) as data, server.running(bench.directory, *server.on_disk(data, sync)) as running:
        run = partial(bench.load.run, server.protocol, port=running.port, connections=connections, window=window)
        for seconds in (bench.sizes.warm_up_seconds, bench.sizes.disk_seconds):
            outcomes = {"publish": (published := run("publish", seconds=seconds))}
            outcomes["consume"] = run("consume", messages=published.messages)
    figures: Figures = {}
    for operation, outcome in outcomes.items():
        figures[f"{operation}_rate"] = outcome.rate
        figures[f"{operation}_p50_us"] = outcome.p50_us
        figures[f"{operation}_p99_us"] = outcome.p99_us
    return figures


def _measure_leases(bench: Bench, server: Server) -> Figures:
    """Published, leased and acknowledged at once."""
    messages = bench.sizes.leased_messages // FEWER.get(server.name, 1)
    with _empty(bench, server) as data, server.running(bench.directory, *server.on_disk(data, Sync.ALWAYS)) as running:
        work = partial(bench.load.run, server.protocol, "work", running.port)
        work = partial(work, connections=PIPELINED_CONNECTIONS, window=BATCH)
        work(messages=int(messages * WARM_UP_SHARE))
        outcomes: list[Outcome] = []
        while sum(outcome.seconds for outcome in outcomes) < bench.sizes.seconds / 2:
            outcomes.append(work(messages=messages))
    return {"work_rate": sum(o.messages for o in outcomes) / sum(o.seconds for o in outcomes)}


def _measure_cold(bench: Bench, server: Server) -> Figures:
    """A group takes all of it from a server that has just started, beside ``cat`` of the same files."""
    messages = bench.sizes.backlog_messages
    figures: Figures = {}
    with _empty(bench, server) as data:
        start = partial(server.running, bench.directory, *server.on_disk(data, Sync.NEVER))
        with start() as running:
            publish(bench, running, messages, size=BACKLOG_BYTES)
            with Control(running.port) as control:
                for state in STATES:
                    control.choose_group(state)
        logs = sorted(data.glob("topics/default/*/*.log"))
        size = sum(path.stat().st_size for path in logs)
        for state in STATES:
            if state == "dropped":
                drop_from_memory(logs)
            cat_seconds = _cat(logs)
            with start() as running:
                if state == "dropped":
                    drop_from_memory(logs)
                take = partial(bench.load.run, server.protocol, "take", running.port, size=BACKLOG_BYTES, group=state)
                taken = take(connections=PIPELINED_CONNECTIONS, window=BURST, messages=messages)
            figures[f"{state}_rate"] = taken.rate
            figures[f"{state}_cat_bytes"] = size / cat_seconds
            figures[f"{state}_share"] = cat_seconds / taken.seconds
    return figures


def _measure_space(bench: Bench, server: Server) -> Figures:
    """With the server stopped in order; another one then has every message."""
    messages = bench.sizes.burst_messages
    with _empty(bench, server) as data:
        start = partial(server.running, bench.directory, *server.on_disk(data, Sync.NEVER))
        with start() as running:
            publish(bench, running, messages)
        size = space_of(data)
        with start() as running:
            consume = partial(bench.load.run, server.protocol, "consume", running.port)
            consume(connections=PIPELINED_CONNECTIONS, window=BURST, messages=messages)
    return {"bytes_per_message": size / messages}


def _measure_restart(bench: Bench, server: Server) -> Figures:
    """After ``kill -9``, from the start of the process to the first answer; then every message is there."""
    messages = bench.sizes.backlog_messages
    with _empty(bench, server) as data:
        start = partial(server.running, bench.directory, *server.on_disk(data, Sync.NEVER))
        with start() as running:
            publish(bench, running, messages, size=BACKLOG_BYTES)
            running.kill()
        size = space_of(data)
        with start() as running:
            seconds = running.start_seconds
            consume = partial(bench.load.run, server.protocol, "consume", running.port, size=BACKLOG_BYTES)
            consume(connections=PIPELINED_CONNECTIONS, window=BURST, messages=messages)
    return {"restart_ms": seconds * 1000, "log_bytes": size}


@contextmanager
def _empty(bench: Bench, server: Server) -> Iterator[Path]:
    """A directory for the server's files, which is gone afterwards."""
    data = bench.directory / f"{server.name}.data"
    data.mkdir()
    try:
        os.sync()  # what others have written must not reach the disk while this server is measured
        yield data
    finally:
        shutil.rmtree(data)


def drop_from_memory(paths: Iterable[Path]) -> None:
    """Let the next read of these files come from the disk."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(fd)  # what is still to be written would stay
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def space_of(directory: Path) -> int:
    """Bytes that all files in it take on the disk; what is allocated and not yet used is included."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def _cat(paths: list[Path]) -> float:
    """Seconds that it takes."""
    if not paths:
        raise BenchmarkError("no log has been written")
    began = time.perf_counter()
    subprocess.run(["cat", *paths], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began
