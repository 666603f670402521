"""What a section says in one line where it is folded, on phones: above all what is wrong in it.

Mirrors `folds.js` in the dashboard; a browser test holds the two together. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ollama_proxy.admin.rows import BAD, percentile
from ollama_proxy.admin.words import Words

WHOLE = 0.9995
"""Of a model in GPU memory: more is all of it."""


def folded(w: Words, models: list[dict[str, Any]], all: dict[str, Any]) -> dict[str, str]:
    """By the section's name; with `_bad` behind it, what is wrong. `all`: the statistics of all."""
    loaded = [model for model in models if model["loaded"]]
    slow = sum(_partly_on_cpu(model) for model in loaded)
    bad = sum(_bad(model["stats"]) for model in models if model["stats"])
    median = percentile(w, all["duration"], "p50")
    calls = [w.n("fold.calls", all["requests"])]
    if isinstance(median, float):
        calls.append(w.t("fold.median", s=str(w.seconds(median))))
    return {
        "models": w.n("loaded", len(loaded)),
        "models_bad": _joined([w.n("fold.cpu", slow) if slow else "", _failed(w, bad)]),
        "summary": _joined(calls),
        "summary_bad": _failed(w, _bad(all)),
    }


def _partly_on_cpu(model: dict[str, Any]) -> bool:
    whole, gpu = model["size_loaded"], model["size_vram"]
    return bool(whole) and gpu is not None and gpu < WHOLE * whole


def _bad(summary: dict[str, Any]) -> int:
    return sum(summary[key] for key in BAD)


def _failed(w: Words, bad: int) -> str:
    return w.n("failed", bad) if bad else ""


def _joined(told: Iterable[str]) -> str:
    return " · ".join(filter(None, told))
