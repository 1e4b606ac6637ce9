"""The command line: arguments to a Config and a Service, or to a Client. The only place that prints.

A file is a command. gevent, rich, the client and the server are imported by the command that needs them, so that
``--help`` answers at once.
"""

from __future__ import annotations

import sys

import click

from gstream import __version__
from gstream.cli.bench import bench
from gstream.cli.completion import completion
from gstream.cli.consume import consume
from gstream.cli.groups import groups
from gstream.cli.log import log
from gstream.cli.options import CONTEXT
from gstream.cli.output import EXIT_ERROR, CommandError, drop_output
from gstream.cli.peek import peek
from gstream.cli.ping import ping
from gstream.cli.publish import publish
from gstream.cli.seek import seek
from gstream.cli.serve import serve
from gstream.cli.stats import stats
from gstream.cli.top import top
from gstream.cli.topics import topics

__all__ = ["cli", "run"]


@click.group(
    context_settings=CONTEXT,
    epilog="""
Examples:

\b
  gstream                                  serve on 127.0.0.1:8080 (the same as: gstream serve)
  printf 'pHello\\nc\\nq\\n' | nc 127.0.0.1 8080
  seq 1000 | gstream publish -t numbers
  gstream consume -t numbers -n 10 --wait 5
  gstream consume -t numbers --follow --exec 'mail -s number me' -j 4
  gstream top

gstream COMMAND --help tells more. Every command finds the server by --host and --port or --socket, or by GSTREAM_HOST,
GSTREAM_PORT, GSTREAM_SOCKET; -t and -g, where they say which one to use, by GSTREAM_TOPIC and GSTREAM_GROUP. Exit
codes: 0 done; 1 nothing there; 2 an error, told in one line on standard error (a wrong option or argument: below how
the command is used); 130 interrupted; 141 whoever read the output, as head does, left before its end.
""",
)
@click.version_option(__version__, message="gstream %(version)s")
def cli() -> None:
    """A Kafka-like message server: publish and consume over TCP."""


for _command in (serve, publish, consume, topics, groups, peek, seek, stats, ping, top, bench, log, completion):
    cli.add_command(_command)


def run(arguments: list[str]) -> None:
    """The command line; ends the process."""
    try:
        cli(arguments, prog_name="gstream")
    except OSError as error:  # click's own printing, of --help
        drop_output()
        CommandError(f"cannot print: {error.strerror}").show()
        sys.exit(EXIT_ERROR)
