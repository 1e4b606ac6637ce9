"""The bars: what gstream promises of its speed, each a figure, a limit, and whether a run reached it.

Owns the list of promises; docs and README quote no other. A bar that compares with a peer exists only in runs that the
peer took part in. A bar is judged by the median over the rounds, whatever the best round was.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace

from results import Results, Summary

SIGNS = {"≥": operator.ge, "≤": operator.le, "<": operator.lt}


@dataclass(frozen=True)
class Promise:
    """A figure of gstream's, or its ratio to a peer's, and the limit it is held to."""

    title: str
    scenario: str
    figure: str
    limit: float
    sign: str
    """Of SIGNS: how the figure has to compare with the limit."""
    unit: str
    peer: str | None = None
    scale: float = 1
    """From the figure as it was measured to the unit."""
    otherwise: Promise | None = None
    """What keeps this promise as well, of the same scenario."""

    def measured(self, results: Results) -> Summary | None:
        """Over all rounds, in the bar's unit; None where nothing was measured."""
        if self.peer:
            return results.ratio(self.scenario, self.figure, "gstream", self.peer)
        summary = results.figure(self.scenario, self.figure, "gstream")
        return summary and Summary(*(value * self.scale for value in (summary.median, summary.least, summary.most)))

    def measured_alone(self, results: Results) -> bool:
        """Whether gstream's figure is there, whoever else took part."""
        return results.figure(self.scenario, self.figure, "gstream") is not None

    def reached_by(self, summary: Summary) -> bool:
        return bool(SIGNS[self.sign](summary.median, self.limit))

    def bar(self) -> str:
        limit = f"{self.limit:,.0f}" if self.limit >= 1000 else f"{self.limit:g}"
        return f"{self.sign} {limit} {self.unit}" + (f", or {self.otherwise.bar()}" if self.otherwise else "")


def _ratio(operation: str, scenario: str, title: str, peer: str, limit: float) -> Promise:
    unit = f"× {'Redis' if peer == 'redis' else peer}"
    return Promise(f"{operation}, {title}", scenario, f"{operation}_rate", limit, sign="≥", unit=unit, peer=peer)


def _most(title: str, scenario: str, figure: str, limit: float, unit: str, scale: float = 1) -> Promise:
    return Promise(title, scenario, figure, limit, sign="≤", unit=unit, scale=scale)


def _under(title: str, scenario: str, figure: str, limit: float, unit: str, scale: float = 1 / 1000) -> Promise:
    return Promise(title, scenario, figure, limit, sign="<", unit=unit, scale=scale)


def _least(title: str, scenario: str, figure: str, limit: float) -> Promise:
    return Promise(title, scenario, figure, limit, sign="≥", unit="messages/s")


def list_promises(idle_connections: int, open_leases: int) -> list[Promise]:
    """In the order of the report; how many connections were held open, and how many leases."""
    pipelined, single = "8 connections, 1,000 at a time", "64 connections, one at a time"
    with_next = "leased, acknowledged with the next request, 64 connections"
    beside_idle = f"first answer to a new connection beside {idle_connections:,} idle ones, slowest of a round"
    return [
        _ratio("publish", "pipelined-1000", pipelined, "redis", 8),
        _ratio("consume", "pipelined-1000", pipelined, "redis", 6),
        *(
            _ratio(operation, "one-at-a-time-64", single, peer, limit)
            for peer, limit in (("redis", 0.9), ("floor", 0.65))
            for operation in ("publish", "consume")
        ),
        _least("taken, 8 connections, `w0 1000`", "take-1000", "take_rate", 2_500_000),
        _least("streamed, 8 connections, a backlog", "stream", "backlog_rate", 2_500_000),
        _least("leased and acknowledged, 8 connections, 100 at a time", "lease-100", "batch_rate", 400_000),
        Promise(with_next, "lease-1", "worker_rate", 0.7, sign="≥", unit="× Redis", peer="redis"),
        _most("a waiting consumer has the message, p50", "wake", "ratio", 1.5, "× an echo's p50"),
        _most("memory a queued message, published in bursts", "memory-burst", "bytes_per_message", 24, "bytes"),
        _most("memory a queued message, published singly", "memory-single", "bytes_per_message", 120, "bytes"),
        _under("memory of messages with 10 groups", "groups", "ratio", 1.2, "× that with one", 1),
        *(
            _under(f"memory an open lease with its message, {how}", scenario, "bytes_per_lease", 250, "bytes", 1)
            for how, scenario in (("1,000 at a time", "leases-burst"), ("one at a time", "leases-single"))
        ),
        _under(f"{open_leases:,} leases are over: all are back", "return-expired", "back_us", 5, "s", 1e-6),
        _under("another connection's p99 meanwhile", "return-expired", "beside_p99_us", 50, "ms"),
        _under(f"{open_leases:,} leases' connections close: all are back", "return-closed", "back_us", 5, "s", 1e-6),
        _under("another connection's p99 meanwhile", "return-closed", "beside_p99_us", 50, "ms"),
        _most("memory an idle connection", "idle", "bytes_per_connection", 20, "KiB", 1 / 1024),
        _under(beside_idle, "idle", "answer_max_us", 50, "ms"),
        _under("another connection's p99 beside a flood", "fairness", "beside_p99_us", 20, "ms"),
        _under("from the start of the process to the first answer", "start", "start_ms", 0.4, "s"),
        *_list_disk_promises(),
    ]


def _list_disk_promises() -> list[Promise]:
    many, single = "8 connections, 1,000 at a time", "64 connections, one at a time"
    return [
        _ratio("publish", "disk-pipelined-second", f"on disk, synced every second, {many}", "redis", 4),
        *(
            _ratio("publish", "disk-pipelined-always", f"on disk, always synced, {many}", peer, limit)
            for peer, limit in (("redis", 4), ("beanstalkd", 10))
        ),
        _ratio("publish", "disk-single-64", f"on disk, always synced, {single}", "redis", 1),
        *(
            _cold(f"a backlog of 100-byte messages taken after a restart, {memory}", state)
            for state, memory in (("cached", "in the system's memory"), ("dropped", "not in the system's memory"))
        ),
        _most("a 17-byte message on disk, published in bursts", "disk-space", "bytes_per_message", 20, "bytes"),
    ]


def _cold(title: str, state: str) -> Promise:
    share = Promise(title, "disk-cold", f"{state}_share", 50, sign="≥", unit="% of `cat`", scale=100)
    return replace(_least(title, "disk-cold", f"{state}_rate", 1_500_000), otherwise=share)


@dataclass(frozen=True)
class Verdict:
    """What a run says of a promise."""

    promise: Promise
    measured: Summary | None
    failed: bool
    """Gave no figure in some round: then the bar is not reached, however good the others were."""
    otherwise: Verdict | None = None
    """Of what keeps the promise as well."""

    @property
    def reached(self) -> bool:
        if self.otherwise and self.otherwise.reached:
            return True
        return not self.failed and self.measured is not None and self.promise.reached_by(self.measured)


def judge(results: Results) -> list[Verdict]:
    """Of the promises that this run measured, or tried to."""
    held = results.figure("idle", "connections", "gstream")
    failed = {failure.scenario for failure in results.failures if failure.server == "gstream"}

    def judged(promise: Promise) -> Verdict:
        otherwise = judged(promise.otherwise) if promise.otherwise else None
        return Verdict(promise, promise.measured(results), promise.scenario in failed, otherwise)

    verdicts = [
        judged(promise)
        for promise in list_promises(int(held.median) if held else 0, int(results.sizes.get("open_leases", 0)))
        if promise.peer is None or promise.peer in results.servers()
    ]
    return [verdict for verdict in verdicts if verdict.measured or verdict.failed]


def absent_peers(results: Results) -> list[str]:
    """Those that took no part, and that something which was measured is held to."""
    peers = {promise.peer for promise in list_promises(0, 0) if promise.measured_alone(results)}
    return [peer for peer in ("redis", "beanstalkd", "floor") if peer in peers - set(results.servers())]
