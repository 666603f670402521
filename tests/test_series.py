"""Calls add up by the minute in which they ended, whichever way they are merged."""

from __future__ import annotations

import random

import msgspec
import pytest

from ollama_proxy.exchange import Call
from ollama_proxy.ids import iso
from ollama_proxy.series import ALL, STATES, TIMES, Gauges, Levels, Tallies, Tally, ended_in
from tests.storage.calls import NOON, make_call

MINUTE = int(NOON) // 60 * 60


def some_calls(count: int, seed: int = 1) -> list[Call]:
    some = random.Random(seed)
    return [
        make_call(
            at=MINUTE + some.random() * 50,
            state=some.choice(STATES),
            duration=some.choice([None, some.lognormvariate(-2, 2)]),
            time_to_first_token=some.choice([None, some.lognormvariate(-3, 2)]),
            tokens_per_second=some.choice([None, 40 + some.random()]),
            input_tokens=some.choice([None, 12]),
            output_tokens=some.choice([None, 7]),
        )
        for _ in range(count)
    ]


def tally_of(calls: list[Call]) -> Tally:
    tally = Tally()
    for call in calls:
        tally.add(call)
    return tally


@pytest.mark.parametrize(
    ("began", "duration", "minutes_on"),
    [(0, 59.9, 0), (0, 60.0, 1), (59.5, 0.6, 1), (10, 3600.0, 60), (10, None, 0), (10, -5.0, 0)],
)
def test_a_call_is_in_the_minute_in_which_it_ended(
    began: float, duration: float | None, minutes_on: int
) -> None:
    call = make_call(at=MINUTE + began, duration=duration)
    assert ended_in(call) == MINUTE + 60 * minutes_on


def test_a_call_whose_time_cannot_be_read_is_in_none() -> None:
    tallies = Tallies()
    tallies.add(make_call(started_at="2026"))
    assert list(tallies.minutes()) == []


def test_merged_is_as_counted_together_also_by_way_of_bytes() -> None:
    calls = some_calls(300)
    whole = tally_of(calls)
    merged = Tally()
    for start in range(0, 300, 37):
        merged.merge(Tally.from_bytes(tally_of(calls[start : start + 37]).to_bytes()))
    assert merged == whole
    assert sum(whole.counts) == 300


def test_percentiles_are_within_three_percent() -> None:
    calls = [call for call in some_calls(2000) if call.duration is not None]
    calls = [call for call in calls if call.state == "completed"]
    values = sorted(call.duration or 0 for call in calls)
    told = tally_of(calls).histogram(TIMES.index("duration")).percentiles(0.5, 0.95, 0.99)
    for share, value in zip((0.5, 0.95, 0.99), told, strict=True):
        true = values[-(-len(values) * int(share * 100) // 100) - 1]
        assert value == pytest.approx(true, rel=0.031)


def test_times_are_those_of_calls_that_completed() -> None:
    """While Ollama is down calls are refused in 3 ms; that is no time that a model took."""
    good = make_call(duration=4.0, time_to_first_token=1.0, tokens_per_second=40.0)
    times = {"duration": 0.003, "time_to_first_token": 0.002, "tokens_per_second": 1.0}
    bad = [make_call(state=state, **times) for state in STATES if state != "completed"]
    tally = tally_of([good, *bad])
    assert [tally.histogram(place).count for place in range(3)] == [1, 1, 1]
    assert tally.histogram(0).percentiles(0.5) == [pytest.approx(4.0, rel=0.031)]
    assert (sum(tally.counts), tally.ran) == (5, 5)


def test_what_is_nonsense_is_left_out() -> None:
    odd = make_call(duration=float("nan"), time_to_first_token=float("inf"), output_tokens=2**70)
    tally = tally_of([odd, make_call(duration=-1.0)])
    assert [tally.histogram(place).count for place in range(3)] == [1, 0, 0]
    assert tally.tokens[2] == 0
    assert Tally.from_bytes(tally.to_bytes()) == tally


def test_a_minute_of_ten_calls_takes_under_a_hundred_bytes() -> None:
    calls = [
        make_call(duration=1 + number / 3, time_to_first_token=0.2 + number / 30, output_tokens=90)
        for number in range(10)
    ]
    assert len(tally_of(calls).to_bytes()) < 100


def test_by_model_in_any_spelling_and_over_all() -> None:
    tallies = Tallies()
    for model in ("llama3", "llama3:latest", "Library/LLAMA3", "qwen3:8b", None):
        tallies.add(make_call(at=MINUTE, model=model))
    ((minute, found),) = tallies.minutes()
    assert minute == MINUTE + 0
    assert {name: tally.counts[0] for name, tally in found.items()} == {
        ALL: 5,
        "llama3:latest": 3,
        "qwen3:8b": 1,
    }


def test_times_are_those_of_calls_that_ran_a_model() -> None:
    tally = tally_of([make_call(path="/api/tags", model=None), make_call(path="/api/show")])
    assert (tally.counts[0], tally.times) == (2, [{}, {}, {}])


def test_gauges_are_means_over_the_time_that_they_are_known_for() -> None:
    one, other = Gauges(), Gauges()
    one.hold(Levels(running=2, queued=1, host_cpu_percent=50.0), 10)
    other.hold(Levels(running=0, queued=0), 30)
    one.merge(other)
    running, queued, cpu, memory = (one.mean(place) for place in range(4))
    assert (running, queued, cpu, memory) == (0.5, 0.25, 50.0, None)
    assert one.most == [2, 1]


def test_an_idle_minute_takes_under_seventy_bytes_and_no_memory_is_too_large() -> None:
    idle = Gauges()
    for _ in range(6):
        idle.hold(Levels(0, 0, host_cpu_percent=3.7, host_memory_bytes=24 * 10**9), 10.001)
    assert len(Tally(gauges=idle).to_bytes()) < 70
    huge = Gauges()
    for _ in range(3600):
        huge.hold(Levels(1, 0, host_memory_bytes=2**47), 1)
    again = Tally.from_bytes(Tally(gauges=huge).to_bytes()).gauges
    assert again is not None and again.mean(3) == 2**47


def test_what_is_no_tally_says_so() -> None:
    with pytest.raises(msgspec.MsgspecError):
        Tally.from_bytes(b"\x81")


def test_the_time_of_a_made_up_call_is_read() -> None:
    assert ended_in(make_call(started_at=iso(MINUTE + 1), duration=0.5)) == MINUTE
