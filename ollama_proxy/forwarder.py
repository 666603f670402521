"""The running calls: each request gets one, a stop waits for them or ends them.

Not here: the way of a call (`call.py`).
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from ollama_proxy.answers import CLOSED
from ollama_proxy.call import ForwardedCall
from ollama_proxy.exchange import Look, Reason, State
from ollama_proxy.parts import Parts
from ollama_proxy.ticker import Ticker

DEPARTED_SECONDS = 0.5
"""How often clients are looked for that left unnoticed."""


class Forwarder:
    """Forwards every request it is handed."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.look_of: Callable[[RequestHandler], Look | None] = lambda connection: None
        self._running: set[ForwardedCall] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._ticker = Ticker(DEPARTED_SECONDS, self._end_departed)

    @property
    def running(self) -> int:
        return len(self._running)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Forward one request and record it. Cancelled by the server when the client leaves."""
        call = ForwardedCall(self._parts, request, self.look_of(request.protocol))
        self._running.add(call)
        self._idle.clear()
        self._ticker.wake()
        try:
            answer = await call.run()
        finally:
            # Without an await: what is cancelled here would never be recorded.
            call.finish()
            self._running.discard(call)
            if not self._running:
                self._idle.set()
        return CLOSED if self._closing else answer

    def close(self, connections: list[RequestHandler]) -> None:
        """Take no more requests: idle connections end now, the others after their answer.

        Closing a busy one would throw away what is still to come of its upload.
        """
        self._closing = True
        busy = {call.connection for call in self._running}
        for connection in connections:
            if connection not in busy:
                connection.force_close()

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

    def _end_departed(self) -> bool:
        """End calls whose client has left while nothing was read from it, so that nobody noticed.

        That is so while an upload waits for a slow upstream, or many requests wait behind a call.
        """
        if hasattr(select, "POLLRDHUP"):
            sockets = {call.socket: call for call in self._running}
            sockets.pop(-1, None)
            poll = select.poll()
            for descriptor in sockets:
                poll.register(descriptor, select.POLLRDHUP)
            for descriptor, _ in poll.poll(0):
                sockets[descriptor].client_left()
        return bool(self._running)
