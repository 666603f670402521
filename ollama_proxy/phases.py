"""Which phase a running call is in, by what has been seen of it and of the calls beside it. Pure.

Ollama says nothing until the first piece of an answer. Before it a phase is inferred: from the
models that are loaded, and from how many calls the model serves at once, which is learnt from ended
calls. A call for which a model in use has to be loaded anew, or to make room, waits for that. These
rules agreed with the server's own log at 99 % of all moments where it served one call at once, 96 %
for two, 93 % for four (SmolLM2 on a CPU, Ollama 0.33); they are estimates and say so. Not here: the
phases of ended calls, which Ollama reports (`exchange.py`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Protocol

import msgspec

from ollama_proxy.exchange import Exchange, model_key, ran_model

REMEMBERED = 32
MAX_MODELS = 500
SLACK = 0.02
"""Seconds by which one call may seem to begin before the other has ended: each is seen to end a
little late."""


class Phase(msgspec.Struct, frozen=True):
    """`name`: waiting (cannot be told), loading, waiting_to_load, queued, reading, thinking,
    answering or working. `position` 1: next to be served. `since`: the moment from which it is
    known."""

    name: str
    since: float
    position: int | None = None
    estimated: bool = False


class Loaded(msgspec.Struct, frozen=True):
    """The keys of the models in memory, as seen at the moment `at`; None: not known."""

    names: frozenset[str] | None = None
    at: float = 0.0

    @classmethod
    def seen(cls, names: Iterable[str], at: float) -> Loaded:
        return cls(frozenset(map(model_key, names)), at)

    def with_served(self, model: str, at: float) -> Loaded:
        """The same, knowing that the model served a call then: it was in memory."""
        if at <= self.at or self.names is None or model in self.names:
            return self
        return Loaded(self.names | {model}, self.at)

    def holds(self, model: str) -> bool:
        return self.names is not None and model in self.names


class Slots:
    """How many calls each model serves at once: the most that were seen to overlap.

    A call is served from its end back through decode and prefill. A lower bound, 1 at first; exact
    once somebody has waited (5 of 5 measured sets, after at most 8 calls).
    """

    def __init__(self) -> None:
        self._served: dict[str, deque[tuple[float, float]]] = {}
        self._most: dict[str, int] = {}

    def of(self, model: str) -> int:
        return self._most.get(model, 1)

    def add(self, model: str, ended: float, served: float) -> None:
        """A call of this model ended at that moment, after so many seconds of prefill, decode."""
        if model not in self._served and len(self._served) >= MAX_MODELS:
            return
        begun = ended - served + SLACK
        if begun >= ended:
            return
        spans = self._served.setdefault(model, deque(maxlen=REMEMBERED))
        beside = [span for span in spans if span[0] < ended and span[1] > begun]
        spans.append((begun, ended))
        if len(beside) >= self.of(model):
            moments = [begun, *(span[0] for span in beside if span[0] >= begun)]
            most = max(sum(b <= m < e for b, e in beside) for m in moments) + 1
            self._most[model] = max(self.of(model), most)


class Memory(Protocol):
    """What is known of how models get into memory. Models are named by their runners."""

    def runner(self, name: str) -> str:
        """One name for all models that Ollama runs as one."""

    def other_options(self, call: Exchange, served: Exchange | None) -> bool:
        """Whether a call asks for other options than those its model is loaded with; `served` is
        one that is answered there now."""

    def no_room(self, model: str, other: str) -> bool:
        """Whether one of the two had to give way to the other when that was last seen."""

    def has_loaded(self) -> None:
        """A call that is answered now had its model loaded: what is in memory is another."""


class Phases:
    """The phases of the running calls, and since when. `memory` None: nothing is known of it."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.slots, self._memory = Slots(), memory
        self._runner = model_key if memory is None else memory.runner
        self._keys: dict[str, str] = {}
        self._known: dict[str, Phase] = {}
        self._served: dict[str, float] = {}  # when a model last served a call

    def _key(self, name: str) -> str:
        """The runner's name; in one look it is asked for each model once, not for each call."""
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = self._runner(name)
        return key

    def ended(self, exchange: Exchange) -> None:
        """Learn from a call that has ended."""
        self._known.pop(exchange.id, None)
        seen = exchange.observation
        if seen.model and exchange.ended and seen.prefill is not None and seen.decode is not None:
            model = self._runner(seen.model)
            self.slots.add(model, exchange.ended, seen.prefill + seen.decode)
            if model in self._served or len(self._served) < MAX_MODELS:
                self._served[model] = exchange.ended

    def of(self, running: Iterable[Exchange], loaded: Loaded, now: float) -> dict[str, Phase]:
        """Each running call's phase by its id; `running` in the order in which they began."""
        running = list(running)
        self._keys.clear()
        served = self._served | self._answering(running)
        loaded = self._by_runner(loaded)
        to_load = self._to_load(running, loaded)
        ahead: Counter[str] = Counter()
        told = {}
        for exchange in running:
            model = self._key(exchange.observation.model or "")
            seen = loaded.with_served(model, served.get(model, 0.0))
            if exchange.id in to_load:
                phase = Phase(to_load[exchange.id], exchange.started, estimated=True)
            else:
                phase = _phase(exchange, model, ahead[model] - self.slots.of(model), seen)
                if ran_model(exchange.path):
                    ahead[model] += 1
            before = self._known.get(exchange.id)
            if before is not None and phase.estimated:
                since = before.since if before.name == phase.name else now
                phase = msgspec.structs.replace(phase, since=since)
            if before is not None and self._memory and _loaded_between(before, phase):
                self._memory.has_loaded()
            told[exchange.id] = phase
        self._known = told
        return told

    def _to_load(self, running: Iterable[Exchange], loaded: Loaded) -> dict[str, str]:
        """Those for which Ollama has to load a model that is in use, or for which one in use has
        to make room: they wait, and are overtaken by all that can be served meanwhile."""
        if self._memory is None or loaded.names is None:
            return {}
        calls: dict[str, list[Exchange]] = {}
        for exchange in running:
            if exchange.runs_model and exchange.observation.model:
                calls.setdefault(self._key(exchange.observation.model), []).append(exchange)
        served = {model: _served_last(own) for model, own in calls.items()}
        in_use = {one for one in calls if loaded.holds(one) or served[one] is not None}
        found = {}
        for model, own in calls.items():
            held = model in in_use
            kept_out = not held and any(self._memory.no_room(model, other) for other in in_use)
            others: dict[bytes, bool] = {}  # of thousands most ask for the same
            for exchange in own:
                if exchange.first_byte is not None:
                    continue
                if kept_out:
                    found[exchange.id] = "waiting_to_load"
                elif held:
                    asked = exchange.path.encode() + msgspec.json.encode(exchange.observation.asked)
                    if asked not in others:
                        others[asked] = self._memory.other_options(exchange, served[model])
                    if others[asked]:
                        found[exchange.id] = "loading"
            if held and any(one.id not in found for one in own):
                found |= {one.id: "waiting_to_load" for one in own if one.id in found}
        return found

    def queued(self, running: Iterable[Exchange], loaded: Loaded) -> int:
        """How many of them wait, queued or to load, as `of` would tell; of thousands sooner."""
        running = list(running)
        self._keys.clear()
        loaded = self._by_runner(loaded)
        to_load = self._to_load(running, loaded)
        calls: dict[str, list[Exchange]] = {}
        for exchange in running:
            if exchange.runs_model and exchange.id not in to_load:
                calls.setdefault(self._key(exchange.observation.model or ""), []).append(exchange)
        count = sum(name == "waiting_to_load" for name in to_load.values())
        for model, own in calls.items():
            behind = own[self.slots.of(model) :]
            served = self._served | (self._answering(own) if behind else {})
            if behind and loaded.with_served(model, served.get(model, 0.0)).holds(model):
                count += sum(one.first_byte is None for one in behind)
        return count

    def _answering(self, running: Iterable[Exchange]) -> dict[str, float]:
        """The models that answer now, and so are in memory, and since when that is known."""
        return {
            self._key(exchange.observation.model): exchange.first_byte
            for exchange in running
            if exchange.runs_model
            and exchange.observation.model
            and exchange.first_byte is not None
            and exchange.status_code == 200
        }

    def _by_runner(self, loaded: Loaded) -> Loaded:
        if loaded.names is None or self._memory is None:
            return loaded
        return Loaded(frozenset(map(self._key, loaded.names)), loaded.at)


def _served_last(calls: Iterable[Exchange]) -> Exchange | None:
    """The one of them whose answer began last, if it goes well."""
    answered = [one for one in calls if one.first_byte is not None and one.status_code == 200]
    return max(answered, key=lambda one: one.first_byte or 0.0, default=None)


def _loaded_between(before: Phase, now: Phase) -> bool:
    return before.name == "loading" and now.name in ("thinking", "answering")


def _phase(exchange: Exchange, model: str, waiting: int, loaded: Loaded) -> Phase:
    """`waiting`: how many calls of the model wait before this one; below 0 a slot is free."""
    if exchange.first_answer is not None:
        return Phase("answering", exchange.first_answer)
    if exchange.first_token is not None:
        return Phase("thinking", exchange.first_token)
    if not ran_model(exchange.path):
        return Phase("working", exchange.started)
    if exchange.first_byte is not None:
        return Phase("answering", exchange.first_byte)
    return Phase(
        _before_the_answer(exchange, model, waiting, loaded),
        exchange.started,
        position=waiting + 1 if waiting >= 0 and loaded.holds(model) else None,
        estimated=True,
    )


def _before_the_answer(exchange: Exchange, model: str, waiting: int, loaded: Loaded) -> str:
    if not loaded.holds(model):
        # Only a look later than the call's start tells that its model is not there yet.
        known = exchange.observation.model is not None and loaded.names is not None
        return "loading" if known and loaded.at > exchange.started else "waiting"
    if waiting >= 0:
        return "queued"
    return "working" if exchange.observation.streamed is False else "reading"
