"""What every scenario is given and made of: the load generator, how much of everything, a name and a function.

Knows no server's protocol and no figure; the scenarios themselves are in scenarios.py, deliveries.py,
leases.py and disk.py.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from programs import Load
from servers import Server

Figures = dict[str, float]

PIPELINED_CONNECTIONS = 8
SINGLE_CONNECTIONS = 64
SPARE_FILES = 200
"""File numbers that a server or the load generator needs besides its connections."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything."""

    seconds: float
    """Of one throughput measurement, and of the fairness one."""
    warm_up_seconds: float
    most_queued: int
    """Messages; a faster server is measured several times over instead of being made to hold more."""
    burst_messages: int
    single_messages: int
    filler_messages: int
    """Queued before the memory is looked at."""
    idle_connections: int
    leased_messages: int
    """Leased and acknowledged many at a time, and again until there was time enough."""
    single_leases: int
    """The same one at a time."""
    wakes: int
    open_leases: int
    """Leased many at a time and not acknowledged; one at a time it is as many as ``single_messages``."""
    lease_seconds: float
    """Of the leases that are left to their end; long enough to take all of them out first."""
    disk_seconds: float
    """Of one throughput measurement on disk: several times the interval in which some sync."""
    backlog_messages: int
    """On disk when a server starts."""


FULL = Sizes(
    seconds=1.0,
    warm_up_seconds=0.1,
    most_queued=4_000_000,
    burst_messages=1_000_000,
    single_messages=300_000,
    filler_messages=100_000,
    idle_connections=10_000,
    leased_messages=300_000,
    single_leases=60_000,
    wakes=5_000,
    open_leases=1_000_000,
    lease_seconds=6,
    disk_seconds=3.0,
    backlog_messages=11_000_000,
)
QUICK = Sizes(
    seconds=0.1,
    warm_up_seconds=0.02,
    most_queued=1_000_000,
    burst_messages=200_000,
    single_messages=30_000,
    filler_messages=30_000,
    idle_connections=1_000,
    leased_messages=30_000,
    single_leases=10_000,
    wakes=300,
    open_leases=100_000,
    lease_seconds=2,
    disk_seconds=0.2,
    backlog_messages=500_000,
)


@dataclass(frozen=True)
class Bench:
    """What every scenario needs."""

    load: Load
    sizes: Sizes
    directory: Path
    idle_connections: int
    """The sizes' number, or as many as the limit on open files allows."""

    @classmethod
    def prepare(cls, load: Load, sizes: Sizes, directory: Path) -> Bench:
        """Raises this process's limit on open files, which the servers and the load generator inherit."""
        return cls(load, sizes, directory, min(sizes.idle_connections, _raise_file_limit(sizes) - SPARE_FILES))


@dataclass(frozen=True)
class Scenario:
    name: str
    run: Callable[[Bench, Server], Figures]
    needs_storage: bool = False
    only: tuple[str, ...] = ()
    """The servers that can do this at all, by name; empty: all of them."""

    def fits(self, server: Server) -> bool:
        return (server.stores or not self.needs_storage) and (not self.only or server.name in self.only)


def _raise_file_limit(sizes: Sizes) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sizes.idle_connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft
