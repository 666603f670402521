"""How calls went, and the machine, minute by minute: small, mergeable, for charts. Pure.

A call counts in the minute in which it ended, once. Not here: where minutes are kept, and when they
become hours (`storage/series.py`), who samples the machine (`gauging.py`), JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from operator import add
from typing import NamedTuple

import msgspec

from ollama_proxy.exchange import Call, State, model_key, ran_model
from ollama_proxy.stats import OTHER, Histogram, answers_well, bucket, plausible

MINUTE, HOUR, DAY = 60, 3600, 86400
ALL = ""
"""The name of all calls together, whatever their model."""
MAX_MODELS = 32
"""Models that are told apart in one minute or hour; the rest are `stats.OTHER`."""
MINUTES_DAYS, HOURS_DAYS = 2, 90
"""Days that minutes are kept as such, and that hours are kept at the least."""
STATES = tuple(state.value for state in State if state is not State.RUNNING)
TIMES = ("duration", "time_to_first_token", "tokens_per_second")

JOINED = 3
"""Buckets of `stats.Histogram` that count as one: a third of the room, and of the time to merge."""

_PLACE = {state: place for place, state in enumerate(STATES)}
_LONGEST_CALL = 10**9  # seconds; more is nonsense


class Levels(NamedTuple):
    """What was so for a while. CPU is in percent of all cores; None is unknown."""

    running: int
    queued: int
    host_cpu_percent: float | None = None
    host_memory_bytes: int | None = None
    ollama_cpu_percent: float | None = None
    ollama_memory_bytes: int | None = None
    gpu_percent: float | None = None
    gpu_memory_bytes: int | None = None
    gpu_watts: float | None = None


class Gauges(msgspec.Struct, array_like=True):
    """`Levels` by place: each times the milliseconds that it was so, and those for which it is
    known; and the most of the first two. Mostly small whole numbers, which take few bytes."""

    sums: list[float] = msgspec.field(default_factory=lambda: [0] * len(Levels._fields))
    known: list[int] = msgspec.field(default_factory=lambda: [0] * len(Levels._fields))
    most: list[int] = msgspec.field(default_factory=lambda: [0, 0])

    def hold(self, levels: Levels, seconds: float) -> None:
        """It was so for some seconds more."""
        milliseconds = round(seconds * 1000)
        sums = [0 if level is None else _whole(level * milliseconds) for level in levels]
        known = [0 if level is None else milliseconds for level in levels]
        self.merge(Gauges(sums, known, [levels.running, levels.queued]))

    def merge(self, other: Gauges) -> None:
        self.sums = list(map(add, self.sums, other.sums))
        self.known = list(map(add, self.known, other.known))
        self.most = list(map(max, self.most, other.most))

    def mean(self, place: int) -> float | None:
        return self.sums[place] / self.known[place] if self.known[place] else None


def _whole(value: float) -> float:
    """As a whole number where that is shorter; bytes of memory would in the end pass 64 bits."""
    return round(value) if value < 2**32 else float(value)


class Tally(msgspec.Struct, array_like=True):
    """The calls of one minute or more. `counts` by place in `STATES`, `times` by place in `TIMES`.

    `tokens`: input, the calls that told it, output, the calls that told that. Times are those of
    completed calls that ran a model, as buckets (see `histogram`) and how often each was hit;
    `ran` counts all calls that ran one. Minutes of all calls have `gauges`, those of one model have
    none.
    """

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * len(STATES))
    tokens: list[int] = msgspec.field(default_factory=lambda: [0] * 4)
    times: list[dict[int, int]] = msgspec.field(default_factory=lambda: [{}, {}, {}])
    gauges: Gauges | None = None
    ran: int = 0

    @property
    def completed(self) -> bool:
        return self.counts[0] > 0

    def add(self, call: Call) -> None:
        """Count a call that has ended."""
        self.counts[_PLACE[call.state]] += 1
        tokens = self.tokens
        if call.input_tokens is not None:
            tokens[0] += plausible(call.input_tokens)
            tokens[1] += 1
        if call.output_tokens is not None:
            tokens[2] += plausible(call.output_tokens)
            tokens[3] += 1
        self.ran += call.model is not None and ran_model(call.path)
        if answers_well(call):
            self.measure(call)

    def measure(self, call: Call) -> None:
        """How long a call took for which `stats.answers_well`, and nothing else of it."""
        duration, first, speed = self.times
        _record(duration, call.duration)
        _record(first, call.time_to_first_token)
        _record(speed, call.tokens_per_second)

    def merge(self, other: Tally) -> None:
        self.counts = list(map(add, self.counts, other.counts))
        self.tokens = list(map(add, self.tokens, other.tokens))
        self.ran += other.ran
        for own, more in zip(self.times, other.times, strict=True):
            for place, count in more.items():
                own[place] = own.get(place, 0) + count
        self.add_gauges(other.gauges)

    def add_gauges(self, gauges: Gauges | None) -> None:
        if gauges is not None:
            self.gauges = self.gauges or Gauges()
            self.gauges.merge(gauges)

    def histogram(self, place: int) -> Histogram:
        """Of one of `TIMES`, for percentiles within 3 %; the minimum, maximum and sum are unknown.

        Of three neighbouring buckets it is known how often they were hit together: those count in
        the middle one.
        """
        buckets = {JOINED * one - 1: count for one, count in self.times[place].items()}
        return Histogram(buckets, sum(buckets.values()), max=math.inf, min=0.0)

    def to_bytes(self) -> bytes:
        """Of a few calls under 100."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Tally:
        """Raises msgspec.MsgspecError where `data` is no tally."""
        return _decode(data)


def _record(buckets: dict[int, int], value: float | None) -> None:
    if value is not None and math.isfinite(value):
        place = -(-bucket(max(value, 0.0)) // JOINED)
        buckets[place] = buckets.get(place, 0) + 1


class Tallies:
    """Calls by the minute in which they ended, and by model."""

    def __init__(self) -> None:
        self._minutes: dict[int, dict[str, Tally]] = {}
        self._keys: dict[str | None, str] = {}

    def add(self, call: Call) -> None:
        """One whose time cannot be read is left out."""
        if (tally := self._of(call)) is not None:
            tally.add(call)

    def measure(self, call: Call) -> None:
        """Of a call for which `stats.answers_well` how long it took, and nothing else of it."""
        if (tally := self._of(call)) is not None:
            tally.measure(call)

    def _of(self, call: Call) -> Tally | None:
        """Where it counts."""
        minute = ended_in(call)
        if minute is None:
            return None
        key = self._keys.get(call.model)
        if key is None:
            key = self._keys[call.model] = series_key(call.model) if call.model else ALL
        by_model = self._minutes.setdefault(minute, {})
        if key not in by_model:
            by_model[key] = Tally()
        return by_model[key]

    def minutes(self) -> Iterator[tuple[int, dict[str, Tally]]]:
        """Each minute with its tallies by `series_key`; that of `ALL` calls is among them."""
        for minute, by_model in self._minutes.items():
            together = Tally()
            for tally in by_model.values():
                together.merge(tally)
            yield minute, {**by_model, ALL: together}


def series_key(model: str) -> str:
    """By which name a model is counted, in whatever spelling it is told."""
    return model if model == OTHER else model_key(model)


def ended_in(call: Call) -> int | None:
    """The minute, in seconds since 1970, in which a call ended; where its end is not known, as
    after a crash, the one in which it began. None where that cannot be read."""
    try:
        ended = datetime.fromisoformat(call.started_at).timestamp()
    except ValueError:
        return None
    if call.duration is not None and 0 < call.duration < _LONGEST_CALL:
        ended += call.duration
    return int(ended) // MINUTE * MINUTE


def kept_by_minute_from(now: float) -> int:
    """What ended before this moment, the beginning of an hour, is kept by the hour only."""
    return int(now - MINUTES_DAYS * DAY) // HOUR * HOUR


_decode = msgspec.msgpack.Decoder(Tally).decode
