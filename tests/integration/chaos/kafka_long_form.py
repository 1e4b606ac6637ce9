"""The long form of kafka/test_killed_server.py: ``pytest -s tests/integration/chaos/kafka_long_form.py``.

CHAOS_KILLS in the environment says how many kills, CHAOS_SEED repeats a run. It takes about three seconds a kill.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.chaos.cycle import seed_from
from tests.integration.chaos.kafka_cycle import KafkaCycle
from tests.integration.chaos.kafka_pipeline import Pipeline

KILLS = int(os.environ.get("CHAOS_KILLS") or 500)
KILLS_A_CYCLE = 50

SETTINGS = (
    ("--sync", "always", "--segment-bytes", "64KiB"),
    ("--sync", "always", "--segment-bytes", "1MiB"),
    ("--sync", "0.5", "--segment-bytes", "8KiB"),
    ("--sync", "never"),
)
"""Of the cycles, in turns. A kill takes nothing back that the system has, whenever it is synced."""


@pytest.mark.timeout(60 * KILLS)
def test_a_server_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    seed = seed_from()
    cycles = max(1, KILLS // KILLS_A_CYCLE)
    for number in range(cycles):
        arguments = SETTINGS[number % len(SETTINGS)]
        print(f"CHAOS_SEED={seed}, cycle {number}, {' '.join(arguments)}", flush=True)  # noqa: T201
        with KafkaCycle(tmp_path / f"{number}", seed + number, arguments=arguments) as cycle:
            cycle.run(KILLS // cycles)
            wrong = cycle.check()
            print(f"{cycle.kills} kills, {cycle.stored_count} messages", flush=True)  # noqa: T201
        assert wrong == []
        assert cycle.stored_count > 50 * cycle.kills


@pytest.mark.timeout(60 * KILLS)
def test_messages_that_are_passed_on_in_transactions_pass_once(tmp_path: Path) -> None:
    seed = seed_from()
    kills = max(1, KILLS // 10)
    count = 40 * kills
    print(f"CHAOS_SEED={seed}", flush=True)  # noqa: T201
    with Pipeline(tmp_path / "data", seed) as pipeline:
        pipeline.fill(count)
        pipeline.run(kills)
        assert pipeline.read() == [b"passed %d" % number for number in range(count)]
        assert pipeline.committed() == count
