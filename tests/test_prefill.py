"""Whether a prompt was cached: said only of models that were seen cold, and of comparable calls."""

from __future__ import annotations

import pytest

from ollama_proxy.prefill import MAX_MODELS, Prefills

MILLISECONDS = 0.0025  # each token of a cold prompt: SmolLM2 on two cores


def cold(tokens: int, fixed: float = 0.02) -> float:
    return fixed + tokens * MILLISECONDS


def learnt(*lengths: int) -> Prefills:
    """Prefills that saw one load, and then as many cold calls."""
    prefills = Prefills()
    for number, tokens in enumerate(lengths):
        prefills.judge("m", tokens, cold(tokens), loaded=number == 0)
    return prefills


def judged(prefills: Prefills, tokens: int, seconds: float) -> bool | None:
    return prefills.judge("m", tokens, seconds, loaded=False)


def test_a_model_that_was_never_seen_loading_is_not_judged() -> None:
    prefills = Prefills()
    assert {judged(prefills, 1000, seconds) for seconds in [2.5, 2.5, 2.5, 2.5, 0.1]} == {None}


def test_nothing_is_said_before_three_cold_calls() -> None:
    assert judged(learnt(1000, 1000), 1000, 0.05) is None
    assert judged(learnt(1000, 1000, 1000), 1000, 0.05) is True


def test_a_call_that_loaded_the_model_found_an_empty_cache() -> None:
    assert Prefills().judge("m", 1000, 2.5, loaded=True) is False


def test_after_another_calls_load_a_fast_prefill_is_not_said_to_be_cold() -> None:
    assert learnt(1000, 1000, 1000).judge("m", 1000, 0.05, loaded=True) is None


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_little_or_nothing_cached_is_not_cached(share: float) -> None:
    assert judged(learnt(900, 1000, 1200), 1100, cold(int(1100 * (1 - share)))) is False


@pytest.mark.parametrize("share", [0.75, 0.95, 1.0])
def test_most_of_it_cached_is_cached(share: float) -> None:
    assert judged(learnt(900, 1000, 1200), 1100, cold(int(1100 * (1 - share)))) is True


def test_of_a_much_longer_prompt_only_what_is_sure_is_said() -> None:
    prefills = learnt(900, 1000, 1200)
    assert judged(prefills, 8000, cold(100)) is True  # less than a prompt of 1000 takes
    assert judged(prefills, 8000, cold(2000)) is None  # cached, or is most of 1000's time fixed?
    assert judged(prefills, 8000, cold(8000)) is False


def test_a_fixed_cost_of_every_prefill_is_not_taken_for_a_cache() -> None:
    """On a GPU 20 ms, whatever the length, and 0.1 ms a token."""
    prefills = Prefills()
    for number in range(3):
        prefills.judge("m", 120, 0.032, loaded=number == 0)
    assert judged(prefills, 2000, 0.22) is None
    assert judged(prefills, 240, 0.044) is not True


def test_cached_calls_are_not_learnt_from() -> None:
    prefills = learnt(1000, 1000, 1000)
    assert {judged(prefills, 1000, 0.05) for _ in range(100)} == {True}


def test_a_model_that_became_faster_is_learnt_anew_from_its_loads() -> None:
    prefills = learnt(*[1000] * 24)
    for _ in range(24):
        prefills.judge("m", 1000, 0.1, loaded=True)
    assert judged(prefills, 1000, 0.1) is False


def test_short_prompts_and_times_of_nothing_are_not_judged() -> None:
    prefills = learnt(1000, 1000, 1000)
    assert judged(prefills, 99, 0.0001) is None
    assert judged(prefills, 1000, 0.0) is None


def test_models_are_bounded() -> None:
    prefills = Prefills()
    for number in range(MAX_MODELS + 10):
        prefills.judge(f"m{number}", 1000, 2.5, loaded=True)
    assert len(prefills._cold) == MAX_MODELS
