"""Histograms keep their stated error and merge exactly; totals count what is known, and no more."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy import stats
from ollama_proxy.exchange import Call, State, ran_model
from ollama_proxy.stats import OTHER, RELATIVE_ERROR, Histogram, Statistics, Summary
from tests.storage.calls import make_call

values = st.floats(min_value=stats.SMALLEST, max_value=stats.LARGEST)
anything = st.floats(allow_nan=True, allow_infinity=True)


def histogram(*recorded: float) -> Histogram:
    made = Histogram()
    for value in recorded:
        made.record(value)
    return made


def statistics(*calls: Call) -> Statistics:
    made = Statistics()
    for call in calls:
        made.add(call)
    return made


@given(st.lists(values, min_size=1), st.floats(min_value=0, max_value=1))
def test_a_percentile_is_within_the_stated_error(recorded: list[float], q: float) -> None:
    true = sorted(recorded)[max(1, math.ceil(q * len(recorded))) - 1]
    (told,) = histogram(*recorded).percentiles(q)
    assert told == pytest.approx(true, rel=RELATIVE_ERROR + 1e-9)


@given(st.lists(anything))
def test_percentiles_at_once_are_those_one_at_a_time(recorded: list[float]) -> None:
    made = histogram(*recorded)
    shares = (0.0, 0.5, 0.5, 0.99, 1.0)
    assert made.percentiles(*shares) == [made.percentiles(q)[0] for q in shares]


@given(st.lists(anything), st.lists(anything))
def test_merging_is_the_same_as_recording_all(left: list[float], right: list[float]) -> None:
    merged, whole = histogram(*left), histogram(*left, *right)
    merged.merge(histogram(*right))
    assert merged.sum == pytest.approx(whole.sum)
    merged.sum = whole.sum
    assert merged == whole


@given(st.lists(anything))
def test_a_histogram_survives_being_written_down(recorded: list[float]) -> None:
    made = histogram(*recorded)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Histogram) == made


def test_count_mean_and_maximum_are_exact() -> None:
    view = histogram(1.0, 2.0, 6.0).view()
    assert (view["count"], view["mean"], view["max"]) == (3, 3.0, 6.0)


def test_equal_values_give_exactly_that_value() -> None:
    assert histogram(0.25, 0.25).percentiles(0, 0.5, 1) == [0.25] * 3


def test_of_nothing_all_is_unknown() -> None:
    view = Histogram().view()
    assert view.pop("count") == 0
    assert set(view.values()) == {None}


def test_a_histogram_is_bounded() -> None:
    made = histogram(*(1.003**power for power in range(-20_000, 20_000)))
    assert made.count == 40_000
    assert len(made.buckets) < 1200


def test_nan_and_infinity_are_left_out_and_negative_is_zero() -> None:
    made = histogram(math.nan, math.inf, -1.0)
    assert (made.count, made.sum, made.percentiles(1)) == (1, 0.0, [0.0])


def test_states_are_counted_one_by_one() -> None:
    finished = [state for state in State if state is not State.RUNNING]
    view = statistics(*(make_call(state=state.value) for state in finished)).all.view()
    assert view["requests"] == 5
    assert [view[state] for state in finished] == [1] * 5


def test_a_running_call_is_not_counted() -> None:
    assert statistics(make_call(state="running")) == Statistics()


def test_success_rate_leaves_out_calls_that_the_client_or_a_stop_ended() -> None:
    states = ["completed"] * 3 + ["failed", "cancelled", "cancelled", "interrupted"]
    assert statistics(*(make_call(state=state) for state in states)).all.success_rate == 75.0
    assert statistics(make_call(state="cancelled")).all.success_rate is None


def test_times_are_those_of_calls_that_completed() -> None:
    """Calls that are refused while Ollama is down, or given up, do not change what is usual."""
    good = make_call(duration=4.0, time_to_first_token=1.0, tokens_per_second=40.0, client="a.py")
    times = {"duration": 0.003, "time_to_first_token": 0.002, "tokens_per_second": 1.0}
    states = [state.value for state in State if state not in (State.RUNNING, State.COMPLETED)]
    counted = statistics(
        good, *(make_call(state=state, client="a.py", **times) for state in states)
    )
    for one in (counted.all, counted.models["llama3:8b"], counted.clients["a.py"]):
        view = one.view()
        assert view["requests"] == 5
        for name, value in (("duration", 4.0), ("time_to_first_token", 1.0)):
            assert (view[name]["count"], view[name]["p50"]) == (1, value)
        assert view["tokens_per_second"]["p50"] == 40.0


def test_sums_and_times_of_a_model() -> None:
    call = make_call(
        duration=4.0,
        time_to_first_token=1.0,
        queue=0.5,
        load=0.25,
        prefill=1.0,
        decode=2.0,
        input_tokens=30,
        output_tokens=12,
        tokens_per_second=6.0,
    )
    view = statistics(call, call).models["llama3:8b"].view()
    assert (view["input_tokens"], view["output_tokens"], view["total_tokens"]) == (60, 24, 84)
    assert [view[f"{phase}_seconds"] for phase in ("queue", "load", "prefill", "decode")] == [
        1.0,
        0.5,
        2.0,
        4.0,
    ]
    assert view["duration"]["p99"] == 4.0
    assert view["time_to_first_token"]["mean"] == 1.0
    assert view["tokens_per_second"]["max"] == 6.0


def test_what_a_call_does_not_know_is_not_recorded_as_zero() -> None:
    unknown = make_call(duration=None, state="interrupted")
    summary = statistics(unknown, make_call(duration=2.0)).models["llama3:8b"]
    assert (summary.requests, summary.duration.count, summary.duration.mean) == (2, 1, 2.0)
    assert summary.tokens_per_second.count == summary.time_to_first_token.count == 0


def test_polling_calls_do_not_drown_the_times_of_all() -> None:
    polling = make_call(model=None, method="GET", path="/api/tags", duration=0.001)
    made = statistics(polling, polling, make_call(duration=2.0))
    assert (made.all.requests, made.all.duration.count, made.all.duration.mean) == (3, 1, 2.0)
    assert made.avg_response_time == 2.0


def test_calls_that_only_name_a_model_have_no_part_in_its_times() -> None:
    paths = ("/api/show", "/api/create", "/api/pull", "/api/copy", "/api/delete")
    managing = [make_call(path=path, duration=0.001) for path in paths]
    made = statistics(*managing, make_call(duration=2.0))
    for summary in (made.all, made.models["llama3:8b"]):
        assert (summary.requests, summary.duration.count, summary.duration.mean) == (6, 1, 2.0)
    assert made.avg_response_time == 2.0


@pytest.mark.parametrize(
    ("path", "ran"),
    [
        ("/api/chat", True),
        ("/api/embed", True),
        ("/v1/messages", True),
        ("/ollama/v1/audio/transcriptions", True),
        ("/api/show", False),
        ("/api/chat/", False),
        ("/v1/models", False),
        ("", False),
    ],
)
def test_which_paths_run_a_model(path: str, ran: bool) -> None:
    assert ran_model(path) is ran


def test_average_response_time_is_of_completed_calls_and_zero_without_one() -> None:
    assert statistics(make_call(state="failed", duration=9.0)).avg_response_time == 0
    calls = [make_call(duration=1.0), make_call(duration=3.0)]
    assert statistics(*calls, make_call(state="timeout", duration=9.0)).avg_response_time == 2.0


def test_last_used_is_the_latest_start_whatever_the_order() -> None:
    first, second = make_call(), make_call()
    assert statistics(second, first).all.last_used == second.started_at
    assert Summary().view()["last_used"] is None


def test_first_used_is_the_earliest_start_and_not_known_of_what_was_counted_without_it() -> None:
    first, second, third = make_call(), make_call(), make_call()
    assert statistics(second, first).all.first_used == first.started_at
    both = statistics(third)
    both.merge(statistics(second, first))
    assert both.all.first_used == first.started_at
    old = msgspec.msgpack.decode(statistics(first).all.to_bytes())
    del old["first_used"]
    summary = Summary.from_bytes(msgspec.msgpack.encode(old))
    summary.merge(statistics(second).all)
    summary.add(third)
    assert (summary.requests, summary.first_used) == (3, None)


@given(st.lists(st.tuples(st.sampled_from(State), st.sampled_from("ab"), values)), st.integers(0))
def test_merged_statistics_equal_one_that_saw_all(
    drawn: list[tuple[State, str, float]], cut: int
) -> None:
    calls = [make_call(state=s.value, model=m, duration=round(d)) for s, m, d in drawn]
    cut %= len(calls) + 1
    merged = statistics(*calls[:cut])
    merged.merge(statistics(*calls[cut:]))
    assert merged == statistics(*calls)
    assert Summary.from_bytes(merged.all.to_bytes()) == merged.all


def test_merge_names_the_models_that_it_changed() -> None:
    made = statistics(make_call(model="a", client="x"), make_call(model="b", client="y"))
    other = statistics(make_call(model="b", client="y"), make_call(model="c"))
    assert made.merge(other) == ({"b", "c"}, {"y"})


def test_a_cold_start_is_a_load_of_a_tenth_of_a_second() -> None:
    loads = (None, 0.0, 0.038, 0.1, 2.5)
    made = statistics(
        *(make_call(load=load) for load in loads), make_call(path="/api/tags", load=9)
    )
    assert made.all.cold_starts == 2


def test_clients_are_counted_as_models_are() -> None:
    made = statistics(
        make_call(client="a.py", duration=1.0),
        make_call(client="b.py", duration=2.0, output_tokens=5),
        make_call(client="b.py", state="failed"),
        make_call(client=None),
    )
    assert made.clients["a.py"].requests == 1
    assert (made.clients["b.py"].requests, made.clients["b.py"].output_tokens) == (2, 5)
    assert made.clients.keys() == {"a.py", "b.py"}


def test_made_up_models_are_bounded_and_leave_room_for_real_ones() -> None:
    made = Statistics()
    for number in range(10_000):
        made.add(make_call(model=f"made-up-{number}", state="failed"))
    assert len(made.models) <= stats.MAX_KEYS // 2 + 1
    made.add(make_call(model="real"))
    assert made.models["real"].requests == 1
    assert sum(summary.requests for summary in made.models.values()) == made.all.requests


def test_beyond_the_limit_models_count_as_other() -> None:
    made = Statistics()
    for number in range(stats.MAX_KEYS + 7):
        made.add(make_call(model=f"model-{number}"))
    made.merge(statistics(make_call(model="one more")))
    assert len(made.models) == stats.MAX_KEYS + 1
    assert made.models[OTHER].requests == 8


def test_a_name_longer_than_any_of_ollamas_counts_as_other() -> None:
    assert set(statistics(make_call(model="x" * 60_000)).models) == {OTHER}


def test_nonsense_counts_do_not_spoil_the_totals() -> None:
    made = statistics(make_call(output_tokens=10**30, input_tokens=-5, queue=math.nan))
    assert made.all.view()["total_tokens"] == 0
    assert made.all.queue_seconds == 0
    assert Summary.from_bytes(made.all.to_bytes()) == made.all
