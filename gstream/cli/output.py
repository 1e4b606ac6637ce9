"""Standard output and standard error: how the commands print, fail and end.

Data goes to standard output, a message at a time; everything else is one line on standard error, but for a command line
that is none: click shows how it is used. Knows no command.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar

import click

from gstream.errors import GstreamError, ServerUnreachableError

__all__ = [
    "EXIT_ERROR",
    "EXIT_INTERRUPTED",
    "EXIT_NOTHING",
    "CommandError",
    "ReaderGoneError",
    "drop_output",
    "note",
    "plural",
    "print_bytes",
    "print_lines",
    "told_in_one_line",
]

F = TypeVar("F", bound=Callable[..., Any])

EXIT_NOTHING, EXIT_ERROR, EXIT_INTERRUPTED = 1, 2, 130
EXIT_READER_GONE = 141
"""What a shell tells of a program that SIGPIPE has ended."""

NOBODY_THERE = "no gstream server at "
"""What the client says of an address at which nothing answers begins so."""

PATIENCE_MILLISECONDS = 1000
"""A reader that is slower than that is slow: leases have to be extended."""


class CommandError(click.ClickException):
    """One line on standard error, exit code 2."""

    exit_code = EXIT_ERROR

    def show(self, file: Any = None) -> None:
        """Print it."""
        click.echo(f"gstream: {_one_line(self.format_message())}", file=file, err=True)


class ReaderGoneError(CommandError):
    """Whoever read standard output has had enough, as ``head`` has: nothing is said."""

    exit_code = EXIT_READER_GONE

    def show(self, file: Any = None) -> None:
        """Print nothing."""


def plural(count: int, noun: str) -> str:
    """A count and what is counted: ``1 message``, ``1,000 messages``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def note(text: str) -> None:
    """A line on standard error about something that does not end the command."""
    with suppress(OSError):  # nobody reads it
        click.echo(f"gstream: {_one_line(text)}", err=True)


def _one_line(text: str) -> str:
    """What a name or a server holds must neither make a second line nor reach the terminal as a control sequence."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def told_in_one_line(command: F) -> F:
    """A command whose errors are one line, and whose end by Ctrl-C is exit code 130."""

    @wraps(command)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except GstreamError as error:
            raise CommandError(_with_advice(error)) from None
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)

    return wrapper  # type: ignore[return-value]


def _with_advice(error: GstreamError) -> str:
    text = str(error)
    if isinstance(error, ServerUnreachableError) and text.startswith(NOBODY_THERE):
        return f"{text} (start one with `gstream serve`, or name it with --host and --port)"
    return text


def print_lines(*lines: str) -> None:
    """Print lines of text at once."""
    print_bytes("".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))


def print_bytes(data: bytes, harm: str = "", *, while_blocked: Callable[[], None] | None = None) -> None:
    """Write to standard output, at once. The error, if there is one, says what harm is done.

    while_blocked: called every second while whoever reads standard output does not.

    Raises CommandError; ReaderGoneError if nobody reads any more.
    """
    if sys.stdout is None:
        raise CommandError(f"cannot print: standard output is closed{harm}")
    try:
        if while_blocked is None:
            _write(data)
        else:
            _write_patiently(data, while_blocked)
    except BrokenPipeError:
        drop_output()
        raise ReaderGoneError("nobody reads standard output any more") from None
    except OSError as error:
        drop_output()
        raise CommandError(f"cannot print: {error.strerror}{harm}") from None


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _write_patiently(data: bytes, while_blocked: Callable[[], None]) -> None:
    try:
        descriptor = sys.stdout.fileno()
    except io.UnsupportedOperation:
        _write(data)
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    left = memoryview(data)
    while left:
        if poll.poll(PATIENCE_MILLISECONDS):
            # No more than this is sure not to block: pipe(7).
            left = left[os.write(descriptor, left[: select.PIPE_BUF]) :]
        else:
            while_blocked()


def drop_output() -> None:
    """What is still buffered for standard output must not fail again when Python ends."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
