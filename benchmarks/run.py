"""The command line of the benchmark: start the servers, run the rounds, print and write the report.

`python benchmarks/run.py --help` says the rest.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import FULL, QUICK, Bench, Scenario
from machine import MEMORY, describe_machine, file_system_of
from programs import MESSAGE_BYTES, BenchmarkError, CompilerMissing, Load, compile_program
from report import print_report, write_report
from results import Results
from scenarios import list_scenarios
from servers import DEFAULT_GSTREAM, Server, find_servers

EPILOG = """
Examples:

\b
  python benchmarks/run.py                          everything, 5 rounds, to the terminal
  python benchmarks/run.py --output docs            the same, and write docs/benchmarks.*
  python benchmarks/run.py --quick --rounds 1       does it all work? (under two minutes)
  python benchmarks/run.py --only pipelined --only memory-burst
  python benchmarks/run.py --only disk --directory /var/tmp
  python benchmarks/run.py --servers gstream,floor --only one-at-a-time-64
  python benchmarks/run.py --gstream 'pypy3 -m gstream serve --port {port}'
  python benchmarks/run.py --redraw docs/benchmarks.json --output docs

Redis and beanstalkd take part where redis-server and beanstalkd are installed. Every server is a fresh process on a
free port of 127.0.0.1; no running instance is touched. What they write takes up to 2 GB, lies in a temporary directory
and is gone afterwards.
"""


def _choose_servers(wanted: str | None, found: dict[str, Server]) -> list[Server]:
    names = [name.strip() for name in wanted.split(",")] if wanted else list(found)
    if missing := [name for name in names if name not in found]:
        raise click.UsageError(f"no such server here: {', '.join(missing)} (there are: {', '.join(found)})")
    return [found[name] for name in names]


def _choose_scenarios(wanted: tuple[str, ...]) -> list[Scenario]:
    """A whole name, or the beginning of several up to a dash."""
    known = list_scenarios()
    chosen = [s for s in known if not wanted or any(s.name == w or s.name.startswith(f"{w}-") for w in wanted)]
    if not chosen:
        raise click.UsageError(f"no such scenario (there are: {', '.join(s.name for s in known)})")
    return chosen


def _check_disk(directory: Path, scenarios: list[Scenario]) -> None:
    """A disk that is memory would make every figure a false one."""
    kind = file_system_of(directory)
    if kind in MEMORY and any(scenario.name.startswith("disk-") for scenario in scenarios):
        raise click.UsageError(f"{directory} is in memory ({kind}); name a --directory that is on a disk")


def _measure(results: Results, bench: Bench, scenarios: list[Scenario], servers: list[Server], out: Console) -> None:
    """Round by round, scenario by scenario, the servers one right after the other in an order that rotates."""
    pairs = sum(scenario.fits(server) for scenario in scenarios for server in servers)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as progress:
        task = progress.add_task("", total=pairs * results.rounds)
        for round in range(1, results.rounds + 1):
            for at, scenario in enumerate(scenarios):
                first = (round - 1 + at) % len(servers)
                for server in servers[first:] + servers[:first]:
                    if not scenario.fits(server):
                        continue
                    title = f"round {round}/{results.rounds}  {scenario.name}  {server.name}"
                    progress.update(task, description=f"{title:<46}")
                    try:
                        results.add(round, scenario.name, server.name, scenario.run(bench, server))
                    except BenchmarkError as error:
                        results.fail(round, scenario.name, server.name, str(error))
                        progress.console.print(f"{title}: {error}", style="red", markup=False)
                    progress.advance(task)


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="How often everything runs.")
@click.option("--quick", is_flag=True, help="Short measurements: to see that it works, not for figures.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this scenario or family of them; may be repeated.")
@click.option("--servers", metavar="A,B", help="Only these of gstream, redis, beanstalkd, floor.")
@click.option(
    "--gstream",
    metavar="COMMAND",
    default=DEFAULT_GSTREAM,
    help="How to start gstream; {port} is replaced.  [default: this checkout, this Python]",
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False, writable=True),
    default=".",
    help="Where the servers keep their files for a while: on the disk that is to be measured.  [default: here]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write benchmarks.md, benchmarks.json and the plots into this folder.",
)
@click.option(
    "--redraw",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Measure nothing: make the report from this benchmarks.json again.",
)
def main(
    rounds: int,
    quick: bool,
    only: tuple[str, ...],
    servers: str | None,
    gstream: str,
    directory: Path,
    output: Path | None,
    redraw: Path | None,
) -> None:
    """Measure gstream side by side with Redis, beanstalkd and a C server that only answers (the floor)."""
    # As an exception it passes the context managers that stop the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    out = Console()
    if not out.is_terminal:
        out.width = 120  # of a file nobody needs to see the ends cut off
    if redraw:
        results = Results.read(redraw)
    else:
        scenarios = _choose_scenarios(only)
        _check_disk(directory, scenarios)
        with tempfile.TemporaryDirectory(prefix="gstream-benchmark-", dir=directory) as name:
            scratch = Path(name).resolve()
            try:
                load, floor = (compile_program(name, scratch) for name in ("load", "floor"))
            except CompilerMissing as error:
                raise click.UsageError(str(error)) from None
            chosen = _choose_servers(servers, find_servers(gstream, floor))
            sizes = QUICK if quick else FULL
            bench = Bench.prepare(Load(load), sizes, scratch)
            if bench.idle_connections < bench.sizes.idle_connections:
                out.print(f"The limit on open files allows only {bench.idle_connections} idle connections (ulimit -n).")
            facts = describe_machine([server.name for server in chosen], scratch)
            results = Results(facts, rounds, quick, {**asdict(sizes), "message_bytes": MESSAGE_BYTES})
            _measure(results, bench, scenarios, chosen, out)
    print_report(results, out)
    if output:
        write_report(results, output)
        out.print(f"Written to {output}: benchmarks.md, benchmarks.json and the plots.")
    if results.failures:
        raise click.ClickException(f"{len(results.failures)} measurements failed; the report lists them.")


if __name__ == "__main__":
    main()
