"""Tokens estimated from characters: usable at once, and better with each call."""

from __future__ import annotations

import random

from ollama_proxy.insights.tokens import START, Tokens, features
from ollama_proxy.sketch import Part

TRUE = (0.21, 1.17, 0.68, 0.48, 2.7, 0.8, 1.67, 1.36, 6.0, 2.2)
"""Fitted for a small model of an old vocabulary (SmolLM2)."""


def conversation(drawn: random.Random) -> list[Part]:
    kinds = [drawn.random() for _ in range(4)]
    parts = []
    for _ in range(drawn.randint(1, 6)):
        size = drawn.randint(20, 2000)
        letters, cjk = (size, 0) if kinds[0] < 0.8 else (size // 4, size)
        latin = size // 30 if kinds[1] < 0.3 else 0
        digits = size // 8 if kinds[2] < 0.3 else size // 100
        parts.append(Part("user", (letters, digits, size // 6, size // 25, latin, 0, cjk, 0), 0))
    return parts


def true_tokens(parts: list[Part], drawn: random.Random) -> int:
    exact = sum(weight * value for weight, value in zip(TRUE, features(parts), strict=True))
    return max(1, round(exact * drawn.gauss(1, 0.02)))


def error(tokens: Tokens, drawn: random.Random) -> float:
    errors = []
    for _ in range(200):
        parts = conversation(drawn)
        count = true_tokens(parts, drawn)
        errors.append(abs(tokens.estimate(features(parts)) / count - 1))
    return sorted(errors)[100]


def test_before_anything_was_learnt_it_estimates_as_a_common_tokenizer_counts() -> None:
    part = Part("user", (1000, 0, 200, 40, 0, 0, 0, 0), 0)
    assert 230 < Tokens().estimate(features([part])) < 330
    assert Tokens().estimate(features([])) == START[-1]


def test_it_learns_a_models_own_tokenizer_from_its_calls() -> None:
    drawn, tokens = random.Random(5), Tokens()
    before = error(tokens, random.Random(6))
    for _ in range(150):
        parts = conversation(drawn)
        tokens.learn(features(parts), true_tokens(parts, drawn))
    after = error(tokens, random.Random(6))
    assert before > 0.1 and after < 0.03
    assert tokens.learnt == 150


def test_a_call_without_tokens_teaches_nothing() -> None:
    tokens = Tokens()
    tokens.learn(features([]), 0)
    assert tokens.learnt == 0
