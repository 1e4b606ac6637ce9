"""The command line: arguments to a Config and a Service, or to a Client. The only place that prints.

gevent, rich and the server are imported by the command that needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gstream import __version__
from gstream.config import SOURCES, LoadedConfig, Setting, load_config, settings
from gstream.errors import GstreamError

if TYPE_CHECKING:
    from gstream.client import Client

__all__ = ["cli", "run"]

F = TypeVar("F", bound=Callable[..., Any])

EXIT_NOTHING, EXIT_ERROR, EXIT_INTERRUPTED = 1, 2, 130
CHUNK_MESSAGES = 100
"""Consumed and printed at a time: so many can be lost when standard output breaks."""

LONGEST_LINE_BYTES = 1 << 30
"""No server takes a longer one."""

LONGEST_WAIT_SECONDS = 100_000_000
"""Three years."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Error(click.ClickException):
    """One line on standard error, exit code 2."""

    exit_code = EXIT_ERROR

    def show(self, file: Any = None) -> None:
        # What a name or a server holds must neither make a second line nor reach the terminal as a control sequence.
        message = "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode() for each in self.format_message()
        )
        click.echo(f"gstream: {message}", file=file, err=True)


def _told_in_one_line(command: F) -> F:
    @wraps(command)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except GstreamError as error:
            raise _Error(str(error)) from None
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)

    return wrapper  # type: ignore[return-value]


def _options(*names: str) -> Callable[[F], F]:
    """Flags for these settings (all, if none is named), and ``--config``; they reach the command as given."""

    def decorate(command: F) -> F:
        command = click.option("--config", metavar="FILE", help="Read settings from a TOML file.")(command)
        for each, setting in reversed(settings()):
            if not names or setting.option in names:
                command = _option(setting, each.default)(command)
        return command

    return decorate


def _option(setting: Setting, default: Any) -> Callable[[F], F]:
    name = setting.option.replace("-", "_")
    if isinstance(default, bool):
        flag = f"--{setting.option}" + ("/--no-banner" if default else "")
        note = "  [default: on]" if default else ""
        return click.option(flag, name, is_flag=True, default=None, help=setting.help + note)
    note = f"  [default: {setting.show(default)}]" if default is not None else ""
    metavar = setting.metavar or ("N" if isinstance(default, int) else "TEXT")
    return click.option(f"--{setting.option}", name, metavar=metavar, help=setting.help + note)


def _load(options: dict[str, Any]) -> LoadedConfig:
    path = options.pop("config")
    flags = {
        name.replace("_", "-"): str(value).lower() if isinstance(value, bool) else value
        for name, value in options.items()
    }
    return load_config(flags, os.environ, path)


@click.group(
    context_settings=CONTEXT,
    epilog="""
Examples:

\b
  gstream                                  serve on 127.0.0.1:8080 (the same as: gstream serve)
  printf 'pHello\\nc\\nq\\n' | nc 127.0.0.1 8080
  seq 1000 | gstream publish
  gstream consume -n 10 --wait 5

\b
gstream COMMAND --help tells more.
""",
)
@click.version_option(__version__, message="gstream %(version)s")
def cli() -> None:
    """A Kafka-like message server: publish and consume over TCP."""


def run(arguments: list[str]) -> None:
    """The command line; ends the process."""
    try:
        cli(arguments, prog_name="gstream")
    except OSError as error:  # click's own printing, of --help
        _drop_output()
        _Error(f"cannot print: {error.strerror}").show()
        sys.exit(EXIT_ERROR)


@cli.command(
    context_settings=CONTEXT,
    epilog="""
Each option is also a variable of the environment (GSTREAM_MAX_MEMORY for --max-memory, GSTREAM_CONFIG for --config) and
a key in the TOML file (max-memory = "2GiB"). Options win over the environment, the environment over the file.

\b
Examples:
  gstream serve --port 9000 --max-memory 2GiB
  gstream serve --socket /run/user/1000/gstream.sock
  GSTREAM_LOG_JSON=1 gstream serve --config gstream.toml
  gstream serve --config gstream.toml --check

SIGTERM or Ctrl-C stops it: what was read is answered first. A second one ends it at once.
""",
)
@_options()
@click.option("--check", is_flag=True, help="Print the settings in force and where they come from, and end.")
@_told_in_one_line
def serve(check: bool, **options: Any) -> None:
    """Run the server."""
    loaded = _load(options)
    config = loaded.config
    if check:
        from gstream.listeners import resolve

        resolve(config.host, config.port, insecure=config.insecure)
        _print(os.fsencode("\n".join(loaded.lines()) + "\n"))
        return
    from gstream.logs import configure_logging
    from gstream.service import Service

    configure_logging(config.log_level, as_json=config.log_json)
    service = Service(config)
    with service:
        _stop_on_signals(service.request_stop)
        if not config.log_json and sys.stdout is not None:
            where = f"gstream {__version__} listens on {' and '.join(service.endpoints)}"
            _print(os.fsencode(f"{where}\n{service.engine.name}: {service.engine.promise}\n"))
        service.run_until_stopped()


def _stop_on_signals(stop: Callable[[], None]) -> None:
    import signal

    import gevent

    def first_signal() -> None:
        for handler in handlers:
            handler.cancel()
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        stop()

    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = [gevent.signal_handler(number, first_signal) for number in numbers]


@cli.command(
    context_settings=CONTEXT,
    epilog="""
\b
Examples:
  echo hello | gstream publish
  gstream publish words.txt more.txt
  tail -f app.log | gstream publish --host queue.example --port 9000

Every message is confirmed by the server before this ends. Exit code 0: all are stored; 2: an error, which tells how
many are.
""",
)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path())
@_options("host", "port", "socket")
@_told_in_one_line
def publish(files: tuple[str, ...], **options: Any) -> None:
    """Publish each line of FILEs (standard input, or -) as a message."""
    published = 0
    with _connect(options) as client:
        from gstream.errors import RefusedError

        try:
            with _Progress(files) as progress:
                for size, lines in _read_lines(files or ("-",)):
                    published += client.publish(lines)
                    progress.advance(size, published)
        except RefusedError as error:
            raise _Error(
                f"{error} ({published + error.confirmed} messages were published, some perhaps behind it)"
            ) from None
        except click.ClickException as error:  # of reading
            raise _Error(f"{error.message} ({published} messages were published before)") from None
        except (GstreamError, ValueError) as error:
            raise _Error(f"{error} (at least {published} messages were published before)") from None
        except KeyboardInterrupt:
            click.echo(f"gstream: interrupted (at least {published} messages were published before)", err=True)
            raise


@cli.command(
    context_settings=CONTEXT,
    epilog="""
\b
Examples:
  gstream consume
  gstream consume -n 1000 > batch.txt
  while gstream consume --wait 60; do :; done

Exit code 0: at least one message was there; 1: nothing there; 2: an error; 130: interrupted.
""",
)
@click.option("-n", "count", metavar="N", type=click.IntRange(1), default=1, help="At most so many.  [default: 1]")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=float,
    default=0.0,
    callback=lambda _context, _option, value: _check_seconds(value),
    help="Wait so long for them to come.  [default: do not wait]",
)
@_options("host", "port", "socket")
@_told_in_one_line
def consume(count: int, wait: float, **options: Any) -> None:
    """Take messages and print them, one a line, oldest first."""
    import time

    deadline = time.monotonic() + wait
    consumed = 0
    with _connect(options) as client:
        while consumed < count:
            left = max(0.0, deadline - time.monotonic())
            bodies = client.consume(min(CHUNK_MESSAGES, count - consumed), wait_seconds=left)
            if not bodies:
                break
            consumed += len(bodies)
            _print(b"".join(body + b"\n" for body in bodies), f" (up to {len(bodies)} messages are lost)")
    if not consumed:
        sys.exit(EXIT_NOTHING)


def _check_seconds(value: float) -> float:
    if not 0 <= value <= LONGEST_WAIT_SECONDS:  # keeps nan out
        raise click.BadParameter(f"{value:g} is not a number of seconds from 0 to {LONGEST_WAIT_SECONDS:,}")
    return value


def _print(data: bytes, harm: str = "") -> None:
    """Write to standard output, at once. The error, if there is one, says what harm is done."""
    if sys.stdout is None:
        raise _Error(f"cannot print: standard output is closed{harm}")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        _drop_output()
        raise _Error(f"cannot print: {error.strerror}{harm}") from None


def _drop_output() -> None:
    """What is still buffered for standard output must not fail again when Python ends."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _connect(options: dict[str, Any]) -> Client:
    from gstream.client import Client

    loaded = _load(options)
    config, rank = loaded.config, {name: SOURCES.index(source) for name, source in loaded.sources.items()}
    # --port says another server than GSTREAM_SOCKET
    socket_path = config.socket if rank["socket"] <= min(rank["host"], rank["port"]) else None
    return Client(config.host, config.port, socket_path=socket_path)


def _read_lines(files: tuple[str, ...]) -> Iterator[tuple[int, list[bytes]]]:
    """The lines of the files as they come, without their endings, and how many bytes they took."""
    for path in files:
        is_input = path == "-"
        name = "standard input" if is_input else path
        if is_input and sys.stdin is None:  # and its number may be the socket's by now
            raise _Error("cannot read standard input: it is closed")
        held = bytearray()
        try:
            with open(0 if is_input else path, "rb", buffering=0, closefd=not is_input) as file:
                while data := os.read(file.fileno(), 1 << 16):
                    *lines, rest = data.split(b"\n")
                    if lines:
                        lines[0] = bytes(held) + lines[0]
                        held.clear()
                    held += rest
                    if len(held) > LONGEST_LINE_BYTES:
                        raise _Error(f"a line of {name} is longer than {LONGEST_LINE_BYTES} bytes")
                    yield len(data), [line.removesuffix(b"\r") for line in lines]
        except OSError as error:
            raise _Error(f"cannot read {name}: {error.strerror}") from None
        if held:
            yield 0, [bytes(held).removesuffix(b"\r")]


class _Progress:
    """A progress bar on standard error, where that is a terminal."""

    def __init__(self, files: tuple[str, ...]) -> None:
        self._files = files
        self._bar: Any = None

    def __enter__(self) -> _Progress:
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            sizes = [os.stat(path).st_size for path in self._files if os.path.isfile(path)]
            known = sum(sizes) if self._files and len(sizes) == len(self._files) else None
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task("0 messages", total=known)
        return self

    def advance(self, size: int, published: int) -> None:
        """So many more bytes read, so many messages published by now."""
        if self._bar is not None:
            self._bar.update(self._task, advance=size, description=f"{published:,} messages")

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
