"""The gaps between the pieces of one stream: the longest, percentiles, and how the pieces came over
time. Pure, bounded, cheap.

Gaps are counted in buckets that grow by a fifth, pieces in equal parts of time that double when
they are too many; many pieces at a time.
Not here: statistics of many calls (`stats.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import ceil, floor, log
from typing import Any

_GROWTH = 1.2
_PER_LOG = 1 / log(_GROWTH)
_SMALLEST = 1e-6
PARTS = 60
_PART = 0.05  # seconds, at first


class Gaps:
    """Counts gaps in seconds. A percentile is at most 10 % off, the longest is exact."""

    __slots__ = (
        "_after",
        "_at",
        "_buckets",
        "_count",
        "_first",
        "_last",
        "_longest",
        "_part",
        "_part_ends",
        "_pieces",
    )

    def __init__(self, first: float) -> None:
        """`first`: the moment of the first piece."""
        self._first = self._last = first
        self._longest = 0.0
        self._count = 0
        self._buckets: dict[int, int] = {}
        self._after = 0  # pieces before the longest gap
        self._at = first  # when it began
        self._part = _PART
        self._part_ends = first + _PART
        self._pieces = [1]  # in each part of the time since the first one

    def add(self, moments: Sequence[float]) -> None:
        """More pieces, at these moments."""
        last, longest, buckets = self._last, self._longest, self._buckets
        ends = None
        for moment in moments:
            gap = moment - last
            if gap > longest:
                longest = gap
                begins, ends = last, moment
            last = moment
            index = floor(log(gap) * _PER_LOG) if gap > _SMALLEST else _LOWEST
            buckets[index] = buckets.get(index, 0) + 1
        if ends is not None:
            self._at = begins
            self._after = self._count + 1 + bisect_left(moments, ends)
        self._last, self._longest = last, longest
        self._count += len(moments)
        if last < self._part_ends:
            self._pieces[-1] += len(moments)
        else:
            self._spread(moments)

    def _spread(self, moments: Sequence[float]) -> None:
        """Count them by the part of the time in which they came: one step a part, not a piece."""
        pieces, counted = self._pieces, 0
        while counted < len(moments):
            index = int((moments[counted] - self._first) / self._part)
            while index >= PARTS:
                pieces[:] = map(sum, zip(pieces[::2], [*pieces[1::2], 0], strict=False))
                self._part *= 2
                index //= 2
            pieces += [0] * (index + 1 - len(pieces))
            self._part_ends = self._first + (index + 1) * self._part
            until = max(counted + 1, bisect_left(moments, self._part_ends, counted))
            pieces[index] += until - counted
            counted = until

    def pace(self) -> dict[str, Any] | None:
        """How the pieces came: `pieces` in each of at most `PARTS` parts of `seconds`, from the
        first one on; the longest gap began `longest_at` seconds after it, and after `longest_after`
        pieces. None where there was but one."""
        if not self._count:
            return None
        return {
            "seconds": self._part,
            "pieces": self._pieces.copy(),
            "longest_at": round(self._at - self._first, 3),
            "longest_after": self._after,
        }

    @property
    def last(self) -> float:
        """The moment of the last piece."""
        return self._last

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
