"""How often estimates come true: some calls are estimated when they begin, and compared at the end.

Bounded; at most one estimate a second. Not here: the estimating (`estimate.py`).
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ollama_proxy.exchange import Call, State
from ollama_proxy.insights.estimate import Estimate, Spread

PAUSE = 1.0
"""Seconds between two estimates."""
OPEN, REMEMBERED = 256, 500


class _Said(NamedTuple):
    total: Spread
    elapsed: float  # seconds that the call had run by then


class Predictions:
    """A sink: told of running calls and of ended ones."""

    def __init__(
        self,
        estimate: Callable[[Call], Estimate | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._estimate, self._clock = estimate, clock
        self._next = float("-inf")
        self._open: OrderedDict[str, _Said] = OrderedDict()
        self._kept: deque[tuple[bool, bool]] = deque(maxlen=REMEMBERED)

    def started(self, call: Call) -> None:
        now = self._clock()
        if now < self._next or call.id in self._open or call.model is None:
            return
        self._next = now + PAUSE
        found = self._estimate(call)
        if found is not None:
            self._open[call.id] = _Said(found.total, call.duration or 0.0)
            if len(self._open) > OPEN:
                self._open.popitem(last=False)

    def finished(self, call: Call) -> None:
        said = self._open.pop(call.id, None)
        if said is not None and call.state == State.COMPLETED and call.duration is not None:
            took = call.duration - said.elapsed
            self._kept.append((took <= said.total.p50, took <= said.total.p95))

    def view(self) -> dict[str, Any]:
        """Of the latest calls that were estimated: how many, and which shares kept to it."""
        count = len(self._kept)
        return {
            "calls": count,
            "within_p50": sum(half for half, _ in self._kept) / count if count else None,
            "within_p95": sum(most for _, most in self._kept) / count if count else None,
        }
