"""``python -m gstream`` and the ``gstream`` command; without a command it serves."""

from __future__ import annotations

import sys

from gstream.cli import run

__all__ = ["main"]


def main() -> None:
    """Run the command line; ends the process."""
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments = ["serve", *arguments]
    run(arguments)


if __name__ == "__main__":
    main()
