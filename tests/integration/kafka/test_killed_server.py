"""A server that is killed again and again loses nothing that Kafka's producers have stored, and doubles nothing.

A run's chances come from a seed; CHAOS_SEED in the environment repeats one. The long form is in
chaos/kafka_long_form.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.chaos.cycle import seed_from
from tests.integration.chaos.kafka_cycle import KafkaCycle, violations
from tests.integration.chaos.kafka_pipeline import Pipeline

KILLS = 6

PASSED = 300
PIPELINE_KILLS = 4


def test_a_server_that_is_killed_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    seed = seed_from()
    print(f"CHAOS_SEED={seed}")  # noqa: T201  # pytest shows it when the test fails
    arguments = ("--sync", "always", "--segment-bytes", "64KiB")
    with KafkaCycle(tmp_path / "data", seed, arguments=arguments) as cycle:
        cycle.run(KILLS)
        assert cycle.check() == []
        assert cycle.kills == KILLS
        assert cycle.stored_count > 50 * KILLS


def test_messages_that_are_passed_on_in_transactions_pass_once(tmp_path: Path) -> None:
    seed = seed_from()
    print(f"CHAOS_SEED={seed}")  # noqa: T201
    with Pipeline(tmp_path / "data", seed) as pipeline:
        pipeline.fill(PASSED)
        pipeline.run(PIPELINE_KILLS)
        assert pipeline.read() == [b"passed %d" % number for number in range(PASSED)]
        assert pipeline.committed() == PASSED


SENT = {0: [b"a", b"b"], 1: [b"c"]}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({0: [b"a", b"b"], 1: [b"c"]}, []),
        ({0: [b"a", b"b"]}, ["w, partition 1: b'c' is lost"]),
        ({0: [b"a", b"b", b"b"], 1: [b"c"]}, ["w, partition 0: b'b' is there 2 times"]),
        ({0: [b"b", b"a"], 1: [b"c"]}, ["w, partition 0: b'a' and what follows is not in order"]),
        ({0: [b"a", b"b", b"z"], 1: [b"c"]}, ["w: b'z' was never sent"]),
        ({0: [b"a", b"b"], 1: [b"c", b"y"]}, ["w, partition 1: b'y' is there"]),
    ],
)
def test_what_is_wrong_is_seen(found: dict[int, list[bytes]], expected: list[str]) -> None:
    assert violations("w", [SENT], found, frozenset([b"y"])) == expected
