"""The context length that a call ran with, which Ollama tells of what is loaded only. Pure.

A call that names `num_ctx` gets that, at least 4 and at most what the model was trained for. For
others it is what Ollama was seen to load the model with after such a call: by the model's own
parameters, by its setting, or by the room there is. `/v1` names none. Not here: the looks
(`sensors/models.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, NamedTuple

from ollama_proxy.exchange import model_key
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

    def served(self, model: str, asked: int | None, at: float) -> None:
        """A call of this model ended by then, which asked for this."""
        if model in self._last or len(self._last) < MAX_MODELS:
            self._last[model] = _Served(asked, at)

    def looked(
        self,
        models: Iterable[ModelInfo],
        at: float,
        running: Iterable[tuple[str, int | None]],
        key: Callable[[str], str] = model_key,
    ) -> None:
        """A look at Ollama's models, begun then; `running`: models of calls, and what they ask for.

        What is loaded was loaded for no other call only if none that asks for more or less runs.
        """
        named = {model for model, asked in running if asked is not None}
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
                self._automatic[model] = info.context_length

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
