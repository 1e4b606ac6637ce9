"""The tests of librdkafka, from Debian's source package: C programs in one, each run by itself, in quick mode."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from outcomes import FAILED, PASSED, SKIPPED, Outcome

from gstream.testing import ServerProcess

__all__ = ["Librdkafka"]

VERSION = "2.0.2-1"
SOURCES = "deb-src [signed-by={keyring}] http://deb.debian.org/debian bookworm main\n"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
KAFKA_VERSION = "3.8.0"
"""Which release of Kafka the tests are told to expect."""

NEEDED = ("apt-get", "dpkg-source", "gcc", "g++", "make")
TEST_SECONDS = 90
WITHOUT_BROKER = ("LOCAL", "SOCKEM", "MANUAL")
"""What is in the flags of tests that need none, or a library of their own before libc, or somebody who looks on."""

_ROW = re.compile(r"_TEST\(\s*(\w{4})(\w+)\s*,\s*([^,)]*)")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_SUMMARY = re.compile(r"^\| (\S+) +\| +([A-Z]+) \|[^|]*\|(.*)$", re.MULTILINE)
_FAILURE = re.compile(r'### Test "[^"]*" failed at [^\n]*\n([^\n]*)')


class Librdkafka:
    """The suite. place: the directory in which everything of it lies."""

    name = "librdkafka"

    def __init__(self, place: Path) -> None:
        self._place = place
        self._source = place / "source"
        self._tests = self._source / "tests"

    def prepare(self) -> None:
        """Fetch and build it, unless it is there."""
        if (self._place / "ready").exists():
            return
        missing = [each for each in NEEDED if shutil.which(each) is None]
        if missing:
            raise SystemExit(f"librdkafka's suite needs Debian and {', '.join(missing)} (and libssl-dev, zlib1g-dev)")
        shutil.rmtree(self._place, ignore_errors=True)
        self._fetch()
        with (self._place / "build.log").open("wb") as log:  # not in the source's directory: it reads configure.*
            for command in (
                ["./configure", "--disable-curl", "--disable-sasl", "--disable-gssapi"],
                ["make", "-j2", "libs"],
                ["make", "-j2", "-C", "tests", "build"],
            ):
                subprocess.run(command, cwd=self._source, stdout=log, stderr=subprocess.STDOUT, check=True)
        (self._place / "ready").touch()

    def _fetch(self) -> None:
        """By apt-get, with a list of sources of its own: the machine's stay as they are."""
        apt = self._place / "apt"
        for each in ("lists/partial", "cache/archives/partial"):
            (apt / each).mkdir(parents=True)
        (apt / "sources.list").write_text(SOURCES.format(keyring=KEYRING), encoding="utf-8")
        options = {
            "Dir::Etc::sourcelist": apt / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": apt / "lists",
            "Dir::Cache": apt / "cache",
            "APT::Get::List-Cleanup": 0,
        }
        command = ["apt-get", "-qq", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
        subprocess.run([*command, "update"], check=True)
        fetch = [*command, "source", "--download-only", f"librdkafka={VERSION}"]
        subprocess.run(fetch, cwd=self._place, check=True)
        unpack = ["dpkg-source", "--no-check", "-x", f"librdkafka_{VERSION}.dsc", str(self._source)]
        subprocess.run(unpack, cwd=self._place, check=True, stdout=subprocess.DEVNULL)

    def numbers(self) -> list[str]:
        """Of the tests that need a broker, in order; those of one number are run together."""
        source = (self._tests / "test.c").read_text(encoding="utf-8")
        table = _COMMENT.sub("", source[source.index("struct test tests[] = {") :].partition("};")[0])
        found = {}
        for number, _, flags in _ROW.findall(table):
            if not any(each in flags for each in WITHOUT_BROKER) and flags.strip() != "TEST_F_KNOWN_ISSUE":
                found[number] = None
        return list(found)

    def run(
        self, server: ServerProcess, only: Collection[str], without: Collection[str], output: Path
    ) -> Iterator[Outcome]:
        """What became of each test; only: of these, or of all. without: never of these."""
        conf = output / "test.conf"
        conf.write_text(f"bootstrap.servers={server.bootstrap}\n", encoding="ascii")
        for number in self.numbers():
            if number not in without and (not only or number in only):
                yield self._run(number, conf, output / f"{number}.txt")

    def _run(self, number: str, conf: Path, output: Path) -> Outcome:
        began = time.monotonic()
        environment = {
            **os.environ,
            "TESTS": number,
            "RDKAFKA_TEST_CONF": str(conf),
            "LD_LIBRARY_PATH": f"{self._source}/src:{self._source}/src-cpp",
        }
        with output.open("wb") as log:
            try:
                code = subprocess.run(
                    ["./test-runner", "-p1", "-Q", "-E", "-L", "-V", KAFKA_VERSION],
                    cwd=self._tests,
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=TEST_SECONDS,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                return Outcome(number, FAILED, f"not done after {TEST_SECONDS} s", time.monotonic() - began)
        seconds = time.monotonic() - began
        told = _COLOURS.sub("", output.read_text(encoding="utf-8", errors="replace"))
        if code:
            failure = _FAILURE.search(told)
            return Outcome(number, FAILED, failure[1] if failure else f"exit code {code}", seconds)
        rows = _SUMMARY.findall(told)
        if any(name.startswith(number) and word == "PASSED" for name, word, _ in rows):
            return Outcome(number, PASSED, seconds=seconds)
        why = next((why for name, _, why in rows if name.startswith(number) and "_local" not in name), "")
        return Outcome(number, SKIPPED, why.strip() or "by itself", seconds)
