"""``gstream bench``: a load on a server, and its rates and latencies as a table."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from gstream.cli.options import CONTEXT, address_of, connect, connection_options, topic_option
from gstream.cli.output import CommandError, note, plural, print_lines, told_in_one_line
from gstream.cli.progress import Progress
from gstream.cli.table import table_lines

if TYPE_CHECKING:
    from gstream.cli.load import Kind, Result
    from gstream.client import Client

__all__ = ["bench"]

TESTS = ("ping", "publish", "consume", "lease")
PERCENTS = (50, 90, 99, 99.9, 100)
SMALLEST_BODY_BYTES = 8
"""A body begins with its number."""

MOST_OPERATIONS = 10_000_000
SATURATED = 0.9


@click.command(
    context_settings=CONTEXT,
    short_help="Measure the rates and latencies of a server.",
    epilog="""
\b
  ping      round trips without a message
  publish   each message is confirmed
  consume   each message is asked for by itself (w0), and taken for good
  lease     each message is leased (r0) and acknowledged

A window of 1 shows round trips, a wider one what can go through: the latency is then that of a full pipeline. This
client is one process in Python; when it cannot keep up with the server it says so.

The topic is its own, bench.PID, unless -t says otherwise: then whoever consumes from it gets the messages, too. The
group is its own, bench.PID, in any case. At the end its own topic is removed. In another's it has consumed what was
published, and its group is forgotten; what stays until others need the room is what the server retains (--retain).

\b
Examples:
  gstream bench
  gstream bench publish -n 1000000 -w 1000
  gstream bench lease -c 50 -s 1024
  gstream bench publish consume --json | jq '{test, rate, p99}'

Exit code 0: everything was answered as it should; 2: an error; 130: interrupted.
""",
)
@click.argument("tests", nargs=-1, metavar="[ping|publish|consume|lease]...", type=click.Choice(TESTS))
@click.option(
    "-c", "--connections", metavar="N", type=click.IntRange(1, 10_000), default=10, help="At once.  [default: 10]"
)
@click.option(
    "-n",
    "--count",
    metavar="N",
    type=click.IntRange(1, MOST_OPERATIONS),
    default=50_000,
    help="Operations of each test, on all connections together.  [default: 50000]",
)
@click.option(
    "-s",
    "--size",
    metavar="BYTES",
    type=click.IntRange(SMALLEST_BODY_BYTES),
    default=100,
    help="Of a message's body.  [default: 100]",
)
@click.option(
    "-w",
    "--window",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=1,
    help="Operations under way on each connection.  [default: 1]",
)
@topic_option("The topic to use.  [default: bench.PID]", default=None)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each test; times in milliseconds.")
@connection_options
@told_in_one_line
def bench(
    tests: tuple[str, ...],
    connections: int,
    count: int,
    size: int,
    window: int,
    topic: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure the rates and latencies of a server, by each test that is named, or by all."""
    from gstream.cli.load import KINDS, Load

    name = f"bench.{os.getpid()}"
    host, port, socket_path = address_of(options)
    results = []
    with connect(options, topic=topic or name, group=name) as client:
        try:
            for test in tests or TESTS:
                kind = KINDS[test]
                _prepare(client, kind, count, size)
                load = Load(
                    kind,
                    socket_path or (host, port),
                    topic=topic or name,
                    group=name,
                    connections=connections,
                    count=count,
                    size=size,
                    window=window,
                )
                with Progress(count) as progress:

                    def follow(done: int, test: str = test, progress: Progress = progress) -> None:
                        progress.reach(done, f"{test} {done:,}")

                    result = load.run(follow)
                _verify(client, kind, count)
                results.append(result)
                if as_json:
                    print_lines(json.dumps(_row(result)))
        finally:
            _clean(client)
    if not as_json:
        _print_table(results, connections, size, window)


def _prepare(client: Client, kind: type[Kind], count: int, size: int) -> None:
    """An empty group, and as many messages as the test needs."""
    client.seek("end")
    if kind.needs_messages:
        maker = kind(count, size)
        client.publish(maker.body(number) for number in range(count))


def _verify(client: Client, kind: type[Kind], count: int) -> None:
    """Whether the server counts what the test has done: raises CommandError."""
    lag = client.stats(client.topic)[f"group.{client.group}.lag"]
    wanted = count if kind.name == "publish" else 0
    if lag != wanted and client.topic == client.group:  # in another's topic, others may publish
        raise CommandError(f"{kind.name}: the server holds {lag} messages where {wanted} were expected")


def _clean(client: Client) -> None:
    from gstream.errors import ClientError

    with suppress(ClientError):  # why it ends says more
        client.seek("end")  # what is still leased, by connections whose end was not noticed yet, would keep the topic
        if client.topic != client.group:
            client.forget_group(client.group)
        else:
            client.delete_topic(client.topic)


def _row(result: Result) -> dict[str, Any]:
    row: dict[str, Any] = {
        "test": result.kind,
        "count": result.operations,
        "seconds": round(result.seconds, 6),
        "rate": round(result.operations / result.seconds, 1),
        "bytes_per_second": round(result.bytes / result.seconds, 1),
    }
    for percent in PERCENTS:
        row["max" if percent == 100 else f"p{percent}"] = round(result.percentile(percent) * 1000, 4)  # noqa: PLR2004
    row["client_cpu"] = round(result.busy_seconds / result.seconds, 3)
    return row


def _print_table(results: list[Result], connections: int, size: int, window: int) -> None:
    heading = ["TEST", "COUNT", "SECONDS", "PER SECOND", "MB/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"]
    rows = [
        (
            result.kind,
            result.operations,
            f"{result.seconds:.2f}",
            f"{result.operations / result.seconds:,.0f}",
            f"{result.bytes / result.seconds / 1e6:.1f}",
            *(f"{result.percentile(percent) * 1000:.3f}" for percent in PERCENTS),
        )
        for result in results
    ]
    print_lines(f"{plural(connections, 'connection')}, {size} bytes, window {window}", "", *table_lines(heading, rows))
    for result in results:
        if result.busy_seconds > SATURATED * result.seconds:
            note(f"{result.kind}: this client was busy all the time: the rate is its own limit, not the server's")
