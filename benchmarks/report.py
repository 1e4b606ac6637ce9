"""The report: the tables on a terminal; a page of words, tables and plots in a folder.

Owns the order and the form. The words are in words.py, the figures in tables.py and bars.py, the pictures in plots.py.
What a run did not measure has no row, no column and no sentence.
"""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as ConsoleTable

import words
from bars import absent_peers, judge
from plots import write_plots
from results import Results
from scenarios import PROBES
from tables import TITLES, Cell, Table, list_tables, servers_of

SHOWN_WITH = {"windows": "pipelined"}
"""The table that a picture follows, where it is not the one of its own name."""


def print_report(results: Results, console: Console) -> None:
    """The medians, for whoever waits in front of a terminal; the spread only at the bars, where it fits."""
    for table in list_tables(results):
        shown = ConsoleTable(title=table.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
        for at, name in enumerate(table.header):
            one_line = at > 0 and table.name != "bars"
            shown.add_column(name, justify="left" if at < table.labels else "right", no_wrap=one_line)
        for row in table.rows:
            shown.add_row(*(_on_terminal(cell, spread=table.name == "bars") for cell in row))
        console.print(shown)
    for line in _verdict(results):
        console.print(line)
    for failure in results.failures:
        text = f"round {failure.round}, {failure.scenario}, {failure.server}: {failure.reason}"
        console.print(text, style="red", markup=False)


def write_report(results: Results, directory: Path) -> None:
    """Write benchmarks.md, benchmarks.json and the plots into ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    results.write(directory / "benchmarks.json")
    pictures = write_plots(results, directory)
    (directory / "benchmarks.md").write_text(_page(results, pictures), encoding="utf-8")


def _page(results: Results, pictures: dict[str, str]) -> str:
    parts = ["# Benchmarks", *_what(results), *_machine(results), *_how(results)]
    parts += ["## Run it yourself", words.PEERS, f"```sh\n{words.COMMANDS}\n```"]
    for table in list_tables(results):
        parts += [f"## {table.title}", _note(results, table), _table(table)]
        if table.name == "bars":
            parts += _verdict(results)
        parts += [
            f"![{words.PICTURES[picture]}]({file})"
            for picture, file in pictures.items()
            if SHOWN_WITH.get(picture, picture) == table.name
        ]
    return "\n\n".join([*parts, *_failures(results)]) + "\n"


def _what(results: Results) -> list[str]:
    servers = servers_of(results)
    *first, last = [TITLES[name] for name in servers if name != "floor"] or ["the floor"]
    named = f"{', '.join(first)} and {last}" if first else last
    introduction = words.INTRODUCTION.format(servers=named, **results.sizes)
    return [introduction, *([words.QUICK] if results.quick else []), _list([words.SERVERS[name] for name in servers])]


def _machine(results: Results) -> list[str]:
    return [
        "## The machine",
        "\n".join(["| | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in results.machine.items())]),
    ]


def _how(results: Results) -> list[str]:
    rounds = words.ONE_ROUND if results.rounds == 1 else words.ROUNDS.format(rounds=results.rounds)
    points = [point.format(half=results.sizes["seconds"] / 2, **results.sizes) for point in words.METHOD]
    return ["## How it was measured", _list([*points, rounds])]


def _note(results: Results, table: Table) -> str:
    note = words.NOTES[table.name].format(probes=PROBES, **results.sizes)
    peers = [name.removeprefix("× ") for name in table.header if name.startswith("× ")]
    return " ".join([note, *(words.RATIO.format(peer=peer) for peer in peers[:1])])


def _table(table: Table) -> str:
    rule = ["---" if at < table.labels else "---:" for at in range(len(table.header))]
    lines = [table.header, rule, *([_on_page(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _verdict(results: Results) -> list[str]:
    verdicts = judge(results)
    if not verdicts:
        return []
    absent = [TITLES[peer] for peer in absent_peers(results)]
    counted = words.VERDICT.format(reached=sum(verdict.reached for verdict in verdicts), all=len(verdicts))
    return [" ".join([counted, *(words.ABSENT.format(peer=peer) for peer in absent)])]


def _failures(results: Results) -> list[str]:
    if not results.failures:
        return []
    texts = [
        f"round {failure.round}, {failure.scenario}, {TITLES[failure.server]}: `{failure.reason.replace('`', chr(39))}`"
        for failure in results.failures
    ]
    return ["## What failed", words.FAILURES, _list(texts)]


def _list(texts: list[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)


def _on_page(cell: Cell) -> str:
    return f"{cell.text}<br><sub>{cell.spread}</sub>" if cell.spread else cell.text


def _on_terminal(cell: Cell, *, spread: bool) -> str:
    return f"{cell.text}\n[dim]{cell.spread}[/]" if spread and cell.spread else cell.text
