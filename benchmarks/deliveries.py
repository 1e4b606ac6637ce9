"""Scenarios of delivery: messages taken many at a time, streamed, leased and acknowledged, waited for.

Owns what is done with gstream's typed replies, and what its peers do that comes nearest. The messages are published
beforehand, unless a figure is about both at once; each id comes exactly once and none is left out, or the measurement
has failed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

from bench import PIPELINED_CONNECTIONS, SINGLE_CONNECTIONS, Bench, Figures, Scenario
from programs import MESSAGE_BYTES, Outcome
from servers import Running, Server

BURST = 1000
"""Messages that one write publishes, and one `w` takes."""
BATCH = 100
"""Messages that one `r` leases and one `a` acknowledges."""
WARM_UP_SHARE = 0.1

OURS = ("gstream",)


def list_deliveries() -> list[Scenario]:
    """In the order of the report."""
    return [
        Scenario("take-1000", _measure_take, only=OURS),
        Scenario("stream", _measure_streams, only=OURS),
        Scenario("counted", _measure_counted, only=OURS),
        Scenario("lease-100", _measure_batched_leases, only=("gstream", "beanstalkd")),
        Scenario("lease-1", _measure_single_leases, needs_storage=True),
        Scenario("wake", _measure_wake, needs_storage=True),
    ]


def publish(bench: Bench, running: Running, messages: int, *, size: int = MESSAGE_BYTES) -> None:
    """As fast as the server can, as nothing is measured."""
    run = partial(bench.load.run, running.server.protocol, "publish", running.port)
    run(connections=PIPELINED_CONNECTIONS, window=BURST, messages=messages, size=size)


def _measure_take(bench: Bench, server: Server) -> Figures:
    with server.running(bench.directory) as running:
        take = partial(bench.load.run, server.protocol, "take", running.port)
        return _consumed(bench, running, partial(take, connections=PIPELINED_CONNECTIONS, window=BURST), "take")


def _measure_streams(bench: Bench, server: Server) -> Figures:
    with server.running(bench.directory) as running:
        run = partial(bench.load.run, server.protocol, port=running.port, connections=PIPELINED_CONNECTIONS)
        figures = _consumed(bench, running, partial(run, "stream", window=BURST), "backlog")
        live = run("live", window=BURST, messages=bench.sizes.most_queued)
    return {**figures, "live_rate": live.rate}


def _measure_counted(bench: Bench, server: Server) -> Figures:
    """`P` beside `p`, one after the other on the same server."""
    figures: Figures = {}
    with server.running(bench.directory) as running:
        run = partial(
            bench.load.run, server.protocol, port=running.port, connections=PIPELINED_CONNECTIONS, window=BURST
        )
        for operation in ("publish", "publish-counted"):
            for seconds in (bench.sizes.warm_up_seconds, bench.sizes.seconds):
                published = run(operation, messages=bench.sizes.most_queued, seconds=seconds)
                run("take", messages=published.messages)
            figures[f"{operation.replace('-', '_')}_rate"] = published.rate
    return figures


def _measure_batched_leases(bench: Bench, server: Server) -> Figures:
    operation = "lease-ack" if server.protocol == "gstream" else "consume"
    with server.running(bench.directory) as running:
        lease = partial(bench.load.run, server.protocol, operation, running.port)
        lease = partial(lease, connections=PIPELINED_CONNECTIONS, window=BATCH)
        return _consumed(bench, running, lease, "batch", bench.sizes.leased_messages)


def _measure_single_leases(bench: Bench, server: Server) -> Figures:
    """A peer has one form only, which stands beside both of gstream's."""
    forms = {"separate": "lease-ack", "worker": "ack-and-lease"}
    with server.running(bench.directory) as running:
        run = partial(bench.load.run, server.protocol, port=running.port, connections=SINGLE_CONNECTIONS, window=1)
        measure = partial(_consumed, bench, running, messages=bench.sizes.single_leases)
        figures: Figures = {}
        if server.protocol != "gstream":
            consumed = measure(partial(run, "consume"), "")
            return {f"{form}{name}": value for form in forms for name, value in consumed.items()}
        for form, operation in forms.items():
            figures |= measure(partial(run, operation), form)
    return figures


def _consumed(bench: Bench, running: Running, consume: Callable[..., Outcome], name: str, messages: int = 0) -> Figures:
    """Publish ``messages`` and consume them, again until this took half of the time of a measurement."""
    messages = messages or bench.sizes.most_queued
    few = int(messages * WARM_UP_SHARE)
    publish(bench, running, few)
    consume(messages=few)
    outcomes: list[Outcome] = []
    while sum(outcome.seconds for outcome in outcomes) < bench.sizes.seconds / 2:
        publish(bench, running, messages)
        outcomes.append(consume(messages=messages))
    return {
        f"{name}_rate": sum(o.messages for o in outcomes) / sum(o.seconds for o in outcomes),
        f"{name}_p50_us": median(o.p50_us for o in outcomes),
        f"{name}_p99_us": median(o.p99_us for o in outcomes),
    }


def _measure_wake(bench: Bench, server: Server) -> Figures:
    with server.running(bench.directory) as running:
        wake = partial(bench.load.wake, server.protocol, running.port)
        wake(messages=int(bench.sizes.wakes * WARM_UP_SHARE))
        figures = wake(messages=bench.sizes.wakes)
    return {**figures, "ratio": figures["wake_p50_us"] / figures["echo_p50_us"]}
