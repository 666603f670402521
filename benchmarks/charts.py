"""The growth charts as SVG. The same results give the same files: no date, fixed ids.

Not here: the measuring, and the text beside the charts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from benchmarks.arithmetic import median
from benchmarks.figures import Of, cpu_by, plain
from benchmarks.results import Results

COLOURS = {
    "ours": "#1657b8",
    "nginx": "#1a7f37",
    "caddy": "#b35900",
    "aiohttp": "#6b6f76",
    "direct": "#a0a4ab",
}
INK = "#24292f"
STYLE: Any = {
    "svg.hashsalt": "benchmarks",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Line:
    """One curve of a panel; `peer` is drawn alone where a panel is about ours only."""

    label: str
    of: Of
    peer: str = "ours"


@dataclass(frozen=True)
class Panel:
    """One pair of axes. Without `lines` there is one line a peer, of `of`."""

    title: str
    of: Of | None = None
    lines: Sequence[Line] = ()
    log_y: bool = False


@dataclass(frozen=True)
class Chart:
    growth: str
    title: str
    x: str
    panels: Sequence[Panel]
    log_x: bool = True

    @property
    def file(self) -> str:
        return f"growth-{self.growth}.svg"


EVERY = (
    Chart(
        "streams",
        "Open streams, together always 5,000 chunks a second",
        "open streams",
        (
            Panel("CPU a chunk, µs", cpu_by("in_window")),
            Panel(
                "delay of a chunk, p99, ms",
                plain("load", "delay_us", "p99", factor=1e-3),
                log_y=True,
            ),
        ),
    ),
    Chart(
        "size",
        "Size of a chunk; 500 chunks a second",
        "bytes of a chunk",
        (Panel("CPU a chunk, µs", cpu_by("load", "chunks"), log_y=True),),
    ),
    Chart(
        "stored",
        "Calls in the database; 200 recorded calls a second",
        "calls stored before",
        (
            Panel(
                "CPU a recorded call, ms",
                lines=(Line("", cpu_by("load", "calls", factor=1e-3)),),
            ),
            Panel(
                "answer time p50, ms",
                lines=(
                    Line("requests", plain("requests", "latency_us", "p50", factor=1e-3)),
                    Line("stats", plain("stats", "latency_us", "p50", factor=1e-3)),
                ),
            ),
            Panel("start to first answer, s", lines=(Line("", plain("started_in")),)),
        ),
    ),
    Chart(
        "pages",
        "Pages open; 200 recorded calls a second",
        "pages open",
        (
            Panel(
                "CPU a recorded call, ms",
                lines=(Line("", cpu_by("load", "calls", factor=1e-3)),),
            ),
            Panel(
                "time of a call, ms",
                lines=(
                    Line("p50", plain("load", "latency_us", "p50", factor=1e-3)),
                    Line("p99", plain("load", "latency_us", "p99", factor=1e-3)),
                ),
            ),
        ),
        log_x=False,
    ),
)


def drawable(results: Results) -> list[Chart]:
    """The charts that these results have measures for."""
    measured = {record["growth"] for record in results.records}
    return [chart for chart in EVERY if chart.growth in measured]


def draw(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for chart in drawable(results):
            drawing = _drawn(results, chart)
            nameless = {"Date": None, "Creator": None}
            drawing.savefig(folder / chart.file, metadata=nameless, facecolor="white")


def points(results: Results, growth: str, peer: str, of: Of) -> list[tuple[float, float]]:
    """The median over the rounds at each point, in order."""
    found: dict[float, list[float]] = {}
    for record in results.records:
        if record["growth"] == growth and record["peer"] == peer and "failed" not in record:
            value = of(record, None)
            if value is not None:
                found.setdefault(record["at"], []).append(value)
    middles = {at: median(values) for at, values in found.items()}
    return sorted((at, middle) for at, middle in middles.items() if middle is not None)


def _drawn(results: Results, chart: Chart) -> Any:
    drawing = Drawing(figsize=(4.6 * len(chart.panels), 3.4), layout="constrained")
    drawing.suptitle(chart.title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    for index, panel in enumerate(chart.panels):
        axes = drawing.add_subplot(1, len(chart.panels), index + 1)
        _draw_panel(axes, results, chart, panel)
    return drawing


def _draw_panel(axes: Any, results: Results, chart: Chart, panel: Panel) -> None:
    lines = panel.lines or [
        Line(facts["title"], panel.of, peer) for peer, facts in results.peers.items() if panel.of
    ]
    ends = []
    for index, line in enumerate(lines):
        found = points(results, chart.growth, line.peer, line.of)
        if not found:
            continue
        colour = COLOURS.get(line.peer, INK) if index == 0 or not panel.lines else INK
        at, values = [x for x, _ in found], [y for _, y in found]
        axes.plot(at, values, color=colour, linewidth=1.8, marker="o", markersize=3.5)
        ends.append((values[-1], at[-1], line.label, colour))
    _scale(axes, chart, panel)
    axes.set_title(panel.title, loc="left", fontsize=10)
    axes.set_xlabel(chart.x)
    _label(axes, ends, panel.log_y)


def _scale(axes: Any, chart: Chart, panel: Panel) -> None:
    if chart.log_x:
        axes.set_xscale("symlog" if chart.growth == "stored" else "log", **_linear_to(chart))
        axes.xaxis.set_minor_locator(NullLocator())
    if panel.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    axes.grid(axis="y", color="#d8dbe0", linewidth=0.6)
    axes.set_axisbelow(True)


def _linear_to(chart: Chart) -> dict[str, float]:
    """A logarithmic axis that has room for 0."""
    return {"linthresh": 10_000, "linscale": 0.5} if chart.growth == "stored" else {}


def _label(axes: Any, ends: list[tuple[float, float, str, str]], log_y: bool) -> None:
    """Names at the lines' ends, pushed apart where they would cover each other."""
    to_pixels: Callable[[tuple[float, float]], Any] = axes.transData.transform
    height, room = 3.4 * 72, 12.0
    ordered = sorted(ends, key=lambda end: end[0])
    lowest = float("-inf")
    for y, x, label, colour in ordered:
        pixel = float(to_pixels((x, y))[1]) * 72 / axes.figure.dpi
        wanted = max(pixel, lowest + room)
        lowest = wanted
        axes.annotate(
            label,
            (x, y),
            xytext=(7, min(wanted, height) - pixel),
            textcoords="offset points",
            va="center",
            color=colour,
            annotation_clip=False,
        )


def _short(value: float, _: object = None) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g} M"
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"
