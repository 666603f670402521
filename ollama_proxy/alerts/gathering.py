"""Gathers the facts that rules are judged by, from what the proxy knows anyway.

Only what the asked kinds need: all running calls are brought up to date, which of hundreds takes a
tenth of a second, for those about running calls alone. Not here: what is bad (`rules.py`).
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ollama_proxy.alerts.facts import Facts, Running, Window
from ollama_proxy.alerts.message import NotifyError
from ollama_proxy.alerts.notifiers.in_thread import InThread
from ollama_proxy.bypass import Bypass
from ollama_proxy.exchange import Call, Exchange
from ollama_proxy.ids import epoch
from ollama_proxy.listeners import Sink
from ollama_proxy.live import Live
from ollama_proxy.records import UpstreamHealth

DISK_SECONDS = 2.0
SOMEBODY = ""
_WAITING = ("queued", "waiting_to_load")
_RUNNING = ("call_running", "call_silent", "call_queued", "queue")


@dataclass
class Ending(Sink):
    """Tells the window of each call that ended, if it keeps any."""

    window: Window
    clock: Callable[[], float] = time.monotonic

    def finished(self, call: Call) -> None:
        if self.window.seconds:
            self.window.add(call, self.clock())


@dataclass
class Gathering:
    """`folder` is where the database is, `dropped` the records that were lost since the start."""

    window: Window
    live: Live
    bypass: Bypass
    folder: Path
    health: Callable[[], UpstreamHealth]
    dropped: Callable[[], int]
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    disk: InThread = field(default_factory=InThread)
    percent: float | None = None

    async def gather(self, kinds: Collection[str]) -> Facts:
        """How things are now, as far as rules of these kinds need it."""
        if "disk_full" in kinds:
            await self._look_at_disk()
        live = self.live
        live.settle()
        moment = self.clock()
        self.window.dropped(self.dropped(), moment)
        health = self.health()
        return Facts(
            moment=moment,
            window=self.window,
            running=self._running(live) if any(kind in kinds for kind in _RUNNING) else (),
            up=health.up,
            error=health.error,
            models=health.models if health.up and not health.error else None,
            disk_percent=self.percent,
            around=list(self._around()) if "bypass" in kinds else (),
        )

    def _running(self, live: Live) -> list[Running]:
        phases = live.phases()
        now = time.monotonic()  # the clock that exchanges have
        return [
            Running(
                model=exchange.observation.model,
                client=exchange.client_name,
                seconds=now - exchange.started,
                silent=now - _last_heard(exchange),
                waiting=phase["phase_seconds"] if phase.get("phase") in _WAITING else None,
            )
            for exchange in live.exchanges
            for phase in (phases.get(exchange.id, {}),)
        ]

    def _around(self) -> Iterable[tuple[str, float]]:
        seen = self.bypass
        for name, one in seen.programs.items():
            if one.last_seen is not None:
                yield name, self.now() - epoch(one.last_seen)
        if not seen.programs:
            times = [epoch(one.last_seen) for one in seen.models.values() if one.last_seen]
            if times:
                yield SOMEBODY, self.now() - max(times)

    async def _look_at_disk(self) -> None:
        """A dead disk may not answer: then it is not known how full it is."""
        found: list[float] = []

        def look() -> None:
            usage = shutil.disk_usage(self.folder)
            found.append(usage.used / (usage.used + usage.free) * 100)

        try:
            async with asyncio.timeout(DISK_SECONDS):
                await self.disk.run(look)
        except (OSError, ZeroDivisionError, NotifyError):  # also one that does not answer in time
            self.percent = None
        else:
            self.percent = found[0]


def _last_heard(exchange: Exchange) -> float:
    if exchange.gaps is not None:
        return exchange.gaps.last
    return exchange.first_byte or exchange.started
