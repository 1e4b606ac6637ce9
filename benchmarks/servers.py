"""The servers: how each is started, waited for, measured from outside and stopped.

Owns child processes; no system service is ever touched: every server gets a free port on 127.0.0.1, an empty working
directory, and no disk unless it is given a directory there. A server is ready when it has answered, not when some time
has passed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from programs import BenchmarkError

CHECKOUT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
"""It may have a log to read first."""
STOP_SECONDS = 10
POLL_SECONDS = 0.0005
"""Between two attempts to connect: the resolution of the start-up time."""

DEFAULT_GSTREAM = f"{shlex.quote(sys.executable)} -m gstream serve --port {{port}}"


class Sync(Enum):
    """When what was answered is also safe from a loss of power."""

    ALWAYS = "always"
    SECOND = "after a second"
    NEVER = "when the system likes"


@dataclass(frozen=True)
class Server:
    """One server under test."""

    name: str
    protocol: str
    command: tuple[str, ...]
    """With ``{port}`` where the port goes."""
    hello: bytes = b""
    """What is sent to get a first answer, where the server does not speak first."""
    busy: bytes = b""
    """The beginning of an answer that says: not yet."""
    stores: bool = True
    """False: it keeps no message, so that a figure of memory would mean nothing."""
    disk: Mapping[Sync, str] = field(default_factory=dict)
    """The options with which it keeps messages on disk, with ``{data}`` where the directory goes."""

    def on_disk(self, data: Path, sync: Sync) -> list[str]:
        """Options for :meth:`running`; ``data`` has to exist."""
        return [word.replace("{data}", str(data)) for word in shlex.split(self.disk[sync])]

    @contextmanager
    def running(self, directory: Path, *options: str) -> Iterator[Running]:
        """A fresh process, ready to answer; stopped in the end whatever happens. ``options`` end its command."""
        server = Running(self, directory, options)
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.stop()


class Running:
    """A server's process."""

    def __init__(self, server: Server, directory: Path, options: tuple[str, ...] = ()) -> None:
        self.server = server
        self.port = _free_port()
        self.start_seconds = 0.0
        """From the start of the process to its first answer."""
        self._log = directory / f"{server.name}.log"
        home = directory / f"{server.name}.home"
        home.mkdir(exist_ok=True)
        # Defaults are measured: what the caller has set for its own gstream servers must not reach this one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GSTREAM_")}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), environment.get("PYTHONPATH")]))
        command = [word.replace("{port}", str(self.port)) for word in (*server.command, *options)]
        with self._log.open("wb") as log:
            self._began = time.perf_counter()
            # A session of its own: Ctrl-C reaches this program only, which then stops its servers in order.
            try:
                self._process = subprocess.Popen(
                    command,
                    cwd=home,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise BenchmarkError(f"{server.name} cannot be started: {error}") from error

    def wait_until_ready(self) -> None:
        """Connect until it answers; raises BenchmarkError if it ends or stays silent."""
        while time.perf_counter() - self._began < START_SECONDS:
            if self._process.poll() is not None:
                raise BenchmarkError(f"{self.server.name} ended at once: {self._last_words()}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=START_SECONDS) as client:
                    client.sendall(self.server.hello)
                    answer = client.recv(4096)
                    if answer and not (self.server.busy and answer.startswith(self.server.busy)):
                        self.start_seconds = time.perf_counter() - self._began
                        return
            except ConnectionError:
                pass
            except TimeoutError:
                break
            time.sleep(POLL_SECONDS)
        raise BenchmarkError(f"{self.server.name} did not answer within {START_SECONDS} s: {self._last_words()}")

    def rss_bytes(self) -> int:
        """Resident memory; smaps_rollup is exact, statm may be some hundred KiB behind."""
        process = Path(f"/proc/{self._process.pid}")
        try:
            for line in (process / "smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        return int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """As ``kill -9`` does; returns when there is no such process any more."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"


def find_servers(gstream: str, floor: Path) -> dict[str, Server]:
    """The servers that can be measured here, in the order of the tables; ``gstream`` is a shell-like command line."""
    command = shlex.split(gstream)
    if not any("{port}" in word for word in command):
        command += ["--port", "{port}"]
    disk = {
        Sync.ALWAYS: "--data-dir {data} --sync always",
        Sync.SECOND: "--data-dir {data} --sync 1",
        Sync.NEVER: "--data-dir {data} --sync never",
    }
    found = {"gstream": Server("gstream", "gstream", tuple(command), disk=disk)}
    if redis := shutil.which("redis-server"):
        options = "--port {port} --bind 127.0.0.1 --save '' --appendonly no --maxclients 20000"
        # The last of options that contradict each other holds. Its log is never rewritten: that would be another load.
        log = "--dir {data} --appendonly yes --auto-aof-rewrite-percentage 0 --appendfsync"
        disk = {Sync.ALWAYS: f"{log} always", Sync.SECOND: f"{log} everysec", Sync.NEVER: f"{log} no"}
        command = [redis, *shlex.split(options)]
        found["redis"] = Server("redis", "redis", tuple(command), b"PING\r\n", busy=b"-LOADING", disk=disk)
    if beanstalkd := shutil.which("beanstalkd"):
        command = [beanstalkd, "-l", "127.0.0.1", "-p", "{port}"]
        disk = {Sync.ALWAYS: "-b {data} -f0", Sync.SECOND: "-b {data} -f1000", Sync.NEVER: "-b {data} -F"}
        found["beanstalkd"] = Server("beanstalkd", "beanstalkd", tuple(command), b"list-tube-used\r\n", disk=disk)
    found["floor"] = Server("floor", "gstream", (str(floor), "{port}"), stores=False)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
