"""Shares out what Ollama used among the calls that ran on it: the rule, and who owes what.

What was used between two samples is paid for by the calls that were in flight between them, each
in proportion to the time that it was; `docs/resources.md` has an example. Times are passed in, by
one monotonic clock. Not here: where samples come from (`sensors/resources.py`), and when they are
taken (`sensors/sampler.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import msgspec

LONGEST = 3.0
"""Seconds between two samples after which nobody can say any more who used what."""


class Used(NamedTuple):
    """What Ollama used since the sample before; None is unknown. GPU seconds are those at 100 %."""

    cpu_seconds: float | None = None
    gpu_seconds: float | None = None
    gpu_watt_seconds: float | None = None


class Held(NamedTuple):
    """What Ollama held at the moment of the sample; None is unknown."""

    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None


class Sample(NamedTuple):
    """One look at Ollama's processes. `others_cpu_seconds`: what all programs of the machine used
    but Ollama and this proxy, since the sample before; None is unknown."""

    at: float
    used: Used = Used()
    held: Held = Held()
    others_cpu_seconds: float | None = None


class Resources(msgspec.Struct, kw_only=True, frozen=True):
    """What one call cost; None is unknown.

    `shared_with` is the most other calls that ran while this one did. `estimated`: the call's last
    part was not measured yet, and is taken to have cost what the interval before it did.
    `others_cpu_seconds` is no cost: what other programs used while the call was in flight.
    """

    cpu_seconds: float | None
    memory_peak_bytes: int | None
    gpu_seconds: float | None
    gpu_memory_peak_bytes: int | None
    gpu_watt_seconds: float | None
    shared_with: int
    estimated: bool
    others_cpu_seconds: float | None = None


class Crowd:
    """How many calls run at once, and the most that did since any one of them began."""

    def __init__(self) -> None:
        self.now = 0
        self._begun = 0
        # (which start, how many then), each fewer than those before it: what later starts have
        # surpassed is no maximum of any time to come.
        self._most: list[tuple[int, int]] = []

    def began(self) -> int:
        """One more. Returns its ticket."""
        self.now += 1
        self._begun += 1
        while self._most and self._most[-1][1] <= self.now:
            self._most.pop()
        self._most.append((self._begun, self.now))
        return self._begun

    def ended(self, ticket: int) -> int:
        """One less. Returns the most calls that ran at once in its time, itself among them."""
        most = self._most[bisect_left(self._most, (ticket, 0))][1]
        self.now -= 1
        if not self.now:
            self._most.clear()
        return most


class _Flight:
    """One call's account, open until a sample has been taken after its end."""

    __slots__ = ("began", "ended", "peak", "seconds", "shared_with", "taken", "unknown", "used")

    def __init__(self, began: float, ticket: int) -> None:
        self.began = began
        self.ended: float | None = None
        self.shared_with = ticket  # until its end the ticket with which to ask
        self.taken = False
        self.seconds = 0.0  # in flight between the last two samples
        self.used = [0.0, 0.0, 0.0, 0.0]  # in the order of Used, then that of others
        self.unknown = 0  # a bit for each of them
        self.peak = [-1, -1]  # in the order of Held; -1: none seen

    def overlap(self, since: float, until: float) -> float:
        """Seconds in flight between two moments."""
        ended = until if self.ended is None or self.ended > until else self.ended
        seconds = ended - (self.began if self.began > since else since)
        return seconds if seconds > 0 else 0.0


class _Prices(NamedTuple):
    """What a second in flight cost, by place in Used, and a bit for each place not known.

    In the place behind them what others used in a second, which is not shared out.
    """

    known: list[tuple[int, float]]
    unknown: int


_OTHERS = len(Used._fields)
NOT_KNOWN = _Prices([], (1 << _OTHERS + 1) - 1)


class Meter:
    """Keeps each call's account: `began`, `ended`, then `take`; `sampled` in between.

    `unshared` is what was used while no call was in flight, or in an interval too long to share.
    Shares and `unshared` add up to what the samples say was used, but for estimates.
    """

    def __init__(self) -> None:
        self.unshared = [0.0, 0.0, 0.0]  # in the order of Used
        self._crowd = Crowd()
        self._open: dict[str, _Flight] = {}
        self._closed: dict[str, _Flight] = {}
        self._last: Sample | None = None
        self._prices = NOT_KNOWN

    @property
    def running(self) -> int:
        return self._crowd.now

    def began(self, id: str, now: float) -> None:
        self._open[id] = _Flight(now, self._crowd.began())

    def ended(self, id: str, now: float) -> bool:
        """Whether there was such a call in flight."""
        flight = self._open.get(id)
        if flight is None or flight.ended is not None:
            return False
        flight.ended = now
        flight.shared_with = self._crowd.ended(flight.shared_with) - 1
        return True

    def sampled(self, sample: Sample) -> None:
        """A new sample: the interval since the one before is shared out."""
        since = float("-inf") if self._last is None else self._last.at
        self._last = sample
        total = 0.0
        for flight in self._open.values():
            flight.seconds = flight.overlap(since, sample.at)
            total += flight.seconds
        self._prices = self._priced(sample, total, sample.at - since)
        for flight in self._open.values():
            if flight.seconds:
                self._charge(flight)
            if flight.began <= sample.at:
                _see(flight, sample.held)
        self._close(sample.at)

    def take(self, id: str) -> Resources | None:
        """What an ended call cost, once; None if nothing is known, or no such call has ended."""
        flight = self._closed.pop(id, None)
        if flight is not None:
            return _result(flight.used, flight.unknown, flight.peak, flight.shared_with, False)
        flight = self._open.get(id)
        if flight is None or flight.ended is None or flight.taken:
            return None
        last = self._last
        if last is None or flight.ended - last.at > LONGEST:
            del self._open[id]  # this interval will not be shared out
            return None
        # It stays among the open ones, so that nobody else pays for its time.
        flight.taken = True
        return self._estimate(flight, flight.ended, last)

    def _priced(self, sample: Sample, total: float, length: float) -> _Prices:
        """What each second in flight cost; what nobody can be told to have used is noted."""
        known: list[tuple[int, float]] = []
        unknown = 0
        if sample.others_cpu_seconds is None or not 0 < length <= LONGEST:
            unknown |= 1 << _OTHERS
        else:
            known.append((_OTHERS, sample.others_cpu_seconds / length))
        for place, amount in enumerate(sample.used):
            if amount is None:
                unknown |= 1 << place
            elif total and length <= LONGEST:
                known.append((place, amount / total))
            else:
                unknown |= 1 << place
                self.unshared[place] += amount
        return _Prices(known, unknown)

    def _charge(self, flight: _Flight) -> None:
        flight.unknown |= self._prices.unknown
        for place, price in self._prices.known:
            flight.used[place] += price * flight.seconds

    def _close(self, until: float) -> None:
        over = [
            (id, flight)
            for id, flight in self._open.items()
            if flight.ended is not None and flight.ended <= until
        ]
        for id, flight in over:
            del self._open[id]
            if not flight.taken:
                self._closed[id] = flight

    def _estimate(self, flight: _Flight, ended: float, last: Sample) -> Resources | None:
        """The account as far as it goes, and the rest at the last interval's price."""
        rest = flight.overlap(last.at, ended)
        used = list(flight.used)
        for place, price in self._prices.known:
            used[place] += price * rest
        _see(flight, last.held)
        unknown = flight.unknown | self._prices.unknown
        return _result(used, unknown, flight.peak, flight.shared_with, True)


def _see(flight: _Flight, held: Held) -> None:
    for place, level in enumerate(held):
        if level is not None and level > flight.peak[place]:
            flight.peak[place] = level


def _result(
    used: list[float], unknown: int, peak: list[int], shared_with: int, estimated: bool
) -> Resources | None:
    cpu, gpu, watt_seconds, others = (
        None if unknown >> place & 1 else amount for place, amount in enumerate(used)
    )
    memory, gpu_memory = (None if level < 0 else level for level in peak)
    if (cpu, gpu, watt_seconds, memory, gpu_memory) == (None,) * 5:
        return None
    return Resources(
        cpu_seconds=cpu,
        memory_peak_bytes=memory,
        gpu_seconds=gpu,
        gpu_memory_peak_bytes=gpu_memory,
        gpu_watt_seconds=watt_seconds,
        shared_with=shared_with,
        estimated=estimated,
        others_cpu_seconds=others,
    )
