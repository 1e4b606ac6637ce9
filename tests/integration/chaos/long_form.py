"""The long form of what the tests of servers with files do in short: ``tox -e chaos``.

CHAOS_KILLS in the environment says how many kills, CHAOS_SEED repeats a run. It takes about a second and a half a kill.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.chaos.backlog import pass_backlog
from tests.integration.chaos.cycle import Cycle, seed_from

MIB, GIB = 1 << 20, 1 << 30

KILLS = int(os.environ.get("CHAOS_KILLS") or 500)
KILLS_A_CYCLE = 50
STOPS_A_CYCLE = 10

SETTINGS = (
    ("--segment-bytes", "64KiB"),
    ("--segment-bytes", "1MiB", "--sync", "0.5"),
    ("--segment-bytes", "8KiB", "--max-memory", "1MiB"),
    ("--sync", "never"),
)
"""Of the cycles, in turns. A kill takes nothing back that the system has, whenever it is synced."""


@pytest.mark.timeout(60 * KILLS)
def test_a_server_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    seed = seed_from()
    cycles = max(1, KILLS // KILLS_A_CYCLE)
    for number in range(cycles):
        for ending, count in ((signal.SIGKILL, KILLS // cycles), (signal.SIGTERM, STOPS_A_CYCLE)):
            arguments = SETTINGS[number % len(SETTINGS)]
            print(f"CHAOS_SEED={seed}, cycle {number}, {ending.name}, {' '.join(arguments)}", flush=True)  # noqa: T201
            own = seed + number
            name = f"{number}.{ending.name}"
            with Cycle(tmp_path / "data", own, ending, name=name, arguments=arguments) as cycle:
                cycle.run(count)
                report = cycle.check()
            print(report, flush=True)  # noqa: T201
            assert not report.violations, str(report)
            assert report.figures["stored"] > 50 * count, "messages passed all the time"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sync", ["always", "1"])
def test_a_backlog_of_2_gib_passes_through_256_mib(tmp_path: Path, sync: str) -> None:
    peak_bytes = pass_backlog(tmp_path / "data", 2 * GIB, "--sync", sync)
    print(f"--sync {sync}: {peak_bytes / MIB:.0f} MiB")  # noqa: T201
    assert peak_bytes <= 256 * MIB
