"""Something done again and again on the event loop, as long as it is wanted.

Not here: what is done.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from ollama_proxy.logs import where

log = logging.getLogger(__name__)


class Ticker:
    """Calls `work` each `interval` seconds from `wake()` on, until it returns False.

    After `stop` nothing wakes it any more.

    Work that takes long is done less often: at most a tenth of the loop's time goes to it.
    """

    def __init__(self, interval: float, work: Callable[[], bool]) -> None:
        self._interval, self._work = interval, work
        self._timer: asyncio.TimerHandle | None = None
        self._failing = False
        self._stopped = False

    def wake(self) -> None:
        if self._timer is None and not self._stopped:
            self._sleep(self._interval)

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _sleep(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._run)

    def _run(self) -> None:
        self._timer = None
        began = time.perf_counter()
        try:
            again, self._failing = self._work(), False
        except Exception as error:  # noqa: BLE001 - guard: background loop
            if not self._failing:
                name = getattr(self._work, "__qualname__", type(self._work).__name__)
                log.error("%s failed: %s", name, where(error))
            again = self._failing = True
        if again and not self._stopped:
            self._sleep(max(self._interval, 9 * (time.perf_counter() - began)))
