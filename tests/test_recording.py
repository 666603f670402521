"""The form of a recording: what is read, and what is refused with a line that says why."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ollama_proxy.recording import Recording
from tests.harness import WIRE, recordings

GOOD: dict[str, Any] = {
    "name": "one",
    "request": {"method": "POST", "target": "/api/chat", "headers": [["Host", "x"]], "body": "{}"},
    "response": {
        "status": 200,
        "reason": "OK",
        "headers": [["Content-Length", "2"]],
        "framing": "length",
        "complete": True,
        "chunks": [[0.5, "è"]],
    },
}
LACKING = object()


def changed(place: str, value: Any) -> bytes:
    """The good one with another value at this place; `LACKING` takes the key out."""
    recording = copy.deepcopy(GOOD)
    *way, last = place.split(".")
    inner = recording
    for key in way:
        inner = inner[key]
    inner[last] = value
    if value is LACKING:
        del inner[last]
    return json.dumps(recording).encode()


@pytest.mark.parametrize("name", recordings())
def test_what_was_recorded_of_a_real_ollama_is_read_and_written_as_it_is(name: str) -> None:
    data = (WIRE / f"{name}.json").read_bytes()
    assert json.loads(Recording.from_json(data).to_json()) == json.loads(data)


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        ("request", LACKING, "missing required field `request`"),
        ("response.complete", LACKING, r"missing required field `complete` - at `\$.response`"),
        ("response.delay", 1, r"unknown field `delay` - at `\$.response`"),
        ("response.status", "200", r"Expected `int`, got `str` - at `\$.response.status`"),
        ("response.status", 100, r">= 200 - at `\$.response.status`"),
        ("response.framing", "gzip", r"'gzip' - at `\$.response.framing`"),
        ("response.reason", "OK\r\nX: y", r"`\$.response.reason`"),
        ("response.headers", [["A b", "c"]], r"`\$.response.headers\[0\]\[0\]`"),
        ("response.headers", [["A", "b\n"]], r"`\$.response.headers\[0\]\[1\]`"),
        ("response.chunks", [[-1, "x"]], r"`\$.response.chunks\[0\]\[0\]`"),
        ("request.method", "GET /", r"`\$.request.method`"),
        ("response.headers", [["Content-Length", "3"]], "say Content-Length: 3, .* has 2 bytes"),
        ("response.headers", [], "lack Content-Length, and the body has 2 bytes"),
        ("response.framing", "chunked", "framing is chunked, but its headers lack"),
        ("response.headers", [["transfer-encoding", "chunked"]], "is length, but its headers have"),
        ("request.method", "HEAD", r"\$.response.chunks: such an answer has no body"),
        ("response.status", 204, r"\$.response.chunks: such an answer has no body"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(place: str, value: Any, why: str) -> None:
    Recording.from_json(json.dumps(GOOD).encode())
    with pytest.raises(ValueError, match=why) as raised:
        Recording.from_json(changed(place, value))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b"null", b'{"error": "no"}', b"{"])
def test_what_is_no_recording_at_all(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        Recording.from_json(data)


def test_an_answer_that_broke_off_may_have_less_than_it_said() -> None:
    recording = copy.deepcopy(GOOD)
    recording["response"] |= {"headers": [["Content-Length", "9"]], "complete": False}
    assert Recording.from_json(json.dumps(recording).encode()).response.length == 2
