"""When calls were in service at their model, and so who waited for whom: brings calls to `Waits`.

Where Ollama told no durations it is estimated. Not here: how a wait is shared out (`waits.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from ollama_proxy.exchange import Call, Exchange, State
from ollama_proxy.insights.reloads import SHORTEST
from ollama_proxy.insights.waits import AT_ONCE, REMEMBERED, Span, Wait, Waits
from ollama_proxy.insights.waits import SHORTEST as SHORTEST_WAIT
from ollama_proxy.records import Noted, Occurrence

PAUSE, BREATH = 0.25, 0.02
"""Seconds between two looks at all that runs; where there are many waits to share out."""
WHILE_IDLE = 64
"""Waits that are shared out at once where no call runs, that could be late for it: some 13 ms."""
SHORTEST_BUSY = 0.1
"""Seconds: where a machine falters for a moment, all its calls seem to wait for a free slot."""
SHOWN_SHARE = 0.05
"""Of a wait: what less than that is put down to is not told."""


class Running(NamedTuple):
    """A call on its way: its model, its options, when it came and from whom; the tokens written."""

    model: str
    options: dict[str, Any] | None
    since: float
    client: str | None = None
    written: int | None = None


class Serving:
    """`running` are the calls on their way, `key` is a model's by its name; `note` takes what is
    found out of a call later; `slots` is how many calls a model serves at once."""

    def __init__(
        self,
        running: Callable[[], Iterable[Running]],
        key: Callable[[str], str],
        note: Callable[[Noted], None],
        slots: Callable[[str], int],
        clock: Callable[[], float],
    ) -> None:
        self._running, self._key, self._note, self._clock = running, key, note, clock
        self._slots = slots
        self._waits = Waits()
        self._waiting: dict[str, Noted] = {}
        self._share_at = float("-inf")

    def hidden(self, model: str, call: Call, exchange: Exchange) -> Span | None:
        """What of the call's load was a wait; nothing, where it was too short to hold one."""
        if call.load is None or call.load < SHORTEST_WAIT:
            return None  # nearly every call: it found its model loaded
        begun = exchange.started
        return self._waits.hidden_in_load(model, Span(begun, begun + call.load))

    def served(self, model: str, call: Call, exchange: Exchange) -> Span | None:
        """When it was in service; estimated where Ollama did not say, None where it never was.

        A call that was broken off before its answer was in service, unless an older one still is.
        """
        ended = exchange.ended or exchange.started
        if call.prefill is not None and call.decode is not None:
            return Span(ended - call.prefill - call.decode, ended)
        if exchange.first_byte is None:
            if call.state != State.CANCELLED:
                return None
            if any(
                one.since < exchange.started and self._key(one.model) == model
                for one in self._running()
            ):
                return None
        before = self._waits.previous_end(model, exchange.first_byte or ended)
        return Span(max(exchange.started, before or exchange.started), ended)

    def spent(self, model: str, since: float, slots: int) -> float:
        """Seconds for which a call that came then has been in service, if it has a slot."""
        now = self._clock()
        # Where there are several slots, who came later may have ended beside it.
        before = self._waits.previous_end(model, now, None if slots == 1 else since)
        return now - max(since, before or since)

    def ended(
        self, model: str, call: Call, exchange: Exchange, served: Span | None, hidden: Span | None
    ) -> None:
        """Tell who was in service, and now and then share out the waits that are known by now."""
        if served is not None:
            self._waits.ended(
                model,
                call.id,
                call.client,
                served=_with_load(call, exchange, served, hidden),
                read=_read(call, exchange, served),
                waited=[Span(served.begun - call.queue, served.begun)] if call.queue else (),
                for_load=() if hidden is None else [hidden],
            )
            self._waiting[call.id] = Noted(call.id, call.model, call.client, [])
            while len(self._waiting) > REMEMBERED:
                del self._waiting[next(iter(self._waiting))]
        if self._clock() >= self._share_at:
            self.share_out()

    def share_out(self) -> None:
        """Share out some of the waits that are known by now, and say so."""
        now = self._clock()
        self._share_at = now + PAUSE
        if self._waits.unknown:
            oldest = self._oldest()
            most = AT_ONCE if oldest else WHILE_IDLE
            found = self._waits.shared_out(oldest, now, most, self._slots)
            if len(found) == most:
                self._share_at = now + BREATH
            for wait in found:
                waiter = self._waiting.get(wait.call)
                if waiter is not None and (wait.blamed or wait.busy or wait.reload):
                    self._note(_shares(waiter, wait))

    def _oldest(self) -> dict[str, float]:
        """When the oldest of each model's calls came that run, or were not judged yet."""
        oldest: dict[str, float] = {}
        for one in self._running():
            key = self._key(one.model)
            oldest[key] = min(one.since, oldest.get(key, one.since))
        return oldest


def _read(call: Call, exchange: Exchange, served: Span) -> Span:
    """While its prompt was read; where Ollama did not say, up to its first token."""
    if call.prefill is not None and call.decode is not None:
        return Span(served.begun, served.ended - call.decode)
    first = exchange.first_token
    known = first is not None and served.begun <= first <= served.ended
    return Span(served.begun, first) if known and first is not None else served


def _with_load(call: Call, exchange: Exchange, served: Span, hidden: Span | None) -> Span:
    """A call that loads its model keeps it from all others meanwhile."""
    begun = exchange.started if hidden is None else hidden.ended
    loads = call.load is not None and exchange.started + call.load - begun >= SHORTEST
    return Span(min(begun, served.begun), served.ended) if loads else served


def _shares(waiter: Noted, wait: Wait) -> Noted:
    least = SHOWN_SHARE * wait.seconds
    busy = wait.busy if sum(wait.busy.values()) >= SHORTEST_BUSY else {}
    found = [
        Occurrence(kind=kind, other=other, detail=detail, seconds=seconds)
        for kind, detail, shares in (
            ("waited", None, wait.blamed),
            ("waited", "reload", wait.reload),
            ("runner_busy", None, busy),
        )
        for other, seconds in shares.items()
        if seconds >= least
    ]
    return msgspec.structs.replace(waiter, occurrences=found)
