"""Answers that outgrew their context: measured cases of a real Ollama, and those beside them."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.insights.overrun import Overrun, overrun


def judged(tokens: int, output: int, context: int, **more: Any) -> Overrun | None:
    return overrun(tokens=tokens, output=output, context=context, **more)


@pytest.mark.parametrize(
    ("total", "shifts"), [(411, 2), (771, 5), (971, 6), (256, 0), (257, 1)], ids=str
)
def test_how_often_the_oldest_half_was_forgotten(total: int, shifts: int) -> None:
    """A context of 96 ran with 256, as the runner pads it."""
    found = judged(30, total - 30, 96)
    assert (found.shifts if found else 0) == shifts


def test_an_answer_that_ends_where_the_context_does() -> None:
    assert judged(100, 156, 256, most=400, at_length=True) == Overrun(ended="context")
    assert judged(100, 156, 256, at_length=True) == Overrun(ended="context")
    # It ended there because it was told to.
    assert judged(100, 156, 256, most=156, at_length=True) is None
    assert judged(100, 156, 256) is None


def test_the_ceiling_is_ollamas_own_where_no_limit_was_asked_for() -> None:
    found = judged(30, 2560, 256, at_length=True)
    assert found is not None and (found.ended, found.shifts > 15) == ("ceiling", True)
    limited = judged(30, 2560, 256, most=2560, at_length=True)
    assert limited is not None and limited.ended is None
    unlimited = judged(30, 2560, 256, most=-1, at_length=True)
    assert unlimited is not None and unlimited.ended == "ceiling"
