"""Run clients of Kafka that cannot be installed beside the tests' own against gstream, on both engines.

    python tests/kafka_clients/run.py                    # all of them: some minutes
    python tests/kafka_clients/run.py --client kafkajs --engine disk

- kafkajs and @platformatic/kafka, from the npm registry (needs Node.js from 20 on, and npm),
- kafka-python 2.0.2 and the last one before version 3, from PyPI.

Each is told to do what its users do: produce, with every codec it has; consume in a group that others join and leave;
transactions; administration. They are installed on the first run, into ``--work`` (``~/.cache/gstream/kafka-clients``).
Exits with 1 if one of them is not content, or the server has logged a bug. ``tox -e kafka-clients`` does it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gstream.testing import ServerProcess

HERE = Path(__file__).parent
ENGINES = ("memory", "disk")
SETTINGS = ("--kafka-partitions", "4")
BUGS = ("bug:", "Traceback")
"""What must not be in the server's log."""

SECONDS = 120
"""A client that takes longer has got stuck."""

NODE = ("kafkajs", "platformatic")
"""Programs of Node.js, whose packages are named in package.json."""

KAFKA_PYTHON = {"kafka-python-2.0": "kafka-python==2.0.2", "kafka-python-2": "kafka-python<3"}
CODECS = ("crc32c", "lz4", "python-snappy", "zstandard")
"""What it needs to compress."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", choices=(*NODE, *KAFKA_PYTHON), action="append", help="by default all")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="by default both")
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "gstream" / "kafka-clients")
    chosen = parser.parse_args()
    work = chosen.work.resolve()
    failures = []
    for client in chosen.client or (*NODE, *KAFKA_PYTHON):
        command = prepare(client, work)
        for engine in chosen.engine or ENGINES:
            say(f"--- {client}, {engine}")
            with serving(engine) as server:
                if not run(command, server):
                    failures.append(f"{client}, {engine}")
                failures += [f"{client}, {engine}: the server has logged: {line}" for line in bugs(server)]
    for each in failures:
        say(f"NOT CONTENT: {each}")
    say("not all are content" if failures else "all are content")
    return 1 if failures else 0


def prepare(client: str, work: Path) -> list[str]:
    """Install a client, unless that was done before; the command that runs it, without the address of the server."""
    directory = work / ("node" if client in NODE else client)
    directory.mkdir(parents=True, exist_ok=True)
    if client in NODE:
        for name in ("package.json", f"{client}.mjs"):
            shutil.copy(HERE / name, directory)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=directory, check=True)
        return ["node", "--test-reporter=spec", "--test", str(directory / f"{client}.mjs")]
    python = str(directory / "bin" / "python")
    if not Path(python).exists():
        venv.create(directory, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", KAFKA_PYTHON[client], *CODECS], check=True)
    return [python, str(HERE / "old_kafka_python.py")]


def run(command: list[str], server: ServerProcess) -> bool:
    """Whether a client is content."""
    environment = {**os.environ, "BOOTSTRAP": server.bootstrap}
    address = [] if command[0] == "node" else [server.bootstrap]
    try:
        return subprocess.run([*command, *address], env=environment, timeout=SECONDS, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        say(f"it has not ended within {SECONDS} s")
        return False


def bugs(server: ServerProcess) -> list[str]:
    return [line for line in server.log.splitlines() if any(word in line for word in BUGS)]


@contextmanager
def serving(engine: str) -> Iterator[ServerProcess]:
    """A server, which has nothing yet."""
    with tempfile.TemporaryDirectory(prefix="gstream-kafka-clients-") as directory:
        more = ("--data-dir", f"{directory}/data") if engine == "disk" else ()
        with ServerProcess(*SETTINGS, *more, kafka=True) as server:
            yield server


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
