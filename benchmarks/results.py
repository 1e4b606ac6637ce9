"""The figures of a run: kept by round, summed up as medians, compared within a round.

Owns the JSON file. A ratio is computed between two servers in the same round, and the median is taken of the ratios:
what slowed a whole round down slowed both of them down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

_FOLDERS = re.compile(r"(?:/[^\s/:'\"]+)+/")
"""In the last words of a program. Results are published: they name no place on the machine they come from."""


@dataclass(frozen=True)
class Sample:
    """One figure of one measurement."""

    round: int
    scenario: str
    server: str
    figure: str
    value: float


@dataclass(frozen=True)
class Failure:
    """A measurement that gave no figures."""

    round: int
    scenario: str
    server: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """A figure over all rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Summary | None:
        seen = list(values)
        return cls(median(seen), min(seen), max(seen)) if seen else None


@dataclass
class Results:
    """Everything that the report is made of."""

    machine: dict[str, str]
    rounds: int
    quick: bool
    sizes: dict[str, float]
    """How much of everything was done, by the names of Sizes and ``message_bytes``."""
    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def add(self, round: int, scenario: str, server: str, figures: dict[str, float]) -> None:
        self.samples += [Sample(round, scenario, server, name, value) for name, value in figures.items()]

    def fail(self, round: int, scenario: str, server: str, reason: str) -> None:
        self.failures.append(Failure(round, scenario, server, _FOLDERS.sub("", reason)))

    def servers(self) -> list[str]:
        """In the order in which they were measured first."""
        return list(dict.fromkeys(sample.server for sample in self.samples))

    def figure(self, scenario: str, figure: str, server: str) -> Summary | None:
        return Summary.of(self._by_round(scenario, figure, server).values())

    def ratio(self, scenario: str, figure: str, server: str, peer: str) -> Summary | None:
        """How many times ``peer``'s figure ``server``'s is; None where no round has both."""
        ours, theirs = self._by_round(scenario, figure, server), self._by_round(scenario, figure, peer)
        return Summary.of(value / theirs[round] for round, value in ours.items() if theirs.get(round))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Results:
        stored = json.loads(path.read_text())
        stored["samples"] = [Sample(**sample) for sample in stored["samples"]]
        stored["failures"] = [Failure(**failure) for failure in stored["failures"]]
        return cls(**stored)

    def _by_round(self, scenario: str, figure: str, server: str) -> dict[int, float]:
        wanted = (scenario, figure, server)
        return {s.round: s.value for s in self.samples if (s.scenario, s.figure, s.server) == wanted}
