"""The context length that a call ran with, which Ollama tells of what is loaded only. Pure.

A call that names `num_ctx` gets that, at least 4 and at most what the model was trained for. For
others it is what Ollama was seen to load the model with after such a call: by the model's own
parameters, by its setting, or by the room there is. `/v1` names none. What something that goes past
the proxy had loaded is none of that. Not here: the looks (`sensors/models.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, NamedTuple

from ollama_proxy.exchange import model_key
from ollama_proxy.insights.outside import Outside
from ollama_proxy.records import ModelInfo

LEAST, MOST = 4, 2**31
MAX_MODELS = 500


def asked_context(options: dict[str, Any] | None) -> int | None:
    """The `num_ctx` of a request's options, as Ollama takes it; None if it names none."""
    asked = (options or {}).get("num_ctx")
    if type(asked) is int:
        return max(LEAST, min(asked, MOST))
    if isinstance(asked, float) and isfinite(asked):
        return max(LEAST, int(min(asked, MOST)))
    return None


class Contexts:
    """What was seen, by a model's key."""

    def __init__(self) -> None:
        self._automatic: dict[str, int] = {}  # where no call named one
        self._trained: dict[str, int] = {}
        self._last: dict[str, _Served] = {}
        self._doubted: dict[str, _Doubted] = {}
        self._outside = Outside()

    def served(
        self,
        model: str,
        asked: int | None,
        at: float,
        *,
        runner: str | None = None,
        loaded: bool | None = None,
        answered: bool = True,
    ) -> None:
        """A call of this model ended by then, which asked for this. `loaded`: it had the model
        loaded, None is not known; `runner`: as what the model runs."""
        if model in self._last or len(self._last) < MAX_MODELS:
            self._last[model] = _Served(asked, at)
        if loaded:
            self._doubted.pop(model, None)
        sure = answered and self.is_sure(model, asked)
        self._outside.served(runner or model, self.of(model, asked) if sure else None, at)

    def outside(self, runner: str) -> int | None:
        """With which something that goes past the proxy has loaded it, as far as was seen."""
        return self._outside.context(runner)

    def looked(
        self,
        models: Iterable[ModelInfo],
        at: float,
        running: Iterable[tuple[str, int | None]],
        key: Callable[[str], str] = model_key,
        runner: Callable[[str], str] = model_key,
    ) -> None:
        """A look at Ollama's models, begun then; `running`: models of calls, and what they ask for;
        `key` and `runner` name a model, and as what it runs.

        What is loaded was loaded for no other call only if none that asks for more or less runs.
        """
        models, running = list(models), list(running)
        held = {runner(one.name): one.context_length for one in models if one.loaded}
        known = {model: context for model, context in held.items() if context}
        self._outside.looked(known, at, {runner(model) for model, _ in running})
        named = {key(model) for model, asked in running if asked is not None}
        for info in models:
            model = key(info.name)
            if info.trained_context is not None and (
                model in self._trained or len(self._trained) < MAX_MODELS
            ):
                self._trained[model] = info.trained_context
            last = self._last.get(model)
            if last is None or last.asked is not None or last.at > at or model in named:
                continue
            if info.loaded and info.context_length:
                self._learn(model, info.context_length, last.at)

    def _learn(self, model: str, context: int, at: float) -> None:
        """A look found this after a call that named none. Another than before is somebody else's,
        unless it is still there after one more call that named none, and loaded nothing."""
        before = self._doubted.pop(model, None)
        other = self._automatic.get(model, context) != context
        if other and not (before and before.context == context and before.at < at):
            self._doubted[model] = before if before and before.at == at else _Doubted(context, at)
        else:
            self._automatic[model] = context

    def of(self, model: str, asked: int | None) -> int | None:
        """The context of a call of this model that asked for this; None if it is not known."""
        if asked is None:
            return self._automatic.get(model)
        return min(asked, self._trained.get(model, asked))

    def is_sure(self, model: str, asked: int | None) -> bool:
        """Whether that is what Ollama took, not only what the call asked for."""
        return asked is None or model in self._trained


class _Served(NamedTuple):
    asked: int | None
    at: float


class _Doubted(NamedTuple):
    context: int
    at: float
