"""Writes docs/performance.md and its charts from the stored results, and from nothing else.

No figure in that file is typed by hand; a test renders it again and compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures, table, targets
from benchmarks.arithmetic import median, number
from benchmarks.results import Results, stored

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docs" / "performance.md"
CHARTS = ROOT / "docs" / "performance"
EVEN = 0.05
"""Ratios this near to 1 are called even: rounds differ by as much."""

CAPTIONS = {
    "streams": "What one chunk costs, and how late it comes, with more streams at the same pace "
    "in all. CPU while all are open; delays of the whole time, their opening included.",
    "size": "What one chunk costs as it grows.",
    "stored": "What a database full of calls costs: a recorded call, the page's answers "
    "(`/admin/api/requests`, `/admin/api/stats`), and a start.",
    "pages": "What open pages cost.",
}


def write() -> None:
    """The file, and the charts of the newest growth results."""
    growth = stored("growth")
    if growth:
        from benchmarks import charts  # matplotlib is only needed here

        charts.draw(growth[-1], CHARTS)
    FILE.write_text(render(stored("rounds"), growth), "utf-8")


def render(rounds: Sequence[Results], growth: Sequence[Results]) -> str:
    """The whole text. The newest run is shown in full, the others by their ratios."""
    parts = [OPENING]
    if rounds:
        newest = rounds[-1]
        parts += [compared(newest), workloads(newest), measured(newest), summary(newest)]
        parts += [recording(newest)] if "bare" in newest.peers else []
        parts += [side_by_side(rounds)] if len(rounds) > 1 else []
    else:
        parts.append("No run is stored yet.\n")
    if growth:
        parts.append(grown(growth[-1]))
    return "\n".join([*parts, CLOSING])


def compared(results: Results) -> str:
    """Who, and where."""
    lines = ["## What is compared\n", "| | version | how it is set |", "| --- | --- | --- |"]
    for facts in results.peers.values():
        lines.append(f"| {facts['title']} | {facts['version'] or '-'} | {facts['settings']} |")
    lines += [f"\n{_missing(results)}" if results.missing else "", _machine(results)]
    return "\n".join(lines)


def _missing(results: Results) -> str:
    return "Left out: " + "; ".join(f"{who} ({why})" for who, why in results.missing.items()) + "."


def _machine(results: Results) -> str:
    machine, settings = results.machine, results.settings
    count = settings["rounds"]
    small = "A quick run with small loads. " if settings.get("quick") else ""
    return (
        f"{small}Taken on {results.date}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}, {machine['python']}. "
        f"All on loopback; {settings['placement']}. "
        f"{count} round{'s' if count != 1 else ''}; in each the proxies are measured one right "
        f"after the other, in rotated order.{_note(settings)}\n"
    )


def _note(settings: Mapping[str, Any]) -> str:
    """What whoever ran it wants to be known of it."""
    return f" {settings['note']}" if settings.get("note") else ""


def workloads(results: Results) -> str:
    lines = ["## Workloads\n", "| | |", "| --- | --- |"]
    lines += [f"| {id} | {what} |" for id, what in results.settings["workloads"].items()]
    return "\n".join(lines) + "\n"


def measured(results: Results) -> str:
    text = table.as_markdown([table.header(results), *table.rows(results)])
    return f"## Measured\n\n{HOW_TO_READ}\n\n{text}\n"


def summary(results: Results) -> str:
    """Where ours is better, even, worse; which targets are missed."""
    lines = ["## In short\n"]
    for base in ("nginx", "caddy", "aiohttp"):
        if base in results.peers and "ours" in results.peers:
            lines.append(_against(results, base))
    lines.append(_targets(results, "must", "have to hold"))
    lines.append(_targets(results, "moonshot", "would be as good as anything"))
    return "\n".join(lines) + "\n"


def _against(results: Results, base: str) -> str:
    better, even, worse = [], [], []
    for figure in figures.EVERY:
        middle = median(results.ratios(figure, base)) if figure.compared else None
        if middle is None:
            continue
        named = f"{figure.workload} {figure.title} {number(middle)}"
        if abs(middle - 1) <= EVEN:
            even.append(named)
        elif (middle > 1) == figure.more_is_better:
            better.append(named)
        else:
            worse.append(named)
    said = [
        f"{word}: {'; '.join(found)}"
        for word, found in (("better", better), ("even", even), ("worse", worse))
        if found
    ]
    return f"- ours ÷ {table.title(results, base)}. " + ". ".join(said) + "."


def _targets(results: Results, level: table.Level, name: str) -> str:
    judged = [
        (target, table.verdict(results, target, level))
        for target in targets.EVERY
        if table.limit(target, level) is not None
    ]
    met = [one for one in judged if ": met" in one[1]]
    missed = [
        f"{_title(target)} {text.replace(': NOT met,', ':')}"
        for target, text in judged
        if ": NOT met" in text
    ]
    unknown = len(judged) - len(met) - len(missed)
    said = f" Not met: {'; '.join(missed)}." if missed else ""
    said += f" Not measured: {unknown}." if unknown else ""
    return f"- Targets that {name}: {len(met)} of {len(judged)} met.{said}"


def recording(results: Results) -> str:
    """What recording costs: ours against its own relay with nothing that records."""
    rows = [["", "recording off", "recording on", "recording", "share"]]
    for id, title, unit, factor in RECORDING:
        figure = next(one for one in figures.EVERY if one.id == id)
        off, on = results.median(figure, "bare"), results.median(figure, "ours")
        more = median(results.differences(figure, "bare"))
        if off is None or on is None or more is None:
            continue
        values = [number(value * factor) for value in (off, on, more)]
        rows.append([f"{title}, {unit}", *values, f"{number(100 * more / on)} %"])
    return f"## What recording costs\n\n{ABOUT_RECORDING}\n\n{table.as_markdown(rows)}\n"


def _title(target: targets.Target) -> str:
    figure = next(one for one in figures.EVERY if one.id == target.figure)
    return f"{figure.workload} {figure.title}"


def side_by_side(rounds: Sequence[Results]) -> str:
    """What the targets speak of, run by run, oldest first."""
    places = [(one.date, one.machine) for one in rounds]
    heads = [f"{date}, {at['processor']}, {at['cores']} cores" for date, at in places]
    rows = [["", "compared", *heads]]
    seen: set[tuple[str, str]] = set()
    for target in targets.EVERY:
        if (target.figure, target.against) in seen:
            continue
        seen.add((target.figure, target.against))
        values = [number(median(table.compared(one, target))) for one in rounds]
        rows.append([_title(target), table.words(rounds[-1], target), *values])
    return f"## Run by run\n\n{table.as_markdown(rows)}\n"


def grown(results: Results) -> str:
    lines = ["## How cost grows\n", _machine(results)]
    measured_kinds = dict.fromkeys(record["growth"] for record in results.records)
    for kind in measured_kinds:
        lines.append(f"{CAPTIONS[kind]}\n\n![{CAPTIONS[kind]}](performance/growth-{kind}.svg)\n")
    return "\n".join(lines)


OPENING = """\
# Performance

Written by `python -m benchmarks report` from the files in `benchmarks/results/`: do not edit.

What this proxy costs beside others that pass the same streams on in the same minutes. Ratios within
one run hold elsewhere too, roughly; absolute times do not. An open page: [page.md](page.md).
"""

HOW_TO_READ = """\
Medians over the rounds. A ratio is the median of each round's own ratio, which is not the ratio of
the medians. A target's verdict gives the median and, in brackets, the range of the rounds. CPU is
user and system time of all the proxy's processes; memory is their Pss. *Delay* is the time from
the upstream's write of a chunk to the load's read; *added* is what is left after taking off the
same without a proxy. *First chunk* counts from the request."""

RECORDING = (
    ("w2-cpu", "W2, a million chunks", "CPU seconds", 1.0),
    ("w4-cpu", "W4, a small GET", "CPU µs", 1.0),
    ("w4r-cpu", "W4r, a small GET", "CPU µs", 1.0),
    ("w4c-cpu", "W4c, a chat call of 20 chunks", "CPU µs", 1.0),
)

ABOUT_RECORDING = """\
The same relay with everything on, as above, and without what records: no observers, no store, no
statistics, no page. The difference is the median of the rounds' own."""

CLOSING = """\
## How it is measured

- Upstream and load are small C programs, so that they use less than what is measured. Each chunk
  carries the time it was written.
- Each proxy has one core to itself, its threads and children included (`taskset`). Proxies that are
  not measured stay started, and idle.
- CPU comes from the processes' CPU clocks, in nanoseconds, read before the load and after the
  last call was written down. What the kernel does in interrupts is in nobody's.
- Where load and upstream are busy themselves for most of the time, delays are theirs too: compare
  with those without a proxy.
- Streams are opened at up to 1,000 a second; delays of that time count too, and weigh in p99.
  *While all are open* leaves that time out, and the time in which they end.
- CPU a chunk includes the calls' beginning and end; a stream of W1 and W2 has 500 chunks.
- Each file of results keeps every single measure.

What it does not say: anything about machines with a network between them, about proxies with more
than one worker, or about a real model, beside which all of this is small.

## To repeat it

```
make bench                            # the workloads: some 40 minutes
make bench ARGS="--quick"             # does it all work? some 3 minutes
make bench ARGS="growth"              # how cost grows
make bench ARGS="report"              # writes this file
make bench ARGS="--with litellm"      # LiteLLM too, with smaller loads
make bench ARGS="--only W2 --peers nginx,ours --add 'mine=./mine {port} {upstream}'"
```

Needed: Linux, a C compiler, two cores; nginx (Debian: `nginx-light`) if it is to be compared. The
rest is installed into the environment.
"""
