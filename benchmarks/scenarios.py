"""The scenarios: what is done to a fresh server, and the figures that come of it.

Owns the list of all of them, and those that every server can do; what gstream does beyond publishing and consuming is
in deliveries.py and leases.py, and what is about files in disk.py. A scenario is a name and a function from (bench,
server) to figures by name. Each run starts its own server, so that no server carries anything over from one measurement
to the next. What is published is consumed, to the last message, so that a server which loses or invents one fails; only
what is published beside a flood, or beside leases that end, is left behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median

from bench import PIPELINED_CONNECTIONS, Bench, Figures, Scenario
from deliveries import list_deliveries
from disk import list_disk_scenarios
from leases import list_lease_scenarios
from programs import Outcome
from servers import Running, Server

CONNECTIONS = (1, 8, 64, 512)
WINDOWS = (10, 100, 1000)
FLOOD_WINDOW = 1000
PROBES = 20
STARTS = 3


def list_scenarios() -> list[Scenario]:
    """In the order of the report."""
    return [
        *(Scenario(f"one-at-a-time-{n}", partial(_measure_rates, connections=n, window=1)) for n in CONNECTIONS),
        *(
            Scenario(f"pipelined-{n}", partial(_measure_rates, connections=PIPELINED_CONNECTIONS, window=n))
            for n in WINDOWS
        ),
        *list_deliveries(),
        Scenario("memory-burst", partial(_measure_queue_memory, connections=8, window=1000), needs_storage=True),
        Scenario("memory-single", partial(_measure_queue_memory, connections=64, window=1), needs_storage=True),
        *list_lease_scenarios(),
        Scenario("idle", _measure_idle),
        Scenario("fairness", _measure_fairness),
        Scenario("start", _measure_start),
        *list_disk_scenarios(),
    ]


def _measure_rates(bench: Bench, server: Server, *, connections: int, window: int) -> Figures:
    with server.running(bench.directory) as running:
        list(_cycles(bench, running, connections, window, bench.sizes.warm_up_seconds))
        cycles = list(_cycles(bench, running, connections, window, bench.sizes.seconds))
    figures: Figures = {}
    for operation, outcomes in zip(("publish", "consume"), zip(*cycles, strict=True), strict=True):
        figures[f"{operation}_rate"] = sum(o.messages for o in outcomes) / sum(o.seconds for o in outcomes)
        figures[f"{operation}_p50_us"] = median(o.p50_us for o in outcomes)
        figures[f"{operation}_p99_us"] = median(o.p99_us for o in outcomes)
    return figures


def _cycles(
    bench: Bench, running: Running, connections: int, window: int, seconds: float
) -> Iterator[tuple[Outcome, Outcome]]:
    """Publish, then consume exactly that much: gstream is silent when nothing is left, and nothing may accumulate."""
    run = partial(bench.load.run, running.server.protocol, port=running.port, connections=connections, window=window)
    spent = 0.0
    while spent < seconds / 2:
        published = run("publish", messages=bench.sizes.most_queued, seconds=seconds)
        consumed = run("consume", messages=published.messages)
        spent += published.seconds
        yield published, consumed


def _measure_queue_memory(bench: Bench, server: Server, *, connections: int, window: int) -> Figures:
    messages = bench.sizes.burst_messages if window > 1 else bench.sizes.single_messages
    with server.running(bench.directory) as running:
        run = partial(bench.load.run, server.protocol, port=running.port)
        publish = partial(run, "publish", connections=connections, window=window)
        # Messages that stay queued: the first touch of buffers and code is not the messages' memory, and what an
        # allocator has free after the start would hide some of the growth (a 17-byte message seemed to cost 4 bytes).
        publish(messages=bench.sizes.filler_messages)
        before = running.rss_bytes()
        publish(messages=messages)
        after = running.rss_bytes()
        run("consume", connections=8, window=1000, messages=bench.sizes.filler_messages + messages)
    return {"bytes_per_message": (after - before) / messages}


def _measure_idle(bench: Bench, server: Server) -> Figures:
    count = bench.idle_connections
    with server.running(bench.directory) as running:
        with bench.load.idle(server.protocol, running.port, connections=1) as connection:
            connection.probe()
        before = running.rss_bytes()
        with bench.load.idle(server.protocol, running.port, connections=count) as connection:
            after = running.rss_bytes()
            answers = [connection.probe() for _ in range(PROBES)]
    return {
        "connections": count,
        "bytes_per_connection": (after - before) / count,
        "answer_median_us": median(answers),
        "answer_max_us": max(answers),
    }


def _measure_fairness(bench: Bench, server: Server) -> Figures:
    """The victim only publishes: were it to consume, the flood's consumes would find too little and wait for ever."""
    with server.running(bench.directory) as running:
        victim = partial(bench.load.run, server.protocol, "publish", running.port, connections=1, window=1)
        alone = victim(seconds=bench.sizes.seconds)
        with bench.load.flood(server.protocol, running.port, window=FLOOD_WINDOW) as flood:
            beside = victim(seconds=bench.sizes.seconds)
            flood_rate = flood.stop()
    return {
        "alone_p50_us": alone.p50_us,
        "alone_p99_us": alone.p99_us,
        "beside_p50_us": beside.p50_us,
        "beside_p99_us": beside.p99_us,
        "beside_max_us": beside.max_us,
        "beside_rate": beside.rate,
        "flood_rate": flood_rate,
    }


def _measure_start(bench: Bench, server: Server) -> Figures:
    seconds = []
    for _ in range(STARTS):
        with server.running(bench.directory) as running:
            seconds.append(running.start_seconds)
    return {"start_ms": median(seconds) * 1000}
