"""Which options held for a call, asked for or not, as far as that is known. Pure, bounded.

Ollama keeps what a model was loaded with until it is loaded again (server/sched.go of 0.33):
`num_gpu` as the call that loaded it had it, unless a later one names another (then it is loaded
anew), and `keep_alive` as the last call that named one. What was loaded before the first call that
passed here, or by a call of `/v1`, which does not tell its loads, is not known. Not here: the
context (`contexts.py`).
"""

from __future__ import annotations

from typing import Any

from ollama_proxy.insights.reloads import keep_alive_seconds

MAX_MODELS = 500


class InForce:
    """Told of calls as they end."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Any]] = {}

    def ended(
        self, model: str, asked: dict[str, Any] | None, *, loaded: bool | None
    ) -> dict[str, Any]:
        """What held for a call of this model that was answered and asked for this. `loaded` None:
        it may have loaded the model or not.

        Of `num_gpu` (None: the call that loaded it left it open) and `keep_alive` (seconds,
        negative for ever) those that are known.
        """
        held: dict[str, Any] = {}
        if loaded:
            held["num_gpu"] = None
        elif loaded is False:
            held = dict(self._held.get(model, {}))
        gpu = (asked or {}).get("num_gpu")
        if type(gpu) is int and gpu >= 0:
            held["num_gpu"] = gpu
        alive = keep_alive_seconds((asked or {}).get("keep_alive"))
        if alive is not None:
            held["keep_alive"] = alive
        if model in self._held or len(self._held) < MAX_MODELS:
            self._held[model] = held
        return held
