"""What runs now, what ended lately, and who is told of it: running calls, the recent ring, sinks.

`Live.start` and `Live.finish` are on each call's path, so they only note. Records are made, and
sinks and pages told, four times a second, or at once when somebody looks: a call that has ended by
then is told only as ended. Nothing is done for each chunk. All of it belongs to one event loop.
Not here: HTTP, storage, totals.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ollama_proxy.bus import EventBus, Progress, Subscription, unspoken
from ollama_proxy.endings import Endings
from ollama_proxy.exchange import Call, Exchange, Reason, State, model_key
from ollama_proxy.listeners import Judge, Meter, Running, Sink
from ollama_proxy.logs import where
from ollama_proxy.phases import Loaded, Phases
from ollama_proxy.prefill import Prefills
from ollama_proxy.ring import Ring
from ollama_proxy.stats import COLD_SECONDS
from ollama_proxy.ticker import Ticker

log = logging.getLogger(__name__)

REFRESH_SECONDS = 0.25
# So many that ended are recorded for so long in a turn; a chat takes 100 us, or 300 if it is cold.
SETTLE_AT = 10
SETTLE_SECONDS = 0.0005
TOLD_AT_ONCE = 50
PUT_OFF = 8  # ticks that nothing is told while very many that ended are recorded
MOMENT = 0.02
_FRESH = REFRESH_SECONDS - 0.01  # libuv's timers count whole milliseconds, and may come early
_FAILED = (State.FAILED, State.TIMEOUT)
TRANSFERS = frozenset({"/api/create", "/api/pull", "/api/push"})
RECENT_TEXT = 16 << 20  # characters of prompt and response that the recent ring may hold


class Live:
    """The running calls and the recent ones; tells sinks and the bus of starts and ends."""

    def __init__(
        self,
        *,
        recent: int = 1000,
        recent_text: int = RECENT_TEXT,
        sinks: Sequence[Sink] = (),
        clock: Callable[[], float] = time.monotonic,
        bus: EventBus | None = None,
        progress_interval: float = REFRESH_SECONDS,
        loaded: Callable[[], Loaded] = Loaded,
        meter: Meter | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.bus = EventBus() if bus is None else bus
        self.sink_errors = 0
        self._endings = Endings(clock)
        self.last_started: float | None = None  # seconds since 1970
        self.last_busy: float | None = None  # by `clock`: when a call last began or ended
        self._clock = clock
        self._running: dict[str, Running] = {}
        self._untold: dict[str, Running] = {}
        self._announced: set[str] = set()
        self._ended: deque[tuple[Exchange, Callable[[], None] | None]] = deque()
        self._put_off = 0
        self._unannounced: list[Call] = []
        self._phases, self._loaded = Phases(judge), loaded
        self.runner = model_key if judge is None else judge.runner
        self._prefills = Prefills()
        self._progress = Progress()
        self._seen: tuple[dict[str, dict[str, Any]], float] = {}, float("-inf")
        self._meter = meter
        self._judge = judge
        self._looked: dict[str, float] = {}  # when each running call was last refreshed
        self._recent = Ring(recent, recent_text)
        self._started = [sink for sink in sinks if type(sink).started is not Sink.started]
        self._finished = list(sinks)
        self._logged: set[str] = set()
        self._ticker = Ticker(progress_interval, self._tick)
        self._starts = Ticker(MOMENT, self._tell_starts)

    @property
    def running(self) -> int:
        return len(self._running)

    def start(self, call: Running) -> None:
        """A call has arrived."""
        exchange = call.exchange
        self._running[exchange.id] = call
        self.last_started, self.last_busy = exchange.started_at, self._clock()
        self._tell_later(call)
        if self._meter is not None and exchange.runs_model:
            self._meter.began(exchange.id)

    def describe(self, call: Running) -> None:
        """More is known of a running call than at its start: its request has been read."""
        if call.exchange.id in self._running:
            self._tell_later(call)

    def _tell_later(self, call: Running) -> None:
        if self._started or self.bus.subscribers:
            self._untold[call.exchange.id] = call
            self._ticker.wake()

    def finish(self, exchange: Exchange, close: Callable[[], None] | None = None) -> None:
        """The call's end: its record is made once, whatever calls this again, and later.

        `close` is called before that: what is to be known of the call can be worked out then.
        """
        id = exchange.id
        if self._running.pop(id, None) is None:
            return
        self._untold.pop(id, None)
        self._announced.discard(id)
        self._looked.pop(id, None)
        self.last_busy = self._clock()
        if self._meter is not None and exchange.runs_model:
            self._meter.ended(id)
        self._ended.append((exchange, close))
        if len(self._ended) == SETTLE_AT:
            self._settle_soon()
        self._ticker.wake()

    def _settle_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._settle_some)

    def _settle_some(self) -> None:
        until = self._clock() + SETTLE_SECONDS
        self._settle(1)
        while self._ended and self._clock() < until:
            self._settle(1)
        if self._ended:
            self._settle_soon()

    def settle(self) -> None:
        """Record what has ended, and tell the sinks: what they know is then complete."""
        self._settle(len(self._ended))

    def _settle(self, most: int) -> None:
        calls: list[Call] = []
        for _ in range(min(most, len(self._ended))):
            calls += self._recorded(*self._ended.popleft())
        if calls:
            self._tell_ends(calls)

    def adopt(self, calls: Sequence[Call]) -> None:
        """Calls that ended in another process, in its place; they were judged there."""
        for call in calls:
            self._recent.add(call)
        if calls:
            self._tell_ends(calls)
            self._ticker.wake()

    def keep(self, recent: int) -> None:
        """From now on so many of the calls that ended are kept here."""
        self._limit = recent

    def _tell_ends(self, calls: Sequence[Call]) -> None:
        failed = sum(call.state in _FAILED for call in calls)
        self._endings.add(len(calls), failed)
        for sink in self._finished:
            self._tell(sink.finished, calls)
        if self.bus.subscribers:
            self._unannounced += calls
        if len(self._unannounced) >= self.bus.queue:
            self._unannounced.clear()
            self.bus.lose()

    def _recorded(self, exchange: Exchange, close: Callable[[], None] | None) -> list[Call]:
        """Its record; none, if one cannot be made."""
        if close is not None:
            self._guarded(close)
        exchange.end(State.FAILED, Reason.INTERNAL_ERROR)  # where nobody else said what became
        if exchange.runs_model:
            if self._meter is not None:
                self._guarded(self._measure, self._meter, exchange)
            self._guarded(self._compare, exchange)
            self._guarded(self._phases.ended, exchange)
        try:
            call = exchange.record()
        except Exception as error:  # noqa: BLE001 - guard: the others are recorded all the same
            self._failed(exchange.record, error)
            return []
        if exchange.runs_model and self._judge is not None:
            call = self._judged(self._judge, call, exchange)
        self._recent.add(call)
        return [call]

    def _tell(self, finished: Callable[[Call], None], calls: Sequence[Call]) -> None:
        """Each call, whatever became of the one before."""
        for call in calls:
            try:
                finished(call)
            except Exception as error:  # noqa: BLE001 - guard: sink call
                self._failed(finished, error)

    def _measure(self, meter: Meter, exchange: Exchange) -> None:
        exchange.resources = meter.take(exchange.id)

    def _judged(self, judge: Judge, call: Call, exchange: Exchange) -> Call:
        try:
            return judge(call, exchange)
        except Exception as error:  # noqa: BLE001 - guard: it is recorded all the same
            self._failed(judge, error)
            return call

    def _compare(self, exchange: Exchange) -> None:
        seen = exchange.observation
        if seen.model and seen.input_tokens is not None and seen.prefill is not None:
            loaded = seen.load is not None and seen.load >= COLD_SECONDS
            exchange.prefill_cached = self._prefills.judge(
                model_key(seen.model), seen.input_tokens, seen.prefill, loaded=loaded
            )

    @property
    def endings(self) -> Endings:
        self.settle()
        return self._endings

    def active(self) -> list[Call]:
        """The running calls as they stand now, oldest first."""
        return [call.exchange.record() for call in self._refreshed()]

    def phases(self, *, look: bool = True) -> dict[str, dict[str, Any]]:
        """Each running call's phase by its id, and since when. `look` False: as `moving_models`
        says, or as they were told of a moment ago, which of thousands takes no time."""
        now, (phases, seen) = time.monotonic(), self._seen
        if not look and now - seen < REFRESH_SECONDS:
            return phases
        running = [call.exchange for call in self._refreshed()] if look else self.exchanges
        return {
            id: {
                "phase": phase.name,
                "phase_seconds": max(0.0, now - phase.since),
                "phase_estimated": phase.estimated,
                "queue_position": phase.position,
            }
            for id, phase in self._phases.of(running, self._loaded(), now).items()
        }

    @property
    def moving_models(self) -> bool:
        """Whether Ollama now loads a model, or a call moves one to or from its disk.

        Asked each few seconds, so no call's answer is looked at for it: that of hundreds of streams
        would take a tenth of a second.
        """
        running = self.exchanges
        if any(exchange.path in TRANSFERS for exchange in running):
            return True
        phases = self._phases.of(running, self._loaded(), time.monotonic())
        return any(phase.name == "loading" for phase in phases.values())

    @property
    def queued(self) -> int:
        """How many calls wait for a slot of their model, as far as that is known."""
        return self._phases.queued(self.exchanges, self._loaded())

    def _understand(self) -> None:
        """Read the requests of those that began just now, but not of thousands."""
        for running in itertools.islice(self._untold.values(), TOLD_AT_ONCE):
            self._guarded(running.understand)

    @property
    def models(self) -> set[str]:
        """The models that running calls named, as far as that was read; see `moving_models`."""
        return {model for one in self.exchanges if (model := one.observation.model)}

    def slots(self, model: str) -> int:
        """How many calls this model, named by its runner, was seen to serve at once."""
        return self._phases.slots.of(model)

    def refresh(self) -> None:
        """Bring all running calls up to what has passed."""
        for _ in self._refreshed():
            pass

    @property
    def exchanges(self) -> list[Exchange]:
        """Of the running calls; see `moving_models`."""
        self._understand()
        return [call.exchange for call in self._running.values()]

    @property
    def ids(self) -> list[str]:
        """Of calls that run, or whose record is yet to be made; may be asked in any thread."""
        return [*self._running, *(exchange.id for exchange, _ in self._ended.copy())]

    @property
    def unrecorded(self) -> list[Exchange]:
        """Of calls that have ended, and whose record is yet to be made."""
        return [exchange for exchange, _ in self._ended]

    def call(self, id: str) -> Call | None:
        """A running call, with what its answer says so far; or one that ended lately."""
        self.settle()
        call = self._running.get(id)
        if call is None:
            return self._recent.get(id)
        self._refresh(call, self._clock())
        return call.exchange.so_far()

    def cancel(self, id: str) -> bool:
        """Whether there was such a running call. How it ends is up to the call itself."""
        call = self._running.get(id)
        if call is None:
            return False
        self._guarded(call.cancel)
        return True

    def recent_calls(self, limit: int | None = None) -> list[Call]:
        """Calls that ended lately, the one that ended last first."""
        self.settle()
        return self._recent.latest(limit)

    def oldest(self) -> str | None:
        """The least id of the running calls and of those that ended lately."""
        self.settle()
        ids = [*self._running, self._recent.oldest]
        return min((id for id in ids if id is not None), default=None)

    def subscribe(self) -> Subscription:
        """Listen to the bus; progress is told while somebody does. Raises TooManySubscribers."""
        self.tell_now()
        subscription = self.bus.subscribe()
        if self._running:
            self._ticker.wake()
        return subscription

    def close(self) -> None:
        """No more events. Calls are still noted, and recorded by `settle`."""
        self.bus.close()
        self._ticker.stop()
        self._starts.stop()

    def tell_now(self) -> None:
        """Tell what began and what ended, so that nothing that a snapshot has next comes again.

        Only where more than `TOLD_AT_ONCE` began at once, some starts are told after it.
        """
        self.settle()
        if self._tell_starts():
            self._starts.wake()
        for call in self._unannounced:
            self._guarded(self._announce, "finished", call)
        self._unannounced.clear()

    def _tell_starts(self) -> bool:
        """Tell a portion of what began. True: there is more."""
        for running in list(itertools.islice(self._untold.values(), TOLD_AT_ONCE)):
            self._guarded(self._tell_start, running)
        return bool(self._untold)

    def _tell_start(self, running: Running) -> None:
        """To sinks each time that more is known, to the bus once."""
        id = running.exchange.id
        del self._untold[id]
        self._guarded(running.understand)
        call = running.exchange.record()
        for sink in self._started:
            self._guarded(sink.started, call)
        if id not in self._announced:
            self._announced.add(id)
            self._announce("started", call)

    def _announce(self, kind: str, call: Call) -> None:
        if self.bus.subscribers:
            self.bus.publish(kind, unspoken(call))

    def _tick(self) -> bool:
        """Tell what is new, and how far the rest is. False: nobody wants to know more."""
        if len(self._ended) > SETTLE_AT and self._put_off < PUT_OFF:
            self._put_off += 1  # thousands that ended at once are recorded a few at a time
            return True
        self._put_off = 0
        self.tell_now()
        told = bool(self.bus.subscribers) and bool(self._running)
        if told:
            self._seen = self.phases(), time.monotonic()
            there = (one.exchange for id, one in self._running.items() if id not in self._untold)
            self._guarded(self.bus.publish, "progress", self._progress.rows(there, self._seen[0]))
        return told

    def _refreshed(self) -> Iterator[Running]:
        now = self._clock()
        for call in list(self._running.values()):
            self._refresh(call, now)
            yield call

    def _refresh(self, call: Running, now: float) -> None:
        id = call.exchange.id
        if now - self._looked.get(id, float("-inf")) >= _FRESH:
            self._looked[id] = now
            self._guarded(call.refresh)

    def _guarded(self, told: Callable[..., None], *arguments: Any) -> None:
        """No listener's error reaches the call. Each one's first is logged, all are counted."""
        try:
            told(*arguments)
        except Exception as error:  # noqa: BLE001 - guard: sink call
            self._failed(told, error)

    def _failed(self, told: Callable[..., object], error: Exception) -> None:
        self.sink_errors += 1
        name = getattr(told, "__qualname__", type(told).__name__)
        if name not in self._logged:
            self._logged.add(name)
            log.error("%s failed: %s (further errors are only counted)", name, where(error))
