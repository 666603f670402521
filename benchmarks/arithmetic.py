"""Medians, ratios and how numbers are written. Pure: no measuring, no files."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence


def median(values: Iterable[float]) -> float | None:
    """The middle value; of an even count the mean of the two middle ones; of none None."""
    known = list(values)
    return statistics.median(known) if known else None


def ratio(value: float | None, base: float | None) -> float | None:
    """value ÷ base; None where that says nothing (something unknown, or a base of 0 or less)."""
    if value is None or base is None or base <= 0:
        return None
    return value / base


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = -(-round(share * len(ordered) * 1e9) // 10**9)
    return ordered[max(0, min(len(ordered), rank) - 1)]


def number(value: float | None) -> str:
    """Three significant digits, whole numbers from 100 on, thousands apart; unknown is a dash."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    leading = math.floor(math.log10(float(f"{abs(value):.2e}")))
    return f"{value:,.{max(0, 2 - leading)}f}"
