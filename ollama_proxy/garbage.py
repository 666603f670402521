"""When Python looks for garbage in cycles: seldom, and while nothing runs.

Calls leave next to none: what they hold is freed at once, by reference counts. A full collection
looks through all that is held nevertheless, and holds the event loop: 25 ms beside 500 streams,
just when they began. Not here: what makes cycles (the admin's answers, errors with their trace).
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable

NEVER = 1_000_000
THRESHOLDS = 700, 2, NEVER
"""Python's own are 700, 10, 10. With 2 the middle generation stays small: 0.3 ms instead of 2."""
LOOK_SECONDS = 30.0
PATIENCE_SECONDS = 600.0
"""So long a full collection waits for a moment in which nothing runs."""


class Garbage:
    """Takes the place of Python's own rule from `start` on. `running`: calls on their way now."""

    def __init__(
        self,
        running: Callable[[], int],
        collect: Callable[[], object] = gc.collect,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._running, self._collect, self._now = running, collect, now
        self._last = now()

    def start(self) -> None:
        """What is there by now stays: it is not looked through again."""
        self._collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        self._wait()

    def look(self) -> None:
        """Collect if nothing runs, or if something has run for too long."""
        if not self._running() or self._now() - self._last > PATIENCE_SECONDS:
            self._collect()
            self._last = self._now()

    def _wait(self) -> None:
        asyncio.get_running_loop().call_later(LOOK_SECONDS, self._due)

    def _due(self) -> None:
        if gc.get_count()[2]:  # else next to nothing was made since
            self.look()
        self._wait()
