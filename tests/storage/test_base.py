"""A call becomes a row and back; odd values become storable ones."""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import astuple

from ollama_proxy.exchange import Call
from ollama_proxy.storage.base import COLUMNS, MIGRATIONS, from_row, storable
from tests.storage.calls import make_call


def row_of(call: Call) -> list[Any]:
    return [storable(value) for value in astuple(call)]


def test_a_call_comes_back_as_it_was() -> None:
    call = make_call(streamed=True, options={"stop": ["a"], "seed": 10**30}, prompt="zażółć \0 🦙")
    assert from_row(row_of(call)) == call
    # SQL has no truth values: 1 comes back, and 1 == True.
    assert from_row([int(v) if v is True else v for v in row_of(call)]).streamed is True


def test_the_schema_has_a_column_for_each_field_of_a_call() -> None:
    first, *_ = MIGRATIONS[1]
    names = re.findall(r"^ +([a-z_]+) (?:TEXT|REAL|INTEGER)", first, re.M)
    for version, steps in MIGRATIONS.items():
        if version > 1:
            names += re.findall(
                r"calls ADD COLUMN ([a-z0-9_]+) (?:TEXT|REAL|INTEGER)", " ".join(steps)
            )
    assert tuple(names) == COLUMNS


def test_odd_values_become_storable() -> None:
    row = dict(zip(COLUMNS, row_of(make_call(prompt="a\ud800b", output_tokens=2**70)), strict=True))
    assert (row["prompt"], row["output_tokens"]) == ("a?b", None)
