"""A client that says by when it needs its answer: told whether it was there, and not passed on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ollama_proxy.headers import deadline
from tests.harness import between
from tests.test_rules import SEEN, answering, ask


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", 30.0),
        (" 2.5 ", 2.5),
        ("0", None),
        ("-1", None),
        ("soon", None),
        ("1e9", None),
        ("nan", None),
        ("", None),
        ("٣", None),
    ],
)
def test_a_deadline_is_a_positive_number(text: str, expected: float | None) -> None:
    assert deadline(text) == expected


@pytest.mark.parametrize(("said", "met"), [("60", True), ("0.000001", False)])
async def test_a_deadline_is_reported_and_goes_no_further(
    tmp_path: Path, said: str, met: bool
) -> None:
    SEEN.clear()
    async with between(answering, tmp_path) as proxy:
        call = await ask(proxy, X_Deadline_Seconds=said, X_Other="stays")
    assert call["insights"]["deadline"] == {"seconds": float(said), "met": met}
    assert b"deadline" not in SEEN[0].lower()
    assert b"\r\nX-Other: stays\r\n" in SEEN[0]


async def test_what_is_no_deadline_is_none(tmp_path: Path) -> None:
    async with between(answering, tmp_path) as proxy:
        call = await ask(proxy, X_Deadline_Seconds="soon")
    assert "deadline" not in (call["insights"] or {})
