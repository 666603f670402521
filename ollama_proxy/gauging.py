"""From samples to minutes: how many calls ran and waited, and what the machine did meanwhile.

Each finished minute is stored in a thread, and again where the store fails; a killed process loses
the one under way. Not here: who takes samples, and when (`sensors/sampler.py`), what is kept of a
minute (`series.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from ollama_proxy.logs import where
from ollama_proxy.sensors.resources import Reading
from ollama_proxy.series import MINUTE, Gauges, Levels

log = logging.getLogger(__name__)

LONGEST = 600.0
"""Seconds between two samples after which nobody knows what was between them: a machine asleep."""
MOST_UNSAVED = 1440
Minutes = list[tuple[int, Gauges]]


class Gauging:
    """`sampled` on the event loop, with each look at the machine, or without (None).

    How many calls `ran` and how many of them were `queued` holds from one sample to the next; what
    a reading tells holds from the one before to it. `write` stores, and may raise.
    """

    def __init__(
        self,
        running: Callable[[], int],
        queued: Callable[[], int],
        write: Callable[[Sequence[tuple[int, Gauges]]], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._running, self._queued, self._write, self._now = running, queued, write, now
        self._minutes: dict[int, Gauges] = {}
        self._last: tuple[float, Levels] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._failing = False

    def sampled(self, reading: Reading | None) -> None:
        now = self._now()
        self._note(self._minutes, now, reading)
        self._last = now, Levels(self._running(), self._queued())
        while len(self._minutes) > MOST_UNSAVED:
            del self._minutes[min(self._minutes)]
        over = [minute for minute in self._minutes if minute + MINUTE <= now]
        if over and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._save(over), name="gauges")

    @property
    def unsaved(self) -> Minutes:
        """What is not stored yet, up to now."""
        up_to_now: dict[int, Gauges] = {}
        self._note(up_to_now, self._now(), None)
        return [*self._minutes.items(), *up_to_now.items()]

    async def stop(self) -> None:
        """Store all that is known."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._note(self._minutes, self._now(), None)
        self._last = None
        await self._save(list(self._minutes))

    def _note(self, minutes: dict[int, Gauges], now: float, reading: Reading | None) -> None:
        """What was since the last sample, in each minute of that time."""
        if self._last is None:
            return
        at, levels = self._last
        if not 0 < now - at <= LONGEST:
            return
        if reading is not None:
            levels = _with(levels, reading)
        while at < now:
            minute = int(at) // MINUTE * MINUTE
            end = min(now, float(minute + MINUTE))
            minutes.setdefault(minute, Gauges()).hold(levels, end - at)
            at = end

    async def _save(self, minutes: list[int]) -> None:
        saving = [(minute, self._minutes.pop(minute)) for minute in minutes]
        if not saving:
            return
        try:
            await asyncio.to_thread(self._write, saving)
        except Exception as error:  # noqa: BLE001 - guard: background loop
            if not self._failing:
                log.warning("what was sampled could not be stored yet: %s", where(error))
            self._failing = True
            for minute, gauges in saving:
                self._minutes.setdefault(minute, Gauges()).merge(gauges)
            return
        self._failing = False


def _with(levels: Levels, reading: Reading) -> Levels:
    gpu = reading.gpu
    return levels._replace(
        host_cpu_percent=reading.host_cpu_percent,
        host_memory_bytes=reading.host_memory_used,
        ollama_cpu_percent=reading.ollama_cpu_percent,
        ollama_memory_bytes=reading.sample.held.memory_bytes,
        gpu_percent=None if gpu is None else gpu.percent,
        gpu_memory_bytes=None if gpu is None else gpu.memory_bytes,
        gpu_watts=None if gpu is None else gpu.watts,
    )
