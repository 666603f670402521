"""What is different: a model's calls of some span against those before it, by what they took and by
what they were. Pure.

A difference is told where the rank-sum test of Mann and Whitney (Annals of Mathematical Statistics
18, 1947; here with its normal approximation and ties) leaves no doubt, z of 4 or more: by chance
that is one of 15,000 comparisons. It must be large enough to matter, too. Nothing is told of fewer
than `LEAST` calls on either side. What depends on the prompt's length is compared between prompts
of like length. What calls were (their options, client, route) is told where its share has changed
as clearly: it may be why, or may not. Not here: one call against its usual (`slow.py`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from math import sqrt
from statistics import fmean, median
from typing import Any, NamedTuple

import msgspec

from ollama_proxy.exchange import Call, State

LEAST, LEAST_ALIKE = 20, 5
"""Calls on either side; of them with prompts of like length."""
CLEARLY = 4.0
MOST_OPTIONS, LONGEST_VALUE = 32, 200
"""Of a call; in bytes of JSON. Ollama has some 20 options, with short values."""
TIMES, SECONDS, CORES, SHARE = 1.25, 0.1, 0.1, 0.2
"""What matters: a quarter more, or a fifth less; a tenth of a second of queue or load, of a core; a
fifth of all calls."""


class Difference(msgspec.Struct, frozen=True):
    """`usual` and `now` are what is typical, in `unit`: the median, of queue and load the mean. Of
    `calls` now, and `usual_calls` before, it was known. `times` as much now as usual; None: from 0.
    """

    what: str
    unit: str
    usual: float
    now: float
    times: float | None
    usual_calls: int
    calls: int


class Trait(msgspec.Struct, frozen=True):
    """What calls were: an option's value, the client, a route. Shares from 0 to 1."""

    name: str
    value: Any
    usual: float
    now: float


class Differences(msgspec.Struct, frozen=True):
    """Between `calls` now and `usual_calls` before; `enough` False: too few to tell."""

    calls: int
    usual_calls: int
    enough: bool
    differences: list[Difference]
    traits: list[Trait]


class _Quantity(NamedTuple):
    what: str
    unit: str
    of: Callable[[Call], float | None]
    by_length: bool = False
    by_mean: bool = False


def _others(call: Call) -> float | None:
    used = (call.resources or {}).get("others_cpu_seconds")
    return used / call.duration if used is not None and call.duration else None


_QUANTITIES = (
    _Quantity("duration", "seconds", lambda call: call.duration, by_length=True),
    _Quantity("queue", "seconds", lambda call: call.queue, by_mean=True),
    _Quantity("load", "seconds", lambda call: call.load, by_mean=True),
    _Quantity("prefill", "seconds", lambda call: call.prefill, by_length=True),
    _Quantity(
        "time_to_first_token", "seconds", lambda call: call.time_to_first_token, by_length=True
    ),
    _Quantity("time_per_output_token", "seconds", lambda call: call.time_per_output_token),
    _Quantity("input_tokens", "tokens", lambda call: call.input_tokens),
    _Quantity("output_tokens", "tokens", lambda call: call.output_tokens),
    _Quantity("other_programs", "cores", _others),
)


def differences(calls: Sequence[Call], usual: Sequence[Call]) -> Differences:
    """Of ended calls of one model: those of the span, and those to compare them with."""
    if len(calls) < LEAST or len(usual) < LEAST:
        return Differences(len(calls), len(usual), False, [], [])
    done = [[call for call in side if call.state == State.COMPLETED] for side in (calls, usual)]
    found = (_difference(quantity, *done) for quantity in _QUANTITIES)
    return Differences(
        len(calls),
        len(usual),
        True,
        [one for one in found if one is not None],
        sorted(_changed(calls, usual), key=lambda one: abs(one.now - one.usual), reverse=True),
    )


def _difference(
    quantity: _Quantity, calls: Sequence[Call], usual: Sequence[Call]
) -> Difference | None:
    if quantity.by_length:
        now, before, share, z = _alike(quantity, calls, usual)
    else:
        now, before = (_known(quantity, side) for side in (calls, usual))
        share, z = None, rank_sum((now, before))
    if len(now) < LEAST or len(before) < LEAST or abs(z) < CLEARLY:
        return None
    typical = fmean if quantity.by_mean else median
    was, is_now = typical(before), typical(now)
    times = share if share is not None else is_now / was if was else None
    if quantity.by_mean:
        matters = abs(is_now - was) >= SECONDS
    else:
        matters = times is None or not 1 / TIMES < times < TIMES
    if quantity.unit == "cores":
        matters = matters and abs(is_now - was) >= CORES
    # Of a mean a few calls may say the opposite of all the others.
    if not matters or is_now == was or (z > 0) != (is_now > was):
        return None
    return Difference(quantity.what, quantity.unit, was, is_now, times, len(before), len(now))


def _known(quantity: _Quantity, calls: Sequence[Call]) -> list[float]:
    return [value for call in calls if (value := quantity.of(call)) is not None]


def _alike(
    quantity: _Quantity, calls: Sequence[Call], usual: Sequence[Call]
) -> tuple[list[float], list[float], float | None, float]:
    """Values of calls of like length, in parts of what is usual for it times what is usual for all;
    how many times the usual they are now, and how clearly: the ranks are those within a length."""
    sides: list[dict[int, list[float]]] = []
    for side in (calls, usual):
        by_length: dict[int, list[float]] = defaultdict(list)
        for call in side:
            if (value := quantity.of(call)) is not None:
                by_length[(call.input_tokens or 0).bit_length() // 2].append(value)
        sides.append(by_length)
    now, before = sides
    lengths = [
        length
        for length in now
        if len(now[length]) >= LEAST_ALIKE
        and len(before.get(length, ())) >= LEAST_ALIKE
        and median(before[length]) > 0
    ]
    if not lengths:
        return [], [], None, 0.0
    middle = median([value for length in lengths for value in before[length]])
    parts: tuple[list[float], list[float]] = ([], [])
    for length in lengths:
        unit = median(before[length]) / middle
        for values, into in zip((now[length], before[length]), parts, strict=True):
            into += [value / unit for value in values]
    z = rank_sum(*((now[length], before[length]) for length in lengths))
    return *parts, median(parts[0]) / middle, z


def rank_sum(*pairs: tuple[Sequence[float], Sequence[float]]) -> float:
    """How clearly the first values of each pair are above its second, in standard deviations (z).

    Of several pairs the sums of all (van Elteren): what differs between pairs does not count.
    """
    above = variance = 0.0
    for a, b in pairs:
        tagged = sorted([(value, 1) for value in a] + [(value, 0) for value in b])
        n, m = len(a), len(b)
        rank, ranks, ties = 0, 0.0, 0
        for _, group in groupby(tagged, key=lambda one: one[0]):
            members = [mine for _, mine in group]
            size = len(members)
            ranks += sum(members) * (rank + (size + 1) / 2)
            ties += size**3 - size
            rank += size
        if rank > 1:
            weight = 1 / (rank + 1)
            above += weight * (ranks - n * (rank + 1) / 2)
            variance += weight**2 * n * m / 12 * ((rank + 1) - ties / (rank * (rank - 1)))
    return above / sqrt(variance) if variance > 0 else 0.0


def _changed(calls: Sequence[Call], usual: Sequence[Call]) -> Iterator[Trait]:
    now, before = (
        Counter(trait for call in side for trait in _traits(call)) for side in (calls, usual)
    )
    for trait in sorted(now.keys() | before.keys(), key=str):
        n, m = _of_which_known(trait[0], calls), _of_which_known(trait[0], usual)
        if min(n, m) < LEAST:
            continue
        share, was = now[trait] / n, before[trait] / m
        both = (now[trait] + before[trait]) / (n + m)
        spread = sqrt(both * (1 - both) * (1 / n + 1 / m))
        if abs(share - was) >= SHARE and spread and abs(share - was) / spread >= CLEARLY:
            name, value = trait
            yield Trait(name, msgspec.json.decode(value), was, share)


def _of_which_known(trait: str, calls: Sequence[Call]) -> int:
    """Of how many calls it is known; an option that was not given is known not to be."""
    if trait in ("streamed", "prefill_cached"):
        return sum(getattr(call, trait) is not None for call in calls)
    return len(calls)


def _traits(call: Call) -> Iterator[tuple[str, bytes]]:
    """By name, each value as JSON; what is not known is none."""
    told: dict[str, Any] = {"client": call.client, "route": call.path, "state": call.state}
    told |= {"streamed": call.streamed, "prefill_cached": call.prefill_cached}
    options = islice((call.options or {}).items(), MOST_OPTIONS)
    told |= {f"options.{name}": value for name, value in options}
    for name, value in told.items():
        if value is not None and len(encoded := msgspec.json.encode(value)) <= LONGEST_VALUE:
            yield name, encoded
