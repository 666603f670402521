"""Why a call took longer than such calls usually do."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.exchange import Call
from ollama_proxy.insights.slow import LEAST, REFRESH, Slow, Usual
from tests.storage.calls import make_call

USUAL: dict[str, Any] = {
    "model": "m",
    "input_tokens": 100,
    "output_tokens": 50,
    "duration": 2.0,
    "queue": 0.0,
    "load": 0.002,
    "prefill": 0.5,
    "decode": 1.5,
    "time_to_first_token": 0.5,
}


def call(**fields: Any) -> Call:
    return make_call(**USUAL | {"resources": None} | fields)


def learnt(count: int = LEAST, gpu: float | None = None, **fields: Any) -> Usual:
    usual = Usual()
    for _ in range(count):
        assert usual.ended("m", call(**fields), gpu=gpu, slots=1) is None
    return usual


def judged(usual: Usual, slots: int = 1, gpu: float | None = None, **fields: Any) -> Slow | None:
    return usual.ended("m", call(**fields), gpu=gpu, slots=slots)


def causes(found: Slow | None) -> list[tuple[str, float, str | None]]:
    assert found is not None
    return [(one.what, round(one.seconds, 3), one.reason) for one in found.because]


def test_nothing_is_slow_before_there_is_a_usual() -> None:
    usual = learnt(LEAST - 1)
    assert judged(usual, duration=60.0) is None


def test_a_call_that_waited_is_slow_because_of_the_queue() -> None:
    found = judged(learnt(), duration=14.0, queue=12.0)
    assert found is not None
    assert (found.usual, found.calls, found.seconds) == (2.0, LEAST, 12.0)
    assert causes(found) == [("queue", 12.0, None)]


def test_a_longer_answer_and_a_slower_one_are_told_apart() -> None:
    assert causes(judged(learnt(), duration=8.0, output_tokens=250, decode=7.5)) == [
        ("tokens", 6.0, None)
    ]
    assert causes(judged(learnt(), duration=8.0, decode=7.5)) == [("decode", 6.0, None)]
    both = judged(learnt(), duration=10.5, output_tokens=150, decode=10.0)
    assert causes(both) == [("decode", 5.5, None), ("tokens", 3.0, None)]


def test_several_causes_come_in_their_order() -> None:
    found = judged(learnt(), duration=12.0, queue=3.0, load=4.002, prefill=3.5)
    assert causes(found) == [("load", 4.0, None), ("queue", 3.0, None), ("prefill", 3.0, None)]


@pytest.mark.parametrize(
    "fields",
    [{"duration": 3.9, "queue": 1.9}, {"duration": 60.0, "state": "failed"}],
    ids=["less than twice the usual", "not completed"],
)
def test_what_is_not_called_slow(fields: dict[str, Any]) -> None:
    assert judged(learnt(), **fields) is None


def test_less_than_a_second_more_is_not_slow() -> None:
    short: dict[str, Any] = {"duration": 0.2, "prefill": 0.1, "decode": 0.1}
    assert judged(learnt(**short), **short | {"duration": 1.1, "queue": 0.9}) is None


def test_prompts_of_other_lengths_have_a_usual_of_their_own() -> None:
    assert judged(learnt(), input_tokens=5000, duration=30.0, prefill=28.0) is None


def test_less_of_the_model_on_the_gpu_is_named() -> None:
    usual = learnt(gpu=1.0)
    assert causes(judged(usual, gpu=0.4, duration=8.0, decode=7.5)) == [("decode", 6.0, "cpu")]


@pytest.mark.parametrize(("gpu", "named"), [(0.91, None), (0.89, "cpu")])
def test_a_little_less_on_the_gpu_is_not_named(gpu: float, named: str | None) -> None:
    assert causes(judged(learnt(gpu=1.0), gpu=gpu, duration=8.0, decode=7.5))[0][2] == named


@pytest.mark.parametrize(("cores", "named"), [(0.45, None), (0.55, "others")])
def test_less_than_half_a_core_more_is_not_named(cores: float, named: str | None) -> None:
    loud = {"others_cpu_seconds": cores * 8.0}
    quiet = {"others_cpu_seconds": 0.0}
    found = judged(learnt(resources=quiet), duration=8.0, decode=7.5, resources=loud)
    assert causes(found)[0][2] == named


@pytest.mark.parametrize(("more", "told"), [(0.5, ["queue"]), (1.0, ["queue", "load"])])
def test_what_explains_less_than_a_tenth_is_not_told(more: float, told: list[str]) -> None:
    found = judged(learnt(), duration=11.0, queue=8.0, load=more)
    assert [what for what, _, _ in causes(found)] == told


def test_the_usual_is_worked_out_again_after_some_calls() -> None:
    usual = learnt()
    assert judged(usual, duration=14.0, queue=12.0) is not None
    for number in range(REFRESH):
        found = judged(usual, duration=100.0, queue=98.0)
        assert found is not None
        calls = LEAST if number < REFRESH - 1 else LEAST + REFRESH
        assert (found.calls, found.usual) == (calls, 2.0)


def test_other_programs_are_named_where_they_used_more_than_usual() -> None:
    quiet, loud = {"others_cpu_seconds": 0.2}, {"others_cpu_seconds": 12.0}
    found = judged(learnt(resources=quiet), duration=8.0, decode=7.5, resources=loud)
    assert causes(found) == [("decode", 6.0, "others")]
    always = {"others_cpu_seconds": 3.0}
    assert causes(judged(learnt(resources=always), duration=8.0, decode=7.5, resources=loud)) == [
        ("decode", 6.0, None)
    ]


def test_more_calls_at_once_are_named_where_the_model_serves_several() -> None:
    alone, beside = {"shared_with": 0}, {"shared_with": 3}
    slower: dict[str, Any] = {"duration": 8.0, "decode": 7.5, "resources": beside}
    assert causes(judged(learnt(resources=alone), slots=4, **slower)) == [
        ("decode", 6.0, "together")
    ]
    assert causes(judged(learnt(resources=alone), slots=1, **slower)) == [("decode", 6.0, None)]


def test_a_prompt_that_usually_comes_from_the_cache_is_named() -> None:
    usual = learnt(prefill_cached=True)
    found = judged(usual, duration=8.0, prefill=6.5, prefill_cached=False)
    assert causes(found) == [("prefill", 6.0, "not_cached")]


def test_without_ollamas_phases_the_first_token_is_told() -> None:
    bare: dict[str, Any] = {"queue": None, "load": None, "prefill": None, "decode": None}
    found = judged(learnt(**bare), **bare | {"duration": 9.0, "time_to_first_token": 7.5})
    assert causes(found) == [("first_token", 7.0, None)]


def test_a_longer_prompt_read_as_quickly_is_not_slower_reading() -> None:
    usual = learnt(input_tokens=150, prefill=0.75, duration=1.0, decode=0.25)
    found = judged(usual, input_tokens=500, prefill=2.5, duration=2.75, decode=0.25)
    assert causes(found) == [("prompt", 1.75, None)]


def test_of_calls_whose_length_is_not_known_nothing_is_said() -> None:
    assert judged(learnt(input_tokens=None), input_tokens=None, duration=60.0) is None


def test_slow_calls_become_usual_where_they_are_many() -> None:
    usual = learnt()
    told = [judged(usual, duration=14.0, queue=12.0) for _ in range(40)]
    assert told[0] is not None and told[-1] is None
