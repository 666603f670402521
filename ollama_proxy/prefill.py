"""Whether a call's prompt was in the model's cache already, as its prefill's time tells. Pure.

Ollama counts the whole prompt, cached or not, but times only what it evaluated. So a prefill that
took less than half of what a prompt of this length takes cold had at least half of it cached (right
for 96 of 96 measured calls with known shares, on a CPU). What cold takes is learnt: from calls that
loaded the model, for a new runner's cache is empty, then from calls as slow as those. A model that
was never seen loading has no such calls: nothing is said of it.

Not here: how much was cached, or why not; and what else makes a prefill faster than its model's
cold ones, such as fewer calls at once or options that move it to a GPU.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

ENOUGH = 3
REMEMBERED = 24
MAX_MODELS = 500
# Of a shorter prompt a GPU takes most of the time for other things than its length.
SHORTEST = 100

Sample = tuple[int, float]
"""(tokens of the prompt, seconds of a prefill that found nothing of it in the cache)"""


class Prefills:
    """The latest cold prefills of each model, by a key of its name; bounded."""

    def __init__(self) -> None:
        self._cold: dict[str, deque[Sample]] = {}

    def judge(self, model: str, tokens: int, seconds: float, *, loaded: bool) -> bool | None:
        """Whether half of the prompt or more was cached; None: cannot be told. Learns from it.

        `loaded`: this call loaded the model.
        """
        if tokens < SHORTEST or seconds <= 0:
            return None
        known: Collection[Sample] = self._cold.get(model, ())
        enough = len(known) >= ENOUGH
        cached = _compared(known, tokens, seconds)
        if loaded or cached is False:
            self._learn(model, (tokens, seconds))
        if loaded:
            # One that waited for another's load may have found that one's prompt in the cache.
            return None if cached else False
        return cached if enough else None

    def _learn(self, model: str, sample: Sample) -> None:
        if model in self._cold or len(self._cold) < MAX_MODELS:
            self._cold.setdefault(model, deque(maxlen=REMEMBERED)).append(sample)


def _compared(known: Collection[Sample], tokens: int, seconds: float) -> bool | None:
    """Against the median of those nearest in length.

    What cold takes lies between two bounds: no less than a shorter prompt took, and no more than
    that times the difference in length, since a part of it does not grow. Between their halves
    nothing is known.
    """
    if not known:
        return None
    near = sorted(known, key=lambda one: max(one[0], tokens) / min(one[0], tokens))[:ENOUGH]
    in_proportion = sorted([took / length * tokens for length, took in near])
    at_least = sorted([took * min(1.0, tokens / length) for length, took in near])
    if seconds < at_least[len(near) // 2] / 2:
        return True
    return None if seconds < in_proportion[len(near) // 2] / 2 else False
