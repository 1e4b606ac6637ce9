"""Run two public test suites of Kafka clients against gstream, and compare with what is expected of them.

    python tests/kafka_suites/run.py                     # both suites, on both engines: a quarter of an hour
    python tests/kafka_suites/run.py --suite librdkafka --engine disk --only 0081 0103

- kafka-python's own integration tests (its source distribution, from PyPI),
- librdkafka's own tests (Debian's source package; needs apt-get, dpkg-source, g++, make, libssl-dev and zlib1g-dev).

They are fetched and built on the first run, into ``--work`` (``~/.cache/gstream/kafka-suites``); nothing of them is in
this repository. ``expected.toml`` keeps which tests fail, and which cannot be run here, each with its reason; every
other test has to pass. What fails unexpectedly is run once more, alone, on a fresh server: these suites look at
clocks. Exits with 1 if anything is not as expected, or the server has logged a bug. ``tox -e kafka-suites`` does it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from kafka_python import KafkaPython
from librdkafka import Librdkafka
from outcomes import FAILED, PASSED, SKIPPED, Expected, Outcome, load_expected

from gstream.testing import ServerProcess

EXPECTED = Path(__file__).parent / "expected.toml"
SUITES = {suite.name: suite for suite in (KafkaPython, Librdkafka)}
ENGINES = ("memory", "disk")
SETTINGS = ("--kafka-partitions", "4")
"""What both suites expect; that topics are made by themselves and groups do not wait is the default."""
BUGS = ("bug:", "Traceback")
"""What must not be in the server's log."""

Suite = KafkaPython | Librdkafka


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=SUITES, action="append", help="by default both")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="by default both")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEST", help="these tests; by default all")
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "gstream" / "kafka-suites")
    chosen = parser.parse_args()
    expected = load_expected(EXPECTED)
    rows, differences = [], []
    for name in chosen.suite or SUITES:
        suite = SUITES[name](chosen.work.resolve() / name)
        suite.prepare()
        for engine in chosen.engine or ENGINES:
            output = chosen.work.resolve() / "output" / engine / name
            output.mkdir(parents=True, exist_ok=True)
            counts, found = run(suite, engine, expected[name], chosen.only, output)
            rows.append((name, engine, counts))
            differences += [f"{name}, {engine}: {each}" for each in found]
    show(rows, expected)
    for each in differences:
        say(f"NOT AS EXPECTED: {each}")
    say("not as expected" if differences else "as expected")
    return 1 if differences else 0


def run(
    suite: Suite, engine: str, expected: Expected, only: Collection[str], output: Path
) -> tuple[Counter[str], list[str]]:
    """Run a suite on an engine; how many tests passed, failed and were skipped, and what is not as expected."""
    say(f"--- {suite.name}, {engine}")
    counts: Counter[str] = Counter()
    differences = []
    with serving(engine) as server:
        for first in suite.run(server, only, expected.not_run, output):
            outcome = run_again(suite, engine, expected, first, output)
            counts[outcome.word] += 1
            difference = expected.difference(outcome)
            if difference:
                differences.append(f"{outcome.test} {difference}")
            say(f"{outcome.test:<75} {outcome.word:<8} {outcome.seconds:6.1f} s  {outcome.detail[:200]}")
        bugs = [line for line in server.log.splitlines() if any(word in line for word in BUGS)]
        differences += [f"the server has logged: {line}" for line in bugs]
        (output / "server.log").write_text(server.log, encoding="utf-8")
        if server.process.poll() is not None:
            differences.append("the server has ended")
    return counts, differences


def run_again(suite: Suite, engine: str, expected: Expected, outcome: Outcome, output: Path) -> Outcome:
    """A test that failed, and was not expected to, once more; what became of it then."""
    if outcome.word != FAILED or outcome.test in expected.failed:
        return outcome
    say(f"{outcome.test:<75} {outcome.word:<8} {outcome.seconds:6.1f} s  {outcome.detail[:200]} -- once more")
    again = output / "again"
    again.mkdir(exist_ok=True)
    with serving(engine) as server:
        return next(iter(suite.run(server, [outcome.test], (), again)), outcome)


@contextmanager
def serving(engine: str) -> Iterator[ServerProcess]:
    """A server, which has nothing yet."""
    with tempfile.TemporaryDirectory(prefix="gstream-kafka-suites-") as directory:
        more = ("--data-dir", f"{directory}/data") if engine == "disk" else ()
        with ServerProcess(*SETTINGS, *more, kafka=True) as server:
            yield server


def show(rows: list[tuple[str, str, Counter[str]]], expected: dict[str, Expected]) -> None:
    """The table, and why what fails does."""
    say("")
    say(f"{'suite':<14}{'engine':<8}{'passed':>8}{'failed':>8}{'skipped':>9}")
    for name, engine, counts in rows:
        say(f"{name:<14}{engine:<8}{counts[PASSED]:>8}{counts[FAILED]:>8}{counts[SKIPPED]:>9}")
    for name in dict.fromkeys(name for name, _, _ in rows):
        for test, reason in expected[name].failed.items():
            say(f"expected to fail: {name} {test}: {reason}")
        for test, reason in expected[name].not_run.items():
            say(f"not run: {name} {test}: {reason}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
