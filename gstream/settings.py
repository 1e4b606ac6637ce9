"""Settings: how a value is spelled as a flag, in the environment and in a file, and how it is read and shown.

A reader takes a string, or a value of a TOML file; it gives the field's value, or raises ValueError with what is
expected. Knows none of the settings that there are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ALWAYS",
    "GIB",
    "KIB",
    "LOG_LEVELS",
    "MIB",
    "NEVER",
    "Setting",
    "read_address",
    "read_bool",
    "read_bytes",
    "read_integer",
    "read_log_level",
    "read_seconds",
    "read_sync",
    "read_text",
    "show_bool",
    "show_bytes",
    "show_seconds",
    "show_sync",
]

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LAST_PORT = 65535
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Setting:
    """How one field of Config is spelled and read.

    option: as a flag, without the dashes; the key in a file, and, as GSTREAM_*, the name in the environment.
    read: a string, or a value of a TOML file, to the field's value; raises ValueError with what is expected.
    show: the value to what a user would write.
    """

    option: str
    help: str
    read: Callable[[Any], object]
    show: Callable[[Any], str] = str
    metavar: str = ""

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return "GSTREAM_" + self.option.replace("-", "_").upper()


def read_text(value: object) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("some text")
    return value


def read_integer(value: object, least: int, most: int) -> int:
    """A whole number within these bounds."""
    expected = f"a whole number from {least} to {most}"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(expected)
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,12}", value):
        raise ValueError(expected)
    if not least <= int(value) <= most:
        raise ValueError(expected)
    return int(value)


def read_seconds(value: object, least: float = 0.0) -> float:
    """Seconds, as in ``10`` or ``0.5``."""
    expected = "a number of seconds, as in 10 or 0.5" + (f", from {least} on" if least else "")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(expected)
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}", value):
        raise ValueError(expected)
    if not least <= float(value) < 1e9:  # noqa: PLR2004  # 31 years; keeps nan and inf out
        raise ValueError(expected)
    return float(value)


def show_seconds(value: float) -> str:
    """Seconds as they are written."""
    return repr(value).removesuffix(".0")  # %g would round


ALWAYS = 0.0
NEVER = math.inf
"""Of ``sync_seconds``."""


def read_sync(value: object) -> float:
    """Seconds between two syncs, ALWAYS or NEVER."""
    words = {"always": ALWAYS, "never": NEVER}
    if str(value).lower() in words:
        return words[str(value).lower()]
    try:
        return read_seconds(value, 0.001)
    except ValueError:
        raise ValueError("always, never, or a number of seconds, as in 1 or 0.5") from None


def show_sync(value: float) -> str:
    """``sync_seconds`` as it is written: ``always``, ``1``, ``never``."""
    return {ALWAYS: "always", NEVER: "never"}.get(value) or show_seconds(value)


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": KIB, "MIB": MIB, "GIB": GIB}


def read_bytes(value: object, least: int, most: int) -> int:
    """A size within these bounds, as in ``512KiB``."""
    expected = f"a size from {show_bytes(least)} to {show_bytes(most)}, as in 65536, 512KiB, 1MiB or 2GiB"
    match = re.fullmatch(r"([0-9]{1,16}) ?([A-Za-z]{0,3})", str(value))
    if isinstance(value, bool) or match is None or match[2].upper() not in _UNITS:
        raise ValueError(expected)
    size = int(match[1]) * _UNITS[match[2].upper()]
    if not least <= size <= most:
        raise ValueError(expected)
    return size


def show_bytes(value: int) -> str:
    """A size as it is written, in the largest unit that says it exactly."""
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return str(value)


def read_bool(value: object) -> bool:
    """True or false, by one of the words for it."""
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    word = str(value).lower()
    if word not in words:
        raise ValueError("true or false")
    return words[word]


def show_bool(value: bool) -> str:
    """``true`` or ``false``."""
    return "true" if value else "false"


def read_address(value: object) -> str:
    """Host and port, as in ``broker.example:9092`` or ``[::1]:9092``."""
    match = re.fullmatch(r"([^\s:\[\]]{1,255}|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", str(value))
    if match is None or not 1 <= int(match[2]) <= LAST_PORT:
        raise ValueError("a host and a port, as in broker.example:9092 or [::1]:9092")
    return match[0]


def read_log_level(value: object) -> str:
    """One of LOG_LEVELS."""
    if not isinstance(value, str) or value.lower() not in LOG_LEVELS:
        raise ValueError("one of " + ", ".join(LOG_LEVELS))
    return value.lower()
