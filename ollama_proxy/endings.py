"""How many calls ended lately, and how many of them failed. Pure but for the clock it is given.

Not here: totals since the beginning (`stats.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Endings:
    """How many calls ended, and failed, in the last five minutes; by slots of ten seconds."""

    SLOT_SECONDS = 10.0
    SLOTS = 30

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slots: deque[list[int]] = deque(maxlen=self.SLOTS + 1)  # [slot, ended, failed]

    def add(self, ended: int, failed: int) -> None:
        slot = int(self._clock() / self.SLOT_SECONDS)
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append([slot, 0, 0])
        self._slots[-1][1] += ended
        self._slots[-1][2] += failed

    def forget(self) -> None:
        """What ended so far has an end of its own: Ollama was down, and is up again."""
        self._slots.clear()

    def totals(self) -> tuple[int, int]:
        """(ended, failed)."""
        oldest = int(self._clock() / self.SLOT_SECONDS) - self.SLOTS
        slots = [slot for slot in self._slots if slot[0] > oldest]
        return sum(slot[1] for slot in slots), sum(slot[2] for slot in slots)
