"""Prompts that are the same but for something at their start."""

from __future__ import annotations

import random

from ollama_proxy.insights.prompt_start import MAX_CALLERS, REMEMBERED, Moved, PromptStarts
from ollama_proxy.sketch import BLOCK, MOST_BLOCKS, Sketch, sketch

LONG = " ".join(str(random.Random(4).random()) for _ in range(400))


def of(*texts: str) -> Sketch:
    return sketch(
        [("system" if number == 0 else "user", t) for number, t in enumerate(texts)], True
    )


def told(*prompts: Sketch) -> list[Moved | None]:
    starts = PromptStarts()
    return [starts.ended("m", "a.py", prompt) for prompt in prompts]


def test_a_time_at_the_start_has_the_rest_read_anew() -> None:
    prompts = [of(f"You are kind. It is 14:0{minute}.", LONG) for minute in range(3)]
    first, second, third = told(*prompts)
    assert first is None
    assert second is not None and third is not None
    assert (second.at, third.at) == (0, 0) and second.share > 0.95


def test_the_place_is_told_to_a_block() -> None:
    prompts = [of(LONG[:1000] + f" at 14:0{minute} " + LONG[1000:]) for minute in range(2)]
    [_, moved] = told(*prompts)
    assert moved is not None
    assert 1000 - BLOCK < moved.at <= 1008
    assert 0.8 < moved.share < 0.9


def test_a_prompt_that_goes_on_is_read_from_the_cache() -> None:
    assert told(of(LONG), of(LONG, "and then?"), of(LONG)) == [None] * 3


def test_a_time_at_the_end_costs_nothing() -> None:
    assert told(*(of(LONG, f"It is 14:0{minute}.") for minute in range(3))) == [None] * 3


def test_other_prompts_have_nothing_in_common() -> None:
    assert told(of(LONG), of(LONG[::-1]), of(LONG[500:] + LONG[:500])) == [None] * 3


def test_two_prompts_in_turn_are_each_in_the_cache() -> None:
    one, other = of("A" + LONG), of("B" + LONG)
    assert told(one, other, one, other)[2:] == [None, None]


def test_what_is_short_is_not_compared() -> None:
    assert told(of("It is 14:01.", LONG[:900]), of("It is 14:02.", LONG[:900])) == [None, None]


def test_a_long_prompt_has_longer_blocks_and_no_more_of_them() -> None:
    prompt = of(LONG * 40)
    assert len(prompt.blocks) // 8 <= MOST_BLOCKS and prompt.block > BLOCK
    [_, moved] = told(of("It is 14:01." + LONG * 40), of("It is 14:02." + LONG * 40))
    assert moved is not None and moved.at == 0


def test_it_remembers_no_more_than_it_may() -> None:
    starts = PromptStarts()
    for number in range(MAX_CALLERS + 10):
        for _ in range(REMEMBERED + 2):
            starts.ended("m", str(number), of(LONG))
    assert len(starts._last) == MAX_CALLERS
    assert max(map(len, starts._last.values())) == REMEMBERED
