"""Options that many commands share: settings, where the server is, topic and group; and the Client that they describe.

Knows the settings by their rows in Config; a Client is imported when one is needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gstream.config import SOURCES, LoadedConfig, Setting, load_config, settings
from gstream.errors import ConfigError, GstreamError

if TYPE_CHECKING:
    from gstream.client import Client

__all__ = [
    "CONTEXT",
    "DEFAULT",
    "address_of",
    "check_name",
    "check_seconds",
    "complete_group",
    "complete_topic",
    "connect",
    "connection_options",
    "group_option",
    "inherited",
    "load",
    "seconds_option",
    "setting_options",
    "topic_option",
]

F = TypeVar("F", bound=Callable[..., Any])

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
DEFAULT = "default"
"""The topic and the group of who names none."""

LONGEST_WAIT_SECONDS = 100_000_000
"""Three years."""

GREETING_SECONDS = 0.9
"""A server, or whatever else is there, that says nothing is told within a second."""

COMPLETION_SECONDS = 0.5
"""Nobody waits longer for a Tab."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_HOST_AND_PORT = re.compile(r"([^:]+|\[.*\]):[0-9]+")
_CONNECTION = {
    "host": "Address or name of the server.",
    "port": "Its TCP port.",
    "socket": "Its unix socket, instead of host and port.",
}


def setting_options(command: F) -> F:
    """Flags for all settings, and ``--config``; they reach the command as given."""
    return _setting_options(command, {setting.option: setting.help for _, setting in settings()})


def connection_options(command: F) -> F:
    """``--host``, ``--port``, ``--socket`` and ``--config``."""
    return _setting_options(command, _CONNECTION)


def topic_option(help: str, default: str | None = DEFAULT) -> Callable[[F], F]:
    """``-t``, or, where the default is a topic, GSTREAM_TOPIC."""
    return _name_option("topic", help, default, complete_topic)


def group_option(help: str) -> Callable[[F], F]:
    """``-g``, or GSTREAM_GROUP."""
    return _name_option("group", help, DEFAULT, complete_group)


def seconds_option(flag: str, help: str, default: float | None = 0.0) -> Callable[[F], F]:
    """An option that takes seconds, from 0 to three years."""
    return click.option(
        flag,
        metavar="SECONDS",
        type=float,
        default=default,
        help=help,
        callback=lambda _context, _option, value: value if value is None else check_seconds(value),
    )


def check_seconds(value: float) -> float:
    """Refuse what are no seconds, or too many, by click.BadParameter."""
    if not 0 <= value <= LONGEST_WAIT_SECONDS:  # keeps nan out
        raise click.BadParameter(f"{value:g} is not a number of seconds from 0 to {LONGEST_WAIT_SECONDS:,}")
    return value


def check_name(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Refuse what cannot be the name of a topic or a group, by click.BadParameter; None is no name, and is let pass."""
    if value is not None and _NAME.fullmatch(value) is None:
        raise click.BadParameter(f"a name is 1 to 249 letters, digits, '.', '_' or '-', not {value!r}")
    return value


def load(options: dict[str, Any]) -> LoadedConfig:
    """The configuration that these options, the environment and the file make. Raises ConfigError."""
    path = options.get("config")
    flags = {
        name.replace("_", "-"): str(value).lower() if isinstance(value, bool) else value
        for name, value in options.items()
        if name != "config"
    }
    loaded = load_config(flags, os.environ, path)
    host = loaded.config.host
    if _HOST_AND_PORT.fullmatch(host):  # "::1" is none
        raise ConfigError(f"--host: {host!r} has a port, which goes into --port")
    return loaded


def address_of(options: dict[str, Any]) -> tuple[str, int, str | None]:
    """Host, port, and the path of the unix socket if that is the one to use. Raises ConfigError."""
    loaded = load(options)
    config, rank = loaded.config, {name: SOURCES.index(source) for name, source in loaded.sources.items()}
    # --port says another server than GSTREAM_SOCKET
    socket_path = config.socket if rank["socket"] <= min(rank["host"], rank["port"]) else None
    return config.host, config.port, socket_path


def connect(options: dict[str, Any], *, reconnect_seconds: float = 0.0, **more: Any) -> Client:
    """A Client of the server that the options describe.

    reconnect_seconds: 0 for commands that do one thing and end. more: arguments of Client.
    """
    from gstream.client import Client

    host, port, socket_path = address_of(options)
    more = {"greeting_seconds": GREETING_SECONDS, **more}
    return Client(host, port, socket_path=socket_path, reconnect_seconds=reconnect_seconds, **more)


def inherited(context: click.Context) -> dict[str, Any]:
    """What a command was told of where the server is, behind its name or, if it is a sub-command, before it."""
    options: dict[str, Any] = dict.fromkeys((*_CONNECTION, "config"))
    each: click.Context | None = context
    while each is not None:
        options = {name: each.params.get(name) if value is None else value for name, value in options.items()}
        each = each.parent
    return options


def complete_group(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The groups of the topic, for the shell."""
    topic = context.params.get("topic") or os.environ.get("GSTREAM_TOPIC") or DEFAULT
    marks = [name for name in _ask(context, lambda client: list(client.stats(topic))) if name.startswith("group.")]
    groups = sorted({name.removeprefix("group.").rpartition(".")[0] for name in marks})
    return [name for name in groups if name.startswith(incomplete)]


def complete_topic(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The topics of the server, for the shell."""
    topics = _ask(context, lambda client: sorted(client.topics()))
    return [name for name in topics if name.startswith(incomplete)]


def _ask(context: click.Context, question: Callable[[Client], list[str]]) -> list[str]:
    """What a server answers that is there; nothing otherwise, and nothing is printed."""
    with suppress(GstreamError), connect(inherited(context), timeout=COMPLETION_SECONDS) as client:
        return question(client)
    return []


def _name_option(
    name: str, help: str, default: str | None, complete: Callable[[click.Context, click.Parameter, str], list[str]]
) -> Callable[[F], F]:
    shown = f"  [default: {default}]" if default else ""
    return click.option(
        f"-{name[0]}",
        f"--{name}",
        name,
        metavar="NAME",
        default=default,
        # What is about all topics, or has one of its own, is not turned upon one by the environment.
        envvar=f"GSTREAM_{name.upper()}" if default else None,
        callback=check_name,
        shell_complete=complete,
        help=help + shown,
    )


def _setting_options(command: F, helps: Mapping[str, str]) -> F:
    command = click.option("--config", metavar="FILE", help="Read settings from a TOML file.")(command)
    for each, setting in reversed(settings()):
        if setting.option in helps:
            command = _setting_option(setting, each.default, helps[setting.option])(command)
    return command


def _setting_option(setting: Setting, default: Any, help: str) -> Callable[[F], F]:
    name = setting.option.replace("-", "_")
    if isinstance(default, bool):
        flag = f"--{setting.option}" + (f"/--no-{setting.option}" if default else "")
        shown = "  [default: on]" if default else ""
        return click.option(flag, name, is_flag=True, default=None, help=help + shown)
    shown = f"  [default: {setting.show(default)}]" if default is not None else ""
    metavar = setting.metavar or ("N" if isinstance(default, int) else "TEXT")
    return click.option(f"--{setting.option}", name, metavar=metavar, help=help + shown)
