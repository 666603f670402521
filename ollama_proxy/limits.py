"""The time limits of a call, and the watchdog that ends a call when one passes.

Not here: the limit of connecting (`call.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, fields

from ollama_proxy.config import Timeouts
from ollama_proxy.exchange import Reason
from ollama_proxy.upstream import Upstream

Due = tuple[float, Reason, float]
"""When a limit passes (the loop's time), which it is, how long it was."""


@dataclass(frozen=True)
class Limits:
    """Seconds; 0 is no limit."""

    connect: float = 10.0
    first_byte: float = 0.0
    idle: float = 0.0
    total: float = 0.0
    upload: float = 300.0

    @classmethod
    def of(cls, timeouts: Timeouts) -> Limits:
        """From the configuration."""
        return cls(**{one.name: getattr(timeouts, one.name) for one in fields(cls)})

    @property
    def any_after_sending(self) -> bool:
        return bool(self.first_byte or self.idle or self.total)


class Watchdog:
    """Watches one call from the moment its request is sent."""

    def __init__(
        self, limits: Limits, upstream: Upstream, time_out: Callable[[Reason, float], None]
    ) -> None:
        self._limits, self._upstream, self._time_out = limits, upstream, time_out
        self._loop = asyncio.get_running_loop()
        self._began = self._uploaded = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._look()

    def piece_sent(self) -> None:
        """Some of the request was passed on."""
        self._uploaded = self._loop.time()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """Is a limit past? If not, look again when the next one could be."""
        due = self._due()
        if not due:
            return
        moment, reason, limit = min(due)
        if self._loop.time() >= moment:
            self._time_out(reason, limit)
        else:
            self._timer = self._loop.call_at(moment, self._look)

    def _due(self) -> list[Due]:
        limits, upstream = self._limits, self._upstream
        due = []
        if limits.total:
            due.append((self._began + limits.total, Reason.TOTAL_TIMEOUT, limits.total))
        if limits.upload and upstream.uploading:
            due.append((self._uploaded + limits.upload, Reason.UPLOAD_TIMEOUT, limits.upload))
        if limits.first_byte and upstream.head is None:
            # Nobody answers before the request is there, nor is read while the client is slow.
            waiting = upstream.uploading or upstream.paused
            since = self._loop.time() if waiting else upstream.sent_at
            due.append((since + limits.first_byte, Reason.FIRST_BYTE_TIMEOUT, limits.first_byte))
        if limits.idle:
            # While nobody is to send, before the head or with a slow client, the limit stands off.
            counting = upstream.head is not None and not upstream.paused
            since = upstream.last_piece if counting else self._loop.time()
            due.append((since + limits.idle, Reason.IDLE_TIMEOUT, limits.idle))
        return due
