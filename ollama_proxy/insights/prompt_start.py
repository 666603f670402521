"""Whether a prompt was like an earlier one but for something near its start. Pure, bounded.

A model keeps what it has read of a prompt up to the first difference: what follows is read anew,
though it be the same. A time in the system prompt costs so a whole prompt each call. Seen by marks
of blocks at the same places: the prompts must be equal before the place and after it, so what
changes must not change its length. Not here: how much was in the cache (`ollama_proxy/prefill.py`).
"""

from __future__ import annotations

from array import array
from collections import OrderedDict, deque
from typing import NamedTuple

import msgspec

from ollama_proxy.sketch import Sketch

REMEMBERED = 6
"""Prompts of each client to each model, the latest."""
MAX_CALLERS = 200
LEAST_SHARE = 0.5
"""Of a prompt: what at least is the same behind the place."""


class Moved(msgspec.Struct, frozen=True):
    """`at`: the character from which on the prompt was read anew, at most one block late. `share`:
    how much of the prompt is behind it and was there before."""

    at: int
    share: float


class _Marked(NamedTuple):
    blocks: array[int]
    block: int


class PromptStarts:
    """Told of calls as they end."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str | None], deque[_Marked]] = OrderedDict()

    def ended(self, model: str, client: str | None, sketch: Sketch) -> Moved | None:
        """Where this prompt left what it has in common with one before; None: nowhere, or it has
        little in common with any."""
        if not sketch.blocks:
            return None
        key = model, client
        before = self._last.setdefault(key, deque(maxlen=REMEMBERED))
        self._last.move_to_end(key)
        if len(self._last) > MAX_CALLERS:
            self._last.popitem(last=False)
        now = _Marked(array("q", sketch.blocks), sketch.block)
        found = [_compared(now, other) for other in before if other.block == now.block]
        before.append(now)
        # The cache holds the longest start that it has seen.
        start = max((first for first, _ in found), default=0)
        behind = max((same for first, same in found if first == start), default=0)
        share = behind / len(now.blocks)
        return Moved(start * sketch.block, share) if share >= LEAST_SHARE else None


def _compared(one: _Marked, other: _Marked) -> tuple[int, int]:
    """How many blocks at the start are equal, and how many more behind the first difference."""
    equal = [mine == its for mine, its in zip(one.blocks, other.blocks, strict=False)]
    first = equal.index(False) if False in equal else len(equal)
    return first, sum(equal[first:])
