"""The integration tests of kafka-python, from its source distribution on PyPI."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
from collections.abc import Collection, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from outcomes import FAILED, PASSED, SKIPPED, Outcome

from gstream.testing import ServerProcess

__all__ = ["KafkaPython"]

VERSION = "3.0.12"
KAFKA_VERSION = "3.9.0"
"""Which release of Kafka the tests are told to expect."""

NEEDED = ("pytest", "pytest-timeout", "py", "lz4", "zstandard", "python-snappy", "crc32c")
FILES = ("test_producer_integration.py", "test_consumer_integration.py", "test_admin_integration.py")
TEST_SECONDS = 30
ALL_SECONDS = 1800

SERVICE = '''\
"""The broker is there already."""


class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        pass

    close = stop = dump_logs = open


class SpawnedService(ExternalService):
    pass
'''
"""``test/service.py``, which the source distribution lacks."""


class KafkaPython:
    """The suite. place: the directory in which everything of it lies."""

    name = "kafka-python"

    def __init__(self, place: Path) -> None:
        self._place = place
        self._source = place / f"kafka_python-{VERSION}"
        self._python = place / "venv" / "bin" / "python"

    def prepare(self) -> None:
        """Fetch it, unless it is there."""
        if (self._place / "ready").exists():
            return
        self._place.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps"]
        subprocess.run([*pip, "--dest", str(self._place), f"kafka-python=={VERSION}"], check=True)
        with tarfile.open(self._place / f"kafka_python-{VERSION}.tar.gz") as archive:
            archive.extractall(self._place, filter="data")
        (self._source / "test" / "__init__.py").touch()
        (self._source / "test" / "service.py").write_text(SERVICE, encoding="utf-8")
        (self._source / "servers" / KAFKA_VERSION / "kafka-bin").mkdir(parents=True, exist_ok=True)
        venv.create(self._place / "venv", with_pip=True)
        subprocess.run([str(self._python), "-m", "pip", "install", "--quiet", *NEEDED], check=True)
        (self._place / "ready").touch()

    def run(
        self, server: ServerProcess, only: Collection[str], without: Collection[str], output: Path
    ) -> Iterator[Outcome]:
        """What became of each test; only: of those whose names hold one of these, or of all. without: not these."""
        report = output / "report.xml"
        report.unlink(missing_ok=True)
        tests = [f"test/integration/{file}" for file in FILES]
        chosen = ["-k", " or ".join(each.rpartition("::")[2] for each in only)] if only else []
        chosen += [f"--deselect=test/integration/{each}" for each in without]
        command = [str(self._python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}"]
        with (output / "output.txt").open("wb") as log:
            subprocess.run(
                [*command, "--timeout-method=signal", f"--junit-xml={report}", *chosen, *tests],
                cwd=self._source,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=ALL_SECONDS,
                check=False,
                env={
                    **os.environ,
                    "KAFKA_VERSION": KAFKA_VERSION,
                    "KAFKA_URI": f"kafka://{server.bootstrap}",
                    "PYTHONPATH": ".",
                    "PYTHONSAFEPATH": "",
                },
            )
        for case in ET.parse(report).iter("testcase"):
            yield _outcome(case)


def _outcome(case: ET.Element) -> Outcome:
    file = case.get("classname", "").rpartition(".")[2]
    word, detail = PASSED, ""
    for child in case:
        if child.tag in {"failure", "error", "skipped"}:
            word = SKIPPED if child.tag == "skipped" else FAILED
            detail = (child.get("message") or "").partition("\n")[0]
    return Outcome(f"{file}.py::{case.get('name')}", word, detail, float(case.get("time", 0)))
