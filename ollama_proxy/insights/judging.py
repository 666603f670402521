"""Puts an ended call to every question that a finding answers, and writes the answers down.

What it returns is the call with its `insights`: by finding, the facts that were found; and with the
options that were `in_force`. A wait that
Ollama counts as loading is moved from `load` to `queue`, and `load_wait` tells it. What is known
only after other calls have ended is told to `note`. Not here: the rules (one file each), sentences,
sums over many calls.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ollama_proxy.exchange import Call, Exchange, Reason, State, generates, ran_model
from ollama_proxy.ids import epoch
from ollama_proxy.insights.contexts import Contexts, asked_context
from ollama_proxy.insights.estimate import RUNS, Ahead, Estimate, Estimator
from ollama_proxy.insights.facts import Facts, native
from ollama_proxy.insights.in_force import InForce
from ollama_proxy.insights.naming import Names
from ollama_proxy.insights.outages import Outages
from ollama_proxy.insights.overrun import overrun
from ollama_proxy.insights.prompt_cache import PromptCaches
from ollama_proxy.insights.prompt_cut import Prompt, PromptCuts
from ollama_proxy.insights.prompt_start import PromptStarts
from ollama_proxy.insights.reloads import (
    SHORTEST,
    Asked,
    Ended,
    Reload,
    Reloads,
    keep_alive_seconds,
)
from ollama_proxy.insights.serving import Running, Serving
from ollama_proxy.insights.slow import Usual
from ollama_proxy.insights.waits import Hidden, Span
from ollama_proxy.insights.waste import Wastes
from ollama_proxy.records import ModelInfo, Noted

MAX_MODELS = 500
NOT_TOLD = "\u2026"
MOST_LOOKS = 20
"""For each model: one that goes by two names may be listed by the other one only."""


class Judging:
    """Told of looks at Ollama's models and of ended calls, in their order; remembers both.

    `running` are the calls on their way; `note` takes what is found out of a call later; `look` has
    a look taken soon; `slots` is how many calls a model serves at once, by its key.
    """

    def __init__(
        self,
        running: Callable[[], Iterable[Running]] = tuple,
        note: Callable[[Noted], None] = lambda noted: None,
        look: Callable[[], None] = lambda: None,
        slots: Callable[[str], int] = lambda model: 1,
        usual: Usual | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._running, self._look, self._slots = running, look, slots
        self._clock, self._now = clock, now
        self._names = Names()
        self._key, self.runner = self._names.key, self._names.runner
        self._looks: Counter[str] = Counter()
        self._contexts = Contexts()
        self._cuts = PromptCuts()
        self._reloads = Reloads()
        self._in_force = InForce()
        self._starts = PromptStarts()
        self._caches = PromptCaches()
        self._serving = Serving(running, self.runner, note, self._slots, clock)
        self._wastes = Wastes()
        self._outages = Outages()
        self._estimator = Estimator()
        self._usual = Usual() if usual is None else usual
        self._on_gpu: dict[str, float] = {}  # shares of the models in memory

    def restarted(self) -> None:
        """Ollama was down, by a look, and is up again."""
        self._reloads.restarted()

    def looked(self, models: Iterable[ModelInfo], at: float) -> None:
        """A look at Ollama that began at that moment."""
        self._outages.answered(at)
        models = list(models)
        self._names.looked(models)
        asking = [(one.model, asked_context(one.options)) for one in self._running()]
        self._contexts.looked(models, at, asking, self._key, self.runner)
        ahead = self._clock() - self._now()
        expires = (
            (self.runner(model.name), _moment(model.expires_at))
            for model in models
            if model.loaded and model.expires_at
        )
        self._reloads.looked({key: at + ahead for key, at in expires if at is not None})
        self._on_gpu = {
            self._key(model.name): model.size_vram / model.size_loaded
            for model in models
            if model.loaded and model.size_loaded and model.size_vram is not None
        }
        loaded = {self.runner(model.name) for model in models if model.loaded}
        self._serving.looked(loaded, at)
        self._serving.share_out()

    def __call__(self, call: Call, exchange: Exchange) -> Call:
        return self._outages.ended(self._judged(call, exchange), exchange)

    def _judged(self, call: Call, exchange: Exchange) -> Call:
        if call.model is None or not ran_model(call.path):
            return call
        facts = Facts.of(call, exchange.observation.asked, self._key(call.model))
        runner = self.runner(call.model)
        hidden = self._serving.hidden(runner, call, exchange, self._reloads.unloaded)
        served = self._serving.served(runner, call, exchange)
        if hidden is not None and call.load is not None:
            seconds = min(hidden.span.seconds, call.load)  # not below 0 by rounding
            queue = (call.queue or 0.0) + seconds
            call = msgspec.structs.replace(call, load=call.load - seconds, queue=queue)
        loaded = None if call.load is None else call.load >= self._reloads.shortest(runner)
        answered = call.state == State.COMPLETED  # else nothing is known of what it left behind
        options = facts.options if answered else None
        held = self._in_force.ended(runner, options, loaded=loaded if answered else None)
        judge = self._generated if generates(call.path) else self._embedded
        found = judge(call, exchange, facts, served)
        if generates(call.path):  # also one that was broken off: it may have loaded the model
            about = facts.model, facts.asked, self._clock()
            self._contexts.served(*about, runner=runner, loaded=loaded, answered=answered)
        caused = (found["reload"] or {}).get("cause") == "options"
        if hidden is not None and hidden.reason == "reload" and not caused:
            hidden = hidden._replace(reason="load")
        found["load_wait"] = None if hidden is None else self._load_wait(hidden)
        self._serving.ended(runner, call, exchange, served, hidden, found["reload"])
        context = (found.get("prompt_cut") or {}).get("context")
        if context is not None and self._contexts.is_sure(facts.model, facts.asked):
            held = {"num_ctx": context, **held}
        in_force = held if answered else None
        return msgspec.structs.replace(call, insights=_known(found), in_force=in_force or None)

    def other_options(self, call: Exchange, served: Exchange | None) -> bool:
        """Whether a running call asks for other options than those its model is loaded with, as far
        as that is known; `served`: a call that the model answers now."""
        runner = self.runner(call.observation.model or "")
        loaded = None if served is None else self._asked(served)
        return self._reloads.would_load(runner, self._asked(call), loaded)

    def _asked(self, call: Exchange) -> Asked:
        options = call.observation.asked if native(call.path) else None
        model = self._key(call.observation.model or "")
        return options, self._contexts.of(model, asked_context(options))

    def no_room(self, model: str, other: str) -> bool:
        """Whether one of the two had to give way to the other when that was last seen."""
        return self._serving.no_room(model, other)

    def has_loaded(self) -> None:
        self._look()

    def _embedded(
        self, call: Call, exchange: Exchange, facts: Facts, served: Span | None
    ) -> dict[str, Any]:
        """Of an embedding: what it put out of memory."""
        return {
            "reload": self._reload(call, exchange, facts, None),
            "waste": self._waste(call, exchange, facts, None),
            "deadline": _deadline(call, exchange),
        }

    def _generated(
        self, call: Call, exchange: Exchange, facts: Facts, served: Span | None
    ) -> dict[str, Any]:
        context = None
        if call.input_tokens:
            context = self._contexts.of(facts.model, facts.asked)
            few = self._looks[facts.model] < MOST_LOOKS and len(self._looks) < MAX_MODELS
            if context is None and few:
                self._looks[facts.model] += 1
                self._look()
        self._learn(call, exchange, facts)
        return {
            "prompt_cut": self._cut(call, exchange, facts, context),
            "overrun": _overrun(call, facts, context),
            "reload": self._reload(call, exchange, facts, context),
            "prompt_start": self._start(call, exchange, facts),
            "prompt_cache": self._cache(call, exchange, facts),
            "waste": self._waste(call, exchange, facts, served),
            "slow": self._slow(call, facts.model),
            "deadline": _deadline(call, exchange),
        }

    def estimate(
        self,
        model: str,
        *,
        size: int | None,
        most: int | None,
        client: str | None,
        loaded: Callable[[str], bool],
        before: float | None = None,
        runs: int = RUNS,
        options: dict[str, Any] | None = None,
        silent: bool = False,
    ) -> Estimate | None:
        """What a call would take that is sent now; of one that came at the moment `before`, what it
        still takes. See `Estimator`."""
        key, runner = self._key(model), self.runner(model)
        slots = self._slots(runner)
        ahead = [
            Ahead(one.client, one.written)
            for one in self._running()
            if self.runner(one.model) == runner and (before is None or one.since < before)
        ]
        return self._estimator.estimate(
            key,
            size=size,
            most=most,
            client=client,
            ahead=ahead,
            slots=slots,
            loaded=bool(ahead) or loaded(key),
            context=self._contexts.of(key, asked_context(options)),
            spent=0.0
            if before is None or len(ahead) >= slots
            else self._serving.spent(runner, before, slots),
            silent=silent,
            runs=runs,
        )

    def _learn(self, call: Call, exchange: Exchange, facts: Facts) -> None:
        sketch = exchange.observation.sketch
        if sketch is not None and call.state == State.COMPLETED:
            cold = call.load if call.load is not None and call.load >= SHORTEST else None
            self._estimator.ended(facts.model, call, sketch.size, cold)

    def _cut(
        self, call: Call, exchange: Exchange, facts: Facts, context: int | None
    ) -> dict[str, Any] | None:
        seen = exchange.observation
        if seen.sketch is None or not call.input_tokens:
            return None
        verdict = self._cuts.judge(
            Prompt(
                model=facts.model,
                sketch=seen.sketch,
                tokens=call.input_tokens,
                context=context,
                output=call.output_tokens,
                listed=seen.listed_tokens,
                keep=facts.keep,
                may_cut=seen.sketch.may_cut or not facts.native,
            )
        )
        return {
            "cut": verdict.cut,
            "tokens_lost": verdict.lost,
            "estimated": verdict.estimated,
            "rule": verdict.rule or None,
            "context": context,
        }

    def _reload(
        self,
        call: Call,
        exchange: Exchange,
        facts: Facts,
        context: int | None,
    ) -> dict[str, Any] | None:
        keep_alive = keep_alive_seconds((facts.options or {}).get("keep_alive"))
        found = self._reloads.ended(
            Ended(
                model=self.runner(facts.model),
                client=call.client,
                options=facts.options,
                context=context,
                load=call.load,
                arrived=exchange.started,
                ended=exchange.ended or exchange.started,
                unloads=call.state == State.COMPLETED
                and (call.done_reason == "unload" or keep_alive == 0),
                failure=_failure(call),
                served=call.input_tokens is not None,
                keep_alive=keep_alive,
                loaded=exchange.started + (exchange.observation.load or 0.0),
                gone=self._serving.gone_at(self.runner(facts.model)),
                outside=self._contexts.outside(self.runner(facts.model)),
            )
        )
        if found is not None and found.cause == "evicted" and found.by is not None:
            found = msgspec.structs.replace(found, by=self._serving.called(found.by))
        return None if found is None else _told(found)

    def _start(self, call: Call, exchange: Exchange, facts: Facts) -> dict[str, Any] | None:
        """Where the prompt left what the model had read before, and what that cost, by share."""
        seen = exchange.observation
        if seen.sketch is None or not call.input_tokens:
            return None
        moved = self._starts.ended(facts.model, call.client, seen.sketch)
        if moved is None or call.prefill_cached:
            return None
        seconds = None if call.prefill is None else call.prefill * moved.share
        return {
            "at": moved.at,
            "tokens": round(call.input_tokens * moved.share),
            "seconds": seconds,
        }

    def _cache(self, call: Call, exchange: Exchange, facts: Facts) -> dict[str, Any] | None:
        sketch = exchange.observation.sketch
        if sketch is None or not call.input_tokens or not call.prefill:
            return None
        found = self._caches.ended(
            facts.model,
            sketch,
            call.input_tokens,
            call.prefill,
            loaded=call.load is not None and call.load >= SHORTEST,
            on_gpu=self._on_gpu.get(facts.model, 1.0) > 0,
        )
        return None if found is None else msgspec.structs.asdict(found)

    def _slow(self, call: Call, model: str) -> dict[str, Any] | None:
        gpu = self._on_gpu.get(model)
        found = self._usual.ended(model, call, gpu=gpu, slots=self._slots(self.runner(model)))
        return None if found is None else msgspec.to_builtins(found)

    def _load_wait(self, hidden: Hidden) -> dict[str, Any]:
        """Of Ollama's load duration, the seconds that were a wait, and for which models' calls."""
        models = sorted(map(self._serving.called, hidden.models))
        return {"seconds": hidden.span.seconds, "reason": hidden.reason, "models": models}

    def _waste(
        self, call: Call, exchange: Exchange, facts: Facts, served: Span | None
    ) -> dict[str, Any] | None:
        seconds = None if served is None else served.seconds
        seen = exchange.observation
        found = self._wastes.ended(call, facts.model, seen.request_mark, seconds, seen.looped)
        return None if found is None else msgspec.structs.asdict(found)


def _moment(text: str) -> float | None:
    """Seconds since 1970; None for what is no time."""
    try:
        return epoch(text)
    except (ValueError, OverflowError):
        return None


def _known(found: dict[str, dict[str, Any] | None]) -> dict[str, Any] | None:
    return {name: told for name, told in found.items() if told} or None


def _overrun(call: Call, facts: Facts, context: int | None) -> dict[str, Any] | None:
    if context is None or call.input_tokens is None or call.output_tokens is None:
        return None
    found = overrun(
        tokens=call.input_tokens,
        output=call.output_tokens,
        context=context,
        keep=facts.keep,
        most=facts.most,
        at_length=call.done_reason == "length",
    )
    return None if found is None else {**msgspec.structs.asdict(found), "context": context}


def _deadline(call: Call, exchange: Exchange) -> dict[str, Any] | None:
    """Whether the answer was there when its client needed it."""
    if exchange.deadline is None or call.duration is None:
        return None
    met = call.state == State.COMPLETED and call.duration <= exchange.deadline
    return {"seconds": exchange.deadline, "met": met}


def _failure(call: Call) -> str | None:
    if call.reason == Reason.RUNNER_DIED:
        return "runner_died"
    if call.state != State.CANCELLED or call.time_to_first_byte is not None:
        return None
    return "stopped" if call.reason == Reason.OPERATOR else "left"


def _plain(value: object) -> object:
    """An option's value as it may be told: a client may have put anything there, also a card's
    number."""
    if value is None or isinstance(value, bool):
        return value
    return value if isinstance(value, int | float) and abs(value) < 1e9 else NOT_TOLD


def _told(found: Reload) -> dict[str, Any]:
    changed = {name: list(map(_plain, pair)) for name, pair in found.changed.items()}
    return {"cause": found.cause, "seconds": found.seconds, "changed": changed, "by": found.by}
