"""Will a call return in time? What it would wait, and when it would begin and end, now. Pure.

The calls ahead of it are played through many times: each takes as long as one of the last calls of
its client, drawn at random, less what it has written already; the model serves some at once, first
come, first served. So the answer is a spread, never a number, and rests on calls that were seen. On
a real Ollama the order of waits was right, their seconds within half (one slot) of 73 %. Not here:
who runs now (`live.py`), how often such answers were right (`predictions.py`).
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ollama_proxy.exchange import Call

LEAST_LEFT = 0.05
"""Of the draws: with fewer that took as long as a call has already, nothing is said of it."""
REMEMBERED = 200
"""Calls of each model, the latest."""
LEAST = 5
"""Calls of a model without which nothing is said; of a client, without which all count."""
MAX_MODELS = 500
RUNS, FEW_RUNS, LEAST_RUNS = 400, 40, 10
"""How often the queue is played through: for somebody who asks, and for a check. With many calls
ahead less often, so that ten times as many calls are drawn at the most: some 5 ms, or 0.5."""


class Ahead(NamedTuple):
    """A running call that came before. `written`: tokens so far, None before the first."""

    client: str | None
    written: int | None


class Spread(msgspec.Struct, frozen=True):
    """Seconds: half of the cases took no longer than `p50`, 95 of 100 no longer than `p95`."""

    p50: float
    p95: float


class Estimate(msgspec.Struct, frozen=True):
    """`first_token` and `total` count from now. `ahead`: calls of the model that run; `calls`: past
    ones that this rests on."""

    queue: Spread
    load: Spread
    first_token: Spread
    total: Spread
    ahead: int
    calls: int


class _Past(NamedTuple):
    client: str | None
    bytes: int
    tokens: int
    prefill: float
    output: int
    decode: float


class Estimator:
    """Learns from calls as they end, by a model's key."""

    def __init__(self) -> None:
        self._past: dict[str, deque[_Past]] = {}
        self._loads: dict[str, deque[float]] = {}

    def ended(self, model: str, call: Call, size: int, load: float | None) -> None:
        """`size`: the prompt's bytes; `load`: seconds of a load from the disk, None if it was
        loaded."""
        if model not in self._past and len(self._past) >= MAX_MODELS:
            return
        if load is not None:
            self._loads.setdefault(model, deque(maxlen=REMEMBERED)).append(load)
        if call.prefill is None or call.decode is None or not call.input_tokens or not size:
            return
        past = _Past(
            call.client, size, call.input_tokens, call.prefill, call.output_tokens or 0, call.decode
        )
        self._past.setdefault(model, deque(maxlen=REMEMBERED)).append(past)

    def estimate(
        self,
        model: str,
        *,
        size: int | None,
        most: int | None,
        client: str | None,
        ahead: Sequence[Ahead],
        slots: int,
        loaded: bool,
        context: int | None = None,
        spent: float = 0.0,
        silent: bool = False,
        runs: int = RUNS,
    ) -> Estimate | None:
        """For a prompt of `size` bytes and at most `most` tokens of answer; None of either: as the
        client's calls are. No more of a prompt is read than the `context` holds. `spent`: seconds
        for which the call itself has been in service, without a first token so far; `silent`: it
        sends none before its end. None where too few of the model's calls were seen, or where they
        hardly ever took as long as this one has."""
        past = list(self._past.get(model, ()))
        if len(past) < LEAST:
            return None
        draw = _Draw(past)
        loads = [0.0] if loaded else list(self._loads.get(model, ())) or [0.0]
        waits, loadings, firsts, totals = [], [], [], []
        times = max(LEAST_RUNS, min(runs, 10 * runs // (len(ahead) + 1)))
        for _ in range(times):
            free = [0.0] * max(1, slots)
            for one in ahead:
                heapq.heappush(free, heapq.heappop(free) + draw.rest(one))
            wait, load = heapq.heappop(free), draw.one(loads)
            prefill, decode = draw.own(client, size, most, context)
            first = wait + load + prefill - spent
            if spent and (first + decode if silent else first) <= 0:
                continue  # it has taken longer than that already
            waits.append(wait)
            loadings.append(load)
            firsts.append(max(0.0, first))
            totals.append(first + decode)
        if len(totals) < LEAST_LEFT * times:
            return None
        return Estimate(
            queue=_spread(waits),
            load=_spread(loadings),
            first_token=_spread(firsts),
            total=_spread(totals),
            ahead=len(ahead),
            calls=len(draw.of(client)),
        )


class _Draw:
    """Draws from past calls, the same each time for the same ones."""

    def __init__(self, past: list[_Past]) -> None:
        self._past, self._random = past, random.Random(0)
        self._by_client: dict[str | None, list[_Past]] = {}

    def of(self, client: str | None) -> list[_Past]:
        """A client's own calls, if there are enough of them; else all."""
        if client not in self._by_client:
            own = [one for one in self._past if one.client == client]
            self._by_client[client] = own if len(own) >= LEAST else self._past
        return self._by_client[client]

    def one(self, values: list[float]) -> float:
        return self._random.choice(values)

    def rest(self, ahead: Ahead) -> float:
        """What a running call still takes."""
        past = self._random.choice(self.of(ahead.client))
        if ahead.written is None:
            return past.prefill + past.decode
        left = max(0, past.output - ahead.written)
        return past.decode * left / past.output if past.output else 0.0

    def own(
        self, client: str | None, size: int | None, most: int | None, context: int | None
    ) -> tuple[float, float]:
        """Seconds to read such a prompt, and to write the answer."""
        past = self._random.choice(self.of(client))
        times = 1.0 if size is None else size / past.bytes
        if context is not None:
            times = min(times, context / past.tokens)
        prefill = past.prefill * times
        if most is None or past.output <= most:
            return prefill, past.decode
        return prefill, past.decode * most / past.output


def _spread(values: list[float]) -> Spread:
    ordered = sorted(values)
    last = len(ordered) - 1
    return Spread(ordered[last // 2], ordered[min(last, round(0.95 * last))])
