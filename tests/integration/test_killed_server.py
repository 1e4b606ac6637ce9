"""A server with files that is killed again and again loses nothing, and one that is asked to end forgets nothing.

A run's chances come from a seed; CHAOS_SEED in the environment repeats one. The long form is in chaos/long_form.py.
"""

from __future__ import annotations

import signal
from pathlib import Path

from tests.integration.chaos.cycle import Cycle, seed_from

KILLS = 20
STOPS = 10
SMALL_SEGMENTS = ("--segment-bytes", "64KiB")


def endure(directory: Path, ending: signal.Signals, count: int) -> None:
    seed = seed_from()
    print(f"CHAOS_SEED={seed}")  # noqa: T201  # pytest shows it when the test fails
    with Cycle(directory, seed, ending, arguments=SMALL_SEGMENTS) as cycle:
        cycle.run(count)
        report = cycle.check()
    print(report)  # noqa: T201
    assert not report.violations, str(report)
    assert report.figures["stored"] > 50 * count, "messages passed all the time"


def test_a_server_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    endure(tmp_path / "data", signal.SIGKILL, KILLS)


def test_a_server_that_is_asked_to_end_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    endure(tmp_path / "data", signal.SIGTERM, STOPS)
