"""Tables that a page makes anew: in which order their rows stand, and what their heads lead to."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.admin.ordered import median, number, of, ordered, text

COLUMNS = {"name": text("name"), "calls": number("calls"), "first": of("stats", median("first"))}


def row(name: str, calls: int | None, stats: Any = None) -> dict[str, Any]:
    return {"name": name, "calls": calls, "stats": stats}


ROWS = [row("b", 2), row("A", None), row("c", 7), row("d", 2)]


@pytest.mark.parametrize(
    ("asked", "names", "said"),
    [
        ("calls", "cbdA", "descending"),
        ("-calls", "bdcA", "ascending"),
        ("name", "Abcd", "ascending"),
        ("-name", "dcbA", "descending"),
        ("", "cbdA", "descending"),
        ("path", "cbdA", "descending"),
        ("-", "cbdA", "descending"),
        ("--calls", "cbdA", "descending"),
    ],
)
def test_names_rise_numbers_fall_and_the_unknown_is_last(asked: str, names: str, said: str) -> None:
    found = ordered(ROWS, COLUMNS, asked, "calls")
    assert "".join(one["name"] for one in found.rows) == names
    assert found.said == said


def test_a_head_sorts_by_its_column_and_turns_what_is_sorted_by_it() -> None:
    found = ordered(ROWS, COLUMNS, "calls", "name")
    assert (found.link("name"), found.link("calls"), found.asked) == ("name", "-calls", "calls")
    found = ordered(ROWS, COLUMNS, "-calls", "name")
    assert (found.link("calls"), found.asked) == ("calls", "-calls")


def test_a_median_of_few_is_not_known() -> None:
    rows = [
        row("few", 1, {"first": {"count": 4, "p50": 99.0}}),
        row("none", 1),
        row("quick", 1, {"first": {"count": 5, "p50": 0.5}}),
        row("slow", 1, {"first": {"count": 500, "p50": 5.0}}),
    ]
    found = ordered(rows, COLUMNS, "first", "calls")
    assert [one["name"] for one in found.rows] == ["slow", "quick", "few", "none"]
