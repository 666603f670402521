"""Calls as CSV and as lines of JSON, some at a time. Pure.

Not here: which calls (`filters.py`), where the lines go (`admin/export.py`, `cli.py`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from ollama_proxy.bus import encode
from ollama_proxy.derived import KEYS, view
from ollama_proxy.exchange import Call, text_size

PORTION_ROWS = 10
PORTION_CHARACTERS = 64 << 10


class Format(msgspec.Struct, frozen=True):
    """`head` comes first, then `lines` of any number of calls, again and again."""

    content_type: str
    head: bytes
    lines: Callable[[Iterable[Call]], bytes]


def portions(calls: Iterable[Call]) -> Iterator[list[Call]]:
    """Cut so that the lines of one portion are made within a millisecond, if no text is huge."""
    portion: list[Call] = []
    characters = 0
    for call in calls:
        portion.append(call)
        characters += text_size(call)
        if len(portion) >= PORTION_ROWS or characters >= PORTION_CHARACTERS:
            yield portion
            portion, characters = [], 0
    if portion:
        yield portion


def json_lines(calls: Iterable[Call]) -> bytes:
    """Each call as REST has it, in a line of its own."""
    return b"".join(encode(view(call)) + b"\n" for call in calls)


def csv_lines(calls: Iterable[Call]) -> bytes:
    """As RFC 4180 has it: CRLF, quotes doubled. What is not known is an empty cell."""
    return _csv([_cell(value) for value in view(call).values()] for call in calls)


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    written = io.StringIO(newline="")
    csv.writer(written).writerows(rows)
    return written.getvalue().encode("utf-8", "replace")


# Spreadsheets take such a cell for a formula, and a client chooses these texts (CWE-1236).
_FORMULA = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20'")


def _cell(value: Any) -> Any:
    """Numbers stay numbers, lists and objects are JSON.

    A text that begins like a formula gets an apostrophe before it, and so does one that begins with
    an apostrophe: to read texts back, take one apostrophe off each that begins with one.
    """
    kind = type(value)
    if value is None or kind is float or kind is int:
        return value
    if kind is str:
        return "'" + value if value[:1] in _FORMULA else value
    if kind is bool:
        return "true" if value else "false"
    return encode(value).decode()


FORMATS = {
    "csv": Format("text/csv; charset=utf-8", _csv([KEYS]), csv_lines),
    "jsonl": Format("application/x-ndjson", b"", json_lines),
}
