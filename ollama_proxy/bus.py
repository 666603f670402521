"""The event bus: each event encoded once, kept once for all listeners, and never waited for.

Not here: what is told (`live.py`, `admin/api.py`), HTTP (`admin/events.py`).
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ollama_proxy.derived import view
from ollama_proxy.exchange import Call, Exchange

AT_ONCE = 64 * 1024
"""Bytes of events that are joined for one listener."""

ALL_TOLD = 100
"""Running calls of which each is told of again and again; a page shows a dozen."""

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


class Progress:
    """Which running calls are told of next: the first `ALL_TOLD`, and of those behind, which mostly
    wait, the ones of which something is new but the time and their place."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[object, ...]] = {}

    def rows(
        self, running: Iterable[Exchange], phases: Mapping[str, dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """In the order in which they began; `phases` as `Live.phases` has them."""
        rows: list[dict[str, Any]] = []
        told: dict[str, tuple[object, ...]] = {}
        for place, exchange in enumerate(running):
            id, seen = exchange.id, exchange.observation
            phase = phases.get(id, {})
            counts = seen.output_chunks, exchange.response_bytes, exchange.first_token
            told[id] = (seen.model, phase.get("phase"), *counts)
            if place < ALL_TOLD or self._told.get(id) != told[id]:
                rows.append(progress(exchange) | phase)
        self._told = told
        return rows


class Subscription:
    """One listener's place in the bus's log: `wait`, then `take`; or, when `lost`, `renew`."""

    def __init__(self, bus: EventBus, at: int) -> None:
        self._bus = bus
        self._at = at
        self._wake = asyncio.Event()
        self._closed = False
        if at < bus.end:
            self._wake.set()

    @property
    def lost(self) -> bool:
        """Whether something that it has not taken is in the log no more."""
        return self._at < self._bus.first

    def wake(self) -> None:
        self._wake.set()

    async def wait(self) -> bool:
        """Until there is something to do. False: the bus or the subscription is closed."""
        if not self._closed:
            await self._wake.wait()
        return not self._closed

    def take(self) -> bytes:
        """The next of what waits: small events joined, a big one alone, which is not copied."""
        events = self._bus.since(self._at)
        self._at += len(events)
        if self._at == self._bus.end:
            self._wake.clear()
        return events[0] if len(events) == 1 else b"".join(events)

    def renew(self, at: int | None = None) -> None:
        """Go on from a place in the log that a snapshot was made at; None: from its end."""
        self._at = self._bus.end if at is None else at
        if self._at == self._bus.end:
            self._wake.clear()

    def close(self) -> None:
        self._closed = True
        self._bus.leave(self)
        self._wake.set()


class TooManySubscribers(Exception):
    """The bus takes no more listeners."""


class EventBus:
    """Events to all that listen, each event encoded once (as server-sent events, WHATWG HTML 9.2).

    They wait in one log, bounded in events and bytes, for all listeners. It never waits for one:
    who is slow loses events, and is told so. So a thousand that do not read cost what one does.
    """

    def __init__(self, *, queue: int = 1000, queue_bytes: int = 4 << 20, limit: int = 256) -> None:
        self.queue, self.queue_bytes = queue, queue_bytes
        self.end = 0
        """The place of the event that comes next."""
        self._log: deque[bytes] = deque()
        self._size = 0
        self._limit = limit
        self._closed = False
        self._subscriptions: set[Subscription] = set()
        self._numbers = itertools.count(1)

    @property
    def subscribers(self) -> int:
        return len(self._subscriptions)

    @property
    def first(self) -> int:
        """The place of the oldest event in the log."""
        return self.end - len(self._log)

    def subscribe(self) -> Subscription:
        """From here on. Raises TooManySubscribers, also once closed."""
        if self._closed or len(self._subscriptions) >= self._limit:
            raise TooManySubscribers
        subscription = Subscription(self, self.end)
        self._subscriptions.add(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        if not self._subscriptions:
            self.lose()  # what happens now is in no log

    def event(self, kind: str, data: Any) -> bytes:
        """One event as it goes over the wire, under the next number."""
        head = f"id: {next(self._numbers)}\nevent: {kind}\ndata: "
        return head.encode() + encode(data) + b"\n\n"

    def publish(self, kind: str, data: Any, *, wakes: bool = True) -> None:
        """`wakes` False: it goes with the next event, which comes soon."""
        if not self._subscriptions:
            return
        event = self.event(kind, data)
        self._log.append(event)
        self._size += len(event)
        self.end += 1
        while len(self._log) > self.queue or (self._size > self.queue_bytes and len(self._log) > 1):
            self._size -= len(self._log.popleft())
        if wakes:
            self._wake_all()

    def since(self, place: int) -> list[bytes]:
        """The events from that place on: one, or several that are `AT_ONCE` bytes together."""
        events: list[bytes] = []
        size = 0
        for event in itertools.islice(self._log, max(0, place - self.first), None):
            size += len(event)
            if events and size > AT_ONCE:
                break
            events.append(event)
        return events

    def lose(self) -> None:
        """More happened than the log takes: all get a snapshot instead."""
        self._log.clear()
        self._size = 0
        self.end += 1
        self._wake_all()

    def close(self) -> None:
        """Ends every stream, and takes no new one."""
        self._closed = True
        for subscription in list(self._subscriptions):
            subscription.close()

    def _wake_all(self) -> None:
        for subscription in self._subscriptions:
            subscription.wake()
