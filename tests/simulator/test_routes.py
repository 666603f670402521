"""What the recordings do not show: tools and thinking, embeddings, transfers, guards."""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxy.simulator import guard
from ollama_proxy.simulator.calls import seconds

from .raw import FAST, Response, simulated

TOOL = {
    "type": "function",
    "function": {"name": "price", "parameters": {"properties": {"symbol": {"enum": ["BTC"]}}}},
}
QUESTION = [{"role": "user", "content": "Price?"}]


async def ask(path: str, body: dict[str, Any], **headers: str) -> Response:
    async with simulated() as client:
        return await client.ask(path, body, **headers)


async def test_native_thinking_comes_before_the_answer() -> None:
    body = {"model": "qwen3:8b", "messages": QUESTION}
    lines = (await ask("/api/chat", body)).lines()
    assert list(lines[0]["message"]) == ["role", "content", "thinking"]
    assert not lines[-2]["message"].get("thinking")
    lines = (await ask("/api/chat", body | {"think": False})).lines()
    assert not any("thinking" in line["message"] for line in lines)


async def test_native_tool_calls() -> None:
    body = {"model": "smollm2", "messages": QUESTION, "tools": [TOOL], "stream": False}
    (call,) = (await ask("/api/chat", body)).json()["message"]["tool_calls"]
    assert call["function"] == {"index": 0, "name": "price", "arguments": {"symbol": "BTC"}}


async def test_openai_tool_calls_and_reasoning() -> None:
    body = {"model": "qwen3:8b", "messages": QUESTION, "tools": [TOOL]}
    choice = (await ask("/v1/chat/completions", body)).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["reasoning"]
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"symbol":"BTC"}'
    streamed = (await ask("/v1/chat/completions", body | {"stream": True})).body
    assert b'"finish_reason":"tool_calls"' in streamed
    assert b'"reasoning":' in streamed
    assert b"usage" not in streamed


async def test_anthropic_blocks_open_and_close() -> None:
    tool = {"name": "price", "input_schema": TOOL["function"]}
    body = {"model": "qwen3:8b", "max_tokens": 99, "messages": QUESTION, "tools": [tool]}
    streamed = (await ask("/v1/messages", body | {"stream": True})).body.decode()
    kinds = [line[7:] for line in streamed.splitlines() if line.startswith("event: ")]
    assert kinds[0] == "message_start"
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 2
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert '"stop_reason":"tool_use"' in streamed
    whole = (await ask("/v1/messages", body)).json()
    assert [block["type"] for block in whole["content"]] == ["thinking", "tool_use"]


async def test_responses_say_reasoning_and_calls() -> None:
    tool = {"type": "function", **TOOL["function"]}  # type: ignore[dict-item]
    body = {"model": "qwen3:8b", "input": "Price?", "tools": [tool]}
    whole = (await ask("/v1/responses", body)).json()
    assert [item["type"] for item in whole["output"]] == ["reasoning", "function_call"]
    streamed = (await ask("/v1/responses", body | {"stream": True})).body
    assert b"event: response.function_call_arguments.done" in streamed
    assert streamed.rstrip().splitlines()[-2] == b"event: response.completed"


async def test_embeddings_in_three_dialects() -> None:
    body = {"model": "nomic-embed-text", "input": ["a", "b"]}
    native = (await ask("/api/embed", body)).json()
    assert [len(vector) for vector in native["embeddings"]] == [768, 768]
    assert native["prompt_eval_count"] == 6
    legacy = await ask("/api/embeddings", {"model": "nomic-embed-text", "prompt": "a"})
    assert legacy.json()["embedding"] == native["embeddings"][0]
    assert legacy.framing == "chunked"  # longer than Go's buffer
    packed = await ask("/v1/embeddings", body | {"encoding_format": "base64", "dimensions": 4})
    (first, _) = packed.json()["data"]
    assert len(struct.unpack("<4f", base64.b64decode(first["embedding"]))) == 4


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/api/generate", {"model": ""}, 404, "model '' not found"),
        ("/api/generate", {"model": "nomic-embed-text"}, 400, "does not support generate"),
        ("/api/chat", {"model": "nomic-embed-text"}, 400, "does not support chat"),
        ("/api/embed", {"model": "x"}, 404, 'model "x" not found, try pulling it first'),
        ("/api/embed", {"model": "smollm2", "input": 3}, 400, "invalid input type"),
        ("/api/show", {}, 400, "model is required"),
        ("/api/show", {"model": "nope"}, 404, "model 'nope' not found"),
        ("/api/copy", {"source": "nope", "destination": "b"}, 404, "not found"),
        ("/api/chat", {"model": "smollm2", "keep_alive": "soon"}, 400, "invalid duration"),
        ("/api/chat", {"model": "smollm2", "options": {"num_ctx": "9"}}, 500, "of type integer"),
        ("/v1/chat/completions", {"model": "smollm2"}, 400, "[] is too short - 'messages'"),
        ("/v1/messages", {"model": "smollm2"}, 400, "max_tokens is required"),
        ("/api/me", None, 401, "unauthorized"),
    ],
)
async def test_refusals(path: str, body: Any, status: int, message: str) -> None:
    response = await ask(path, body)
    assert response.status == status
    assert message in response.body.decode().replace('\\"', '"')


async def test_broken_json_in_the_words_of_go() -> None:
    async with simulated() as client:
        for body, words in ((b"", "missing request body"), (b"{x", "invalid character 'x'")):
            raw = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
            connection = await client.open(raw % (len(body), body))
            assert words in (await connection.response()).json()["error"]


async def test_a_pull_shows_progress_and_adds_the_model() -> None:
    async with simulated(replace(FAST, registry=True)) as client:
        lines = (await client.ask("/api/pull", {"model": "gemma3:4b"})).lines()
        assert lines[-1] == {"status": "success"}
        assert lines[-4]["completed"] == lines[-4]["total"]
        names = [m["name"] for m in (await client.ask("GET /api/tags")).json()["models"]]
        assert names[0] == "gemma3:4b"
        whole = await client.ask("/api/push", {"model": "gemma3:4b", "stream": False})
        assert whole.json() == {"status": "success"}


async def test_a_failed_pull_is_a_500_when_not_streamed() -> None:
    response = await ask("/api/pull", {"model": "nope", "stream": False})
    assert (response.status, response.header("Content-Type")) == (500, "application/json")


async def test_a_blob_of_some_megabytes_in_chunks() -> None:
    part = b"x" * 65536
    digest = hashlib.sha256(part * 64).hexdigest()
    head = f"POST /api/blobs/sha256:{digest} HTTP/1.1\r\nHost: localhost\r\n"
    async with simulated() as client:
        connection = await client.open(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(64):
            connection.writer.write(b"10000\r\n" + part + b"\r\n")
            await connection.writer.drain()
        connection.writer.write(b"0\r\n\r\n")
        assert (await connection.response()).status == 201


async def test_transcriptions_are_made_up_too() -> None:
    form = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsmollm2\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n'
        b"--b--\r\n"
    )
    head = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n"
    async with simulated() as client:
        connection = await client.open(head % len(form) + form)
        assert (await connection.response()).json()["text"].startswith("This answer")


async def test_http_1_0_is_closed_at_the_end() -> None:
    async with simulated() as client:
        connection = await client.open(b"GET /api/tags HTTP/1.0\r\nHost: localhost\r\n\r\n")
        response = await connection.response()
        assert response.framing == "length"
        assert len(response.json()["models"]) == 3


async def test_routes_and_methods() -> None:
    async with simulated() as client:
        assert (await client.ask("GET /v1/models/a/b")).status == 404
        head = await client.ask("HEAD /api/ps")
        assert (head.status, head.header("Allow")) == (405, "GET")
        assert (await client.ask("PUT /api/version")).header("Allow") == "HEAD, GET"
        allowed = await client.ask("GET /api/version", Origin="http://localhost:3000")
        assert allowed.header("Access-Control-Allow-Origin") == "http://localhost:3000"


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:11434", "", 0),
        ("[::1]:11434", "", 0),
        ("192.168.1.4", "", 0),
        ("box.internal", "", 0),
        ("evil.example", "", 403),
        ("8.8.8.8", "", 403),
        ("localhost", "http://evil.example", 403),
        ("localhost", "http://127.0.0.1:99", 0),
        ("localhost", "vscode-webview://abc", 0),
    ],
)
def test_hosts_and_origins(host: str, origin: str, status: int) -> None:
    assert guard.judge("GET", host, origin, on_loopback=True).status == status


def test_the_host_is_free_off_loopback() -> None:
    assert guard.judge("GET", "evil.example", "", on_loopback=False).status == 0


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (None, None),
        (0, 0),
        (-1, float("inf")),
        ("5m", 300),
        ("1h30m", 5400),
        ("0", 0),
        ("-1s", float("inf")),
    ],
)
def test_keep_alive(said: Any, meant: float | None) -> None:
    assert seconds(said) == meant


ODD: list[Any] = [None, True, 0, -1.5, "", "x", [], [1, None, {}], {}, {"a": {"b": []}}]
KEYS = ("messages", "prompt", "input", "options", "tools", "think", "format", "images", "stop")
PATHS = ("generate", "chat", "embed", "v1/chat/completions", "v1/responses", "v1/messages")


@pytest.mark.parametrize("path", PATHS)
async def test_odd_values_never_break_a_route(path: str) -> None:
    """All answers are JSON: none is aiohttp's page for an exception."""
    target = f"/{path}" if "/" in path else f"/api/{path}"
    base = {"model": "smollm2", "prompt": "a", "input": "a", "max_tokens": 3, "stream": False}
    base |= {"messages": QUESTION, "options": {"num_predict": 2}}
    async with simulated() as client:
        for key in KEYS:
            for value in ODD:
                response = await client.ask(target, base | {key: value})
                assert response.body.startswith(b"{"), (key, value, response)
        for option in ("num_ctx", "num_keep", "num_gpu", "stop", "seed", "num_batch"):
            for value in ODD:
                response = await client.ask(target, base | {"options": {option: value}})
                assert response.body.startswith(b"{"), (option, value, response)
