"""Why a call took far longer than such calls usually do: the seconds above that, by where they
went. Pure.

The usual is the median of the model's last calls with a prompt of like length, within a factor of
four. Seconds of writing are told apart: more tokens than usual, at the usual pace, and a slower
pace. What may lie behind slower reading and writing is named only where it was seen to differ from
the usual, too. Not here: spans of many calls (`differences.py`), whom a call waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median
from typing import NamedTuple

import msgspec

from ollama_proxy.exchange import Call, State

TIMES, SECONDS = 2.0, 1.0
LEAST = 10
"""Calls without which nothing is usual."""
REMEMBERED = 64
REFRESH = 8
"""Calls after which the usual is worked out again: some 50 us."""
MAX_KINDS = 1000
SHARE = 0.1
"""Of the seconds above the usual: what explains less is not told."""
LESS_GPU, MORE_CORES = 0.1, 0.5


class Because(msgspec.Struct, frozen=True):
    """`what`: queue, load, prompt (a longer one), prefill (slower reading), tokens (more of them
    written), decode (slower writing), first_token (where Ollama told no phases). `reason`: `cpu`
    (less of the model in the GPU's memory than usual), `not_cached`, `together` (more calls at
    once), `others` (other programs used the CPU), None."""

    what: str
    seconds: float
    reason: str | None = None


class Slow(msgspec.Struct, frozen=True):
    """`usual`: seconds that such calls take, the median of `calls`; `seconds` more it took."""

    usual: float
    calls: int
    seconds: float
    because: list[Because]


class _Took(NamedTuple):
    """What a call took; of many calls: the medians. None is not known."""

    duration: float
    queue: float | None
    load: float | None
    prefill: float | None
    first: float | None
    pace: float | None
    tokens: float | None
    prompt: float | None
    cached: float | None
    gpu: float | None
    together: float | None
    others: float | None

    @classmethod
    def by(cls, call: Call, duration: float, gpu: float | None) -> _Took:
        tokens = call.output_tokens or call.output_chunks
        writing = call.decode
        if writing is None and call.time_to_first_token is not None:
            writing = duration - call.time_to_first_token
        used = call.resources or {}
        others = used.get("others_cpu_seconds")
        return cls(
            duration=duration,
            queue=call.queue,
            load=call.load,
            prefill=call.prefill,
            first=call.time_to_first_token,
            pace=writing / tokens if writing is not None and tokens else None,
            tokens=tokens,
            prompt=call.input_tokens,
            cached=call.prefill_cached,
            gpu=gpu,
            together=used.get("shared_with"),
            others=others / duration if others is not None and duration else None,
        )


class _Kind:
    """The last calls of a model with prompts of like length."""

    __slots__ = ("_new", "_usual", "calls", "past")

    def __init__(self) -> None:
        self.past: deque[_Took] = deque(maxlen=REMEMBERED)
        self.calls = 0  # that the usual was worked out from
        self._usual: _Took | None = None
        self._new = 0

    def add(self, took: _Took) -> None:
        self.past.append(took)
        self._new += 1

    def usual(self) -> _Took | None:
        if len(self.past) < LEAST:
            return None
        if self._usual is None or self._new >= REFRESH:
            self._new, self.calls = 0, len(self.past)
            duration, *others = zip(*self.past, strict=True)
            self._usual = _Took(median(duration), *map(_middle, others))
        return self._usual


class Usual:
    """Told of calls as they end, by a model's key. A call is slow that took `times` the usual, and
    `seconds` more."""

    def __init__(self, times: float = TIMES, seconds: float = SECONDS) -> None:
        self.times, self.seconds = times, seconds
        self._kinds: dict[tuple[str, int], _Kind] = {}

    def ended(self, model: str, call: Call, *, gpu: float | None, slots: int) -> Slow | None:
        """`gpu`: the share of the model that lies in a GPU's memory; `slots`: how many calls it
        serves at once."""
        if call.state != State.COMPLETED or not call.duration or not call.input_tokens:
            return None
        key = model, call.input_tokens.bit_length() // 2
        kind = self._kinds.get(key)
        if kind is None:
            kind = _Kind()
            if len(self._kinds) < MAX_KINDS:
                self._kinds[key] = kind
        took = _Took.by(call, call.duration, gpu)
        usual = kind.usual()
        found = None
        if usual is not None:
            above = took.duration - usual.duration
            if above >= self.seconds and took.duration >= self.times * usual.duration:
                because = [
                    one for one in _because(took, usual, slots) if one.seconds >= SHARE * above
                ]
                because.sort(key=lambda one: one.seconds, reverse=True)
                found = Slow(usual.duration, kind.calls, above, because)
        kind.add(took)
        return found


def _because(took: _Took, usual: _Took, slots: int) -> Iterable[Because]:
    if took.prefill is not None and usual.prefill is not None:
        yield Because("queue", _above(took.queue, usual.queue))
        yield Because("load", _above(took.load, usual.load))
        why = "not_cached" if took.cached == 0 and usual.cached == 1 else None
        why = why or _reason(took, usual, slots)
        longer = (took.prompt or 0) / usual.prompt if usual.prompt else 1.0
        yield Because("prompt", (longer - 1) * usual.prefill)
        yield Because("prefill", took.prefill - longer * usual.prefill, why)
    else:
        yield Because("first_token", _above(took.first, usual.first))
    if took.pace is not None and usual.pace is not None and took.tokens and usual.tokens:
        yield Because("tokens", (took.tokens - usual.tokens) * usual.pace)
        slower = took.tokens * (took.pace - usual.pace)
        yield Because("decode", slower, _reason(took, usual, slots))


def _reason(took: _Took, usual: _Took, slots: int) -> str | None:
    """What may have made reading and writing slower: where it differs from the usual."""
    if _above(usual.gpu, took.gpu) >= LESS_GPU:
        return "cpu"
    if slots > 1 and _above(took.together, usual.together) >= 1:
        return "together"
    return "others" if _above(took.others, usual.others) >= MORE_CORES else None


def _above(value: float | None, other: float | None) -> float:
    """By how much the one is more than the other; 0 where one is not known."""
    return 0.0 if value is None or other is None else value - other


def _middle(values: Iterable[float | None]) -> float | None:
    """The median of those known, if they are enough."""
    known = [value for value in values if value is not None]
    return median(known) if len(known) >= LEAST else None
