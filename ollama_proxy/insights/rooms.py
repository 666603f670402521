"""Which models gave way to which: told by the looks at what is in memory. Pure, bounded.

Where there is no room for two models, a load waits for the last call of the one that has to go, and
Ollama counts that as loading. It is told by a look soon after that call in which its model is gone.
Without such a look nothing is said: that both were busy at once proves nothing, there may be room
for both. Not here: the looks (`sensors/models.py`), who waited for how long (`waits.py`).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

SLACK = 0.5
"""Seconds for which a model that has to go may still be there after its last call."""
SOON = 2.0
"""Seconds after that call, or after the load, by which its model has been seen to be gone: later it
may have gone for another reason."""
MAX_MODELS = 500
MAX_PAIRS = 500


class Rooms:
    """Told of looks; moments are seconds of the calls' clock."""

    def __init__(self) -> None:
        self._there: dict[str, float] = {}
        self._gone: dict[str, float] = {}
        self._gone_at: dict[str, float] = {}
        self._apart: dict[frozenset[str], None] = {}

    def looked(self, loaded: AbstractSet[str], at: float) -> None:
        """A look that began at that moment found these models in memory."""
        for model in loaded:
            if model in self._there or len(self._there) < MAX_MODELS:
                self._there[model] = at
                self._gone.pop(model, None)
        for model in self._there.keys() - loaded:
            if model not in self._gone:
                self._gone[model] = self._gone_at[model] = at
        for pair in [pair for pair in self._apart if pair <= loaded]:
            del self._apart[pair]  # there is room for both by now

    def gave_way(self, model: str, to: str, ended: float, loaded: float) -> bool:
        """Whether it went from memory after a call of it had `ended`, while another one was being
        loaded, which was done at the moment `loaded`. Where there was no room for both before, it
        is enough that no look found it there since."""
        if self._there.get(model, ended) > ended + SLACK:
            return False
        gone = self._gone.get(model)
        seen = gone is not None and ended <= gone <= max(ended, loaded) + SOON
        return seen or self.apart(model, to)

    def gone_at(self, model: str) -> float | None:
        """When a look last found that it had gone, be it back by now."""
        return self._gone_at.get(model)

    def learn(self, model: str, other: str) -> None:
        """One gave way to the other."""
        self._apart[frozenset((model, other))] = None
        while len(self._apart) > MAX_PAIRS:
            del self._apart[next(iter(self._apart))]

    def apart(self, model: str, other: str) -> bool:
        """Whether there was no room for both when that was last seen."""
        return frozenset((model, other)) in self._apart
