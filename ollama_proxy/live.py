"""What runs now, what ended lately, and who is told of it: running calls, the recent ring, sinks.

`Live.start` and `Live.finish` are on each call's path, so they only note, and work for an audience
only when there is one; nothing is done for each chunk. All of it belongs to one event loop.
Not here: HTTP, storage, totals.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from ollama_proxy.bus import EventBus, Subscription, unspoken
from ollama_proxy.exchange import Call, Exchange, Reason, State
from ollama_proxy.logs import where
from ollama_proxy.ticker import Ticker

log = logging.getLogger(__name__)

REFRESH_SECONDS = 0.25
_FRESH = REFRESH_SECONDS - 0.01  # libuv's timers count whole milliseconds, and may come early
RECENT_TEXT = 16 << 20  # characters of prompt and response that the recent ring may hold


class Sink(Protocol):
    """Told of each call's start and end, on the event loop: it must only note, never wait.

    What it raises is counted and logged, and never reaches the call. A sink that inherits this
    class and leaves `started` out costs nothing at the start.
    """

    def started(self, call: Call) -> None:
        return

    def finished(self, call: Call) -> None: ...


class Endings:
    """How many calls ended, and failed, in the last five minutes; by slots of ten seconds."""

    SLOT_SECONDS = 10.0
    SLOTS = 30

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slots: deque[list[int]] = deque(maxlen=self.SLOTS + 1)  # [slot, ended, failed]

    def add(self, failed: bool) -> None:
        slot = int(self._clock() / self.SLOT_SECONDS)
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append([slot, 0, 0])
        self._slots[-1][1] += 1
        self._slots[-1][2] += failed

    def totals(self) -> tuple[int, int]:
        """(ended, failed)."""
        oldest = int(self._clock() / self.SLOT_SECONDS) - self.SLOTS
        slots = [slot for slot in self._slots if slot[0] > oldest]
        return sum(slot[1] for slot in slots), sum(slot[2] for slot in slots)


class _Running:
    __slots__ = ("cancel", "exchange", "refresh", "refreshed")

    def __init__(
        self, exchange: Exchange, cancel: Callable[[], None], refresh: Callable[[], None]
    ) -> None:
        self.exchange = exchange
        self.cancel = cancel
        self.refresh = refresh
        self.refreshed = float("-inf")


class Live:
    """The running calls and the recent ones; tells sinks and the bus of each start and end."""

    def __init__(
        self,
        *,
        recent: int = 1000,
        recent_text: int = RECENT_TEXT,
        sinks: Sequence[Sink] = (),
        clock: Callable[[], float] = time.monotonic,
        bus: EventBus | None = None,
        progress_interval: float = REFRESH_SECONDS,
    ) -> None:
        self.bus = EventBus() if bus is None else bus
        self.sink_errors = 0
        self.endings = Endings(clock)
        self.last_started: float | None = None  # seconds since 1970
        self.last_busy: float | None = None  # by `clock`: when a call last began or ended
        self._limit, self._text_limit, self._clock = recent, recent_text, clock
        self._running: dict[str, _Running] = {}
        self._recent: OrderedDict[str, Call] = OrderedDict()
        self._recent_text = 0
        self._started = [sink for sink in sinks if type(sink).started is not Sink.started]
        self._finished = list(sinks)
        self._logged: set[str] = set()
        self._ticker = Ticker(progress_interval, self._tick)

    @property
    def running(self) -> int:
        return len(self._running)

    def start(
        self, exchange: Exchange, cancel: Callable[[], None], refresh: Callable[[], None]
    ) -> None:
        """A call has arrived. `refresh` brings `exchange.observation` up to what has passed."""
        self._running[exchange.id] = _Running(exchange, cancel, refresh)
        self.last_started, self.last_busy = exchange.started_at, self._clock()
        listened = bool(self.bus.subscribers)
        if not listened and not self._started:
            return
        call = exchange.record()
        for sink in self._started:
            self._guarded(sink.started, call)
        if listened:
            self._guarded(self._announce, "started", call)
            self._ticker.wake()

    def describe(self, exchange: Exchange) -> None:
        """More is known of a running call than at its start: its request has been read."""
        if self._started and exchange.id in self._running:
            call = exchange.record()
            for sink in self._started:
                self._guarded(sink.started, call)

    def finish(self, exchange: Exchange) -> None:
        """The call's end: its record is made once, whatever calls this again."""
        if self._running.pop(exchange.id, None) is None:
            return
        exchange.end(State.FAILED, Reason.INTERNAL_ERROR)  # for a caller that forgot to
        call = exchange.record()
        self.last_busy = self._clock()
        self.endings.add(exchange.state in (State.FAILED, State.TIMEOUT))
        self._remember(call)
        for sink in self._finished:
            self._guarded(sink.finished, call)
        if self.bus.subscribers:
            self._guarded(self._announce, "finished", call)

    def active(self) -> list[Call]:
        """The running calls as they stand now, oldest first."""
        return [entry.exchange.record() for entry in self._refreshed()]

    def call(self, id: str) -> Call | None:
        """A running call, or one that ended lately."""
        entry = self._running.get(id)
        if entry is None:
            return self._recent.get(id)
        self._refresh(entry, self._clock())
        return entry.exchange.record()

    def cancel(self, id: str) -> bool:
        """Whether there was such a running call. How it ends is up to the call itself."""
        entry = self._running.get(id)
        if entry is None:
            return False
        self._guarded(entry.cancel)
        return True

    def recent_calls(self, limit: int | None = None) -> list[Call]:
        """Calls that ended lately, the one that ended last first."""
        return list(itertools.islice(reversed(self._recent.values()), limit))

    def subscribe(self) -> Subscription:
        """Listen to the bus; progress is told while somebody does. Raises TooManySubscribers."""
        subscription = self.bus.subscribe()
        if self._running:
            self._ticker.wake()
        return subscription

    def close(self) -> None:
        """No more events. Calls are still noted."""
        self.bus.close()
        self._ticker.stop()

    def _tick(self) -> bool:
        """Tell all running calls' progress in one event. False: nobody listens, or nothing runs."""
        if not self.bus.subscribers or not self._running:
            return False
        self.bus.publish("progress", [_progress(entry.exchange) for entry in self._refreshed()])
        return True

    def _refreshed(self) -> Iterator[_Running]:
        now = self._clock()
        for entry in list(self._running.values()):
            self._refresh(entry, now)
            yield entry

    def _refresh(self, entry: _Running, now: float) -> None:
        if now - entry.refreshed >= _FRESH:
            entry.refreshed = now
            self._guarded(entry.refresh)

    def _announce(self, kind: str, call: Call) -> None:
        self.bus.publish(kind, unspoken(call))

    def _remember(self, call: Call) -> None:
        self._recent[call.id] = call
        self._recent_text += _text(call)
        while len(self._recent) > self._limit or self._recent_text > self._text_limit:
            self._recent_text -= _text(self._recent.popitem(last=False)[1])

    def _guarded(self, told: Callable[..., None], *arguments: Any) -> None:
        """No listener's error reaches the call. Each one's first is logged, all are counted."""
        try:
            told(*arguments)
        except Exception as error:  # noqa: BLE001 - guard: sink call
            self.sink_errors += 1
            name = getattr(told, "__qualname__", type(told).__name__)
            if name not in self._logged:
                self._logged.add(name)
                log.error("%s failed: %s (further errors are only counted)", name, where(error))


def _text(call: Call) -> int:
    return len(call.prompt or "") + len(call.response or "")


def _progress(exchange: Exchange) -> dict[str, Any]:
    seen = exchange.observation
    return {
        "id": exchange.id,
        "model": seen.model,
        "duration": exchange.duration,
        "output_chunks": seen.output_chunks,
        "response_bytes": exchange.response_bytes,
        "time_to_first_token": exchange.time_to_first_token,
    }
