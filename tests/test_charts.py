"""Which steps a chart gets, and what is told of each."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.charts import MOST_POINTS, POINTS, Asked, TooFine, columns, spelt
from ollama_proxy.series import DAY, HOUR, MINUTE, Gauges, Levels, Tally
from tests.storage.calls import NOON, make_call

NOW = float(int(NOON) // DAY * DAY + 5 * HOUR + 90)


@pytest.mark.parametrize(
    ("span", "step"),
    [
        (15 * MINUTE, MINUTE),
        (HOUR, MINUTE),
        (6 * HOUR, MINUTE),
        (DAY, 5 * MINUTE),
        (47 * HOUR, 15 * MINUTE),
        (3 * DAY, HOUR),
        (7 * DAY, HOUR),
        (30 * DAY, 6 * HOUR),
        (90 * DAY, 6 * HOUR),
        (3650 * DAY, DAY),
    ],
)
def test_the_step_fits_the_span(span: int, step: int) -> None:
    asked = Asked.spanning(NOW - span, NOW, NOW)
    assert asked.step == step
    assert span > 365 * DAY or span / step <= POINTS
    assert asked.since <= NOW - span and asked.until >= NOW
    assert asked.since % step == asked.until % step == 0
    assert asked.until - asked.since <= span + 2 * step


def test_what_is_older_than_the_minutes_has_hours() -> None:
    assert Asked.spanning(NOW - 5 * DAY, NOW - 5 * DAY + HOUR, NOW).step == HOUR
    with pytest.raises(TooFine, match="kept by the hour: ask for 1h or more"):
        Asked.spanning(NOW - 3 * DAY, NOW, NOW, 5 * MINUTE)
    assert Asked.spanning(NOW - 3 * DAY, NOW, NOW, HOUR).step == HOUR


def test_a_step_may_be_asked_for_within_bounds() -> None:
    assert Asked.spanning(NOW - DAY, NOW, NOW, MINUTE).step == MINUTE
    with pytest.raises(TooFine, match=f"more than {MOST_POINTS} steps: ask for 5m or more"):
        Asked.spanning(NOW - 26 * HOUR, NOW, NOW, MINUTE)
    with pytest.raises(TooFine, match="ask for 6h or more"):
        Asked.spanning(NOW - 90 * DAY, NOW, NOW, HOUR)
    with pytest.raises(TooFine, match="ask for a shorter span"):
        Asked.spanning(0, NOW, NOW, DAY)


def test_steps_are_spelt_as_one_asks_for_them() -> None:
    assert [spelt(step) for step in (60, 300, 3600, 21600, 86400)] == ["1m", "5m", "1h", "6h", "1d"]


def tally(calls: int, **fields: Any) -> Tally:
    made = Tally()
    for _ in range(calls):
        made.add(make_call(duration=2.0, **fields))
    return made


@pytest.mark.parametrize(("calls", "known"), [(4, 0), (5, 1), (19, 1), (20, 2), (99, 2), (100, 3)])
def test_of_few_calls_there_is_no_percentile(calls: int, known: int) -> None:
    asked = Asked.spanning(NOW - HOUR, NOW, NOW)
    told = columns(asked, {asked.since: tally(calls)})["duration"]
    assert told["n"] == [calls]
    found = [told[name][0] for name in ("p50", "p95", "p99")]
    assert [value is not None for value in found] == [place < known for place in range(3)]
    assert all(value == pytest.approx(2.0, rel=0.031) for value in found[:known])


def test_columns_are_as_long_as_there_are_steps_and_what_is_unknown_is_null() -> None:
    asked = Asked.spanning(NOW - HOUR, NOW, NOW)
    late, early = asked.until - 60, asked.since
    told = columns(asked, {late: tally(1, state="failed"), early: tally(2, output_tokens=7)})
    assert told["at"] == [early, late]
    assert told["n"] == [2, 1]
    assert told["calls"]["completed"] == [2, 0]
    assert told["calls"]["failed"] == [0, 1]
    assert told["output_tokens"] == [14, None]
    assert told["input_tokens"] == [None, None]
    assert told["queue"] == {"mean": [None, None], "max": [None, None]}
    assert told["cpu"]["host_percent"] == told["gpu"]["watts"] == [None, None]


def test_where_no_call_ran_a_model_there_were_no_tokens() -> None:
    asked = Asked.spanning(NOW - HOUR, NOW, NOW)
    told = columns(asked, {asked.since: tally(3, path="/api/tags", model=None)})
    assert (told["n"], told["output_tokens"], told["duration"]["n"]) == ([3], [0], [0])


def test_the_last_step_is_marked_while_it_is_not_over() -> None:
    asked = Asked.spanning(NOW - HOUR, NOW, NOW)
    assert columns(asked, {asked.until - 60: Tally()})["unfinished"] is True
    assert columns(asked, {asked.until - 120: Tally()})["unfinished"] is False
    assert columns(asked, {})["unfinished"] is False


def test_gauges_that_are_not_stored_yet_are_told_too() -> None:
    minute = int(NOW) // 60 * 60
    gauges = Gauges()
    gauges.hold(Levels(running=3, queued=1, gpu_watts=250.0), 20)
    unsaved = [(minute, gauges), (minute - DAY, gauges)]
    asked = Asked(since=minute - 60, until=minute + 60, step=60, now=NOW, unsaved=unsaved)
    told = columns(asked, {})
    assert told["at"] == [minute]
    assert (told["running"], told["queue"]) == (
        {"mean": [3], "max": [3]},
        {"mean": [1], "max": [1]},
    )
    assert (told["n"], told["gpu"]["watts"], told["gpu"]["percent"]) == ([0], [250.0], [None])
