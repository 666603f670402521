"""The running calls: each request gets one, a stop waits for them or ends them.

Not here: the way of a call (`call.py`).
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from ollama_proxy.call import ForwardedCall, Parts
from ollama_proxy.exchange import Reason, State


class Forwarder:
    """Forwards every request it is handed."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._running: set[ForwardedCall] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        return len(self._running)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Forward one request and record it. Cancelled by the server when the client leaves."""
        call = ForwardedCall(self._parts, request)
        self._running.add(call)
        self._idle.clear()
        try:
            return await call.run()
        finally:
            # Without an await: what is cancelled here would never be recorded.
            call.finish()
            self._running.discard(call)
            if not self._running:
                self._idle.set()

    async def drained(self, seconds: float) -> bool:
        """Wait until nothing runs; False if that takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def interrupt(self, reason: Reason) -> int:
        """End every running call as interrupted; returns how many."""
        for call in self._running:
            call.stop(State.INTERRUPTED, reason)
        return len(self._running)
