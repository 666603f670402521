"""Who called, told while a call runs or after it: looks at callers in one thread, never waited for.

`look` returns at once, and what is found appears in the Look that it returned; who keeps that keeps
the result, nothing is kept here. Not here: how a caller is found (`sensors/callers.py`).
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable

import msgspec

from ollama_proxy.logs import where
from ollama_proxy.sensors.callers import Caller, Connection, Finder, LinuxFinder
from ollama_proxy.sensors.pace import Allowance
from ollama_proxy.sensors.portable import PsutilFinder
from ollama_proxy.sensors.sockets import End, is_here

log = logging.getLogger(__name__)

WAITING = 1024
"""Connections that may wait for their look; for more none is taken."""
BATCH = 64
"""Connections that one look is for, at the most."""


class Look:
    """One connection's caller, once it is known."""

    __slots__ = ("caller", "connection", "over")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.caller: Caller | None = None
        self.over = False


class CallersStatus(msgspec.Struct, kw_only=True):
    """How the looks went. `hidden`: only the user could be told. `seconds`: CPU time they took.

    `skipped` were not begun, since too many waited; `missed` came when the connection was closed.
    """

    available: bool
    looks: int = 0
    found: int = 0
    hidden: int = 0
    missed: int = 0
    skipped: int = 0
    seconds: float = 0.0


class Callers:
    """Looks between `start` and `stop`; with no finder, never."""

    def __init__(
        self,
        finder: Finder | None,
        *,
        waiting: int = WAITING,
        now: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self.status = CallersStatus(available=finder is not None)
        self._finder = finder
        self._waiting = waiting
        self._cpu, self._now = cpu, now
        # Its put neither waits nor takes a lock that a thread might hold: the event loop calls it.
        self._queue: queue.SimpleQueue[Look | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="callers", daemon=True)

    def start(self) -> None:
        if self._finder is not None:
            self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Look no more, and end the thread. Returns whether it has ended."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def look(self, client: End | None, server: End | None) -> Look | None:
        """Find out soon who the client is. None if that is not to be known.

        Worth the most right after a connection was accepted: of a closed one nothing is found.
        """
        if self._finder is None or not client or not server or self._stopping.is_set():
            return None
        if not is_here(client, server):
            return None
        if self._queue.qsize() >= self._waiting:
            self.status.skipped += 1
            return None
        look = Look((client, server))
        self._queue.put(look)
        return look

    def _run(self) -> None:
        assert self._finder is not None
        allowance = Allowance(self._now())
        while looks := self._next():
            began = self._cpu()
            self._take(self._finder, looks)
            spent = self._cpu() - began
            self.status.seconds += spent
            self._stopping.wait(allowance.pause(spent, self._now()))
        self._finder.close()

    def _next(self) -> list[Look]:
        """Those that wait, at least one; none at the end."""
        looks = [self._queue.get()]
        while len(looks) < BATCH and not self._queue.empty():
            looks.append(self._queue.get())
        return [] if self._stopping.is_set() else [look for look in looks if look is not None]

    def _take(self, finder: Finder, looks: list[Look]) -> None:
        try:
            callers = finder.find([look.connection for look in looks])
            self._failing = False
        except Exception as error:  # noqa: BLE001 - guard: background loop
            if not self._failing:
                log.error("looking for callers failed: %s", where(error))
            callers, self._failing = [None] * len(looks), True
        for look, caller in zip(looks, callers, strict=True):
            look.caller = caller
            look.over = True
            self._count(caller)

    def _count(self, caller: Caller | None) -> None:
        self.status.looks += 1
        if caller is None:
            self.status.missed += 1
        elif caller.pid is None:
            self.status.hidden += 1
        else:
            self.status.found += 1


def finder_for(platform: str = sys.platform) -> Finder:
    """The way to find callers on this system."""
    return LinuxFinder() if platform == "linux" else PsutilFinder()
