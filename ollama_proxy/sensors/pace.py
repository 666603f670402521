"""How a thread works beside the event loop without being noticed: in short steps, with rests.

Not here: what the work is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SHARE = 0.05
"""How much of a core the work may take, on average."""
SAVED_SECONDS = 0.01
"""As much CPU time may be taken at once after a rest: some forty looks for a caller. At 0.25 s, 500
clients that came at once got their first bytes 14 ms later."""
WORK_SECONDS, REST_SECONDS = 0.0001, 0.00005


class Allowance:
    """Time that may be spent: it grows by `share` of what passes, up to `most`."""

    def __init__(self, now: float, share: float = SHARE, most: float = SAVED_SECONDS) -> None:
        self._share, self._most = share, most
        self._left, self._at = most, now

    def pause(self, spent: float, now: float) -> float:
        """How long to rest after having spent this much."""
        self._left = min(self._most, self._left + (now - self._at) * self._share) - spent
        self._at = now
        return max(0.0, -self._left / self._share)


class Pace:
    """Lets other threads run, called between short steps of work.

    A thread in many short system calls gives CPython's lock up and takes it again before one that
    waits for it has woken: beside a look without end, a busy event loop answered within 4.2 ms
    (p99) instead of 1.6; with rests within 1.5 to 3.3. `now` is any clock, `cpu` the thread's own.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._now, self._cpu, self._sleep = now, cpu, sleep
        self._allowance = Allowance(now())
        self._until = now() + WORK_SECONDS
        self._taken: float | None = None

    def begin(self) -> None:
        """A piece of work begins, in the thread that does it."""
        self._taken = self._cpu()
        self._until = self._now() + WORK_SECONDS

    def if_due(self) -> None:
        now = self._now()
        if self._taken is None or now < self._until:
            return
        taken = self._cpu()
        self._sleep(max(REST_SECONDS, self._allowance.pause(taken - self._taken, now)))
        self.begin()
