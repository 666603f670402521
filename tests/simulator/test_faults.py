"""Misbehaviour on demand, by header and by model name, streamed and not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ollama_proxy.simulator.faults import NONE, Fault, fault_of

from .raw import Client, Response, simulated
from .test_scheduling import until

DIED = "an error was encountered while running the model: unexpected EOF"


async def chat(client: Client, fault: str, **more: Any) -> Response:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}], **more}
    return await client.ask("/api/chat", body, X_Simulate=fault)


@pytest.mark.parametrize(
    ("header", "model", "expected"),
    [
        ("die-after=5", "smollm2", Fault("die", 5)),
        ("Stall-After=2, seconds=0.5", "smollm2", Fault("stall", 2, 0.5)),
        ("error=418", "smollm2", Fault("error", 418)),
        ("busy", "smollm2", Fault("busy")),
        ("nonsense=1", "smollm2", NONE),
        (None, "simulate-break-after-3", Fault("break", 3)),
        (None, "simulate-error-500:latest", Fault("error", 500)),
        (None, "simulate-busy", Fault("busy")),
        (None, "simulate-me", NONE),
        (None, "smollm2", NONE),
    ],
)
def test_the_words(header: str | None, model: str, expected: Fault) -> None:
    assert fault_of(header, model) == expected
    assert NONE.seconds == math.inf


async def test_a_runner_that_dies_says_so_and_ends_cleanly() -> None:
    async with simulated() as client:
        response = await chat(client, "die-after=5")
        lines = response.lines()
        assert response.complete
        assert (response.status, len(lines)) == (200, 6)
        assert lines[-1] == {"error": DIED}
        assert not client.simulator.scheduler.runners
        await chat(client, "")
        assert client.simulator.scheduler.loads == 2


async def test_a_runner_that_dies_before_the_first_token_is_a_500() -> None:
    async with simulated() as client:
        for stream, framing in ((True, "chunked"), (False, "length")):
            response = await chat(client, "die-after=0", stream=stream)
            assert (response.status, response.json()) == (500, {"error": DIED})
            assert response.framing == framing


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_over_v1_a_death_is_an_empty_chunk_without_done(path: str) -> None:
    async with simulated() as client:
        body = {"model": "smollm2", "prompt": "Hi", "stream": True}
        body["messages"] = [{"role": "user", "content": "Hi"}]
        response = await client.ask(path, body, X_Simulate="die-after=2")
        assert response.complete
        assert len(response.chunks) == 3
        assert b'"model":""' in response.chunks[-1]
        assert b"[DONE]" not in response.body


async def test_a_broken_connection_has_no_end() -> None:
    async with simulated() as client:
        response = await chat(client, "break-after=3")
        assert (response.status, len(response.chunks), response.complete) == (200, 3, False)
        assert client.simulator.inference.active == 0


async def test_an_answer_cut_short_ends_cleanly_without_done() -> None:
    async with simulated() as client:
        response = await chat(client, "cut-after=4")
        assert response.complete
        assert [line["done"] for line in response.lines()] == [False] * 4
        whole = (await chat(client, "cut-after=4", stream=False)).json()
        assert whole["done"] is False
        assert "eval_count" not in whole


async def test_a_loop_is_given_up_after_31_equal_tokens() -> None:
    async with simulated() as client:
        lines = (await chat(client, "loop-after=2")).lines()
        assert len(lines) == 2 + 31
        assert {line["message"]["content"] for line in lines[2:]} == {" the"}
        assert not lines[-1]["done"]


async def test_statuses_at_once() -> None:
    async with simulated() as client:
        assert (await chat(client, "error=500")).json() == {"error": "simulated failure"}
        assert (await chat(client, "error=418")).status == 418
        assert (await chat(client, "busy")).status == 503
        embed = {"model": "nomic-embed-text", "input": "a"}
        assert (await client.ask("/api/embed", embed, X_Simulate="busy")).status == 503


async def test_a_stall_holds_the_slot_until_the_client_leaves() -> None:
    async with simulated() as client:
        body = {"model": "smollm2", "prompt": "Hi"}
        stalled = await client.begin("/api/generate", body, X_Simulate="stall-after=1")
        await stalled.head()
        await stalled.chunk()
        assert client.simulator.inference.active == 1
        stalled.close()
        await until(lambda: client.simulator.inference.active == 0)


async def test_a_short_stall_goes_on() -> None:
    async with simulated() as client:
        response = await chat(client, "stall-after=1,seconds=0.01")
        assert response.lines()[-1]["done"]


async def test_a_model_name_is_enough() -> None:
    async with simulated() as client:
        body = {"model": "simulate-die-after-2", "prompt": "Hi"}
        lines = (await client.ask("/api/generate", body)).lines()
        assert (len(lines), lines[-1]) == (3, {"error": DIED})
