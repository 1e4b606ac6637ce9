"""Messages from files and standard input: cut at LF or at NUL, as they come.

Knows nothing of what becomes of them.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator

from gstream.cli.output import CommandError

__all__ = ["is_typed", "read_pieces", "total_size"]

LONGEST_MESSAGE_BYTES = 1 << 30
"""No server takes a longer one."""


def read_pieces(files: tuple[str, ...], separator: bytes = b"\n") -> Iterator[tuple[int, list[bytes]]]:
    """What the files hold, without the separators, as it comes, and how many bytes it took; ``-``: standard input.

    With LF as the separator, one CR before it belongs to the line ending. What stands behind the last separator is a
    piece, too, if it is anything.

    Raises CommandError for a file that cannot be read.
    """
    ending = b"\r" if separator == b"\n" else b""
    for path in files:
        is_input = path == "-"
        name = "standard input" if is_input else path
        if is_input and sys.stdin is None:  # and its number may be the socket's by now
            raise CommandError("cannot read standard input: it is closed")
        held = bytearray()
        try:
            with open(0 if is_input else path, "rb", buffering=0, closefd=not is_input) as file:
                while data := os.read(file.fileno(), 1 << 16):
                    *pieces, rest = data.split(separator)
                    if pieces:
                        pieces[0] = bytes(held) + pieces[0]
                        held.clear()
                    held += rest
                    if len(held) > LONGEST_MESSAGE_BYTES:
                        raise CommandError(f"a message of {name} is longer than {LONGEST_MESSAGE_BYTES} bytes")
                    yield len(data), [piece.removesuffix(ending) for piece in pieces] if ending else pieces
        except FileNotFoundError as error:
            advice = f"arguments are files; to send text: echo {shlex.quote(path)} | gstream publish"
            raise CommandError(f"cannot read {name}: {error.strerror}; {advice}") from None
        except OSError as error:
            raise CommandError(f"cannot read {name}: {error.strerror}") from None
        if held:
            yield 0, [bytes(held).removesuffix(ending)]


def is_typed(files: tuple[str, ...]) -> bool:
    """Whether somebody types what is read: standard input is a terminal."""
    return (not files or "-" in files) and sys.stdin is not None and sys.stdin.isatty()


def total_size(files: tuple[str, ...]) -> int | None:
    """How many bytes the files hold; None if that is not known."""
    sizes = [os.stat(path).st_size for path in files if os.path.isfile(path)]
    return sum(sizes) if files and len(sizes) == len(files) else None
