"""Scenarios of what a server keeps: groups that share messages, leases that are open, and their return all at once.

Owns the figures that gstream alone has. What came back is consumed in the end, as a second delivery, to the last
message.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from functools import partial

from bench import PIPELINED_CONNECTIONS, Bench, Figures, Scenario
from control import Control
from deliveries import BURST, OURS, publish
from programs import BenchmarkError, Leases, Outcome
from servers import Running, Server

GROUPS = (1, 10)
WARM_UP_MESSAGES = 1000
"""Few: memory that is free again after them would hide as much of what is looked at."""
KEEPING_SECONDS = 600
"""A lease that ends in no measurement."""
BESIDE_TOPIC = "beside"
LEAD_SECONDS = 0.02
"""The other connection begins so long before the first lease ends; longer would only make its percentiles milder."""
BACK_SECONDS = 60


def list_lease_scenarios() -> list[Scenario]:
    """In the order of the report."""
    return [
        Scenario("groups", _measure_groups, only=OURS),
        Scenario("leases-burst", partial(_measure_open_leases, window=BURST), only=OURS),
        Scenario("leases-single", partial(_measure_open_leases, window=1), only=OURS),
        Scenario("return-expired", _measure_expired, only=OURS),
        Scenario("return-closed", _measure_closed, only=OURS),
    ]


def _measure_groups(bench: Bench, server: Server) -> Figures:
    one, many = (_grown_by_groups(bench, server, groups) for groups in GROUPS)
    return {"bytes_one": one, "bytes_many": many, "ratio": many / one}


def _grown_by_groups(bench: Bench, server: Server, groups: int) -> float:
    """Bytes for each of the messages, which every group gets in the end."""
    messages, filler = bench.sizes.burst_messages, bench.sizes.filler_messages
    names = [f"group{number}" for number in range(groups)]
    with server.running(bench.directory) as running:
        with Control(running.port) as control:
            for name in names:
                control.choose_group(name)
        publish(bench, running, filler)
        before = running.rss_bytes()
        publish(bench, running, messages)
        after = running.rss_bytes()
        for name in names:
            _take(bench, running, filler + messages, group=name)
    return (after - before) / messages


def _measure_open_leases(bench: Bench, server: Server, *, window: int) -> Figures:
    messages = bench.sizes.open_leases if window > 1 else bench.sizes.single_messages
    with server.running(bench.directory, "--lease", str(KEEPING_SECONDS)) as running:
        publish(bench, running, WARM_UP_MESSAGES)
        lease = partial(bench.load.run, server.protocol, port=running.port, connections=PIPELINED_CONNECTIONS)
        lease("lease-ack", window=window, messages=WARM_UP_MESSAGES)
        empty = running.rss_bytes()
        publish(bench, running, messages)
        queued = running.rss_bytes()
        with _leased(bench, running, messages, window=window) as held:
            leased = running.rss_bytes()
            rate = held.outcome.rate
        with Control(running.port) as control:
            _wait_until_back(control, messages)
        _take(bench, running, messages, attempt=2)
    return {
        "bytes_per_lease": (leased - empty) / messages,
        "added_per_lease": (leased - queued) / messages,
        "lease_rate": rate,
    }


def _measure_expired(bench: Bench, server: Server) -> Figures:
    """The leases' connections stay open: nothing but the time gives the messages back."""
    messages, seconds = bench.sizes.open_leases, bench.sizes.lease_seconds
    with server.running(bench.directory, "--lease", f"{seconds:g}") as running, Control(running.port) as control:
        publish(bench, running, messages)
        with _leased(bench, running, messages, window=BURST) as held:
            if held.outcome.seconds > seconds - 2 * LEAD_SECONDS:
                raise BenchmarkError(f"leasing all took {held.outcome.seconds:.1f} s, longer than a lease")
            first_ends = held.outcome.began + seconds
            time.sleep(max(0, first_ends - LEAD_SECONDS - time.monotonic()))
            with bench.load.publisher(running.port, topic=BESIDE_TOPIC) as beside:
                back = _wait_until_back(control, messages)
                outcome = beside.stop()
        _take(bench, running, messages, attempt=2)
    return _returned(back - (first_ends + held.outcome.seconds), outcome)


def _measure_closed(bench: Bench, server: Server) -> Figures:
    messages = bench.sizes.open_leases
    with (
        server.running(bench.directory, "--lease", str(KEEPING_SECONDS)) as running,
        Control(running.port) as control,
    ):
        publish(bench, running, messages)
        with (
            _leased(bench, running, messages, window=BURST) as held,
            bench.load.publisher(running.port, topic=BESIDE_TOPIC) as beside,
        ):
            control.wait_for(BESIDE_TOPIC, lambda info: info.get("published", 0) > 0, BACK_SECONDS)
            closed = time.monotonic()
            held.release()
            back = _wait_until_back(control, messages)
            outcome = beside.stop()
        _take(bench, running, messages, attempt=2)
    return _returned(back - closed, outcome)


def _leased(bench: Bench, running: Running, messages: int, *, window: int) -> AbstractContextManager[Leases]:
    """By clients that acknowledge nothing and stay: all ``messages``, which are all that is queued."""
    return bench.load.leases(running.port, connections=PIPELINED_CONNECTIONS, window=window, messages=messages)


def _returned(seconds: float, beside: Outcome) -> Figures:
    return {
        # When the answer about the last lease was read is a little after it was given: not before it ended.
        "back_us": max(0, seconds) * 1e6,
        "beside_p50_us": beside.p50_us,
        "beside_p99_us": beside.p99_us,
        "beside_max_us": beside.max_us,
    }


def _wait_until_back(control: Control, messages: int) -> float:
    """The time, on the monotonic clock, when none was leased and all were to be taken again."""
    back = {"group.default.leased": 0, "group.default.backlog": messages}
    control.wait_for("default", lambda info: back.items() <= info.items(), BACK_SECONDS)
    return time.monotonic()


def _take(bench: Bench, running: Running, messages: int, *, group: str = "", attempt: int = 1) -> None:
    bench.load.run(
        "gstream",
        "take",
        running.port,
        connections=PIPELINED_CONNECTIONS,
        window=BURST,
        messages=messages,
        group=group,
        attempt=attempt,
    )
