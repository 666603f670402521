"""M1, M2, M4: what is recorded equals Ollama's final object, whatever the size of the pieces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import (
    Connection,
    between,
    chunk,
    recorded_request,
    recorded_response,
    recording,
    recordings,
)

FACTS = {
    "input_tokens": "prompt_eval_count",
    "output_tokens": "eval_count",
    "load": "load_duration",
    "prefill": "prompt_eval_duration",
    "decode": "eval_duration",
    "done_reason": "done_reason",
}
OBSERVED = [
    name
    for name in recordings()
    if recording(name)["request"]["target"] in ("/api/generate", "/api/chat")
    and recording(name)["request"]["method"] == "POST"
]


V1 = [name for name in recordings() if recording(name)["request"]["target"].startswith("/v1/")]
V1_COUNTS = [
    ("input_tokens", "output_tokens"),  # /v1/responses, /v1/messages
    ("prompt_tokens", "completion_tokens"),
]


def final_object(exchange: dict[str, Any]) -> dict[str, Any]:
    text = "".join(part for _, part in exchange["response"]["chunks"])
    lines = [line for line in text.split("\n") if line]
    try:
        last: dict[str, Any] = json.loads(lines[-1])
    except (ValueError, IndexError):
        return {}
    return last if last.get("done") else {}


def said(exchange: dict[str, Any]) -> str:
    text = ""
    for line in "".join(part for _, part in exchange["response"]["chunks"]).split("\n"):
        if line.startswith("{"):
            answer = json.loads(line)
            text += answer.get("response") or answer.get("message", {}).get("content") or ""
    return text


async def recorded_call(name: str, size: int, tmp_path: Path) -> dict[str, Any]:
    exchange = recording(name)
    answer = recorded_response(exchange)

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send_in_pieces(answer, size)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(recorded_request(exchange))
        await client.read(len(answer))
        (call,) = await proxy.calls(1)
        return call


@pytest.mark.parametrize("size", [1, 7, 1 << 20], ids=["1", "7", "whole"])
@pytest.mark.parametrize("name", OBSERVED)
async def test_the_record_equals_the_final_object(name: str, size: int, tmp_path: Path) -> None:
    exchange = recording(name)
    call = await recorded_call(name, size, tmp_path)
    final = final_object(exchange)
    for key, field in FACTS.items():
        expected = final.get(field)
        if field.endswith("_duration") and expected is not None:
            expected /= 1e9
        assert call[key] == expected, key
    request = json.loads(exchange["request"]["body"]) if call["status_code"] == 200 else {}
    if request:
        assert call["model"] == request["model"]
        headers = dict(exchange["response"]["headers"])
        assert call["streamed"] is (headers["Content-Type"] == "application/x-ndjson")
        timed = call["streamed"] and said(exchange) != ""
        assert (call["time_to_first_token"] is not None) is timed
        assert (call["response"] or "") == said(exchange)[:200]
        assert (call["options"] or {}).get("num_ctx") == request.get("options", {}).get("num_ctx")
    assert call["response_bytes"] == len(
        "".join(part for _, part in exchange["response"]["chunks"]).encode()
    )
    assert call["request_bytes"] == len(exchange["request"]["body"].encode())
    assert call["not_understood"] == (name == "chat_bad_json")
    rest = [final.get(f) for f in ("total_duration", "prompt_eval_duration", "eval_duration")]
    assert (call["queue"] is None) is (None in rest)
    decode, tokens = final.get("eval_duration"), final.get("eval_count")
    each = None if decode is None or not tokens else decode / 1e9 / tokens
    assert call["time_per_output_token"] == each


def v1_objects(exchange: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON objects of a /v1 answer, in their order."""
    text = "".join(part for _, part in exchange["response"]["chunks"])
    if not text.startswith(("data: ", "event: ")):
        return [json.loads(text)]
    lines = [line[6:] for line in text.split("\n") if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def v1_counts(exchange: dict[str, Any]) -> tuple[int | None, int | None]:
    """What the last usage in the answer says, in whichever words."""
    usages = [one.get("response", one).get("usage") for one in v1_objects(exchange)]
    last: dict[str, int] = next((usage for usage in reversed(usages) if usage), {})
    names = next((names for names in V1_COUNTS if names[0] in last), V1_COUNTS[0])
    return last.get(names[0]), last.get(names[1])


@pytest.mark.parametrize("size", [1, 7, 1 << 20], ids=["1", "7", "whole"])
@pytest.mark.parametrize("name", V1)
async def test_the_record_of_a_v1_call_equals_its_answer(
    name: str, size: int, tmp_path: Path
) -> None:
    exchange = recording(name)
    call = await recorded_call(name, size, tmp_path)
    asks = exchange["request"]["method"] == "POST"
    answered = asks and call["status_code"] == 200
    expected = v1_counts(exchange) if answered else (None, None)
    assert (call["input_tokens"], call["output_tokens"]) == expected
    assert call["not_understood"] == 0
    assert call["state"] == ("completed" if call["status_code"] == 200 else "failed")
    assert (call["load"], call["prefill"], call["decode"], call["queue"]) == (None,) * 4
    if asks:
        request = json.loads(exchange["request"]["body"])
        assert call["model"] == request["model"]
        assert call["streamed"] is request.get("stream", False)
        timed = answered and call["streamed"]
        assert (call["time_to_first_token"] is not None) is timed
        assert (call["time_to_first_answer"] is not None) is timed
        assert (call["response"] is not None) is answered


HOSTILE = {
    "deep": b'{"model":"m","message":' + b"[" * 100_000 + b"\n",
    "not-json": b"}{ \xff\xfe\n",
    "wrong-types": b'{"model":7,"done":"yes","eval_count":"x","message":[1]}\n',
    "long-line": b'{"response":"' + b"x" * (9 << 20) + b'"}\n',
    "split-utf8": '{"message":{"content":"€"},"done":false}\n'.encode(),
    "twice": b'{"done":false,"done":false,"message":{"content":"a"},"message":{"content":"b"}}\n',
}

UNDERSTOOD = ("wrong-types", "split-utf8", "twice")  # of these the rest of the line is read


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_not_understood_passes_and_is_recorded_as_not_understood(
    name: str, tmp_path: Path
) -> None:
    line = HOSTILE[name]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    last = b'{"done":true,"done_reason":"stop","prompt_eval_count":2,"eval_count":3}\n'
    answer = head + chunk(line) + chunk(last) + b"0\r\n\r\n"

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(answer)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(
            b'POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 13\r\n\r\n{"model":"m"}'
        )
        assert await client.read(len(answer)) == answer
        (call,) = await proxy.calls(1)
    assert call["not_understood"] == (name not in UNDERSTOOD)
    assert (call["state"], call["input_tokens"], call["output_tokens"]) == ("completed", 2, 3)
