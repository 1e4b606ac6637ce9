"""The figures as tables of text: the same ones for the terminal and for the page.

Owns how a number reads. A cell is a median and, below it, the least and the most of the rounds; a table's columns are
the servers that took part, so nothing is said of one that did not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bars import Verdict, judge
from bench import PIPELINED_CONNECTIONS, SINGLE_CONNECTIONS
from deliveries import BATCH, BURST
from results import Results, Summary
from scenarios import CONNECTIONS, WINDOWS

TITLES = {"gstream": "gstream", "redis": "Redis", "beanstalkd": "beanstalkd", "floor": "floor"}
"""In the order of the columns."""
NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    text: str
    spread: str = ""


@dataclass(frozen=True)
class Table:
    name: str
    """A section's file names and anchors are made of it."""
    title: str
    header: list[str]
    labels: int
    """The first so many columns are words, the others figures."""
    rows: list[list[Cell]] = field(default_factory=list)


def list_tables(results: Results) -> list[Table]:
    """Those that anything was measured for."""
    makers = (
        *(_one_at_a_time, _pipelined, _latency),
        *(_deliveries, _leases, _wake),
        *(_queue_memory, _groups, _open_leases, _returns),
        *(_idle, _fairness, _start),
        *(_disk, _disk_latency, _disk_cold, _disk_space, _disk_restart, _bars),
    )
    return [table for table in (make(results) for make in makers) if table.rows]


def servers_of(results: Results) -> list[str]:
    """In the order of the tables, whichever was measured first."""
    return [name for name in TITLES if name in results.servers()]


def number(value: float) -> str:
    """Three digits that count: the rest is noise."""
    if value == 0:
        return "0"
    digits = 0
    while digits < 3 and abs(value) * 10**digits < 99.95:
        digits += 1
    if digits:
        return f"{value:.{digits}f}" if abs(value) >= 0.01 else f"{value:.2g}"
    scale = 10 ** max(0, len(str(int(abs(value)))) - 3)
    return f"{round(value / scale) * scale:,}"


def duration(microseconds: float) -> str:
    if microseconds < 1000:
        return f"{number(microseconds)} µs"
    return f"{number(microseconds / 1000)} ms" if microseconds < 1e6 else f"{number(microseconds / 1e6)} s"


def memory(size: float) -> str:
    return f"{number(size / 1024)} KiB" if size >= 1024 else f"{number(size)} B"


def cell(summary: Summary | None, rounds: int, read: Callable[[float], str] = number) -> Cell:
    if summary is None:
        return Cell(NOTHING)
    least, most = read(summary.least), read(summary.most)
    return Cell(read(summary.median), f"{least} .. {most}" if rounds > 1 and least != most else "")


def _row(labels: Iterable[str], cells: Iterable[Cell]) -> list[Cell]:
    return [*map(Cell, labels), *cells]


def _any_figure(row: list[Cell], labels: int) -> bool:
    return any(each.text != NOTHING for each in row[labels:])


def _by_server(
    results: Results, name: str, title: str, labels: list[str], lines: Iterable[tuple[tuple[str, ...], str, str]],
    read: Callable[[float], str], ratios: bool = False,
) -> Table:  # fmt: skip
    """A column a server; a line is its labels, a scenario, and a figure of it."""
    servers = servers_of(results)
    peers = [peer for peer in servers if peer != "gstream"] if ratios and "gstream" in servers else []
    header = [*labels, *(TITLES[s] for s in servers), *(f"× {TITLES[p]}" for p in peers)]
    table = Table(name, title, header, len(labels))
    for words, scenario, figure in lines:
        cells = [cell(results.figure(scenario, figure, server), results.rounds, read) for server in servers]
        cells += [cell(results.ratio(scenario, figure, "gstream", peer), results.rounds) for peer in peers]
        if _any_figure(cells, 0):
            table.rows.append(_row(words, cells))
    return table


def _rates(results: Results, name: str, title: str, label: str, counts: Iterable[int]) -> Table:
    lines = [
        ((operation, f"{n:,}"), f"{name}-{n}", f"{operation}_rate")
        for operation in ("publish", "consume")
        for n in counts
    ]
    return _by_server(results, name, title, ["", label], lines, number, ratios=True)


def _one_at_a_time(results: Results) -> Table:
    return _rates(results, "one-at-a-time", "One message at a time, messages a second", "connections", CONNECTIONS)


def _pipelined(results: Results) -> Table:
    title = f"Pipelined on {PIPELINED_CONNECTIONS} connections, messages a second"
    return _rates(results, "pipelined", title, "at a time", WINDOWS)


def _latency(results: Results) -> Table:
    lines = [
        ((operation, f"{n:,}", percentile), f"one-at-a-time-{n}", f"{operation}_{percentile}_us")
        for operation in ("publish", "consume")
        for n in CONNECTIONS
        for percentile in ("p50", "p99")
    ]
    return _by_server(results, "latency", "Latency, one message at a time", ["", "connections", ""], lines, duration)


def _deliveries(results: Results) -> Table:
    lines = [
        (("taken, `w0 1000`",), "take-1000", "take_rate"),
        (("streamed, `s`, a backlog",), "stream", "backlog_rate"),
        (("streamed, `s`, while it is published",), "stream", "live_rate"),
        (("published, `p`",), "counted", "publish_rate"),
        (("published, `P`",), "counted", "publish_counted_rate"),
    ]
    title = f"Typed replies on {PIPELINED_CONNECTIONS} connections, messages a second"
    return _by_server(results, "deliveries", title, [""], lines, number)


def _leases(results: Results) -> Table:
    many, single = f"{PIPELINED_CONNECTIONS}", f"{SINGLE_CONNECTIONS}"
    lines = [
        (("leased, then acknowledged", many, f"{BATCH:,}"), "lease-100", "batch_rate"),
        (("leased, then acknowledged", single, "1"), "lease-1", "separate_rate"),
        (("acknowledged with the next request", single, "1"), "lease-1", "worker_rate"),
    ]
    title = "Leased and acknowledged, messages a second"
    return _by_server(results, "leases", title, ["", "connections", "at a time"], lines, number, ratios=True)


def _wake(results: Results) -> Table:
    lines = [
        (("publish to waiting consumer, p50",), "wake_p50_us", duration),
        (("publish to waiting consumer, p99",), "wake_p99_us", duration),
        (("echo beside it, p50",), "echo_p50_us", duration),
        (("echo beside it, p99",), "echo_p99_us", duration),
        (("p50 ÷ echo's p50",), "ratio", number),
    ]
    return _mixed(results, "wake", "A consumer that waits", lines)


def _queue_memory(results: Results) -> Table:
    lines = [
        (("published in bursts",), "memory-burst", "bytes_per_message"),
        (("published one at a time",), "memory-single", "bytes_per_message"),
    ]
    return _by_server(results, "memory", "Memory a queued message", [""], lines, memory)


def _groups(results: Results) -> Table:
    lines = [
        (("a message, with 1 group",), "bytes_one", memory),
        (("a message, with 10 groups",), "bytes_many", memory),
        (("ratio",), "ratio", number),
    ]
    return _mixed(results, "groups", "Memory of messages that several groups share", lines)


def _open_leases(results: Results) -> Table:
    lines = [
        ((form, what), f"leases-{scenario}", figure)
        for form, scenario in ((f"{BURST:,} at a time", "burst"), ("one at a time", "single"))
        for what, figure in (("with the message", "bytes_per_lease"), ("by leasing", "added_per_lease"))
    ]
    return _by_server(results, "open-leases", "Memory an open lease", ["leased", ""], lines, memory)


def _returns(results: Results) -> Table:
    lines = [
        ((how, what), f"return-{scenario}", figure)
        for how, scenario in (("their time is over", "expired"), ("the connections are closed", "closed"))
        for what, figure in (
            ("all are back after", "back_us"),
            ("beside it, p50", "beside_p50_us"),
            ("beside it, p99", "beside_p99_us"),
            ("beside it, slowest", "beside_max_us"),
        )
    ]
    title = f"{results.sizes.get('open_leases', 0):,.0f} leases end at once"
    return _by_server(results, "returns", title, ["", ""], lines, duration)


def _idle(results: Results) -> Table:
    lines = [
        (("connections held open",), "connections", lambda n: f"{n:,.0f}"),
        (("memory for each",), "bytes_per_connection", memory),
        (("first answer to a new one, median",), "answer_median_us", duration),
        (("first answer to a new one, slowest",), "answer_max_us", duration),
    ]
    return _mixed(results, "idle", "Idle connections", lines)


def _fairness(results: Results) -> Table:
    lines = [
        (("p50 alone",), "alone_p50_us", duration),
        (("p99 alone",), "alone_p99_us", duration),
        (("p50 beside the flood",), "beside_p50_us", duration),
        (("p99 beside the flood",), "beside_p99_us", duration),
        (("slowest beside the flood",), "beside_max_us", duration),
        (("commands a second that the flood was answered",), "flood_rate", number),
    ]
    return _mixed(results, "fairness", "A flood, and another connection beside it", lines)


def _mixed(
    results: Results, scenario: str, title: str, lines: Sequence[tuple[tuple[str, ...], str, Callable[[float], str]]]
) -> Table:
    """One scenario, a row a figure, each read in its own way."""
    labels = [""] * len(lines[0][0])
    parts = [_by_server(results, scenario, title, labels, [(words, scenario, f)], read) for words, f, read in lines]
    return Table(scenario, title, parts[0].header, len(labels), [row for part in parts for row in part.rows])


def _start(results: Results) -> Table:
    lines = [(("first answer after",), "start_ms", lambda ms: duration(ms * 1000))]
    return _mixed(results, "start", "Start", lines)


def _disk(results: Results) -> Table:
    many, single = f"{PIPELINED_CONNECTIONS}", f"{SINGLE_CONNECTIONS}"
    cases = [
        ("second", many, f"{BURST:,}", "pipelined-second"),
        ("always", many, f"{BURST:,}", "pipelined-always"),
        ("always", single, "1", "single-64"),
        ("always", "1", "1", "single-1"),
    ]
    lines = [
        ((operation, *labels), f"disk-{scenario}", f"{operation}_rate")
        for operation in ("publish", "consume")
        for *labels, scenario in cases
    ]
    lines.append((("both at once, leased", "always", f"2 × {many}", f"{BATCH}"), "disk-leases", "work_rate"))
    labels = ["", "synced", "connections", "at a time"]
    return _by_server(results, "disk", "On disk, messages a second", labels, lines, number, ratios=True)


def _disk_latency(results: Results) -> Table:
    lines = [
        ((operation, f"{n}", percentile), f"disk-single-{n}", f"{operation}_{percentile}_us")
        for operation in ("publish", "consume")
        for n in (1, SINGLE_CONNECTIONS)
        for percentile in ("p50", "p99")
    ]
    title = "Latency on disk, one message at a time, always synced"
    return _by_server(results, "disk-latency", title, ["", "connections", ""], lines, duration)


def _disk_cold(results: Results) -> Table:
    lines = [
        ((memory, what), f"{state}_{figure}", read)
        for memory, state in (("in the system's memory", "cached"), ("not in it", "dropped"))
        for what, figure, read in (
            ("taken, messages a second", "rate", number),
            ("`cat` of the same files", "cat_bytes", lambda value: f"{number(value / 1e6)} MB/s"),
            ("taken, of what `cat` reads", "share", lambda value: f"{number(value * 100)} %"),
        )
    ]
    return _mixed(results, "disk-cold", "A backlog of messages of 100 bytes, taken after a restart", lines)


def _disk_space(results: Results) -> Table:
    lines = [(("published in bursts",), "bytes_per_message", memory)]
    return _mixed(results, "disk-space", "Disk that a message takes", lines)


def _disk_restart(results: Results) -> Table:
    lines = [
        (("first answer after",), "restart_ms", lambda ms: duration(ms * 1000)),
        (("bytes on disk",), "log_bytes", lambda size: f"{number(size / 1e6)} MB"),
    ]
    return _mixed(results, "disk-restart", "Start after `kill -9`", lines)


def _bars(results: Results) -> Table:
    table = Table("bars", "The bars", ["gstream's figure", "bar", "measured", "reached"], 1)
    table.rows.extend(_bar_row(each, results.rounds) for each in judge(results))
    return table


def _bar_row(verdict: Verdict, rounds: int) -> list[Cell]:
    promise = verdict.promise
    reached = "yes" if verdict.reached else "no: it failed" if verdict.failed else "no"
    return [Cell(promise.title), Cell(promise.bar()), _bar_figure(verdict, rounds), Cell(reached)]


def _bar_figure(verdict: Verdict, rounds: int) -> Cell:
    measured = cell(verdict.measured, rounds)
    if not verdict.measured:
        return measured
    figure = Cell(f"{measured.text} {verdict.promise.unit}", measured.spread)
    if not verdict.otherwise:
        return figure
    second = _bar_figure(verdict.otherwise, rounds)
    return Cell(f"{figure.text}; {second.text}", "; ".join(filter(None, (figure.spread, second.spread))))
