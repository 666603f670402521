"""The table of one run: each figure's medians, our ratios, and the targets. Pure.

Not here: the text around it (`report.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from benchmarks import figures, targets
from benchmarks.arithmetic import median, number
from benchmarks.figures import Figure
from benchmarks.results import Results
from benchmarks.targets import Target

BASES = ("nginx", "caddy", "direct")
Level = Literal["must", "moonshot"]


def shown(results: Results) -> list[Figure]:
    """Figures that some peer has; errors only where there are any, or a target is about them."""
    found = []
    aimed_at = {target.figure for target in targets.EVERY}
    for figure in figures.EVERY:
        medians = [results.median(figure, peer) for peer in results.peers]
        known = [one for one in medians if one is not None]
        quiet = figure.id.endswith("-errors") and not worst_errors(results, figure)
        if known and (not quiet or figure.id in aimed_at):
            found.append(figure)
    return found


def worst_errors(results: Results, figure: Figure) -> float:
    """The most that any peer had in a round."""
    return max(
        (value for peer in results.peers for value in results.values(figure, peer).values()),
        default=0,
    )


def title(results: Results, peer: str) -> str:
    return results.peers[peer]["title"]


def header(results: Results) -> list[str]:
    bases = [f"ours ÷ {title(results, base)}" for base in _bases(results)]
    names = [title(results, peer) for peer in results.peers]
    return ["", "figure", *names, *bases, "must", "moonshot"]


def rows(results: Results) -> list[list[str]]:
    """One row a figure, as text."""
    lines = []
    previous = ""
    for figure in shown(results):
        unit = f", {figure.unit}" if figure.unit else ""
        medians = [number(results.median(figure, peer)) for peer in results.peers]
        ratios = [
            number(median(results.ratios(figure, base))) if figure.compared else "-"
            for base in _bases(results)
        ]
        verdicts = [judged(results, figure, level) for level in ("must", "moonshot")]
        workload = figure.workload if figure.workload != previous else ""
        previous = figure.workload
        lines.append([workload, figure.title + unit, *medians, *ratios, *verdicts])
    return lines


def judged(results: Results, figure: Figure, level: Level) -> str:
    """The targets of this figure on this level, each with met or not met."""
    return "; ".join(
        verdict(results, target, level)
        for target in targets.EVERY
        if target.figure == figure.id and limit(target, level) is not None
    )


def verdict(results: Results, target: Target, level: Level) -> str:
    """Such as `÷ nginx ≤ 1.5: met, 1.12 (1.05 to 1.20)`: the median, and the rounds' range."""
    sign = "≥" if target.at_least else "≤"
    allowed = limit(target, level)
    asked = f"{words(results, target)} {sign} {allowed:g}".strip()
    values = compared(results, target)
    middle = median(values)
    if middle is None:
        return f"{asked}: not measured"
    met = "met" if target.met(middle, level) else "NOT met"
    span = f" ({number(min(values))} to {number(max(values))})" if len(values) > 1 else ""
    return f"{asked}: {met}, {number(middle)}{span}"


def limit(target: Target, level: Level) -> float | None:
    return target.must if level == "must" else target.moonshot


def words(results: Results, target: Target) -> str:
    """What is compared with, such as `÷ nginx`."""
    if target.base is None:
        return ""
    known = target.base in results.peers
    return f"{target.against[0]} {title(results, target.base) if known else target.base}"


def compared(results: Results, target: Target, peer: str = "ours") -> list[float]:
    """The value that the target speaks of, of each round."""
    figure = next(one for one in figures.EVERY if one.id == target.figure)
    if target.base is None:
        return list(results.values(figure, peer).values())
    if target.against.startswith("-"):
        return results.differences(figure, target.base, peer)
    return results.ratios(figure, target.base, peer)


def as_text(lines: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, for a terminal."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = [
        "  ".join(
            cell.ljust(width) if column < 2 or column >= len(line) - 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join(line.rstrip() for line in padded)


def as_markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = ["| " + " | ".join(line) + " |" for line in lines]
    aligned = ["---" if n < 2 or n >= len(lines[0]) - 2 else "--:" for n in range(len(lines[0]))]
    return "\n".join([head, "| " + " | ".join(aligned) + " |", *rest])


def _bases(results: Results) -> list[str]:
    return [base for base in BASES if base in results.peers] if "ours" in results.peers else []
