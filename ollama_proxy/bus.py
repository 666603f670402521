"""The event bus: each event encoded once, queued for every listener, and never waited for.

Not here: what is told (`live.py`, `admin/api.py`), HTTP (`admin/events.py`).
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from typing import Any

import msgspec

from ollama_proxy.derived import view
from ollama_proxy.exchange import Call, Exchange

_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """JSON in one line, of whatever clients and models sent.

    A lone surrogate, which has no UTF-8 (RFC 8259 section 8.2), becomes a question mark.
    """
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value, str_keys=True)
        return json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace")


def unspoken(call: Call) -> dict[str, Any]:
    """The REST object of a call without what was said in it, and without what only its own sheet
    shows: as events and pages may carry it."""
    row = view(call)
    row["prompt"] = row["response"] = row["options"] = None
    row["pace"] = row["headers"] = row["in_force"] = None
    return row


def progress(exchange: Exchange) -> dict[str, Any]:
    """How far a running call is, as events tell it a few times a second."""
    seen = exchange.observation
    return {
        "id": exchange.id,
        "model": seen.model and exchange.shown(seen.model),
        "duration": exchange.duration,
        "output_chunks": seen.output_chunks,
        "response_bytes": exchange.response_bytes,
        "time_to_first_token": exchange.time_to_first_token,
    }


class Subscription:
    """One listener's share of the event bus: `wait`, then `take`; or, when `lost`, `renew`."""

    def __init__(self, bus: EventBus) -> None:
        self.lost = False
        self._bus = bus
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, event: bytes) -> None:
        """Queue an event, or, past the limit, drop the whole queue: a snapshot then stands in."""
        if self.lost:
            return
        full = len(self._waiting) >= self._bus.queue
        if full or (self._waiting and self._size + len(event) > self._bus.queue_bytes):
            self.lose()
        else:
            self._waiting.append(event)
            self._size += len(event)
        self._wake.set()

    def lose(self) -> None:
        """Drop what waits, and take no more until it is renewed."""
        self.renew()
        self.lost = True
        self._wake.set()

    async def wait(self) -> bool:
        """Until there is something to do. False: the bus or the subscription is closed."""
        if not self._closed:
            await self._wake.wait()
        return not self._closed

    def take(self) -> bytes:
        """All that waits, joined."""
        joined = b"".join(self._waiting)
        self.renew()
        return joined

    def renew(self) -> None:
        """Forget what waits: the caller takes a snapshot before it lets the loop go on."""
        self._waiting.clear()
        self._size = 0
        self._wake.clear()
        self.lost = False

    def close(self) -> None:
        self._closed = True
        self._bus.leave(self)
        self._wake.set()


class TooManySubscribers(Exception):
    """The bus takes no more listeners."""


class EventBus:
    """Events to all that listen, each event encoded once (as server-sent events, WHATWG HTML 9.2).

    It never waits for a listener: one that is slow loses events, and is told so.
    """

    def __init__(self, *, queue: int = 1000, queue_bytes: int = 4 << 20, limit: int = 256) -> None:
        self.queue, self.queue_bytes = queue, queue_bytes
        self._limit = limit
        self._closed = False
        self._subscriptions: set[Subscription] = set()
        self._numbers = itertools.count(1)

    @property
    def subscribers(self) -> int:
        return len(self._subscriptions)

    def subscribe(self) -> Subscription:
        """Raises TooManySubscribers, also once closed."""
        if self._closed or len(self._subscriptions) >= self._limit:
            raise TooManySubscribers
        subscription = Subscription(self)
        self._subscriptions.add(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def event(self, kind: str, data: Any) -> bytes:
        """One event as it goes over the wire, under the next number."""
        head = f"id: {next(self._numbers)}\nevent: {kind}\ndata: "
        return head.encode() + encode(data) + b"\n\n"

    def publish(self, kind: str, data: Any) -> None:
        if not self._subscriptions:
            return
        event = self.event(kind, data)
        for subscription in self._subscriptions:
            subscription.put(event)

    def lose(self) -> None:
        """More happened at once than a listener's queue takes: all get a snapshot instead."""
        for subscription in self._subscriptions:
            subscription.lose()

    def close(self) -> None:
        """Ends every stream, and takes no new one."""
        self._closed = True
        for subscription in list(self._subscriptions):
            subscription.close()
