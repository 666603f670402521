"""L3, M3: every call ends exactly once, in the state that tells what happened."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ollama_proxy.exchange import Exchange, Reason, State
from tests.harness import (
    PATIENCE,
    Connection,
    ScriptedUpstream,
    between,
    chunk,
    recorded_request,
    recorded_response,
    recording,
)
from tests.processes import serving

STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
)
CHAT = (
    b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 13\r\n\r\n" + b'{"model":"m"}'
)
WORD = b'{"model":"m","message":{"role":"assistant","content":"w"},"done":false}\n'


@pytest.mark.parametrize(
    ("name", "state", "reason", "error"),
    [
        ("chat_stream", "completed", None, None),
        ("generate_load_only", "completed", None, None),
        ("generate_unload", "completed", None, None),
        ("runner_killed_midstream", "failed", "runner_died", "an error was encountered"),
        ("pull_offline", "failed", "error_in_stream", "no such host"),
        ("chat_model_missing", "failed", "model_missing", "not found"),
        ("unknown_path", "failed", "http_status", "404 page not found"),
        ("v1_chat_model_missing", "failed", "model_missing", "not found"),
        ("v1_messages_model_missing", "failed", "model_missing", "not found"),
        ("generate_long_no_truncate", "failed", "context_exceeded", "exceed"),
    ],
)
async def test_what_a_real_server_answered_ends_as_it_should(
    name: str, state: str, reason: str | None, error: str | None, tmp_path: Path
) -> None:
    exchange = recording(name)
    answer = recorded_response(exchange)

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(answer)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(recorded_request(exchange))
        await client.read(len(answer))
        (call,) = await proxy.calls(1)
    assert (call["state"], call["reason"]) == (state, reason)
    assert call["status_code"] == exchange["response"]["status"]
    assert (error is None) is (call["error"] is None)
    assert error is None or error in call["error"]


async def test_a_stream_without_its_end_mark_is_incomplete(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(STREAM + chunk(WORD) * 31 + b"0\r\n\r\n")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(CHAT)
        await client.read_message()
        (call,) = await proxy.calls(1)
    assert (call["state"], call["reason"]) == ("failed", "incomplete")
    assert (call["output_chunks"], call["output_tokens"]) == (31, None)


async def test_every_call_is_recorded_once(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        while True:
            await upstream.read_message()
            await upstream.send(STREAM + chunk(WORD) + b"0\r\n\r\n")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        for _ in range(50):
            await client.send(CHAT)
            await client.read_message()
        calls = await proxy.get("requests?limit=1000")
        status = await proxy.get("status")
    assert len({call["id"] for call in calls}) == len(calls) == 50
    assert (status["total_requests"], status["failed_requests"]) == (50, 50)


async def test_a_client_that_leaves_with_its_whole_answer_was_not_cancelled(tmp_path: Path) -> None:
    """It may be gone before the proxy has taken note that the answer was whole."""
    last = b'{"done":true,"eval_count":1,"prompt_eval_count":1}\n'
    answer = STREAM + chunk(WORD) + chunk(last) + b"0\r\n\r\n"

    async def script(upstream: Connection) -> None:
        while True:
            await upstream.read_message()
            await upstream.send(answer)

    # In a process of its own: on one loop with its clients it would always be first.
    async with ScriptedUpstream(script) as upstream, serving(tmp_path, upstream.url) as proxy:

        async def call() -> None:
            client = await proxy.client()
            await client.send(CHAT)
            await client.read(len(answer))
            client.reset()

        for _ in range(10):
            await asyncio.gather(*(call() for _ in range(50)))
        async with asyncio.timeout(PATIENCE):
            while len(calls := await proxy.get("requests?limit=1000&state=completed")) < 500:
                await asyncio.sleep(0.01)
    assert len(calls) == 500


def test_the_first_cause_wins() -> None:
    exchange = Exchange.begin("GET", "/", None)
    assert exchange.end(State.TIMEOUT, Reason.IDLE_TIMEOUT)
    assert not exchange.end(State.CANCELLED, Reason.CLIENT_DISCONNECTED)
    assert (exchange.state, exchange.reason) == (State.TIMEOUT, Reason.IDLE_TIMEOUT)
