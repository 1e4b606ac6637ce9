"""The bars: what gstream promises of its speed, each a figure, a limit, and whether a run reached it.

Owns the list of promises; docs and README quote no other. A bar that compares with a peer exists only in runs that the
peer took part in. A bar is judged by the median over the rounds, whatever the best round was.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

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

    def measured(self, results: Results) -> Summary | None:
        """Over all rounds, in the bar's unit; None where nothing was measured."""
        if self.peer:
            return results.ratio(self.scenario, self.figure, "gstream", self.peer)
        summary = results.figure(self.scenario, self.figure, "gstream")
        return summary and Summary(*(value * self.scale for value in (summary.median, summary.least, summary.most)))

    def reached_by(self, summary: Summary) -> bool:
        return bool(SIGNS[self.sign](summary.median, self.limit))

    def bar(self) -> str:
        return f"{self.sign} {self.limit:g} {self.unit}"


def _ratio(operation: str, scenario: str, title: str, peer: str, limit: float) -> Promise:
    unit = f"× {'Redis' if peer == 'redis' else peer}"
    return Promise(f"{operation}, {title}", scenario, f"{operation}_rate", limit, sign="≥", unit=unit, peer=peer)


def _most(title: str, scenario: str, figure: str, limit: float, unit: str, scale: float = 1) -> Promise:
    return Promise(title, scenario, figure, limit, sign="≤", unit=unit, scale=scale)


def _under(title: str, scenario: str, figure: str, limit: float, unit: str) -> Promise:
    return Promise(title, scenario, figure, limit, sign="<", unit=unit, scale=1 / 1000)


def list_promises(idle_connections: int) -> list[Promise]:
    """In the order of the report; ``idle_connections`` is how many were held open."""
    pipelined, single = "8 connections, 1,000 at a time", "64 connections, one at a time"
    beside_idle = f"first answer to a new connection beside {idle_connections:,} idle ones, slowest of a round"
    return [
        _ratio("publish", "pipelined-1000", pipelined, "redis", 8),
        _ratio("consume", "pipelined-1000", pipelined, "redis", 6),
        *(
            _ratio(operation, "one-at-a-time-64", single, peer, limit)
            for peer, limit in (("redis", 0.9), ("floor", 0.65))
            for operation in ("publish", "consume")
        ),
        _most("memory a queued message, published in bursts", "memory-burst", "bytes_per_message", 24, "bytes"),
        _most("memory a queued message, published singly", "memory-single", "bytes_per_message", 120, "bytes"),
        _most("memory an idle connection", "idle", "bytes_per_connection", 20, "KiB", 1 / 1024),
        _under(beside_idle, "idle", "answer_max_us", 50, "ms"),
        _under("another connection's p99 beside a flood", "fairness", "beside_p99_us", 20, "ms"),
        _under("from the start of the process to the first answer", "start", "start_ms", 0.4, "s"),
    ]


@dataclass(frozen=True)
class Verdict:
    """What a run says of a promise."""

    promise: Promise
    measured: Summary | None
    failed: bool
    """Gave no figure in some round: then the bar is not reached, however good the others were."""

    @property
    def reached(self) -> bool:
        return not self.failed and self.measured is not None and self.promise.reached_by(self.measured)


def judge(results: Results) -> list[Verdict]:
    """Of the promises that this run measured, or tried to."""
    held = results.figure("idle", "connections", "gstream")
    failed = {failure.scenario for failure in results.failures if failure.server == "gstream"}
    verdicts = [
        Verdict(promise, promise.measured(results), promise.scenario in failed)
        for promise in list_promises(int(held.median) if held else 0)
        if promise.peer is None or promise.peer in results.servers()
    ]
    return [verdict for verdict in verdicts if verdict.measured or verdict.failed]
