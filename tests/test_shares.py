"""What was used is shared out whole, by the time in flight; peaks, neighbours and estimates."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.shares import LONGEST, Crowd, Held, Meter, Resources, Sample, Used

GB = 1 << 30


def cpu(at: float, seconds: float | None = None, memory: int | None = None) -> Sample:
    return Sample(at, Used(cpu_seconds=seconds), Held(memory_bytes=memory))


def taken(meter: Meter, id: str) -> Resources:
    cost = meter.take(id)
    assert cost is not None
    return cost


def fly(meter: Meter, id: str, began: float, ended: float) -> None:
    meter.began(id, began)
    assert meter.ended(id, ended)


# -- the rule ---------------------------------------------------------------------------------


def test_the_example_of_the_documentation() -> None:
    """docs/resources.md works this one out."""
    meter = Meter()
    meter.sampled(cpu(0.0, memory=1 * GB))
    meter.began("A", 0.0)
    meter.began("B", 0.5)
    meter.sampled(cpu(1.0, 6.0, memory=4 * GB))
    meter.ended("A", 1.25)
    meter.sampled(cpu(1.25, 2.0, memory=5 * GB))
    meter.ended("B", 1.75)
    meter.sampled(cpu(1.75, 1.5, memory=4 * GB))
    a, b = taken(meter, "A"), taken(meter, "B")
    assert [a.cpu_seconds, b.cpu_seconds] == pytest.approx([5.0, 4.5])
    assert (a.memory_peak_bytes, b.memory_peak_bytes) == (5 * GB, 5 * GB)
    assert (a.shared_with, b.shared_with) == (1, 1)
    assert not a.estimated and not b.estimated


def test_a_call_that_is_alone_pays_for_everything() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0))
    fly(meter, "short", 0.4, 0.5)
    meter.sampled(cpu(1.0, 0.75))
    assert taken(meter, "short").cpu_seconds == 0.75


def test_what_nobody_was_in_flight_for_is_nobodys() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0))
    meter.sampled(cpu(3600.0, 12.0))
    meter.began("next", 3600.0)
    meter.ended("next", 3601.0)
    meter.sampled(cpu(3601.0, 2.0))
    assert meter.unshared[0] == 12.0
    assert taken(meter, "next").cpu_seconds == 2.0


def test_what_others_used_is_told_to_each_call_and_shared_by_none() -> None:
    meter = Meter()
    meter.sampled(Sample(0.0))
    fly(meter, "A", 0.0, 1.0)
    fly(meter, "B", 0.0, 0.5)
    meter.sampled(Sample(1.0, Used(3.0), Held(GB), 1.6))
    a, b = taken(meter, "A"), taken(meter, "B")
    assert [a.others_cpu_seconds, b.others_cpu_seconds] == pytest.approx([1.6, 0.8])
    assert meter.unshared[0] == 0.0


def test_what_others_used_is_unknown_where_a_part_of_it_is() -> None:
    meter = Meter()
    meter.sampled(Sample(0.0))
    fly(meter, "A", 0.0, 2.0)
    meter.sampled(Sample(1.0, Used(1.0), Held(GB)))
    meter.sampled(Sample(2.0, Used(1.0), Held(GB), 0.5))
    cost = taken(meter, "A")
    assert (cost.cpu_seconds, cost.others_cpu_seconds) == (2.0, None)


def test_gpu_figures_are_shared_by_the_same_rule() -> None:
    meter = Meter()
    meter.sampled(Sample(0.0))
    fly(meter, "A", 0.0, 1.0)
    fly(meter, "B", 0.0, 0.5)
    meter.sampled(Sample(1.0, Used(3.0, 0.9, 300.0), Held(GB, 2 * GB)))
    a, b = taken(meter, "A"), taken(meter, "B")
    assert [a.gpu_seconds, a.gpu_watt_seconds] == pytest.approx([0.6, 200.0])
    assert [b.gpu_seconds, b.gpu_watt_seconds] == pytest.approx([0.3, 100.0])
    assert a.gpu_memory_peak_bytes == b.gpu_memory_peak_bytes == 2 * GB


@dataclass
class History:
    """Calls by name, and what was used between samples at 0, 1, 2, …; all in eighths of seconds."""

    flights: dict[str, tuple[float, float]]
    used: list[float]
    notes: list[tuple[float, int, str]] = field(default_factory=list)

    def play(self) -> Meter:
        meter = Meter()
        for id, (began, ended) in self.flights.items():
            self.notes += [(began, 0, id), (ended, 2, id)]
        self.notes += [(float(n), 1, "") for n in range(len(self.used) + 1)]
        for now, kind, id in sorted(self.notes):
            if kind == 0:
                meter.began(id, now)
            elif kind == 2:
                meter.ended(id, now)
            else:
                meter.sampled(cpu(now, self.used[int(now) - 1] if now else None))
        return meter

    def at_once(self, id: str) -> int:
        """The most calls in flight at any moment of this one; ends come after starts."""
        began, ended = self.flights[id]
        moments = [one for one, _ in self.flights.values() if began <= one <= ended]
        return max(
            sum(one <= moment <= other for one, other in self.flights.values())
            for moment in moments
        )


@st.composite
def histories(draw: st.DrawFn) -> History:
    used = draw(st.lists(st.floats(0, 1000), min_size=1, max_size=6))
    last = 8 * len(used) - 1
    flights: dict[str, tuple[float, float]] = {}
    for number in range(draw(st.integers(0, 12))):
        began = draw(st.integers(0, last))
        flights[str(number)] = began / 8, draw(st.integers(began, last)) / 8
    return History(flights, used)


@given(histories())
def test_shares_and_the_rest_are_what_was_measured(history: History) -> None:
    meter = history.play()
    costs = [taken(meter, id) for id in history.flights]
    shares = [cost.cpu_seconds or 0.0 for cost in costs]
    assert all(share >= 0 for share in shares)
    assert not any(cost.estimated for cost in costs)
    total = math.fsum(shares) + meter.unshared[0]
    assert total == pytest.approx(math.fsum(history.used), rel=1e-9, abs=1e-9)


@given(histories())
def test_neighbours_are_the_most_at_any_moment(history: History) -> None:
    meter = history.play()
    for id in history.flights:
        assert taken(meter, id).shared_with == history.at_once(id) - 1


@given(histories(), st.floats(0.1, 10))
def test_twice_the_use_is_twice_the_share(history: History, factor: float) -> None:
    more = History(history.flights, [amount * factor for amount in history.used])
    one, other = history.play(), more.play()
    for id in history.flights:
        expected = (taken(one, id).cpu_seconds or 0.0) * factor
        assert taken(other, id).cpu_seconds == pytest.approx(expected, abs=1e-9)


def test_a_crowd_that_comes_and_goes_leaves_nothing_behind() -> None:
    crowd = Crowd()
    for _ in range(50):
        tickets = [crowd.began() for _ in range(20)]
        assert [crowd.ended(ticket) for ticket in tickets] == [20] * 20
        assert crowd.now == 0
        assert crowd._most == []


# -- peaks ------------------------------------------------------------------------------------


def test_a_peak_is_the_largest_sample_from_the_start_to_the_first_after_the_end() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0, memory=9 * GB))
    meter.began("call", 0.5)
    meter.sampled(cpu(1.0, 1.0, memory=2 * GB))
    meter.sampled(cpu(2.0, 1.0, memory=4 * GB))
    meter.ended("call", 2.5)
    meter.sampled(cpu(3.0, 1.0, memory=3 * GB))
    meter.sampled(cpu(4.0, 1.0, memory=8 * GB))
    assert taken(meter, "call").memory_peak_bytes == 4 * GB


def test_a_sample_at_the_very_start_counts_for_the_peak_and_not_for_the_share() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0))
    meter.began("unloads", 100.0)
    meter.sampled(cpu(100.0, 7.0, memory=4 * GB))
    meter.ended("unloads", 100.5)
    meter.sampled(cpu(100.5, 1.0, memory=1 * GB))
    cost = taken(meter, "unloads")
    assert (cost.memory_peak_bytes, cost.cpu_seconds) == (4 * GB, 1.0)


def test_a_sample_asked_for_before_the_start_says_nothing_of_the_call() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0))
    fly(meter, "call", 1.0, 1.5)
    meter.sampled(cpu(0.9, 1.0, memory=9 * GB))  # it came late
    meter.sampled(cpu(2.0, 1.0, memory=2 * GB))
    assert taken(meter, "call").memory_peak_bytes == 2 * GB


# -- what is not known ------------------------------------------------------------------------


def test_one_unknown_interval_makes_the_sum_unknown_and_never_less() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0))
    meter.began("call", 0.0)
    meter.sampled(cpu(1.0, 1.0, memory=GB))
    meter.sampled(cpu(2.0, None))
    meter.ended("call", 3.0)
    meter.sampled(cpu(3.0, 1.0))
    cost = taken(meter, "call")
    assert (cost.cpu_seconds, cost.memory_peak_bytes) == (None, GB)
    assert (cost.gpu_seconds, cost.gpu_memory_peak_bytes, cost.gpu_watt_seconds) == (None,) * 3


def test_a_call_of_which_nothing_is_known_has_no_resources() -> None:
    meter = Meter()
    meter.sampled(Sample(0.0))
    fly(meter, "call", 0.0, 1.0)
    meter.sampled(Sample(1.0))
    assert meter.take("call") is None


def test_what_was_used_before_the_first_sample_is_not_known() -> None:
    meter = Meter()
    meter.began("early", 0.0)
    meter.sampled(cpu(0.5))
    meter.ended("early", 1.0)
    meter.sampled(cpu(1.0, 1.0, memory=GB))
    assert taken(meter, "early").cpu_seconds is None


def test_an_interval_too_long_is_not_shared_out() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0))
    meter.began("call", 0.0)
    meter.sampled(cpu(LONGEST + 1, 8.0, memory=GB))
    meter.ended("call", LONGEST + 2)
    meter.sampled(cpu(LONGEST + 2, 1.0))
    assert taken(meter, "call").cpu_seconds is None
    assert meter.unshared[0] == 8.0


# -- taken before the next sample -------------------------------------------------------------


def test_the_part_not_yet_measured_is_estimated_by_the_interval_before() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0, memory=GB))
    meter.began("A", 0.0)
    meter.began("B", 0.0)
    meter.sampled(cpu(1.0, 4.0, memory=2 * GB))
    meter.ended("A", 1.5)
    a = taken(meter, "A")
    assert a.cpu_seconds == pytest.approx(2.0 + 0.5 * 2.0)
    assert a.estimated
    assert a.memory_peak_bytes == 2 * GB


def test_a_call_that_no_sample_has_seen_is_estimated_by_the_last_one() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0))
    meter.began("other", 0.0)
    meter.sampled(cpu(1.0, 4.0, memory=3 * GB))
    fly(meter, "call", 1.25, 1.5)
    cost = taken(meter, "call")
    assert (cost.cpu_seconds, cost.memory_peak_bytes, cost.estimated) == (1.0, 3 * GB, True)


def test_nobody_else_pays_for_a_call_that_was_estimated() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0))
    meter.began("A", 0.0)
    meter.began("B", 0.0)
    meter.ended("A", 1.0)
    meter.take("A")
    meter.ended("B", 1.0)
    meter.sampled(cpu(1.0, 4.0))
    b = taken(meter, "B")
    assert (b.cpu_seconds, b.estimated) == (2.0, False)


def test_after_a_pause_there_is_nothing_to_estimate_by() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0))
    fly(meter, "before", 0.0, 1.0)
    meter.sampled(cpu(1.0, 4.0, memory=GB))
    meter.began("after", 60.0)
    meter.sampled(cpu(60.0, 0.0, memory=GB))
    meter.ended("after", 60.5)
    cost = taken(meter, "after")
    assert (cost.cpu_seconds, cost.memory_peak_bytes, cost.estimated) == (None, GB, True)


def test_where_samples_have_stopped_nothing_is_claimed_and_nothing_piles_up() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0, memory=GB))
    for number in range(100):
        fly(meter, f"call {number}", 10.0 + number, 10.5 + number)
        assert meter.take(f"call {number}") is None
    assert not meter._open
    assert not meter._closed


def test_a_call_is_taken_once_and_then_forgotten() -> None:
    meter = Meter()
    meter.sampled(cpu(0.0))
    meter.began("early", 0.0)
    assert meter.take("early") is None  # still in flight
    fly(meter, "late", 0.0, 0.5)
    meter.ended("early", 0.5)
    assert meter.ended("early", 0.6) is False
    assert meter.ended("another", 0.6) is False
    meter.take("early")
    assert meter.take("early") is None
    meter.sampled(cpu(1.0, 1.0))
    assert taken(meter, "late").cpu_seconds == 0.5
    assert meter.take("late") is None
    assert meter.running == 0
    assert not meter._open
    assert not meter._closed
