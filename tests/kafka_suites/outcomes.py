"""What became of a test, and what was expected of it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FAILED", "PASSED", "SKIPPED", "Expected", "Outcome", "load_expected"]

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Outcome:
    """What became of a test. word: PASSED, FAILED, or SKIPPED by itself. detail: why, in a line."""

    test: str
    word: str
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Expected:
    """What is kept of a suite: tests that fail, and those that are not run, each with the reason."""

    failed: Mapping[str, str]
    not_run: Mapping[str, str]

    def difference(self, outcome: Outcome) -> str:
        """What is not as expected; "" if it is."""
        reason = self.failed.get(outcome.test)
        if outcome.word == FAILED and reason is None:
            return f"fails: {outcome.detail}"
        if outcome.word == PASSED and reason is not None:
            return f"passes, and is expected to fail: {reason}"
        return ""


def load_expected(path: Path) -> dict[str, Expected]:
    """Of each suite, by its name."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: Expected(rows.get("failed", {}), rows.get("not-run", {})) for name, rows in content.items()}
