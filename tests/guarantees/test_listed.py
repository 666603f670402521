"""docs/guarantees.md and this folder name the same tests."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent.parent / "docs" / "guarantees.md"


def test_each_promise_names_a_test_that_names_it() -> None:
    rows = re.findall(r"^\| ([TLMS]\d+) \|.*`(test_\w+\.py)` \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) > 20
    for promise, file in rows:
        assert re.search(rf"\b{promise}\b", (FOLDER / file).read_text().split('"""')[1]), promise
    listed = {file for _, file in rows} | {Path(__file__).name}
    assert listed == {path.name for path in FOLDER.glob("test_*.py")}
