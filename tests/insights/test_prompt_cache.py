"""How much of a prompt came from the cache, by the seconds of its prefill."""

from __future__ import annotations

import random

import pytest

from ollama_proxy.insights.prompt_cache import (
    ENOUGH,
    RECENT,
    Cached,
    Fit,
    PromptCaches,
    fitted,
    shared,
)
from ollama_proxy.insights.prompt_cache import _Sample as Sample
from ollama_proxy.sketch import Sketch, sketch

TRUE = Fit(0.02, 0.002, 1e-6, 0.0)


def words(seed: int, characters: int) -> str:
    drawn = random.Random(seed)
    return "".join(drawn.choice("abcdefghij klmnop") for _ in range(characters))


def drawn_of(*texts: str) -> Sketch:
    return sketch([("user", text) for text in texts], True)


class Calls:
    """Calls of a model that takes what `TRUE` says, give or take a twentieth."""

    def __init__(self) -> None:
        self.caches = PromptCaches()
        self.random = random.Random(7)

    def call(self, text: str, cached: float, *, loaded: bool = False) -> Cached | None:
        tokens = len(text) // 4
        new = tokens * (1 - cached)
        seconds = TRUE.seconds(new, tokens - new) * self.random.uniform(0.95, 1.05)
        return self.caches.ended("m", drawn_of(text), tokens, seconds, loaded=loaded, on_gpu=False)

    def learn(self, count: int = ENOUGH + 1) -> None:
        for number in range(count):
            self.call(words(number, self.random.randrange(400, 16_000)), 0.0)


def test_nothing_is_told_before_enough_calls_were_seen() -> None:
    calls = Calls()
    calls.learn(ENOUGH - 1)
    assert calls.call(words(1000, 4000), 0.0) is None


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 0.95])
@pytest.mark.parametrize("characters", [2000, 6000, 15_000])
def test_the_share_is_told(share: float, characters: int) -> None:
    calls = Calls()
    calls.learn()
    found = calls.call(words(1000, characters), share)
    assert found is not None
    assert found.share == pytest.approx(share, abs=0.08)
    assert found.tokens == pytest.approx(characters // 4 * share, abs=0.08 * characters / 4)


def test_a_beginning_that_was_there_before_is_taken_into_account_when_learning() -> None:
    """A system prompt that all calls share is always cached: without knowing that the share of
    what is new would be told too small."""
    calls = Calls()
    system = words(999, 8000)
    for number in range(ENOUGH + 1):
        text = system + words(number, calls.random.randrange(500, 8000))
        calls.call(text, 8000 / len(text) if number else 0.0)
    found = calls.call(words(1000, 12_000), 0.0)
    assert found is not None and found.share < 0.1


def test_what_the_cache_held_though_nobody_saw_it_is_left_out_of_the_fit() -> None:
    samples = [Sample(n, 0.0, TRUE.seconds(n, 0.0)) for n in range(100, 3000, 100)]
    odd = [Sample(n, 0.0, 0.1 * TRUE.seconds(n, 0.0)) for n in range(150, 3000, 700)]
    fit = fitted([*samples, *odd])
    assert fit is not None
    assert fit.seconds(2000, 0) == pytest.approx(TRUE.seconds(2000, 0), rel=0.02)


def test_a_short_prompt_whose_time_says_nothing_gets_no_share() -> None:
    calls = Calls()
    calls.learn()
    assert calls.call(words(1000, 120), 0.0) is None


def test_a_load_empties_the_cache() -> None:
    calls = Calls()
    text = words(1, 4000)
    calls.call(text, 0.0)
    known = calls.caches._models["m"]
    calls.call(text, 0.0, loaded=True)
    assert [round(one.cached) for one in known.samples] == [0, 0]


def test_a_load_by_a_short_prompt_empties_it_too() -> None:
    calls = Calls()
    text = words(1, 4000)
    calls.call(text, 0.0)
    calls.call("hello", 0.0, loaded=True)
    calls.call(text, 0.0)
    assert [round(one.cached) for one in calls.caches._models["m"].samples] == [0, 0]


def test_on_a_gpu_and_where_the_times_scatter_less_is_told() -> None:
    calls = Calls()
    calls.learn()
    sketched = drawn_of(words(1000, 2000))
    told = [
        calls.caches.ended("m", sketched, tokens, 1.0, loaded=False, on_gpu=on_gpu) is not None
        for tokens, on_gpu in ((499, False), (499, True), (500, True))
    ]
    assert told == [True, False, True]
    # Reading all of it takes four times what the fit is off by, then eight times.
    fit = calls.caches._models["m"].fit
    assert fit is not None
    calls.caches._models["m"].fit = fit._replace(error=(fit.seconds(500, 0) - fit.a) / 4)
    assert calls.call(words(1001, 2000), 0.0) is None
    assert calls.call(words(1002, 4000), 0.0) is not None


def test_which_share_another_prompt_began_with() -> None:
    long = words(1, 8000)
    other = drawn_of(long[:4000] + words(2, 4000))
    assert shared(drawn_of(long), [other]) == pytest.approx(0.5, abs=0.02)
    assert shared(drawn_of(long), []) == 0.0
    assert shared(drawn_of("be brief", "hello"), [drawn_of("be brief", "bye")]) == pytest.approx(
        8 / 13
    )
    # Blocks of other lengths cannot be compared.
    assert shared(drawn_of(long), [drawn_of(words(3, 80_000))]) is None
    assert shared(sketch([("user", long)], False), [other]) is None


def test_few_prompts_are_remembered() -> None:
    calls = Calls()
    for number in range(RECENT + 5):
        calls.call(words(number, 500), 0.0)
    assert len(calls.caches._models["m"].recent) == RECENT


def test_of_prompts_of_one_length_nothing_is_told() -> None:
    calls = Calls()
    for number in range(40):
        assert calls.call(words(number, 800), 0.0) is None
