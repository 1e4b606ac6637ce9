"""What the figures were measured on: facts that explain a figure, and none that name a particular machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from servers import CHECKOUT

MEMORY = {"tmpfs", "ramfs"}
"""File systems that keep nothing: what is measured on them says nothing about a disk."""


def describe_machine(servers: list[str], directory: Path) -> dict[str, str]:
    """Facts by title, with the versions of the peers that take part; files are made in ``directory``."""
    facts = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        # The numbers only: what a distributor or a cloud appends says nothing about speed.
        "kernel": f"{platform.system()} {_version_in(platform.release())}",
        "file system": file_system_of(directory),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "gevent": _installed("gevent"),
        "gstream": _checkout_version(),
        "C compiler": _first_line("cc", "--version"),
    }
    if "redis" in servers:
        facts["Redis"] = _version_in(_first_line("redis-server", "--version"))
    if "beanstalkd" in servers:
        facts["beanstalkd"] = _version_in(_first_line("beanstalkd", "-v"))
    return facts


def file_system_of(directory: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Its type; unknown where the system does not say. ``mounts`` is as proc_pid_mountinfo(5) has it."""
    device = directory.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return "unknown"
    found = [line.partition(" - ")[2].split()[0] for line in lines if line.split()[2] == wanted]
    return found[-1] if found else "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _version_in(text: str) -> str:
    match = re.search(r"\d+(\.\d+)+", text)
    return match[0] if match else text


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _checkout_version() -> str:
    """Read, not imported: the benchmark also runs where gstream is not installed."""
    pattern = re.compile(r'^(?:__)?version(?:__)?.* = "([^"]+)"', re.MULTILINE)
    for path in (CHECKOUT / "gstream" / "__init__.py", CHECKOUT / "pyproject.toml"):
        if path.exists() and (match := pattern.search(path.read_text())):
            return match[1]
    return _installed("gstream")


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return (done.stdout or done.stderr).strip().partition("\n")[0]
