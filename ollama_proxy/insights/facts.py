"""What a call asked for, as far as its route takes it. Pure.

Not here: what Ollama made of it (`contexts.py`), what came of it (`judging.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ollama_proxy.exchange import Call
from ollama_proxy.insights.contexts import asked_context
from ollama_proxy.insights.prompt_cut import KEEP


class Facts(NamedTuple):
    """What a call asked for, as far as its route takes it."""

    model: str
    native: bool
    options: dict[str, Any] | None
    asked: int | None
    keep: int
    most: int | None

    @classmethod
    def of(cls, call: Call, asked: dict[str, Any] | None, model: str) -> Facts:
        own = native(call.path)
        options = asked if own else None
        keep = _number(options, "num_keep")
        limits, said = (("num_predict",), options) if own else (_V1_LIMITS, call.options)
        most = [found for name in limits if (found := _number(said, name)) is not None]
        return cls(
            model,
            own,
            options,
            asked_context(options),
            KEEP if keep is None else keep,
            most[0] if most else None,
        )


_V1_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def native(path: str) -> bool:
    """Ollama's own routes take its options; of those that are like others' `/v1` takes none."""
    return "/v1/" not in path


def _number(options: Mapping[str, Any] | None, name: str) -> int | None:
    value = (options or {}).get(name)
    return value if type(value) is int else None
