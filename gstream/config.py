"""The configuration: every knob of the server, its default, its unit, and where its value came from.

One frozen dataclass; each field says how it is spelled as a flag, in the environment and in a file, and how its value
is read. Flags win over the environment, the environment over the file. Nothing deeper reads argv or the environment.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from gstream.errors import ConfigError
from gstream.settings import (
    ALWAYS,
    GIB,
    LAST_PORT,
    LOG_LEVELS,
    MIB,
    NEVER,
    Setting,
    read_address,
    read_bool,
    read_bytes,
    read_integer,
    read_log_level,
    read_seconds,
    read_sync,
    read_text,
    show_bool,
    show_bytes,
    show_seconds,
    show_sync,
)

__all__ = ["ALWAYS", "NEVER", "SOURCES", "Config", "LoadedConfig", "Setting", "load_config", "settings", "show_sync"]

T = TypeVar("T")

SOURCES = ("flag", "environment", "file", "default")
"""Where a value comes from, the strongest first."""

LARGEST_INTEGER = (1 << 63) - 1  # TOML 1.0, "Integer"


def _setting(default: T, setting: Setting) -> T:
    made: T = field(default=default, metadata={"setting": setting})
    return made


@dataclass(frozen=True)
class Config:
    """Every knob of the server. Sizes are bytes, times are seconds."""

    host: str = _setting(
        "127.0.0.1",
        Setting("host", "Address or name to listen on; other than loopback needs --insecure.", read_text),
    )
    port: int = _setting(
        8080,
        Setting("port", "TCP port to listen on; 0 takes a free one.", lambda value: read_integer(value, 0, LAST_PORT)),
    )
    socket: str | None = _setting(
        None,
        Setting(
            "socket",
            "Listen on a unix socket, too; its clients get no banner.",
            read_text,
            lambda value: value or "",
            "PATH",
        ),
    )
    max_message_bytes: int = _setting(
        MIB,
        Setting("max-message", "The longest message.", lambda value: read_bytes(value, 1, GIB), show_bytes, "SIZE"),
    )
    max_memory_bytes: int = _setting(
        GIB,
        Setting(
            "max-memory",
            "How much messages in memory may take; beyond that, publishing is refused.",
            lambda value: read_bytes(value, 1, 1 << 50),
            show_bytes,
            "SIZE",
        ),
    )
    retain_bytes: int = _setting(
        16 * MIB,
        Setting(
            "retain",
            "How much of what all groups have taken each partition keeps for replay, as long as there is room.",
            lambda value: read_bytes(value, 0, 1 << 50),
            show_bytes,
            "SIZE",
        ),
    )
    data_dir: str | None = _setting(
        None,
        Setting(
            "data-dir",
            "Keep messages on disk, in this directory; without it they are kept in memory.",
            read_text,
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
            read_sync,
            show_sync,
            "always|SECONDS|never",
        ),
    )
    limit_bytes: int = _setting(
        0,
        Setting(
            "retain-bytes",
            "How large a partition may become: beyond that its oldest messages go, taken or not; 0: no limit.",
            lambda value: read_bytes(value, 0, 1 << 50),
            show_bytes,
            "SIZE",
        ),
    )
    limit_seconds: float = _setting(
        0.0,
        Setting(
            "retain-seconds",
            "How old messages may become: older ones go, taken or not; 0: no limit.",
            read_seconds,
            show_seconds,
            "SECONDS",
        ),
    )
    segment_bytes: int = _setting(
        64 * MIB,
        Setting(
            "segment-bytes",
            "How large the files are in which messages lie, and which are removed as a whole.",
            lambda value: read_bytes(value, 1024, 2 * GIB),
            show_bytes,
            "SIZE",
        ),
    )
    segment_seconds: float = _setting(
        604_800.0,
        Setting(
            "segment-seconds",
            "After so long another file is begun.",
            lambda value: read_seconds(value, 1.0),
            show_seconds,
            "SECONDS",
        ),
    )
    kafka: bool = _setting(
        False,
        Setting("kafka", "Let Kafka's clients connect, too (pip install 'gstream[kafka]').", read_bool, show_bool),
    )
    kafka_host: str = _setting(
        "127.0.0.1",
        Setting(
            "kafka-host",
            "Address or name to listen on for Kafka's clients; other than loopback needs --insecure.",
            read_text,
        ),
    )
    kafka_port: int = _setting(
        9092,
        Setting(
            "kafka-port",
            "TCP port for Kafka's clients; 0 takes a free one.",
            lambda value: read_integer(value, 0, LAST_PORT),
        ),
    )
    kafka_advertise: str | None = _setting(
        None,
        Setting(
            "kafka-advertise",
            "The address that Kafka's clients are told to connect to; the one that they have found, unless given.",
            read_address,
            lambda value: value or "",
            "HOST:PORT",
        ),
    )
    kafka_partitions: int | None = _setting(
        None,
        Setting(
            "kafka-partitions",
            "How many partitions a topic has that a Kafka client makes; as --partitions, unless given.",
            lambda value: read_integer(value, 1, 1024),
            lambda value: str(value or ""),
            "N",
        ),
    )
    kafka_auto_create: bool = _setting(
        True,
        Setting(
            "kafka-auto-create", "Make topics that Kafka's clients ask for and that do not exist.", read_bool, show_bool
        ),
    )
    kafka_group_delay_seconds: float = _setting(
        0.0,
        Setting(
            "kafka-group-delay",
            "How long a new group of Kafka's waits for further members before it shares out partitions.",
            read_seconds,
            show_seconds,
            "SECONDS",
        ),
    )
    lease_seconds: float = _setting(
        30.0,
        Setting(
            "lease",
            "How long a leased message may take to be acknowledged.",
            lambda value: read_seconds(value, 0.001),
            show_seconds,
            "SECONDS",
        ),
    )
    max_attempts: int = _setting(
        5,
        Setting(
            "max-attempts",
            "So often a leased message is delivered before it is a dead letter; 0: for ever.",
            lambda value: read_integer(value, 0, 1_000_000),
        ),
    )
    partitions: int = _setting(
        1, Setting("partitions", "How many partitions a topic has.", lambda value: read_integer(value, 1, 1024))
    )
    max_topics: int = _setting(
        10_000, Setting("max-topics", "How many topics at once.", lambda value: read_integer(value, 1, 1_000_000))
    )
    max_groups: int = _setting(
        10_000,
        Setting(
            "max-groups", "How many groups at once, of all topics.", lambda value: read_integer(value, 1, 1_000_000)
        ),
    )
    max_connections: int = _setting(
        16_384,
        Setting("max-connections", "How many clients at once.", lambda value: read_integer(value, 1, 10_000_000)),
    )
    grace_seconds: float = _setting(
        10.0,
        Setting("grace", "How long stopping may take.", read_seconds, show_seconds, "SECONDS"),
    )
    banner: bool = _setting(
        True, Setting("banner", "Greet TCP clients with the list of commands.", read_bool, show_bool)
    )
    insecure: bool = _setting(
        False,
        Setting("insecure", "Allow listening where other machines can connect.", read_bool, show_bool),
    )
    log_level: str = _setting(
        "info", Setting("log-level", f"What is logged: {', '.join(LOG_LEVELS)}.", read_log_level, metavar="LEVEL")
    )
    log_json: bool = _setting(
        False, Setting("log-json", "Log JSON, one object a line, for machines.", read_bool, show_bool)
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
