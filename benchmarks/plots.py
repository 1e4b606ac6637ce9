"""The plots: pictures of what the tables say.

Owns every choice of colour and form, and nothing of what is measured. Strategy: gstream in colour, the others in greys;
the figure stands at its bar or line, so there is no legend to go back to and no grid. The background is white and not
transparent: a page may be shown light or dark. The same results give the same bytes: text is drawn with the font that
matplotlib brings along, and no date or version is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from bench import PIPELINED_CONNECTIONS, SINGLE_CONNECTIONS
from deliveries import BATCH, BURST
from results import Results, Summary
from scenarios import CONNECTIONS, WINDOWS
from tables import TITLES, duration, memory, number, servers_of

COLOURS = {"gstream": "#0b7a75", "redis": "#5f6b7a", "beanstalkd": "#9aa4b0", "floor": "#b4bcc6"}
INK, PALE = "#24292f", "#6b7480"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "gstream",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": PALE,
    "axes.edgecolor": "#c9ced6",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": PALE,
    "ytick.labelcolor": PALE,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}
WIDTH = 8.4
OPERATIONS = ("publish", "consume")

Bar = tuple[str, Summary, str]
"""A server, its figure, and the figure in words."""


def write_plots(results: Results, directory: Path) -> dict[str, str]:
    """Write what can be drawn; file names by the name of the table they belong to."""
    plots = {
        "pipelined": _pipelined,
        "windows": _windows,
        "one-at-a-time": _one_at_a_time,
        "latency": _latency,
        "leases": _leases,
        "wake": _wake,
        "memory": _memory,
        "disk": _disk,
    }
    written = {}
    with mpl.rc_context(STYLE):
        for name, draw in plots.items():
            figure = draw(results)
            path = directory / f"benchmarks-{name}.svg"
            if figure is None:
                path.unlink(missing_ok=True)  # of an earlier run: it would not belong to this report
                continue
            nothing = dict.fromkeys(("Date", "Creator"))
            figure.savefig(path, facecolor="white", metadata=nothing)
            written[name] = path.name
    return written


def _panels(count: int, height: float, title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.06))
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold", color=INK)
    return figure, [figure.add_subplot(1, count, at + 1) for at in range(count)]


def _short(value: float) -> str:
    """A number at an axis."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


# --- bars


def _draw_bars(axes: Axes, title: str, bars: list[Bar]) -> None:
    """From zero and linear, so that a length is a figure; the thin line is the spread of the rounds."""
    axes.set_title(title, pad=8)
    widest = max(summary.most for _, summary, _ in bars) or 1
    for at, (server, summary, text) in enumerate(bars):
        axes.barh(at, summary.median, height=0.62, color=COLOURS[server])
        axes.plot([summary.least, summary.most], [at, at], color=INK, linewidth=0.9, solid_capstyle="butt")
        weight = "bold" if server == "gstream" else "normal"
        axes.text(summary.most + widest * 0.02, at, text, va="center", fontsize=9.5, fontweight=weight)
    axes.set_yticks(range(len(bars)), [TITLES[server] for server, _, _ in bars], color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0, widest * 1.5)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _bars_of(
    results: Results, scenario: str, figure: str, servers: Iterable[str], read: Callable[[float], str]
) -> list[Bar]:
    found = ((server, results.figure(scenario, figure, server)) for server in servers)
    return [(server, summary, read(summary.median)) for server, summary in found if summary is not None]


def _peers(results: Results) -> list[str]:
    """All that do the same work: the floor keeps nothing."""
    return [server for server in servers_of(results) if server != "floor"]


def _pipelined(results: Results) -> Figure | None:
    """For the README: the window that the bars are about, and without the floor, which would dwarf everything."""
    window = WINDOWS[-1]
    panels = []
    for operation in OPERATIONS:
        scenario, rate = f"pipelined-{window}", f"{operation}_rate"
        bars = _bars_of(results, scenario, rate, _peers(results), lambda value: f"{number(value)} /s")
        panels.append((operation, [_beside(results, scenario, rate, bar) for bar in bars]))
    if not all(bars for _, bars in panels):
        return None
    title = f"Messages a second, {PIPELINED_CONNECTIONS} connections, {window:,} at a time"
    figure, axes = _panels(2, 0.95 + 0.42 * len(panels[0][1]), title)
    for each, (operation, bars) in zip(axes, panels, strict=True):
        _draw_bars(each, operation, bars)
    return figure


def _beside(results: Results, scenario: str, rate: str, bar: Bar) -> Bar:
    """A peer's figure with the number of times that gstream's is, or is not, greater."""
    server, summary, text = bar
    ratio = results.ratio(scenario, rate, "gstream", server) if server != "gstream" else None
    return (server, summary, f"{text}   (gstream: {number(ratio.median)} ×)") if ratio else bar


def _leases(results: Results) -> Figure | None:
    drawn = [
        (title, _bars_of(results, scenario, rate, _peers(results), lambda value: f"{number(value)} /s"))
        for title, scenario, rate in (
            (f"{PIPELINED_CONNECTIONS} connections, {BATCH} at a time", f"lease-{BATCH}", "batch_rate"),
            (f"{SINGLE_CONNECTIONS} connections, one at a time", "lease-1", "worker_rate"),
        )
    ]
    if not all(bars for _, bars in drawn):
        return None
    rows = max(len(bars) for _, bars in drawn)
    title = "Messages leased and acknowledged a second (of Redis: taken for good)"
    figure, axes = _panels(2, 0.95 + 0.42 * rows, title)
    for each, (title, bars) in zip(axes, drawn, strict=True):
        _draw_bars(each, title, bars)
        each.set_ylim(rows - 0.4, -0.6)
    return figure


def _disk(results: Results) -> Figure | None:
    drawn = []
    for title, name in (("synced every second", "second"), ("synced before it is answered", "always")):
        scenario, rate = f"disk-pipelined-{name}", "publish_rate"
        bars = _bars_of(results, scenario, rate, _peers(results), lambda value: f"{number(value)} /s")
        drawn.append((title, [_beside(results, scenario, rate, bar) for bar in bars]))
    if not all(bars for _, bars in drawn):
        return None
    rows = max(len(bars) for _, bars in drawn)
    title = f"Messages published on disk a second, {PIPELINED_CONNECTIONS} connections, {BURST:,} at a time"
    figure, axes = _panels(2, 0.95 + 0.42 * rows, title)
    for each, (title, bars) in zip(axes, drawn, strict=True):
        _draw_bars(each, title, bars)
        each.set_ylim(rows - 0.4, -0.6)
    return figure


def _memory(results: Results) -> Figure | None:
    panels = [
        ("message, of a burst", "memory-burst", "bytes_per_message"),
        ("message, single", "memory-single", "bytes_per_message"),
        ("idle connection", "idle", "bytes_per_connection"),
    ]
    drawn = [(title, _bars_of(results, scenario, what, _peers(results), memory)) for title, scenario, what in panels]
    drawn = [(title, bars) for title, bars in drawn if bars]
    if not drawn:
        return None
    rows = max(len(bars) for _, bars in drawn)
    figure, axes = _panels(len(drawn), 1.15 + 0.42 * rows, "Memory that each queued message and idle connection takes")
    for each, (title, bars) in zip(axes, drawn, strict=True):
        _draw_bars(each, title, bars)
        each.set_ylim(rows - 0.1, -0.6)
        if title.startswith("message"):
            _mark_message(each, results.sizes["message_bytes"], rows)
    return figure


def _mark_message(axes: Axes, size: float, rows: int) -> None:
    """What no server can do without."""
    axes.plot([size, size], [-0.6, rows - 0.35], color="white", linewidth=2)
    axes.plot([size, size], [-0.6, rows - 0.35], color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.text(size, rows - 0.2, f"its {size:g} bytes", fontsize=8, color=PALE, va="center")


# --- lines


def _draw_lines(axes: Axes, title: str, steps: list[int], lines: dict[str, list[Summary | None]]) -> None:
    """Equal steps on the x axis, whatever their numbers are; a server's name stands where its line ends."""
    axes.set_title(title, pad=8)
    ends: dict[str, float] = {}
    for server, summaries in lines.items():
        points = [(at, summary) for at, summary in enumerate(summaries) if summary is not None]
        if not points:
            continue
        xs = [at for at, _ in points]
        ours, colour = server == "gstream", COLOURS[server]
        style = (0, (3, 2)) if server == "floor" else "-"
        for at, summary in points:
            axes.plot([at, at], [summary.least, summary.most], color=colour, linewidth=1, alpha=0.6)
        axes.plot(xs, [s.median for _, s in points], color=colour, marker="o", markersize=4.5 if ours else 3.5,
                  linewidth=2.2 if ours else 1.5, linestyle=style, zorder=3 if ours else 2)  # fmt: skip
        ends[server] = points[-1][1].median
    axes.set_xticks(range(len(steps)), [f"{step:,}" for step in steps])
    axes.set_xlim(-0.15, len(steps) - 1 + 0.08)
    axes.minorticks_off()
    _name_ends(axes, ends, len(steps) - 1)


def _name_ends(axes: Axes, ends: dict[str, float], x: float) -> None:
    """Names with their last figures, moved apart where the lines end close together."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # so that places in pixels are known
    places = sorted(((axes.transData.transform((x, y))[1], server, y) for server, y in ends.items()), reverse=True)
    apart = 12.5 * axes.figure.dpi / 72
    above = float("inf")
    for place, server, value in places:
        above = min(place, above - apart)
        axes.annotate(
            f"{TITLES[server]} {number(value)}",
            (x, value),
            xytext=(9, (above - place) * 72 / axes.figure.dpi),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=COLOURS["gstream"] if server == "gstream" else INK,
            fontweight="bold" if server == "gstream" else "normal",
            annotation_clip=False,
        )


def _one_at_a_time(results: Results) -> Figure | None:
    steps = {n: f"one-at-a-time-{n}" for n in CONNECTIONS}
    title = "One message at a time: messages a second, by the number of connections"
    return _rate_lines(results, title, "connections", steps, servers_of(results), log=False)


def _windows(results: Results) -> Figure | None:
    steps = {1: f"one-at-a-time-{PIPELINED_CONNECTIONS}", **{n: f"pipelined-{n}" for n in WINDOWS}}
    title = f"{PIPELINED_CONNECTIONS} connections: messages a second, by how many are sent at a time"
    return _rate_lines(results, title, "messages at a time", steps, servers_of(results), log=True)


def _rate_lines(
    results: Results, title: str, label: str, steps: dict[int, str], servers: list[str], *, log: bool
) -> Figure | None:
    panels = {
        operation: {
            server: [results.figure(scenario, f"{operation}_rate", server) for scenario in steps.values()]
            for server in servers
        }
        for operation in OPERATIONS
    }
    if not any(summary for lines in panels.values() for line in lines.values() for summary in line):
        return None
    figure, axes = _panels(2, 3.5, title)
    most = max(s.most for lines in panels.values() for line in lines.values() for s in line if s)
    least = min(s.least for lines in panels.values() for line in lines.values() for s in line if s)
    for each in axes:
        if log:
            each.set_yscale("log")
            each.set_ylim(least / 1.6, most * 1.6)
        else:
            each.set_ylim(0, most * 1.06)
        each.yaxis.set_major_formatter(lambda value, _: _short(value))
        each.set_xlabel(label)
    for each, (operation, lines) in zip(axes, panels.items(), strict=True):
        _draw_lines(each, operation, list(steps), lines)
    return figure


# --- latency


def _latency(results: Results) -> Figure | None:
    groups = [
        *((_connections(n), f"one-at-a-time-{n}", "publish") for n in CONNECTIONS),
        ("beside a flood", "fairness", "beside"),
    ]
    return _spans(results, "Latency of a publish", groups, servers_of(results))


def _wake(results: Results) -> Figure | None:
    groups = [("to a consumer\nthat waits", "wake", "wake"), ("echo", "wake", "echo")]
    return _spans(results, "A consumer that waits, and an echo", groups, _peers(results))


def _spans(results: Results, title: str, groups: list[tuple[str, str, str]], servers: list[str]) -> Figure | None:
    """A line from the median to the 99th percentile, on a log scale: the tail is what a latency is about."""
    title = f"{title}: median (full dot) to 99th percentile (open dot)"
    figure, (axes,) = _panels(1, 0.9 + 0.24 * len(groups) * (len(servers) + 0.8), title)
    at, names = 0.0, []
    for title, scenario, prefix in groups:
        first = at
        for server in servers:
            p50 = results.figure(scenario, f"{prefix}_p50_us", server)
            p99 = results.figure(scenario, f"{prefix}_p99_us", server)
            if p50 is None or p99 is None:
                continue
            _draw_span(axes, at, server, p50.median, p99.median)
            at += 1
        if at > first:
            names.append(((first + at - 1) / 2, title))
            at += 0.8
    if not names:
        return None
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g} ms")
    axes.minorticks_off()
    axes.set_yticks([place for place, _ in names], [title for _, title in names], color=INK)
    axes.invert_yaxis()
    axes.set_ylim(at - 0.8, -0.8)
    left, right = axes.get_xlim()
    axes.set_xlim(left / 1.1, right * 3.2)
    axes.spines["left"].set_visible(False)
    return figure


def _connections(count: int) -> str:
    return f"{count:,} connection{'s' if count > 1 else ''}"


def _draw_span(axes: Axes, at: float, server: str, p50: float, p99: float) -> None:
    colour = COLOURS[server]
    axes.plot([p50, p99], [at, at], color=colour, linewidth=3, solid_capstyle="round")
    axes.plot([p50], [at], "o", color=colour, markersize=6)
    axes.plot([p99], [at], "o", color=colour, markersize=6, markerfacecolor="white", markeredgewidth=1.6)
    axes.annotate(
        f"{TITLES[server]}  {duration(p50)} – {duration(p99)}",
        (p99, at),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        fontweight="bold" if server == "gstream" else "normal",
    )
