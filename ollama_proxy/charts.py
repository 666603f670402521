"""What a chart asks of the series, and the columns that it gets. Pure.

Not here: what a tally is (`series.py`), where tallies are kept (`storage/series.py`), parameters of
a request (`admin/series.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ollama_proxy.series import (
    DAY,
    HOUR,
    MINUTE,
    STATES,
    TIMES,
    Gauges,
    Levels,
    Tally,
    kept_by_minute_from,
)

STEPS = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY)
POINTS = 360
"""As many as a chart needs: its step is chosen so that there are no more."""
MOST_POINTS = 1500
"""A day of minutes, two months of hours."""
NEEDED = {"p50": 5, "p95": 20, "p99": 100}
"""With fewer calls there is no such percentile: one call would decide it."""

_GAUGES = {
    "cpu": {"host_percent": "host_cpu_percent", "ollama_percent": "ollama_cpu_percent"},
    "memory": {"host_bytes": "host_memory_bytes", "ollama_bytes": "ollama_memory_bytes"},
    "gpu": {"percent": "gpu_percent", "memory_bytes": "gpu_memory_bytes", "watts": "gpu_watts"},
}


class TooFine(ValueError):
    """A step of which there are too many, or which is not kept any more. One line says so."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which steps: whole ones of `step` seconds from `since` on, below `until`, both in seconds
    since 1970. `model`: only its calls (`series.series_key`); gauges are those of the machine all
    the same. `unsaved` are gauges that are not stored yet."""

    since: int
    until: int
    step: int
    now: float
    model: str | None = None
    unsaved: list[tuple[int, Gauges]] = []

    @classmethod
    def spanning(cls, since: float, until: float, now: float, step: int | None = None) -> Asked:
        """The steps that touch this span, `step` of `STEPS` or chosen. Raises TooFine."""
        if step is None:
            step = _step_for(since, until, now)
        elif since < kept_by_minute_from(now) and step < HOUR:
            raise TooFine("what is older than two days is kept by the hour: ask for 1h or more")
        elif (until - since) / step > MOST_POINTS:
            wide = next((one for one in STEPS if (until - since) / one <= MOST_POINTS), None)
            better = "a shorter span" if wide is None else f"{spelt(wide)} or more"
            raise TooFine(f"that is more than {MOST_POINTS} steps: ask for {better}")
        first, last = int(since // step), -int(-until // step)
        return cls(since=first * step, until=last * step, step=step, now=now)


def spelt(step: int) -> str:
    """As one asks for it."""
    units = ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"))
    return next(f"{step // unit}{name}" for unit, name in units if step % unit == 0)


def _step_for(since: float, until: float, now: float) -> int:
    finest = HOUR if since < kept_by_minute_from(now) else MINUTE
    fitting = (step for step in STEPS if step >= finest and (until - since) / step <= POINTS)
    return next(fitting, STEPS[-1])


def columns(asked: Asked, tallies: dict[int, Tally]) -> dict[str, Any]:
    """The REST object; changes `tallies`. A value for each step in `at`; what is not known is None.

    `unfinished`: the last step is not over yet.
    """
    for minute, gauges in asked.unsaved:
        if asked.since <= minute < asked.until:
            step = minute // asked.step * asked.step
            tallies.setdefault(step, Tally()).add_gauges(gauges)
    at = sorted(tallies)
    found = [tallies[step] for step in at]
    return {
        "step": asked.step,
        "since": asked.since,
        "until": asked.until,
        "now": asked.now,
        "model": asked.model,
        "unfinished": bool(at) and at[-1] + asked.step > asked.now,
        "at": at,
        "n": [sum(tally.counts) for tally in found],
        "calls": {
            state: [tally.counts[place] for tally in found] for place, state in enumerate(STATES)
        },
        **{name: _percentiles(found, place) for place, name in enumerate(TIMES)},
        "input_tokens": [_told(tally, 0) for tally in found],
        "output_tokens": [_told(tally, 2) for tally in found],
        "running": _level(found, 0),
        "queue": _level(found, 1),
        **{
            group: {name: _means(found, Levels._fields.index(field)) for name, field in of.items()}
            for group, of in _GAUGES.items()
        },
    }


def _percentiles(found: Iterable[Tally], place: int) -> dict[str, list[float | None]]:
    told: dict[str, list[float | None]] = {"n": [], **{name: [] for name in NEEDED}}
    for tally in found:
        times = tally.histogram(place)
        known = times.percentiles(0.5, 0.95, 0.99) if times.count else (None,) * len(NEEDED)
        told["n"].append(times.count)
        for (name, least), value in zip(NEEDED.items(), known, strict=True):
            told[name].append(value if times.count >= least else None)
    return told


def _told(tally: Tally, place: int) -> int | None:
    """Tokens; None where calls ran a model, and none of them told."""
    tokens, told = tally.tokens[place : place + 2]
    return tokens if told or not tally.ran else None


def _level(found: list[Tally], place: int) -> dict[str, list[float | None]]:
    most = _of_gauges(found, lambda gauges: gauges.most[place])
    return {"mean": _means(found, place), "max": most}


def _means(found: list[Tally], place: int) -> list[float | None]:
    return _of_gauges(found, lambda gauges: gauges.mean(place))


def _of_gauges(found: list[Tally], value: Callable[[Gauges], float | None]) -> list[float | None]:
    return [None if tally.gauges is None else value(tally.gauges) for tally in found]
