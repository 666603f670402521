"""Whether a prompt was cut: each rule by itself, with the numbers of a real Ollama."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.insights.prompt_cut import (
    MAX_MODELS,
    REMEMBERED,
    Prompt,
    PromptCuts,
    Verdict,
    half_cut,
)
from ollama_proxy.sketch import sketch

WORDS = "The quick brown fox jumps over the lazy dog near the river bank. "
"""65 characters; at the start weights some 13 tokens."""


def said(*texts: str, system: str | None = None) -> list[tuple[str, str]]:
    """A conversation: the user's and the model's in turn."""
    roles = ("user", "assistant")
    first = [] if system is None else [("system", system)]
    return first + [(roles[index % 2], text) for index, text in enumerate(texts)]


def prompt(turns: list[tuple[str, str]], tokens: int, context: int | None, **more: Any) -> Prompt:
    plain = more.pop("plain", True)
    return Prompt(
        model="m:latest", sketch=sketch(turns, plain), tokens=tokens, context=context, **more
    )


def judge(turns: list[tuple[str, str]], tokens: int, context: int | None, **more: Any) -> Verdict:
    return PromptCuts().judge(prompt(turns, tokens, context, **more))


@pytest.mark.parametrize(
    ("context", "keep", "left"),
    [
        (256, 4, 130),
        (2048, 4, 1026),
        (4096, 0, 2048),
        (8192, 4, 4098),
        (256, 64, 160),
        (256, -1, 255),
    ],
)
def test_what_a_half_cut_leaves(context: int, keep: int, left: int) -> None:
    """Measured on a real server: 312 of 312 cuts left exactly so many."""
    assert half_cut(context, keep) == left


def test_the_context_that_an_answer_lists_tells_exactly() -> None:
    turns = said(WORDS * 400)
    assert judge(turns, 1026, 2048, output=20, listed=5046) == Verdict(True, "context", 4000)
    # It is tokenized by itself, and may be a little shorter than what was counted.
    assert judge(turns, 1026, 2048, output=20, listed=1044) == Verdict(False, "context")


def test_fewer_bytes_than_tokens_fit_is_never_cut() -> None:
    assert judge(said("hello"), 11, 2048) == Verdict(False, "bytes")
    # More tokens than bytes: there was something that the request does not show.
    assert judge(said("hello"), 700, 2048).rule != "bytes"


@pytest.mark.parametrize("path", ["one message", "with a system's"])
def test_half_of_the_context_of_a_far_longer_message_is_a_cut_prompt(path: str) -> None:
    turns = said(WORDS * 400, system=None if path == "one message" else "be kind")
    verdict = judge(turns, 1026, 2048)
    assert (verdict.cut, verdict.rule, verdict.estimated) == (True, "half", True)
    assert verdict.lost is not None and 3000 < verdict.lost < 6000
    assert judge(turns, 1027, 2048).cut  # a model that begins each prompt with a token of its own
    assert judge(turns, 1500, 2048) == Verdict(False, "half")


def test_a_message_that_happens_to_have_that_many_tokens_is_whole() -> None:
    assert judge(said(WORDS * 79), 1026, 2048) == Verdict(False, "half")


def test_the_oldest_messages_that_were_dropped_are_found_by_the_fit() -> None:
    texts = [WORDS * 30] * 9
    whole = judge(said(*texts), 9 * 400, 8192)
    assert whole.cut is False
    cuts = PromptCuts()
    for length in range(20, 40):  # each of their messages has 13 tokens a repetition and 5 around
        cuts.judge(prompt(said("So. " + WORDS * length), 13 * length + 8, 4096))
    verdict = cuts.judge(prompt(said(*texts), 4 * 395 + 2, 2048))
    assert (verdict.cut, verdict.rule, verdict.estimated) == (True, "messages", True)
    assert verdict.lost is not None and abs(verdict.lost - 5 * 395) < 200


def test_near_the_limit_nothing_is_said() -> None:
    assert judge(said(*[WORDS * 30] * 5), 1960, 2048).cut is None


def test_a_conversation_that_goes_on_with_fewer_tokens_was_cut() -> None:
    cuts = PromptCuts()
    first, answer = [WORDS * 40, "yes", WORDS * 40], "no"
    assert cuts.judge(prompt(said(*first), 1066, 2048, output=3)).cut is False
    longer = said(*first, answer, WORDS * 80)
    verdict = cuts.judge(prompt(longer, 1050, 2048, output=3))
    assert (verdict.cut, verdict.rule) == (True, "grown")
    # And so are those that go on from it.
    verdict = cuts.judge(prompt(longer + said("well"), 1060, 2048, output=3))
    assert (verdict.cut, verdict.rule) == (True, "grown")
    # In a larger context it may fit.
    assert cuts.judge(prompt(longer + said("well"), 2120, 4096, output=3)).cut is False


def test_a_known_conversation_needs_an_estimate_of_what_was_added_only() -> None:
    cuts = PromptCuts()
    first = said(WORDS * 40, "yes", WORDS * 60)
    cuts.judge(prompt(first, 1350, 2048, output=30))
    added = [*first, ("assistant", "so it is " * 5), ("user", WORDS * 20)]
    assert cuts.judge(prompt(added, 1660, 2048, output=5)) == Verdict(False, "went_on")
    added = [*first, ("assistant", "so it is " * 5), ("user", WORDS * 60)]
    verdict = cuts.judge(prompt(added, 1500, 2048, output=5))
    assert (verdict.cut, verdict.rule, verdict.estimated) == (True, "went_on", True)


@pytest.mark.parametrize(
    "prompted",
    [
        prompt(said(WORDS * 400, "a", "b"), 1026, None),
        prompt(said(WORDS * 400, "a", "b"), 1026, 2048, plain=False),
        prompt(said(WORDS * 400, "a", "b"), 3000, 2048),
    ],
    ids=["unknown context", "images or tools", "a context that cannot be"],
)
def test_what_cannot_be_told_is_not_guessed(prompted: Prompt) -> None:
    assert PromptCuts().judge(prompted) == Verdict(None)


def test_what_had_tools_before_tells_nothing_of_what_has_none() -> None:
    cuts = PromptCuts()
    cuts.judge(prompt(said(WORDS), 1900, 2048, plain=False, output=3))
    title = said(WORDS, "yes", "A title?")
    assert cuts.judge(prompt(title, 40, 2048)).cut is False
    # Also where the client asked for an error, so that the first was surely whole.
    cuts.judge(prompt(said(WORDS), 1900, 2048, plain=False, output=3, may_cut=False))
    longer = said(WORDS, "yes", WORDS * 80)
    assert cuts.judge(prompt(longer, 1080, 2048)).cut is False


def test_a_client_that_asked_for_an_error_gets_no_cut_prompt() -> None:
    assert judge(said(WORDS * 400), 1026, 2048, may_cut=False) == Verdict(False, "asked")


def test_it_remembers_no_more_than_it_may() -> None:
    cuts = PromptCuts()
    for number in range(REMEMBERED + 10):
        cuts.judge(prompt(said(f"hello {number}"), 12, 2048))
    assert len(cuts._said) == REMEMBERED
    for number in range(MAX_MODELS + 10):
        one = prompt(said("hello"), 12, 2048)
        cuts.judge(Prompt(model=f"m{number}", sketch=one.sketch, tokens=12, context=2048))
    assert len(cuts._tokens) == MAX_MODELS
