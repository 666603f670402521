"""Texts that end in the same words over and over, and texts that only look a little like it."""

from __future__ import annotations

import pytest

from ollama_proxy.loops import LOOKED_AT, loop

PROSE = (
    "The fund was founded in 1994 and has since grown to be one of the larger ones of its kind. "
    "It buys what others sell, and sells what others buy, mostly a day too late. "
)
UNIT = "I think that the market will rise again. "


@pytest.mark.parametrize("unit", [UNIT, "and the ", "the end of the story is the end of the " * 2])
@pytest.mark.parametrize("cut", [0, 1, 7])
def test_a_unit_again_and_again_is_a_loop(unit: str, cut: int) -> None:
    text = PROSE + unit * 30
    found = loop(text[: len(text) - cut])
    assert found is not None
    assert found.unit == (len(unit) // 2 if unit.startswith("the end") else len(unit))
    assert found.repeated >= min(LOOKED_AT - 100, 30 * len(unit) - cut)


def test_how_much_of_the_end_is_repeated() -> None:
    found = loop(PROSE + UNIT * 4)
    assert found is not None
    assert 4 * len(UNIT) <= found.repeated <= 4 * len(UNIT) + 2
    assert found.unit == len(UNIT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        UNIT,
        PROSE * 2,
        PROSE + UNIT * 2,
        PROSE + UNIT * 20 + "But then it did not, and everybody went home with what was left.",
        "\n".join(f"{number}. A name that is in the list" for number in range(60)),
        "| --- | --- | --- |\n" * 8,
        "0 1 0 1 1 0 " * 20,
    ],
    ids=["none", "once", "twice", "two units", "left", "a list", "a table's rule", "a matrix"],
)
def test_what_is_no_loop(text: str) -> None:
    assert loop(text) is None


def test_rules_and_blanks_are_loops_only_where_they_are_long() -> None:
    assert loop(PROSE + "-" * 399) is None
    found = loop(PROSE + "-" * 500)
    assert found is not None and found.unit == 1


def test_a_unit_that_holds_its_own_end_twice_is_found() -> None:
    tail = "a tail of forty characters, or a few more of them"
    unit = f"{tail}, and {tail}: "
    found = loop(unit * 8)
    assert found is not None and found.unit == len(unit)
