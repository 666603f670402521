"""How much of a prompt was read from the model's cache, as the seconds of its prefill tell. Pure.

A prefill of n new tokens behind c cached ones takes `a + b*n + q*(n*c + n*n/2)` seconds: each new
token attends to all before it. The three are fitted to each model's own calls, of which it is known
how much of their beginning was new: by least squares of the seconds a new token, once more without
what is far off, as the cache holds more than can be seen from here, or less. Solved for n, the
formula tells the share of a call. Ollama counts the whole prompt, but times only what it read.

Not here: where a prompt's beginning changed (`prompt_start.py`); whether half of it was cached,
which is told from fewer calls (`prefill.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from math import sqrt
from operator import mul
from statistics import median
from typing import NamedTuple

import msgspec

from ollama_proxy.sketch import Sketch

RECENT = 12
"""Prompts of a model that its cache may still hold."""
ENOUGH, REMEMBERED = 26, 100
"""Calls to fit to: the least, and the latest that are kept."""
REFIT = 10
SHORTEST, SHORTEST_ON_GPU = 40, 500
"""Tokens; of a shorter prompt the rest of the work takes most of the time."""
CLEAR = 5.0
"""Times the usual error that a prefill without cache must take."""
MAX_MODELS = 200
_FAR = 0.15
_AS_WELL = 20.0  # tokens, for the part of a prefill that does not grow
_MARK = 8  # bytes of a block's mark


class Cached(msgspec.Struct, frozen=True):
    """The share of a prompt that was not read anew, from 0 to 1; the tokens."""

    share: float
    tokens: int


class _Sample(NamedTuple):
    new: float
    cached: float
    seconds: float


class Fit(NamedTuple):
    """Seconds; `error` is the usual one."""

    a: float
    b: float
    q: float
    error: float

    def seconds(self, new: float, cached: float) -> float:
        return self.a + self.b * new + self.q * (new * cached + new * new / 2)

    def new(self, tokens: int, seconds: float) -> float:
        """How many of a prompt's tokens were read in that time."""
        above = seconds - self.a
        slope = self.b + self.q * tokens
        if above <= 0 or slope <= 0:
            return 0.0
        if self.q * tokens < 1e-6 * slope:
            return min(float(tokens), above / slope)
        root = slope * slope - 2 * self.q * above
        return float(tokens) if root <= 0 else min(float(tokens), (slope - sqrt(root)) / self.q)


class _Model:
    __slots__ = ("fit", "fresh", "recent", "samples")

    def __init__(self) -> None:
        self.recent: deque[Sketch] = deque(maxlen=RECENT)
        self.samples: deque[_Sample] = deque(maxlen=REMEMBERED)
        self.fit: Fit | None = None
        self.fresh = 0


class PromptCaches:
    """Told of calls as they end, by a model's key."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}

    def ended(
        self, model: str, sketch: Sketch, tokens: int, seconds: float, *, loaded: bool, on_gpu: bool
    ) -> Cached | None:
        """`tokens` and `seconds` are Ollama's, of the whole prompt and of what was read of it.
        `loaded`: the call loaded the model, so that its cache was empty."""
        known = self._models.get(model)
        if loaded and known is not None:
            known.recent.clear()
        if tokens < SHORTEST:
            return None
        if known is None:
            if len(self._models) >= MAX_MODELS:
                return None
            known = self._models[model] = _Model()
        share = shared(sketch, known.recent)
        known.recent.append(sketch)
        told = _told(known.fit, tokens, seconds, on_gpu)
        if share is not None and seconds > 0:
            known.samples.append(_Sample(tokens * (1 - share), tokens * share, seconds))
            known.fresh += 1
            if len(known.samples) >= ENOUGH and (known.fit is None or known.fresh >= REFIT):
                known.fit, known.fresh = fitted(known.samples), 0
        return told


def _told(fit: Fit | None, tokens: int, seconds: float, on_gpu: bool) -> Cached | None:
    if fit is None or tokens < (SHORTEST_ON_GPU if on_gpu else SHORTEST):
        return None
    # The share rests on what grows with the prompt, not on what each prefill takes.
    if fit.seconds(tokens, 0.0) - fit.a <= CLEAR * fit.error:
        return None
    share = max(0.0, 1 - fit.new(tokens, seconds) / tokens)
    return Cached(share, round(tokens * share))


# -- what was seen before ---------------------------------------------------------------------


def shared(sketch: Sketch, others: Iterable[Sketch]) -> float | None:
    """The share of the prompt with which another one began, too, the largest; None: not known."""
    if not sketch.plain:
        return None
    most = 0.0
    for other in others:
        if bool(sketch.blocks) != bool(other.blocks):
            continue  # one is far shorter than the other
        if not sketch.blocks:
            most = max(most, _shared_messages(sketch, other))
        elif sketch.block != other.block:
            return None
        else:
            most = max(most, _shared_blocks(sketch.blocks, other.blocks))
    return most


def _shared_messages(sketch: Sketch, other: Sketch) -> float:
    if not sketch.parts or not other.parts or sketch.parts[0].mark != other.parts[0].mark:
        return 0.0
    sizes = [sum(part.counts) for part in sketch.parts]
    whole, begun = sum(sizes), 0
    for size, part, before in zip(sizes, sketch.parts, other.parts, strict=False):
        if part.mark != before.mark:
            break
        begun += size
    return begun / whole if whole else 0.0


def _shared_blocks(blocks: bytes, other: bytes) -> float:
    least, most = 0, min(len(blocks), len(other)) // _MARK
    if blocks[:_MARK] != other[:_MARK]:
        return 0.0
    while least < most:
        half = (least + most + 1) // 2
        if blocks[: half * _MARK] == other[: half * _MARK]:
            least = half
        else:
            most = half - 1
    return least * _MARK / len(blocks)


# -- the fit ----------------------------------------------------------------------------------


def fitted(samples: Iterable[_Sample]) -> Fit | None:
    """None where nothing fits."""
    samples = list(samples)
    first = _least_squares(samples)
    if first is None:
        return None
    errors = [abs(first.seconds(one.new, one.cached) / one.seconds - 1) for one in samples]
    far = max(_FAR, 2 * median(errors))
    near = [one for one, error in zip(samples, errors, strict=True) if error <= far]
    return _least_squares(near) if len(near) >= len(samples) / 2 else None


def _least_squares(samples: Sequence[_Sample]) -> Fit | None:
    """None of the three is negative: one that would be is left out."""
    # By the new tokens, not by the seconds: else what was cached unseen, and quick, counts most.
    weights = [1 / (s.new + _AS_WELL) for s in samples]
    rows = [
        (w, s.new * w, (s.new * s.cached + s.new * s.new / 2) * w, s.seconds * w)
        for s, w in zip(samples, weights, strict=True)
    ]
    used = [0, 1, 2]
    while used:
        solved = _solved(rows, used)
        if solved is None:
            used.pop()
            continue
        if min(solved) >= 0:
            values = dict(zip(used, solved, strict=True))
            fit = Fit(values.get(0, 0.0), values.get(1, 0.0), values.get(2, 0.0), 0.0)
            if not fit.b and not fit.q:
                return None  # prompts of one length: what grows cannot be told from what does not
            errors = [abs(fit.seconds(s.new, s.cached) - s.seconds) for s in samples]
            return fit._replace(error=median(errors))
        used.remove(used[solved.index(min(solved))])
    return None


def _solved(rows: Sequence[Sequence[float]], used: Sequence[int]) -> list[float] | None:
    """What times these columns comes nearest to each row's last: Gauss on the normal equations."""
    scale = [sqrt(sum(row[i] ** 2 for row in rows)) or 1.0 for i in used]
    columns = [[row[i] / by for row in rows] for i, by in zip(used, scale, strict=True)]
    n = len(used)
    wanted = [row[-1] for row in rows]
    table = [[sum(map(mul, one, other)) for other in [*columns, wanted]] for one in columns]
    for i in range(n):
        pivot = table[i][i]
        if abs(pivot) < 1e-9:
            return None
        for j in range(n):
            if j != i:
                factor = table[j][i] / pivot
                table[j] = [x - factor * y for x, y in zip(table[j], table[i], strict=True)]
    return [table[i][n] / table[i][i] / scale[i] for i in range(n)]
