"""The event stream: a snapshot, then what happens, as server-sent events (WHATWG HTML, 9.2).

Each status and each event is made once for all listeners, the totals only where they changed. A
listener that does not keep up gets a snapshot in place of what it missed. What is sent is copied in
small pieces, and a big snapshot is made once for those who want one at the same time: however many
do not read, they hold little. Not here: what a status, a snapshot or the numbers say (`api.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from ollama_proxy.bus import EventBus, Subscription, TooManySubscribers, encode
from ollama_proxy.live import Live
from ollama_proxy.logs import where
from ollama_proxy.ticker import Ticker

log = logging.getLogger(__name__)

STUCK_SECONDS = 20.0
"""For each piece: whoever takes none of it is let go, and comes again with a new stream."""
PIECE = 64 * 1024  # bytes; for less `StreamResponse.write` does not wait
UNSENT = 16 * 1024
"""Bytes that may wait in the socket's transport before the next piece is put there."""
SHARED_SECONDS = 1.0
"""A snapshot of more than a piece also serves who comes so much later: the events since follow."""
NOTHING_SHARED = b"", -1, 0.0
"""A big snapshot, its place in the log, and when it was made."""
NUMBERS_EACH = 2
"""The totals and the models are told with each second status at the most."""

Snapshot = Callable[[], dict[str, Any]]
Sent = tuple[float, web.Request]
"""Since when a piece waits to be taken, and whose."""


class Events:
    """The streams. `prepare` awaits what a snapshot needs; the function it returns then makes it.

    Making it does not wait, so that no event is lost or told twice between it and the stream.
    """

    def __init__(
        self,
        live: Live,
        *,
        prepare: Callable[[], Awaitable[Snapshot]],
        status: Callable[[], dict[str, Any]],
        numbers: Callable[[], dict[str, Any]],
        interval: float = 1.0,
    ) -> None:
        self._live = live
        self._prepare = prepare
        self._status = status
        self._numbers = numbers
        self._told = b""
        self._writing: dict[int, Sent] = {}
        self._shared = NOTHING_SHARED
        self._ticks = 0
        self._ticker = Ticker(interval, self._tick)

    @property
    def _bus(self) -> EventBus:
        return self._live.bus

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "no-store"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        if request.method == "HEAD":
            return response
        snapshot = await self._prepare()
        try:
            subscription = self._live.subscribe()
        except TooManySubscribers:
            raise web.HTTPServiceUnavailable(text="too many event streams are open") from None
        try:
            first = self._begin(subscription, snapshot)
            self._told = b""  # a page may have been made before they last changed
            self._ticker.wake()
            await response.prepare(request)
            if request.transport is not None:
                request.transport.set_write_buffer_limits(UNSENT)
            await self._tell(subscription, request, response, first)
        except ConnectionError:
            if request.transport is not None:
                request.transport.abort()  # so that the end is not taken for a clean one
        finally:
            self._writing.pop(id(request), None)
            subscription.close()
        return response

    def close(self) -> None:
        """End all streams."""
        self._live.close()
        self._ticker.stop()

    async def _tell(
        self,
        subscription: Subscription,
        request: web.Request,
        response: web.StreamResponse,
        data: bytes,
    ) -> None:
        """Write `data`, then all that comes. Raises ConnectionError once nobody reads it."""
        try:
            await self._send(request, response, data)
            while await subscription.wait():
                await self._send(request, response, await self._next(subscription))
        except ConnectionError:
            raise
        except Exception as error:
            # The answer has begun: one with status 500 would end up inside it.
            log.warning("an event stream was broken off: %s", where(error))
            raise ConnectionAbortedError from error

    async def _send(self, request: web.Request, response: web.StreamResponse, data: bytes) -> None:
        """Raises ConnectionError, also once it was stuck."""
        whole = memoryview(data)
        for begun in range(0, len(data), PIECE):
            self._writing[id(request)] = time.monotonic(), request
            await response.write(whole[begun : begun + PIECE])
        self._writing.pop(id(request), None)

    def _let_go(self) -> None:
        """Break off what is stuck: one look at all costs less than a timer for each piece."""
        now = time.monotonic()
        for since, request in self._writing.values():
            if now - since > STUCK_SECONDS and request.transport is not None:
                request.transport.abort()

    async def _next(self, subscription: Subscription) -> bytes:
        if not subscription.lost:
            return subscription.take()
        snapshot = await self._prepare()
        self._live.tell_now()
        return self._begin(subscription, snapshot)

    def _begin(self, subscription: Subscription, snapshot: Snapshot) -> bytes:
        """A snapshot, from which on it goes on."""
        event, place, made = self._shared
        now = time.monotonic()
        if now - made > SHARED_SECONDS or place < self._bus.first:
            event, place = self._bus.event("snapshot", snapshot()), self._bus.end
            self._shared = (event, place, now) if len(event) > PIECE else NOTHING_SHARED
        subscription.renew(place)
        return event

    def _tick(self) -> bool:
        """Tell the status. False: nobody listens."""
        listened = bool(self._bus.subscribers)
        if not listened or time.monotonic() - self._shared[2] > SHARED_SECONDS:
            self._shared = NOTHING_SHARED  # it may be big
        if not listened:
            return False
        self._let_go()
        # While calls run, their progress is told within a moment: both go as one.
        self._bus.publish("status", self._status(), wakes=not self._live.running)
        self._ticks += 1
        if self._ticks % NUMBERS_EACH == 0:
            self._tell_numbers()
        return True

    def _tell_numbers(self) -> None:
        """So that not each page that is open asks for them after each call."""
        numbers = encode(self._numbers())
        if numbers != self._told:
            self._told = numbers
            self._bus.publish("numbers", msgspec.Raw(numbers), wakes=not self._live.running)
