"""Long texts are searched in steps, and no match is overlooked or made up at their seams."""

from __future__ import annotations

import itertools
import re

import pytest

from ollama_proxy.observers.searching import FIRST, IN_ALL, SLOW, WINDOW, TooSlow, holds
from ollama_proxy.observers.secrets import LONGEST, SHIPPED

KINDS = list(SHIPPED.values())
KEY, MAIL, CARD = "sk-proj-abcdefghijklmnop", "a.b.c@mail.example.org", "4111 1111 1111 1111"
TOKEN = "eyJ" + "hbGciOiJI" * 160 + ".eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"
SEAMS = [WINDOW, WINDOW + LONGEST, 2 * WINDOW]


@pytest.mark.parametrize("secret", [KEY, MAIL, CARD, TOKEN])
@pytest.mark.parametrize("seam", SEAMS)
def test_one_that_lies_across_a_seam_is_found(secret: str, seam: int) -> None:
    for shift in range(0, len(secret) + 2, len(secret) // 16):
        text = " " * (seam - shift) + secret + " " * WINDOW
        assert holds([text], KINDS)


@pytest.mark.parametrize("seam", SEAMS)
def test_a_seam_makes_no_card_of_a_longer_number(seam: int) -> None:
    for shift in range(40):
        text = "x" * (seam - shift) + "0.0004111111111111111000" + "x" * WINDOW
        assert not holds([text], KINDS)


def test_a_pattern_of_the_users_may_match_over_any_length() -> None:
    text = "BEGIN" + "\n" * 3 * WINDOW + "END"
    assert holds([text], [re.compile("BEGIN.*END", re.DOTALL)])
    assert not holds([text[:-1]], [re.compile("BEGIN.*END", re.DOTALL)])


@pytest.mark.parametrize("pattern", [r"\d{4}(?!\d)$", r"x\Z", r"(?<!x)x"])
def test_a_pattern_of_the_users_sees_the_text_as_it_is(pattern: str) -> None:
    text = " " + "1" * (2 * FIRST) + "x" * WINDOW
    expected = re.search(pattern, text) is not None
    assert holds([text], [re.compile(pattern)]) is expected


def test_a_pattern_that_would_take_too_long_is_given_up() -> None:
    """Whole, these would take many minutes."""
    for pattern in ("a+b", "a[^c]*b"):
        with pytest.raises(TooSlow):
            holds(["a" * 1_000_000], [re.compile(pattern)])


@pytest.mark.parametrize("step", [SLOW + 0.1, IN_ALL / 10])
def test_all_texts_together_have_so_much_time_and_no_more(step: float) -> None:
    spent = itertools.count()
    with pytest.raises(TooSlow):
        holds(["x"] * 30, KINDS, lambda: next(spent) * step)


def test_of_nothing_nothing_is_found() -> None:
    assert not holds([], KINDS) and not holds([""], KINDS) and not holds(["x"], [])
