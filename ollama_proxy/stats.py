"""Totals and percentiles of finished calls: pure, mergeable, bounded.

Not here: where they are kept (`storage`), how they are shown, and calls that still run. The same
`Statistics` serve the live totals, one batch of the store, and what was read back at the start.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection
from itertools import accumulate
from typing import Any

import msgspec

from ollama_proxy.exchange import Call, State, ran_model

RELATIVE_ERROR = 0.01
SMALLEST, LARGEST = 1e-4, 1e6
MAX_KEYS = 500
# Longer than any name that Ollama takes (host, namespace, model and tag: under 600 together).
MAX_NAME = 600
OTHER = "(other)"
# A count above this is nonsense from upstream; adding it would in the end pass 64 bits.
_LARGEST_COUNT = 10**12
# A warm load takes 1 to 6 ms, under load 38; a cold one 0.5 s and more (measured, Ollama 0.33).
COLD_SECONDS = 0.1
_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH = math.log(_GROWTH)


class Histogram(msgspec.Struct):
    """How values spread, in buckets that grow by one factor (DDSketch, arXiv 1908.10693).

    A percentile is within 1 % of the true one for values of 1e-4 to 1e6; what lies outside counts
    in the first or last bucket, so there are fewer than 1,200 of them. Count, sum, minimum and
    maximum are exact. Negative values count as 0; infinite ones and NaN are left out.
    """

    buckets: dict[int, int] = {}
    count: int = 0
    sum: float = 0.0
    min: float = math.inf
    max: float = 0.0

    def record(self, value: float) -> None:
        if not math.isfinite(value):
            return
        if value < 0.0:
            value = 0.0
        index = bucket(value)
        buckets = self.buckets
        buckets[index] = buckets.get(index, 0) + 1
        self.count += 1
        self.sum += value
        if value < self.min:
            self.min = value
        if value > self.max:
            self.max = value

    def merge(self, other: Histogram) -> None:
        for index, count in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count
        self.count += other.count
        self.sum += other.sum
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)

    @property
    def mean(self) -> float | None:
        return self.sum / self.count if self.count else None

    def percentiles(self, *rising: float) -> list[float | None]:
        """For each share (0 to 1) the value that it of all values does not pass, by nearest rank.

        Several at once: a page may show those of 500 models.
        """
        if not self.count:
            return [None] * len(rising)
        indices = sorted(self.buckets)
        passed = list(accumulate(map(self.buckets.__getitem__, indices)))
        ranks = (max(1, math.ceil(q * self.count)) for q in rising)
        values = (_middle(indices[bisect_left(passed, rank)]) for rank in ranks)
        return [min(max(value, self.min), self.max) for value in values]

    def view(self) -> dict[str, float | None]:
        """The REST object; of nothing, all but the count is None."""
        p50, p90, p95, p99 = self.percentiles(0.50, 0.90, 0.95, 0.99)
        return {
            "count": self.count,
            "mean": self.mean,
            "p50": p50,
            "p90": p90,
            "p95": p95,
            "p99": p99,
            "max": self.max if self.count else None,
        }


class Summary(msgspec.Struct):
    """The totals of one key: of all calls, or of one model.

    Times and speeds are those of completed calls that ran a model: neither a client that polls
    `/api/tags` drowns them, nor calls that are refused in 3 ms while Ollama is down, nor those that
    were given up. So `requests` can be more than `duration.count`. Seconds and tokens are of all
    calls that told them. `answered` are completed calls that ran a model and have a known duration.
    `first_used` is when the first call began, None also where it was counted before that was kept;
    `last_used` when the latest did. `cold_starts` are the calls whose load took 0.1 s or
    more, waits before it left out (`insights.load_wait`).
    """

    completed: int = 0
    failed: int = 0
    timeout: int = 0
    cancelled: int = 0
    interrupted: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    queue_seconds: float = 0.0
    load_seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    cold_starts: int = 0
    answered: int = 0
    answered_seconds: float = 0.0
    duration: Histogram = msgspec.field(default_factory=Histogram)
    time_to_first_token: Histogram = msgspec.field(default_factory=Histogram)
    tokens_per_second: Histogram = msgspec.field(default_factory=Histogram)
    last_used: str | None = None
    first_used: str | None = None

    @property
    def requests(self) -> int:
        return self.completed + self.failed + self.timeout + self.cancelled + self.interrupted

    @property
    def success_rate(self) -> float | None:
        """Percent of completed, failed and timeout; who left or was cut off is no answer."""
        answerable = self.completed + self.failed + self.timeout
        return self.completed / answerable * 100 if answerable else None

    def add(self, call: Call) -> None:
        """Count one finished call. What the call does not know is left out, never taken as 0."""
        state = call.state
        if not self.requests or (self.first_used and call.started_at < self.first_used):
            self.first_used = call.started_at
        setattr(self, state, getattr(self, state) + 1)
        if self.last_used is None or call.started_at > self.last_used:
            self.last_used = call.started_at
        self.input_tokens += plausible(call.input_tokens)
        self.output_tokens += plausible(call.output_tokens)
        if call.model is None or not ran_model(call.path):
            return
        self.queue_seconds += _seconds(call.queue)
        self.load_seconds += _seconds(call.load)
        self.prefill_seconds += _seconds(call.prefill)
        self.decode_seconds += _seconds(call.decode)
        self.cold_starts += call.load is not None and call.load >= COLD_SECONDS
        if answers_well(call):
            self.measure(call)
            if call.duration is not None:
                self.answered += 1
                self.answered_seconds += call.duration

    def measure(self, call: Call) -> None:
        """How long a call took for which `answers_well`, and nothing else of it."""
        for histogram, value in (
            (self.duration, call.duration),
            (self.time_to_first_token, call.time_to_first_token),
            (self.tokens_per_second, call.tokens_per_second),
        ):
            if value is not None:
                histogram.record(value)

    def forget_times(self) -> None:
        """What `measure` counted."""
        for name in _HISTOGRAMS:
            setattr(self, name, Histogram())

    def merge(self, other: Summary) -> None:
        first = [one.first_used for one in (self, other) if one.requests]
        self.first_used = None if None in first else min(filter(None, first), default=None)
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _HISTOGRAMS:
            getattr(self, name).merge(getattr(other, name))
        self.last_used = max(self.last_used or "", other.last_used or "") or None

    def view(self) -> dict[str, Any]:
        """The REST object."""
        return {
            "requests": self.requests,
            "completed": self.completed,
            "failed": self.failed,
            "timeout": self.timeout,
            "cancelled": self.cancelled,
            "interrupted": self.interrupted,
            "success_rate": self.success_rate,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "duration": self.duration.view(),
            "time_to_first_token": self.time_to_first_token.view(),
            "tokens_per_second": self.tokens_per_second.view(),
            "queue_seconds": self.queue_seconds,
            "load_seconds": self.load_seconds,
            "prefill_seconds": self.prefill_seconds,
            "decode_seconds": self.decode_seconds,
            "cold_starts": self.cold_starts,
            "first_used": self.first_used,
            "last_used": self.last_used,
        }

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Summary:
        """Raises msgspec.MsgspecError where `data` is no summary."""
        return _summary_decoder.decode(data)


class Statistics(msgspec.Struct):
    """The summary of all calls, and one for each model and each client: `MAX_KEYS` and `OTHER`.

    A name that never completed a call gets a summary of its own only in the first half of that
    room: 10,000 made-up names cannot push a real model into `OTHER`.
    """

    all: Summary = msgspec.field(default_factory=Summary)
    models: dict[str, Summary] = {}
    clients: dict[str, Summary] = {}

    def add(self, call: Call) -> None:
        """Count a call; one that still runs is ignored."""
        if call.state == State.RUNNING:
            return
        self.all.add(call)
        completed = call.state == State.COMPLETED
        if call.model is not None:
            _kept(self.models, call.model, completed)[1].add(call)
        if call.client is not None:
            _kept(self.clients, call.client, completed)[1].add(call)

    def measure(self, call: Call) -> None:
        """Of a call for which `answers_well`, counted by `add` before, how long it took."""
        self.all.measure(call)
        if call.model is not None:
            _kept(self.models, call.model, True)[1].measure(call)
        if call.client is not None:
            _kept(self.clients, call.client, True)[1].measure(call)

    def merge(self, other: Statistics) -> tuple[set[str], set[str]]:
        """Add the other's totals to these. Returns the models and the clients that this changed."""
        self.all.merge(other.all)
        return _merged(self.models, other.models), _merged(self.clients, other.clients)

    @property
    def avg_response_time(self) -> float:
        """Mean seconds of the completed calls that ran a model; 0 when there is none."""
        return self.all.answered_seconds / self.all.answered if self.all.answered else 0.0


def answers_well(call: Call) -> bool:
    """Whether how long it took tells how long a model takes: it completed, and ran one."""
    return call.state == State.COMPLETED and call.model is not None and ran_model(call.path)


def _kept(known: dict[str, Summary], name: str, completed: bool) -> tuple[str, Summary]:
    """The name's own summary, or that of `OTHER` where there is no room for one; and its key."""
    name = key_for(name, known, completed, MAX_KEYS)
    return name, known.setdefault(name, Summary())


def key_for(name: str, known: Collection[str], completed: bool, most: int) -> str:
    """By which key a name is counted: `OTHER` where it is new and there is no room for it.

    `most` names have one of their own, in the second half of that room only those that completed a
    call: see `Statistics`.
    """
    if name in known:
        return name
    room = most if completed else most // 2
    return OTHER if len(known) >= room or len(name) > MAX_NAME else name


def _merged(known: dict[str, Summary], other: dict[str, Summary]) -> set[str]:
    changed = set()
    for name, summary in other.items():
        key, own = _kept(known, name, summary.completed > 0)
        own.merge(summary)
        changed.add(key)
    return changed


def bucket(value: float) -> int:
    """In which bucket of a `Histogram` a value is; it is 0 or more."""
    if not SMALLEST < value < LARGEST:
        value = SMALLEST if value <= SMALLEST else LARGEST
    return math.ceil(math.log(value) / _LOG_GROWTH)


def _middle(index: int) -> float:
    """The value whose relative distance to both ends of the bucket is the same."""
    return float(2 * _GROWTH**index / (_GROWTH + 1))


def plausible(value: int | None) -> int:
    """A count of tokens as it may be added up; 0 where it is unknown, or nonsense."""
    return value if value is not None and 0 <= value <= _LARGEST_COUNT else 0


def _seconds(value: float | None) -> float:
    return value if value is not None and 0 < value < math.inf else 0.0


_HISTOGRAMS = ("duration", "time_to_first_token", "tokens_per_second")
_MOMENTS = ("first_used", "last_used")
_SUMS = tuple(name for name in Summary.__struct_fields__ if name not in (*_HISTOGRAMS, *_MOMENTS))
_summary_decoder = msgspec.msgpack.Decoder(Summary)
