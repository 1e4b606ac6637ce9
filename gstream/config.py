"""The configuration: every knob of the server, its default, its unit, and where its value came from.

One frozen dataclass; each field says how it is spelled as a flag, in the environment and in a file, and how its value
is read. Flags win over the environment, the environment over the file. Nothing deeper reads argv or the environment.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from gstream.errors import ConfigError

__all__ = ["ALWAYS", "NEVER", "SOURCES", "Config", "LoadedConfig", "Setting", "load_config", "settings", "show_sync"]

T = TypeVar("T")

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SOURCES = ("flag", "environment", "file", "default")
"""Where a value comes from, the strongest first."""

LARGEST_INTEGER = (1 << 63) - 1  # TOML 1.0, "Integer"
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


def _setting(default: T, setting: Setting) -> T:
    made: T = field(default=default, metadata={"setting": setting})
    return made


def _read_text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("some text")
    return value


def _read_integer(value: object, least: int, most: int) -> int:
    expected = f"a whole number from {least} to {most}"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(expected)
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,12}", value):
        raise ValueError(expected)
    if not least <= int(value) <= most:
        raise ValueError(expected)
    return int(value)


def _read_seconds(value: object, least: float = 0.0) -> float:
    expected = "a number of seconds, as in 10 or 0.5" + (f", from {least} on" if least else "")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(expected)
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}", value):
        raise ValueError(expected)
    if not least <= float(value) < 1e9:  # noqa: PLR2004  # 31 years; keeps nan and inf out
        raise ValueError(expected)
    return float(value)


def _show_seconds(value: float) -> str:
    return repr(value).removesuffix(".0")  # %g would round


ALWAYS = 0.0
NEVER = math.inf
"""Of ``sync_seconds``."""


def _read_sync(value: object) -> float:
    words = {"always": ALWAYS, "never": NEVER}
    if str(value).lower() in words:
        return words[str(value).lower()]
    try:
        return _read_seconds(value, 0.001)
    except ValueError:
        raise ValueError("always, never, or a number of seconds, as in 1 or 0.5") from None


def show_sync(value: float) -> str:
    """``sync_seconds`` as it is written: ``always``, ``1``, ``never``."""
    return {ALWAYS: "always", NEVER: "never"}.get(value) or _show_seconds(value)


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": KIB, "MIB": MIB, "GIB": GIB}


def _read_bytes(value: object, least: int, most: int) -> int:
    expected = f"a size from {_show_bytes(least)} to {_show_bytes(most)}, as in 65536, 512KiB, 1MiB or 2GiB"
    match = re.fullmatch(r"([0-9]{1,16}) ?([A-Za-z]{0,3})", str(value))
    if isinstance(value, bool) or match is None or match[2].upper() not in _UNITS:
        raise ValueError(expected)
    size = int(match[1]) * _UNITS[match[2].upper()]
    if not least <= size <= most:
        raise ValueError(expected)
    return size


def _show_bytes(value: int) -> str:
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return str(value)


def _read_bool(value: object) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    word = str(value).lower()
    if word not in words:
        raise ValueError("true or false")
    return words[word]


def _show_bool(value: bool) -> str:
    return "true" if value else "false"


def _read_log_level(value: object) -> str:
    if not isinstance(value, str) or value.lower() not in LOG_LEVELS:
        raise ValueError("one of " + ", ".join(LOG_LEVELS))
    return value.lower()


@dataclass(frozen=True)
class Config:
    """Every knob of the server. Sizes are bytes, times are seconds."""

    host: str = _setting(
        "127.0.0.1",
        Setting("host", "Address or name to listen on; other than loopback needs --insecure.", _read_text),
    )
    port: int = _setting(
        8080,
        Setting("port", "TCP port to listen on; 0 takes a free one.", lambda value: _read_integer(value, 0, 65535)),
    )
    socket: str | None = _setting(
        None,
        Setting(
            "socket",
            "Listen on a unix socket, too; its clients get no banner.",
            _read_text,
            lambda value: value or "",
            "PATH",
        ),
    )
    max_message_bytes: int = _setting(
        MIB,
        Setting("max-message", "The longest message.", lambda value: _read_bytes(value, 1, GIB), _show_bytes, "SIZE"),
    )
    max_memory_bytes: int = _setting(
        GIB,
        Setting(
            "max-memory",
            "How much messages in memory may take; beyond that, publishing is refused.",
            lambda value: _read_bytes(value, 1, 1 << 50),
            _show_bytes,
            "SIZE",
        ),
    )
    retain_bytes: int = _setting(
        16 * MIB,
        Setting(
            "retain",
            "How much of what all groups have taken each partition keeps for replay, as long as there is room.",
            lambda value: _read_bytes(value, 0, 1 << 50),
            _show_bytes,
            "SIZE",
        ),
    )
    data_dir: str | None = _setting(
        None,
        Setting(
            "data-dir",
            "Keep messages on disk, in this directory; without it they are kept in memory.",
            _read_text,
            lambda value: value or "",
            "DIR",
        ),
    )
    sync_seconds: float = _setting(
        ALWAYS,
        Setting(
            "sync",
            "When a message on disk is safe from a loss of power: before it is answered (always), every so many "
            "seconds, or when the system likes (never).",
            _read_sync,
            show_sync,
            "always|SECONDS|never",
        ),
    )
    limit_bytes: int = _setting(
        0,
        Setting(
            "retain-bytes",
            "How large a partition may become on disk: beyond that its oldest messages go, taken or not; 0: no limit.",
            lambda value: _read_bytes(value, 0, 1 << 50),
            _show_bytes,
            "SIZE",
        ),
    )
    limit_seconds: float = _setting(
        0.0,
        Setting(
            "retain-seconds",
            "How old messages on disk may become: older ones go, taken or not; 0: no limit.",
            _read_seconds,
            _show_seconds,
            "SECONDS",
        ),
    )
    segment_bytes: int = _setting(
        64 * MIB,
        Setting(
            "segment-bytes",
            "How large the files are in which messages lie, and which are removed as a whole.",
            lambda value: _read_bytes(value, 1024, 2 * GIB),
            _show_bytes,
            "SIZE",
        ),
    )
    segment_seconds: float = _setting(
        604_800.0,
        Setting(
            "segment-seconds",
            "After so long another file is begun.",
            lambda value: _read_seconds(value, 1.0),
            _show_seconds,
            "SECONDS",
        ),
    )
    lease_seconds: float = _setting(
        30.0,
        Setting(
            "lease",
            "How long a leased message may take to be acknowledged.",
            lambda value: _read_seconds(value, 0.001),
            _show_seconds,
            "SECONDS",
        ),
    )
    max_attempts: int = _setting(
        5,
        Setting(
            "max-attempts",
            "So often a leased message is delivered before it is a dead letter; 0: for ever.",
            lambda value: _read_integer(value, 0, 1_000_000),
        ),
    )
    partitions: int = _setting(
        1, Setting("partitions", "How many partitions a topic has.", lambda value: _read_integer(value, 1, 1024))
    )
    max_topics: int = _setting(
        10_000, Setting("max-topics", "How many topics at once.", lambda value: _read_integer(value, 1, 1_000_000))
    )
    max_groups: int = _setting(
        10_000,
        Setting(
            "max-groups", "How many groups at once, of all topics.", lambda value: _read_integer(value, 1, 1_000_000)
        ),
    )
    max_connections: int = _setting(
        16_384,
        Setting("max-connections", "How many clients at once.", lambda value: _read_integer(value, 1, 10_000_000)),
    )
    grace_seconds: float = _setting(
        10.0,
        Setting("grace", "How long stopping may take.", _read_seconds, _show_seconds, "SECONDS"),
    )
    banner: bool = _setting(
        True, Setting("banner", "Greet TCP clients with the list of commands.", _read_bool, _show_bool)
    )
    insecure: bool = _setting(
        False,
        Setting("insecure", "Allow listening where other machines can connect.", _read_bool, _show_bool),
    )
    log_level: str = _setting(
        "info", Setting("log-level", f"What is logged: {', '.join(LOG_LEVELS)}.", _read_log_level, metavar="LEVEL")
    )
    log_json: bool = _setting(
        False, Setting("log-json", "Log JSON, one object a line, for machines.", _read_bool, _show_bool)
    )


def settings() -> list[tuple[Field[Any], Setting]]:
    """Every field of Config with its Setting, in order."""
    return [(each, each.metadata["setting"]) for each in fields(Config)]


@dataclass(frozen=True)
class LoadedConfig:
    """A Config, and for each of its fields which of SOURCES set it."""

    config: Config
    sources: Mapping[str, str]

    def lines(self) -> list[str]:
        """The settings as a TOML file would have them, each with its source."""
        rows = []
        for each, setting in settings():
            value = getattr(self.config, each.name)
            shown = setting.show(value)
            bare = isinstance(value, bool) or (
                isinstance(value, int | float) and shown[0].isdigit() and shown[-1].isdigit()
            )
            text = f"{setting.option} = {shown}" if bare else f"{setting.option} = {_quote(shown)}"
            if value is None:
                text = f"# {setting.option} is not set"
            rows.append(f"{text:<36} # {self.sources[each.name]}")
        return rows


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # what JSON escapes, TOML reads


def load_config(
    flags: Mapping[str, str | None], environment: Mapping[str, str], path: str | None = None
) -> LoadedConfig:
    """The configuration in force.

    flags: values by option name ("max-message"); None or absent means not given.
    environment: usually ``os.environ``; names other than GSTREAM_* are ignored, and so are empty values.
    path: a TOML file; by default the one that GSTREAM_CONFIG names, if any.

    Raises ConfigError for a value that cannot be used, an unknown key, or a file that cannot be read.
    """
    path = path or environment.get("GSTREAM_CONFIG") or None
    file = _read_file(path) if path else {}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for each, setting in settings():
        candidates = (
            ("flag", f"--{setting.option}", flags.get(setting.option)),
            ("environment", setting.variable, environment.get(setting.variable) or None),
            ("file", f"{setting.option} in {path}", file.get(setting.option)),
        )
        sources[each.name] = "default"
        for source, name, value in candidates:
            if value is None:
                continue
            try:
                values[each.name] = setting.read(value)
            except ValueError as error:
                raise ConfigError(f"{name}: expected {error}, got {value!r}") from None
            sources[each.name] = source
            break
    return LoadedConfig(Config(**values), sources)


def _read_file(path: str) -> dict[str, object]:
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from None
    except RecursionError:
        raise ConfigError(f"{path} is no TOML file: it is nested too deeply") from None
    except ValueError as error:  # tomllib's own, of the encoding, and of numbers with thousands of digits
        raise ConfigError(f"{path} is no TOML file: {error}") from None
    known = [setting.option for _, setting in settings()]
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"{path}: unknown key {key!r}; {hint}")
        if isinstance(content[key], int) and abs(content[key]) > LARGEST_INTEGER:
            raise ConfigError(f"{path} is no TOML file: the number for {key} is too large")
    return content
