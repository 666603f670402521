"""Several names, one model: those of one digest; and those of one file, which run as one. Pure.

Not here: which file a model is made of (`sensors/weights.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ollama_proxy.exchange import model_key
from ollama_proxy.records import ModelInfo


class Names:
    """As the last look at Ollama's models has them; one that is not known stands for itself."""

    def __init__(self) -> None:
        self._models: dict[str, str] = {}
        self._runners: dict[str, str] = {}

    def looked(self, models: Iterable[ModelInfo]) -> None:
        models = list(models)
        self._models = _first_names((model_key(one.name), one.digest) for one in models)
        self._runners = _first_names((model_key(one.name), one.runner) for one in models)

    def key(self, name: str) -> str:
        """Of several names of a model always the same."""
        key = model_key(name)
        return self._models.get(key, key)

    def runner(self, name: str) -> str:
        """Of several models that Ollama runs as one always the same name."""
        key = model_key(name)
        return self._runners.get(key, key)


def _first_names(models: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """The names of models, each with the first by the alphabet that has the same beside it."""
    same: dict[str, list[str]] = {}
    for name, mark in models:
        if mark:
            same.setdefault(mark, []).append(name)
    return {name: min(names) for names in same.values() for name in names}
