"""When calls were in service at their model, and so who waited for whom: brings calls to `Waits`.

Where Ollama told no durations it is estimated. Not here: how a wait is shared out (`waits.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import msgspec

from ollama_proxy.exchange import Call, Exchange, State, generates, model_key
from ollama_proxy.insights.conflicts import RELOAD, names, written
from ollama_proxy.insights.reloads import SHORTEST
from ollama_proxy.insights.rooms import Rooms
from ollama_proxy.insights.waits import AT_ONCE, MAX_MODELS, REMEMBERED, Hidden, Span, Wait, Waits
from ollama_proxy.records import Noted, Occurrence

PAUSE, BREATH = 0.25, 0.02
"""Seconds between two looks at all that runs; where there are many waits to share out."""
WHILE_IDLE = 64
"""Waits that are shared out at once where no call runs, that could be late for it: some 13 ms."""
SHORTEST_BUSY = 0.1
"""Seconds: where a machine falters for a moment, all its calls seem to wait for a free slot."""
WITHIN = 0.1
"""Seconds by which two that waited for the same load may be told it differently."""
SHOWN_SHARE = 0.05
"""Of a wait: what less than that is put down to is not told."""


_Changed = tuple[str | None, dict[str, Any]]
"""Whose options a model was loaded with before, and which differ."""


class Running(NamedTuple):
    """A call on its way: its model, its options, when it came and from whom; the tokens written."""

    model: str
    options: dict[str, Any] | None
    since: float
    client: str | None = None
    written: int | None = None


class _Load(NamedTuple):
    """A model was loaded by that moment; `waited_for`: the models whose calls that waited for."""

    model: str
    ended: float
    waited_for: frozenset[str]


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
        self._waits, self._rooms = Waits(), Rooms()
        self._waiting: dict[str, tuple[Noted, _Changed]] = {}
        self._called: dict[str, str] = {}
        self._loads: deque[_Load] = deque(maxlen=REMEMBERED)
        self._share_at = float("-inf")

    def looked(self, loaded: AbstractSet[str], at: float) -> None:
        """A look that began at that moment found these models in memory."""
        self._rooms.looked(loaded, at)

    def hidden(
        self, model: str, call: Call, exchange: Exchange, unloads: Callable[[str], bool]
    ) -> Hidden | None:
        """What of the call's load was a wait; nothing, where it was too short to hold one.

        Ollama loads a model anew when the last of its calls has ended, and a model that there is
        no room for when that of another one has; and it loads one after the other. It counts all of
        that as load time. `unloads`: a model whose last call had it put out of memory would have
        gone anyhow.
        """
        if call.load is None or call.load < SHORTEST:
            return None  # nearly every call: it found its model loaded
        load = Span(exchange.started, exchange.started + call.load)
        ends = {
            other: end
            for other, end in self._waits.ends(load).items()
            if other == model
            or (not unloads(other) and self._rooms.gave_way(other, model, end, load.ended))
        }
        for other in ends.keys() - {model}:
            self._rooms.learn(model, other)
        found = [
            (end, "reload" if other == model else "room", frozenset((other,)))
            for other, end in ends.items()
        ]
        for one in self._loads:
            left = load.ended - one.ended
            if one.ended <= load.begun or left < -WITHIN:
                continue
            if one.model == model and left < SHORTEST:
                return Hidden(load, one.waited_for, "load")  # it only waited along
            if one.model != model and left >= SHORTEST:
                found.append((one.ended, "load", one.waited_for | {one.model}))
        if not found:
            return None
        last, reason, _ = max(found, key=lambda one: one[0])
        models = frozenset[str]().union(*(models for _, _, models in found))
        return Hidden(Span(load.begun, last), models, reason)

    def gone_at(self, model: str) -> float | None:
        """When a look last found that it had gone from memory."""
        return self._rooms.gone_at(model)

    def called(self, model: str) -> str:
        """The name by which it was called last: several may be run as one."""
        return self._called.get(model, model)

    def no_room(self, model: str, other: str) -> bool:
        """Whether one had to give way to the other when that was last seen."""
        return self._rooms.apart(model, other)

    def served(self, model: str, call: Call, exchange: Exchange) -> Span | None:
        """When it was in service; estimated where Ollama did not say, None where it never was.

        A call that was broken off before its answer was in service, unless an older one still is.
        """
        ended = exchange.ended or exchange.started
        if not generates(call.path):
            if call.state != State.COMPLETED:
                return None
            return Span(min(ended, exchange.started + (call.load or 0.0)), ended)
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
        self,
        model: str,
        call: Call,
        exchange: Exchange,
        served: Span | None,
        hidden: Hidden | None,
        reload: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell who was in service, and now and then share out the waits that are known by now.

        Of the call's `load` and `queue` what was `hidden` is a wait, no load. `reload`: why it
        loaded its model.
        """
        if call.load is not None and call.load >= SHORTEST:
            waited_for = frozenset[str]() if hidden is None else hidden.models
            since = 0.0 if hidden is None else hidden.span.seconds
            self._loads.append(_Load(model, exchange.started + since + call.load, waited_for))
        if served is not None:
            if model in self._called or len(self._called) < MAX_MODELS:
                self._called[model] = model_key(call.model or model)
            waited = (call.queue or 0.0) - (0.0 if hidden is None else hidden.span.seconds)
            self._waits.ended(
                model,
                call.id,
                call.client,
                served=_with_load(call, exchange, served, hidden),
                read=_read(call, exchange, served),
                waited=Span(served.begun - waited, served.begun) if waited > 0 else None,
                hidden=hidden,
            )
            noted = Noted(call.id, call.model, call.client, [])
            self._waiting[call.id] = noted, _changed(reload)
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
                if waiter is not None and (wait.blamed or wait.busy or wait.loading):
                    self._note(_shares(*waiter, wait))

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


def _with_load(call: Call, exchange: Exchange, served: Span, hidden: Hidden | None) -> Span:
    """A call that loads its model keeps it from all others meanwhile."""
    begun = exchange.started if hidden is None else hidden.span.ended
    loads = call.load is not None and call.load >= SHORTEST
    return Span(min(begun, served.begun), served.ended) if loads else served


def _changed(reload: Mapping[str, Any] | None) -> _Changed:
    if reload is None or reload["cause"] != "options":
        return None, {}
    return reload["by"], reload["changed"]


def _shares(waiter: Noted, changed: _Changed, wait: Wait) -> Noted:
    """A wait for a reload names the options where they are those of whom it waited for."""
    least = SHOWN_SHARE * wait.seconds
    busy = wait.busy if sum(wait.busy.values()) >= SHORTEST_BUSY else {}
    found = [
        _waited(kind, detail, other, seconds, changed)
        for kind, detail, shares in (
            ("waited", None, wait.blamed),
            ("waited", wait.reason, wait.loading),
            ("runner_busy", None, busy),
        )
        for other, seconds in shares.items()
        if seconds >= least
    ]
    return msgspec.structs.replace(waiter, occurrences=found)


def _waited(
    kind: str, detail: str | None, other: str | None, seconds: float, changed: _Changed
) -> Occurrence:
    by, options = changed
    if detail != RELOAD or other != by or not options:
        return Occurrence(kind=kind, other=other, detail=detail, seconds=seconds)
    detail, values = f"{RELOAD} {names(options)}", written(options)
    return Occurrence(kind=kind, other=other, detail=detail, values=values, seconds=seconds)
