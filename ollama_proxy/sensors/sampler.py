"""When the machine is looked at: each second while calls run, soon after one ends, and when asked.

Looks are taken in a thread of their own, one at a time; the accounts that they close belong to the
event loop. Not here: what is looked at (`resources.py`), who pays for what (`shares.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import msgspec

from ollama_proxy.logs import where
from ollama_proxy.sensors.resources import Reading
from ollama_proxy.shares import Meter
from ollama_proxy.ticker import Ticker

log = logging.getLogger(__name__)

STEADY_SECONDS = 1.0
SHORTEST_SECONDS = 0.2
"""Between two looks, however often calls begin and end; below `live.REFRESH_SECONDS`, so that a
call's last second is mostly measured by the time that it is recorded."""


class Sensor(Protocol):
    def read(self, at: float) -> Reading: ...


class Sampler:
    """Told of calls that run a model: `began`, `ended`, `take`. All but `look` only note.

    `tell` hears of each look until `stop`, on the event loop; None where Ollama is on another
    machine.
    """

    def __init__(
        self,
        sensor: Sensor,
        *,
        clock: Callable[[], float] = time.monotonic,
        steady: float = STEADY_SECONDS,
        shortest: float = SHORTEST_SECONDS,
        tell: Callable[[Reading | None], None] = lambda reading: None,
    ) -> None:
        self._tell = tell
        self.last: Reading | None = None
        self._sensor, self._clock, self._shortest = sensor, clock, shortest
        self._meter = Meter()
        self._asked = float("-inf")
        self._looking: asyncio.Future[Reading] | None = None
        self._steady = Ticker(steady, self._look_while_running)
        self._soon = Ticker(shortest, self._look_after_end)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="resources")
        self._stopped = False
        self._failing = False

    def start(self) -> None:
        """Look a first time: what is used from then on can be told. Needs a running event loop."""
        self._ask()

    def stop(self) -> None:
        """No more looks. Accounts can still be taken."""
        self._stopped = True
        self._steady.stop()
        self._soon.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def began(self, id: str) -> None:
        """A call that runs a model begins."""
        if self.last is not None and not self.last.here:
            return
        now = self._clock()
        self._meter.began(id, now)
        if self._meter.running == 1 and now - self._asked >= self._shortest:
            # Asked for no later than the call began: what was used before is not its own.
            self._ask(now)
        self._steady.wake()

    def ended(self, id: str) -> None:
        """A call has ended; unknown ones are none of ours."""
        now = self._clock()
        if not self._meter.ended(id, now):
            return
        if self._looking is None and now - self._asked >= self._shortest:
            self._ask(now)
        else:
            self._soon.wake()

    def take(self, id: str) -> dict[str, Any] | None:
        """What an ended call cost, once, as far as it is known by now."""
        cost = self._meter.take(id)
        return None if cost is None else msgspec.structs.asdict(cost)

    async def look(self) -> Reading | None:
        """The machine as it is, at most a second old; None before the first look is done."""
        self._ask_if_old()
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=1.0)
        return self.last

    def poke(self) -> None:
        """Look, if that was not done within a second, and if there is anything to see."""
        if self.last is not None and not self.last.here:
            self._tell(None)
        else:
            self._ask_if_old()

    def _ask_if_old(self) -> None:
        if self._clock() - self._asked >= STEADY_SECONDS:
            self._ask()

    def _look_while_running(self) -> bool:
        if not self._meter.running:
            return False
        if self._clock() - self._asked >= self._shortest:
            self._ask()
        return True

    def _look_after_end(self) -> bool:
        """A look that is under way was asked for before the end: another one after it."""
        again = self._looking is not None
        self._ask()
        return again

    def _ask(self, now: float | None = None) -> None:
        if self._looking is not None or self._stopped:
            return
        self._asked = self._clock() if now is None else now
        loop = asyncio.get_running_loop()
        self._looking = loop.run_in_executor(self._thread, self._sensor.read, self._asked)
        self._looking.add_done_callback(self._looked)

    def _looked(self, looking: asyncio.Future[Reading]) -> None:
        self._looking = None
        if looking.cancelled():
            return
        error = looking.exception()
        if error is None:
            self.last, self._failing = looking.result(), False
            self._meter.sampled(self.last.sample)
            if not self._stopped:
                self._tell(self.last if self.last.here else None)
        elif not self._failing:
            self._failing = True
            log.error("looking at the machine failed: %s", where(error))
