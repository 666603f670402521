"""The gaps between the pieces of one stream: the longest, and percentiles. Pure, bounded, cheap.

`add` runs once a piece on the relay's way, so it only counts, in buckets that grow by a fifth.
Not here: statistics of many calls (`stats.py`).
"""

from __future__ import annotations

import math

_GROWTH = 1.2
_PER_LOG = 1 / math.log(_GROWTH)
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

    def add(self, moment: float) -> None:
        """One more piece, at this moment."""
        gap = moment - self._last
        self._last = moment
        if gap > self._longest:
            self._longest = gap
        self._count += 1
        index = math.floor(math.log(gap) * _PER_LOG) if gap > _SMALLEST else _LOWEST
        self._buckets[index] = self._buckets.get(index, 0) + 1

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
        rank = max(1, math.ceil(share * self._count))
        for index, count in sorted(self._buckets.items()):
            rank -= count
            if rank <= 0:
                return min(float(_GROWTH ** (index + 0.5)), self._longest)
        return None


_LOWEST = math.floor(math.log(_SMALLEST) * _PER_LOG)
