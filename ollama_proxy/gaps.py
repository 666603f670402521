"""The gaps between the pieces of one stream: the longest, and percentiles. Pure, bounded, cheap.

Counted in buckets that grow by a fifth, many at a time.
Not here: statistics of many calls (`stats.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, log

_GROWTH = 1.2
_PER_LOG = 1 / log(_GROWTH)
_SMALLEST = 1e-6


class Gaps:
    """Counts gaps in seconds. A percentile is at most 10 % off, the longest is exact."""

    __slots__ = ("_buckets", "_count", "_first", "_last", "_longest")

    def __init__(self, first: float) -> None:
        """`first`: the moment of the first piece."""
        self._first = self._last = first
        self._longest = 0.0
        self._count = 0
        self._buckets: dict[int, int] = {}

    def add(self, moments: Iterable[float]) -> None:
        """More pieces, at these moments."""
        last, longest, buckets = self._last, self._longest, self._buckets
        count = 0
        for moment in moments:
            gap = moment - last
            last = moment
            if gap > longest:
                longest = gap
            count += 1
            index = floor(log(gap) * _PER_LOG) if gap > _SMALLEST else _LOWEST
            buckets[index] = buckets.get(index, 0) + 1
        self._last, self._longest = last, longest
        self._count += count

    @property
    def longest(self) -> float | None:
        """None where there was but one piece."""
        return self._longest if self._count else None

    def for_each(self, tokens: int) -> float | None:
        """Seconds for each token after the first one, where they streamed.

        None where they came together: fewer pieces than half of them tell nothing of their pace.
        """
        if tokens < 2 or self._count < (tokens - 1) / 2:
            return None
        return (self._last - self._first) / (tokens - 1)

    def percentile(self, share: float) -> float | None:
        """What `share` (0 to 1) of all gaps do not pass, by nearest rank."""
        rank = max(1, ceil(share * self._count))
        for index, count in sorted(self._buckets.items()):
            rank -= count
            if rank <= 0:
                return min(float(_GROWTH ** (index + 0.5)), self._longest)
        return None


_LOWEST = floor(log(_SMALLEST) * _PER_LOG)
