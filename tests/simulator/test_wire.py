"""Every recorded exchange of a real Ollama, asked again of the simulator.

Compared: status, headers and their order, framing, and the shapes of all JSON objects in order. Not
compared: what a model says, counts, dates. What differs is listed here with its reason.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .raw import Client, Response, simulated

RECORDINGS = {path.stem: path for path in (Path(__file__).parents[1] / "wire").glob("*.json")}
# Recordings to replay first: the recorded server had been asked these before.
BEFORE = {
    "blob_head_present": ["blob_post"],
    "delete": ["copy"],
    "delete_copy1": ["create_stream"],
    "ps_loaded": ["generate_load_only"],
    "ps_empty_or_loaded": ["generate_load_only"],
}
# What the recorded server suffered must be asked of the simulator.
SWITCHED_ON = {"runner_killed_midstream": "die-after=88"}
OTHER_SHAPES = {"chat_tools_stream": "the recorded tiny model answered in words, not with a call"}
OTHER_BODY = {"v1_messages_model_missing": "its request_id is random"}


@pytest.mark.parametrize("name", sorted(RECORDINGS))
async def test_answers_as_recorded(name: str) -> None:
    recorded = load(name)
    async with simulated() as client:
        for earlier in BEFORE.get(name, []):
            await replay(client, load(earlier))
        answer = await replay(client, recorded, SWITCHED_ON.get(name, ""))
    expected = response_of(recorded)
    assert (answer.status, answer.reason) == (expected.status, expected.reason)
    assert comparable(answer.headers) == comparable(expected.headers)
    assert answer.framing == expected.framing
    assert answer.complete
    if expected.status >= 400 and name not in OTHER_BODY:
        assert answer.body == expected.body
    elif name not in OTHER_SHAPES:
        assert shapes(answer) == shapes(expected)
    if expected.framing == "chunked":
        assert ends(answer) == ends(expected)


def load(name: str) -> dict[str, Any]:
    exchange: dict[str, Any] = json.loads(RECORDINGS[name].read_text())
    return exchange


async def replay(client: Client, recorded: dict[str, Any], fault: str = "") -> Response:
    request = recorded["request"]
    headers = [*request["headers"], *([["X-Simulate", fault]] if fault else [])]
    lines = [f"{request['method']} {request['target']} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers]
    raw = "\r\n".join(lines) + "\r\n\r\n" + request["body"]
    connection = await client.open(raw.encode())
    return await connection.response(bodiless=request["method"] == "HEAD")


def response_of(recorded: dict[str, Any]) -> Response:
    found = recorded["response"]
    return Response(
        found["status"],
        found["reason"],
        [(name, value) for name, value in found["headers"]],
        found["framing"],
        [text.encode() for _, text in found["chunks"]],
    )


def comparable(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Values that depend on the moment or on what was said are left out."""
    return [(k, "" if k in ("Date", "Content-Length") else v) for k, v in headers]


def shapes(response: Response) -> list[Any]:
    """The keys of each JSON object in order, equal neighbours once."""
    found: list[Any] = []
    for unit in units(response):
        name, _, data = unit.rpartition("data: ")
        shape = (name, keys(json.loads(data)) if data.startswith("{") else data)
        if not found or found[-1] != shape:
            found.append(shape)
    return found


def units(response: Response) -> list[str]:
    """Lines, or whole events."""
    text = response.body.decode()
    events = response.header("Content-Type") == "text/event-stream"
    return text.removesuffix("\n\n").split("\n\n") if events else text.splitlines()


def keys(value: Any) -> Any:
    """A list is as its first item; the type of an event belongs to its shape."""
    if isinstance(value, dict):
        kind = [value["type"]] if isinstance(value.get("type"), str) else []
        return [(key, keys(item)) for key, item in value.items()] + kind
    return [keys(item) for item in value[:1]] if isinstance(value, list) else None


def ends(response: Response) -> set[bytes]:
    """How HTTP chunks end: a chunk is one whole line, or one or more whole events."""
    return {chunk[-2:] if chunk.endswith(b"\n\n") else chunk[-1:] for chunk in response.chunks}
