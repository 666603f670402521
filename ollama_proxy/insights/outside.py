"""Models that something which goes past the proxy has loaded with another context. Pure, bounded.

Once a call here has been answered, its model is loaded as it asked, until another call has it
loaded anew. A look that finds it with another context, though no call here came in between, found
the work of somebody else. Not here: who that is (`bypass.py`), what other contexts calls here had
(`contexts.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

MAX_MODELS = 500


class _Ours(msgspec.Struct):
    """As the last call here left it. `context` None: what the first look after it finds."""

    context: int | None
    at: float


class Outside:
    """Told of calls as they end, and of looks; models by what they run as."""

    def __init__(self) -> None:
        self._ours: dict[str, _Ours] = {}
        self._loaded: dict[str, int] = {}

    def served(self, model: str, context: int | None, at: float) -> None:
        """A call here ended by then, which left the model loaded with this context; None: that is
        not known."""
        self._loaded.pop(model, None)
        if model in self._ours or len(self._ours) < MAX_MODELS:
            self._ours[model] = _Ours(context, at)

    def looked(self, loaded: Mapping[str, int], at: float, running: Collection[str]) -> None:
        """A look, begun then, found these contexts in memory; `running` may change theirs now."""
        for model, ours in list(self._ours.items()):
            context = loaded.get(model)
            if context is None or context == ours.context:
                self._loaded.pop(model, None)
            if model in running or ours.at > at:
                continue
            if context is None and ours.context is None:
                del self._ours[model]  # what is loaded next is not known to be as it was
            elif ours.context is None:
                ours.context = context
            elif context is not None and context != ours.context:
                self._loaded[model] = context

    def context(self, model: str) -> int | None:
        """With which somebody else has it loaded, as far as was seen."""
        return self._loaded.get(model)
