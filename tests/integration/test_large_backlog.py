"""A backlog that is much larger than the server's memory passes through it, and its memory stays small."""

from __future__ import annotations

from pathlib import Path

from tests.integration.chaos.backlog import pass_backlog

MIB = 1 << 20


def test_a_backlog_of_256_mib_passes_through_128(tmp_path: Path) -> None:
    peak_bytes = pass_backlog(tmp_path / "data", 256 * MIB, "--max-memory", "64MiB", "--sync", "0.5")
    assert peak_bytes <= 128 * MIB
