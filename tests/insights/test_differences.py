"""What is different about a model's calls, and that nothing is where there is nothing."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ollama_proxy.exchange import Call
from ollama_proxy.insights.differences import LEAST, Differences, differences, rank_sum
from tests.storage.calls import make_call


def calls(count: int, seed: int = 1, times: float = 1.0, **fields: Any) -> list[Call]:
    """Calls of all lengths whose prefill takes 2 ms a token, times `times`, more or less."""
    drawn = random.Random(seed)
    found = []
    for _ in range(count):
        tokens = drawn.randrange(20, 4000)
        prefill = 0.002 * tokens * times * drawn.uniform(0.8, 1.25)
        decode = drawn.uniform(1.0, 2.0)
        facts: dict[str, Any] = {
            "model": "m",
            "client": "a.py",
            "input_tokens": tokens,
            "output_tokens": drawn.randrange(40, 60),
            "queue": 0.0,
            "load": 0.002,
            "prefill": prefill,
            "decode": decode,
            "time_to_first_token": prefill,
            "time_per_output_token": decode / 50,
            "duration": prefill + decode,
            "options": {"num_ctx": 4096},
            "resources": {"others_cpu_seconds": 0.1 * decode},
        }
        found.append(make_call(**facts | fields))
    return found


def used(cores: float) -> dict[str, Any]:
    return {"duration": 1.0, "resources": {"others_cpu_seconds": cores}}


def told(found: Differences) -> dict[str, float | None]:
    return {one.what: one.times for one in found.differences}


def test_of_few_calls_nothing_is_told() -> None:
    found = differences(calls(LEAST - 1, times=9.0), calls(400, 2))
    assert (found.calls, found.usual_calls, found.enough) == (LEAST - 1, 400, False)
    assert (found.differences, found.traits) == ([], [])


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_different_where_nothing_is(seed: int) -> None:
    found = differences(calls(200, seed), calls(400, seed + 100))
    assert (found.enough, found.differences, found.traits) == (True, [], [])


def test_slower_reading_is_told_with_how_many_times_whatever_the_lengths() -> None:
    short = [call for call in calls(400, 3, times=2.4) if (call.input_tokens or 0) < 1200]
    found = differences(short, calls(400, 4))
    prefill = next(one for one in found.differences if one.what == "prefill")
    assert prefill.times == pytest.approx(2.4, rel=0.1)
    assert len(short) - 5 < prefill.calls <= len(short)  # of few of a length nothing is told
    assert "time_per_output_token" not in told(found)


def test_a_queue_where_there_was_none_has_no_times() -> None:
    found = differences(calls(40, 5, queue=3.0), calls(400, 6))
    [queue] = [one for one in found.differences if one.what == "queue"]
    assert (queue.usual, queue.now, queue.times, queue.unit) == (0.0, 3.0, None, "seconds")


def test_less_is_told_too() -> None:
    assert told(differences(calls(40, 7, output_tokens=10), calls(400, 8)))[
        "output_tokens"
    ] == pytest.approx(0.2, rel=0.1)


def test_other_programs_are_told_in_cores() -> None:
    found = differences(calls(40, 9, resources={"others_cpu_seconds": 30.0}), calls(400, 10))
    assert [one.unit for one in found.differences if one.what == "other_programs"] == ["cores"]


def test_what_the_calls_were_is_told_by_shares() -> None:
    found = differences(calls(30, 11, options={"num_ctx": 8192}, client="b.py"), calls(400, 12))
    traits = {(one.name, one.value): (one.usual, one.now) for one in found.traits}
    assert traits == {
        ("options.num_ctx", 8192): (0.0, 1.0),
        ("options.num_ctx", 4096): (1.0, 0.0),
        ("client", "b.py"): (0.0, 1.0),
        ("client", "a.py"): (1.0, 0.0),
    }


def test_failures_are_a_share_and_their_times_do_not_count() -> None:
    failed = calls(20, 13, state="failed", duration=0.01)
    found = differences(calls(20, 14) + failed, calls(400, 15))
    assert found.differences == []
    assert ("state", "failed", 0.0, 0.5) in [
        (one.name, one.value, one.usual, one.now) for one in found.traits
    ]


def test_the_rank_sum_of_an_example_by_hand() -> None:
    # U = 6 of 9 pairs; mean 4.5, variance 3 * 3 * 7 / 12.
    assert rank_sum(([2, 4, 6], [1, 3, 5])) == pytest.approx((6 - 4.5) / 5.25**0.5)
    assert rank_sum(([1, 1, 1], [1, 1])) == 0.0


def test_ties_are_taken_into_account() -> None:
    # Ranks 2, 2, 5 of [1, 1, 2]: U = 3, mean 4.5; variance 9 / 12 * (7 - 48 / 30).
    assert rank_sum(([1, 1, 2], [1, 2, 2])) == pytest.approx(-1.5 / 4.05**0.5)


def test_what_may_be_chance_is_not_told() -> None:
    """Answers short or long by a toss: one side's median is a hundred times the other's."""
    short, long = {"output_tokens": 10}, {"output_tokens": 1000}
    now = calls(9, 16, **short) + calls(11, 17, **long)
    before = calls(11, 18, **short) + calls(9, 19, **long)
    assert "output_tokens" not in told(differences(now, before))
    others = calls(5, 20, client="b.py") + calls(15, 21)
    assert [one.name for one in differences(others, calls(40, 22)).traits] == []


def test_a_mean_that_one_call_made_is_not_told_against_all_others() -> None:
    before = [*calls(99, 30), *calls(1, 31, load=30.0)]
    assert "load" not in told(differences(calls(60, 32, load=0.003), before))


@pytest.mark.parametrize(
    ("what", "before", "now", "told_of"),
    [
        ("output_tokens", {"output_tokens": 40}, {"output_tokens": 49}, False),
        ("output_tokens", {"output_tokens": 40}, {"output_tokens": 51}, True),
        ("queue", {"queue": 0.0}, {"queue": 0.09}, False),
        ("queue", {"queue": 0.0}, {"queue": 0.11}, True),
        ("other_programs", used(0.01), used(0.1), False),
        ("other_programs", used(0.01), used(0.12), True),
    ],
)
def test_what_does_not_matter_is_not_told(
    what: str, before: dict[str, Any], now: dict[str, Any], told_of: bool
) -> None:
    found = differences(calls(100, 40, **now), calls(100, 41, **before))
    assert (what in told(found)) == told_of


@pytest.mark.parametrize(("share", "told_of"), [(0.18, False), (0.22, True)])
def test_a_share_that_hardly_changed_is_not_told(share: float, told_of: bool) -> None:
    others = round(500 * share)
    now = calls(others, 42, client="b.py") + calls(500 - others, 43)
    assert bool(differences(now, calls(500, 44)).traits) == told_of


def test_what_is_not_known_and_what_is_too_long_are_no_traits() -> None:
    many = {f"option{number:03}": number for number in range(100)}
    some = calls(30, 44, streamed=False, prefill_cached=True, options=many)
    now = [*some, *calls(100, 45, streamed=None, options=many)]
    before = calls(40, 46, streamed=True, options={"stop": ["x" * 300]})
    traits = differences(now, before).traits
    names = [one.name for one in traits]
    assert "options.stop" not in names and "options.option099" not in names
    assert "options.option000" in names
    # Shares are of those calls of which it is known; and before it was not known of one.
    streamed = {(one.value, one.usual, one.now) for one in traits if one.name == "streamed"}
    assert streamed == {(True, 1, 0), (False, 0, 1)}
    assert "prefill_cached" not in names


@pytest.mark.parametrize("seed", range(5))
def test_few_calls_of_a_length_do_not_shift_the_many_now(seed: int) -> None:
    def some(count: int, tokens: int, seed: int) -> list[Call]:
        drawn = random.Random(seed)
        return [
            make_call(model="m", input_tokens=tokens, prefill=drawn.lognormvariate(0, 0.5))
            for _ in range(count)
        ]

    now = some(5, 100, seed) + some(200, 2000, seed + 50)
    before = some(200, 100, seed + 100) + some(5, 2000, seed + 150)
    assert "prefill" not in told(differences(now, before))
