"""Puts an ended call to every question that a finding answers, and writes the answers down.

What it returns is the call's `insights`: by finding, the facts that were found. What is known only
after other calls have ended is told to `note`. Not here: the rules (one file each), sentences, sums
over many calls.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from ollama_proxy.exchange import Call, Exchange, Reason, State, model_key, ran_model
from ollama_proxy.insights.contexts import Contexts, asked_context
from ollama_proxy.insights.overrun import overrun
from ollama_proxy.insights.prompt_cut import KEEP, Prompt, PromptCuts
from ollama_proxy.insights.reloads import SHORTEST, Ended, Reload, Reloads, keep_alive_seconds
from ollama_proxy.insights.waits import REMEMBERED, Span, Wait, Waits
from ollama_proxy.records import ModelInfo, Noted, Occurrence

_GENERATES = (
    "/api/generate",
    "/api/chat",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
)
MOST_LOOKS = 20
"""For each model: one that goes by two names may be listed by the other one only."""
SHOWN_SHARE = 0.05
"""Of a wait: what less than that is put down to is not told."""


class Running(NamedTuple):
    """A call on its way: its model, its options, and when it came."""

    model: str
    options: dict[str, Any] | None
    since: float


class Judging:
    """Told of looks at Ollama's models and of ended calls, in their order; remembers both.

    `running` are the calls on their way; `note` takes what is found out of a call later; `look` has
    a look taken soon.
    """

    def __init__(
        self,
        running: Callable[[], Iterable[Running]] = tuple,
        note: Callable[[Noted], None] = lambda noted: None,
        look: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._running, self._note, self._look = running, note, look
        self._clock, self._now = clock, now
        self._same_as: dict[str, str] = {}
        self._looks: Counter[str] = Counter()
        self._contexts = Contexts()
        self._cuts = PromptCuts()
        self._reloads = Reloads()
        self._waits = Waits()
        self._waiting: dict[str, Call] = {}

    def looked(self, models: Iterable[ModelInfo], at: float) -> None:
        """A look at Ollama that began at that moment."""
        models = list(models)
        self._same_as = _same(models)
        asking = [(self._key(one.model), asked_context(one.options)) for one in self._running()]
        self._contexts.looked(models, at, asking, self._key)
        ahead = self._clock() - self._now()
        expires = (
            (self._key(model.name), epoch(model.expires_at))
            for model in models
            if model.loaded and model.expires_at
        )
        self._reloads.looked({key: at + ahead for key, at in expires if at is not None})

    def _key(self, name: str) -> str:
        """Of several names of a model always the same."""
        key = model_key(name)
        return self._same_as.get(key, key)

    def __call__(self, call: Call, exchange: Exchange) -> dict[str, Any] | None:
        if call.model is None or not ran_model(call.path):
            return None
        facts = _Facts.of(call, self._key(call.model))
        if not call.path.endswith(_GENERATES):
            # Of an embedding: what it put out of memory.
            reload = self._reload(call, exchange, facts, None, None)
            return {"reload": reload} if reload else None
        context = None
        if call.input_tokens is not None:
            self._contexts.served(facts.model, facts.asked, self._clock())
            context = self._contexts.of(facts.model, facts.asked)
            if context is None and self._looks[facts.model] < MOST_LOOKS:
                self._looks[facts.model] += 1
                self._look()
        hidden = self._hidden(call, exchange, facts)
        found = {
            "prompt_cut": self._cut(call, exchange, facts, context),
            "overrun": _overrun(call, facts, context),
            "reload": self._reload(call, exchange, facts, context, hidden),
        }
        self._wait(call, exchange, facts, hidden)
        return {name: told for name, told in found.items() if told} or None

    def _cut(
        self, call: Call, exchange: Exchange, facts: _Facts, context: int | None
    ) -> dict[str, Any] | None:
        seen = exchange.observation
        if seen.sketch is None or call.input_tokens is None:
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

    def _hidden(self, call: Call, exchange: Exchange, facts: _Facts) -> Span | None:
        """What of the call's load was a wait."""
        if not call.load:
            return None
        begun = exchange.started
        return self._waits.hidden_in_load(facts.model, Span(begun, begun + call.load))

    def _reload(
        self,
        call: Call,
        exchange: Exchange,
        facts: _Facts,
        context: int | None,
        hidden: Span | None,
    ) -> dict[str, Any] | None:
        waited = 0.0 if hidden is None else hidden.ended - hidden.begun
        keep_alive = keep_alive_seconds((facts.options or {}).get("keep_alive"))
        found = self._reloads.ended(
            Ended(
                model=facts.model,
                client=call.client,
                options=facts.options,
                context=context,
                load=None if call.load is None else call.load - waited,
                arrived=exchange.started,
                ended=exchange.ended or exchange.started,
                unloads=call.done_reason == "unload" or keep_alive == 0,
                failure=_failure(call),
                keep_alive=keep_alive,
            )
        )
        return None if found is None else _told(found)

    def _wait(self, call: Call, exchange: Exchange, facts: _Facts, hidden: Span | None) -> None:
        """Tell who was in service, and share out the waits that are known by now."""
        served = _served(call, exchange, facts, self._waits)
        if served is not None:
            waited = [] if hidden is None else [hidden]
            if call.queue:
                waited.append(Span(served.begun - call.queue, served.begun))
            occupied = _with_load(call, exchange, served, hidden)
            self._waits.ended(facts.model, call.id, call.client, served=occupied, waited=waited)
            self._waiting[call.id] = call
            while len(self._waiting) > REMEMBERED:
                del self._waiting[next(iter(self._waiting))]
        oldest: dict[str, float] = {}
        for one in self._running():
            key = self._key(one.model)
            oldest[key] = min(one.since, oldest.get(key, one.since))
        for wait in self._waits.shared_out(oldest, self._clock()):
            waiter = self._waiting.get(wait.call)
            if waiter is not None:
                self._note(_shares(waiter, wait))


class _Facts(NamedTuple):
    """What a call asked for, as far as its route takes it."""

    model: str
    native: bool
    options: dict[str, Any] | None
    asked: int | None
    keep: int
    most: int | None

    @classmethod
    def of(cls, call: Call, model: str) -> _Facts:
        native = "/v1/" not in call.path
        options = call.options if native else None
        keep = _number(options, "num_keep")
        limits = ("num_predict",) if native else _V1_LIMITS
        most = [found for name in limits if (found := _number(call.options, name)) is not None]
        return cls(
            model,
            native,
            options,
            asked_context(options),
            KEEP if keep is None else keep,
            most[0] if most else None,
        )


_V1_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def _same(models: Iterable[ModelInfo]) -> dict[str, str]:
    """Each further name of a model, with its first: they share what is loaded."""
    first: dict[str, str] = {}
    same = {}
    for model in models:
        if model.digest:
            key = model_key(model.name)
            same[key] = first.setdefault(model.digest, key)
    return same


def epoch(text: str) -> float | None:
    """Seconds since 1970 of Ollama's ISO times, which have nanoseconds; None for what is none."""
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(options: Mapping[str, Any] | None, name: str) -> int | None:
    value = (options or {}).get(name)
    return value if type(value) is int else None


def _overrun(call: Call, facts: _Facts, context: int | None) -> dict[str, Any] | None:
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


def _failure(call: Call) -> str | None:
    if call.reason == Reason.RUNNER_DIED:
        return "runner_died"
    left = call.state == State.CANCELLED and call.time_to_first_byte is None
    return "left" if left else None


def _told(found: Reload) -> dict[str, Any]:
    changed = {name: list(pair) for name, pair in found.changed.items()}
    return {"cause": found.cause, "seconds": found.seconds, "changed": changed, "by": found.by}


def _served(call: Call, exchange: Exchange, facts: _Facts, waits: Waits) -> Span | None:
    """When the call was in service; estimated where Ollama did not say, None where it never was."""
    ended = exchange.ended or exchange.started
    if call.prefill is not None and call.decode is not None:
        return Span(ended - call.prefill - call.decode, ended)
    if exchange.first_byte is None:
        return None
    before = waits.previous_end(facts.model, exchange.first_byte)
    return Span(max(exchange.started, before or exchange.started), ended)


def _with_load(call: Call, exchange: Exchange, served: Span, hidden: Span | None) -> Span:
    """A call that loads its model keeps it from all others meanwhile."""
    begun = exchange.started if hidden is None else hidden.ended
    loads = call.load is not None and exchange.started + call.load - begun >= SHORTEST
    return Span(min(begun, served.begun), served.ended) if loads else served


def _shares(waiter: Call, wait: Wait) -> Noted:
    least = SHOWN_SHARE * wait.seconds
    found = [
        Occurrence(kind="waited", other=other, seconds=seconds)
        for other, seconds in wait.blamed.items()
        if seconds >= least
    ]
    return Noted(waiter.id, waiter.model, waiter.client, found)
