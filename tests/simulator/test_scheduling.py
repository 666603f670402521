"""Loading, queueing, expiry and what the final figures say of them. Nothing here sleeps."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

from ollama_proxy.simulator.scheduler import shared_prefix

from .raw import FAST, Client, Connection, Response, simulated

PACED = replace(FAST, tokens_per_second=1000, prefill_tokens_per_second=5000, load_seconds=0.05)
ENDLESS = replace(FAST, answer_tokens=1 << 40)


def asked(tokens: int = 40, **more: Any) -> dict[str, Any]:
    options = {"num_predict": tokens, **more.pop("options", {})}
    return {"model": "smollm2", "prompt": "Tell me.", "options": options, **more}


def rest(last: dict[str, Any]) -> int:
    """The wait that no field reports."""
    durations = ("load_duration", "prompt_eval_duration", "eval_duration")
    return int(last["total_duration"] - sum(last[key] for key in durations))


async def generate(client: Client, tokens: int = 40, **more: Any) -> dict[str, Any]:
    response = await client.ask("/api/generate", asked(tokens, stream=False, **more))
    assert response.status == 200, response.body
    answer: dict[str, Any] = response.json()
    return answer


async def started(client: Client) -> Connection:
    """A stream whose first line has come; it must be one that does not end."""
    body = {"model": "smollm2", "prompt": "Tell me."}
    connection = await client.begin("/api/generate", body)
    await connection.head()
    await connection.chunk()
    return connection


async def until(reached: Any) -> None:
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0)


async def test_the_rest_of_a_queued_call_is_the_decode_before_it() -> None:
    async with simulated(PACED) as client:
        await generate(client, 1)
        first, second = await asyncio.gather(generate(client, 80), generate(client, 80))
        waited, served = sorted((first, second), key=rest, reverse=True)
        assert rest(waited) > 0.5 * served["eval_duration"]
        assert rest(served) < 0.5 * served["eval_duration"]
        assert waited["load_duration"] < 0.5 * PACED.load_seconds * 1e9


async def test_two_slots_let_two_calls_go_side_by_side() -> None:
    async with simulated(replace(PACED, parallel=2)) as client:
        await generate(client, 1)
        answers = await asyncio.gather(generate(client, 80), generate(client, 80))
        assert all(rest(answer) < 0.5 * answer["eval_duration"] for answer in answers)


async def test_calls_are_served_in_the_order_of_their_arrival() -> None:
    async with simulated(ENDLESS) as client:
        holder = await started(client)
        order: list[int] = []
        queue = []
        for number in range(4):
            queue.append(asyncio.create_task(_noted(client, number, order)))
            await until(lambda n=number: client.simulator.inference.waiting == n + 1)
        holder.close()
        await asyncio.gather(*queue)
        assert order == [0, 1, 2, 3]


async def _noted(client: Client, number: int, order: list[int]) -> None:
    await generate(client, 3)
    order.append(number)


async def test_a_model_is_loaded_once() -> None:
    async with simulated(PACED) as client:
        first, second = await asyncio.gather(generate(client, 2), generate(client, 2))
        third = await generate(client, 2)
        assert client.simulator.scheduler.loads == 1
        assert min(first["load_duration"], second["load_duration"]) > 0.9 * 0.05e9
        assert third["load_duration"] < 0.05e9


async def test_other_options_reload_and_sampling_options_do_not() -> None:
    async with simulated() as client:
        for options in ({}, {"temperature": 1}, {"num_ctx": 4096}, {"num_batch": 512}):
            await generate(client, 1, options=options)
        assert client.simulator.scheduler.loads == 1
        for options in ({"num_ctx": 1024}, {}, {"num_gpu": 0}, {}, {"num_thread": 2}):
            await generate(client, 1, options=options)
        assert client.simulator.scheduler.loads == 5  # a num_gpu that is not said sticks


async def test_a_call_that_fits_overtakes_a_waiting_reload() -> None:
    async with simulated(replace(ENDLESS, parallel=2)) as client:
        running = await started(client)
        reload = asyncio.create_task(generate(client, 1, options={"num_ctx": 512}))
        await until(lambda: client.simulator.scheduler.waiting_for_load == 1)
        await generate(client, 1)
        assert not reload.done()
        running.close()
        await reload
        assert client.simulator.scheduler.loads == 2


async def test_keep_alive_zero_unloads_after_the_answer() -> None:
    async with simulated() as client:
        await generate(client, 1)
        assert [m["name"] for m in await loaded(client)] == ["smollm2:latest"]
        await generate(client, 1, keep_alive=0)
        await until(lambda: not client.simulator.scheduler.runners)
        assert await loaded(client) == []


async def test_an_unused_model_expires() -> None:
    async with simulated(replace(FAST, keep_alive_seconds=0.01)) as client:
        await generate(client, 1)
        await until(lambda: not client.simulator.scheduler.runners)


async def test_a_negative_keep_alive_is_for_ever() -> None:
    async with simulated() as client:
        await generate(client, 1, keep_alive=-1)
        assert (await loaded(client))[0]["expires_at"].startswith("23")


async def loaded(client: Client) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = (await client.ask("GET /api/ps")).json()["models"]
    return models


async def test_a_client_that_leaves_frees_its_slot() -> None:
    async with simulated(ENDLESS) as client:
        connection = await started(client)
        assert client.simulator.inference.active == 1
        connection.close()
        answer = await generate(client, 3)
        assert answer["eval_count"] == 3
        assert client.simulator.inference.aborted == 1


async def test_a_client_that_leaves_the_queue_never_runs() -> None:
    async with simulated(ENDLESS) as client:
        holder = await started(client)
        queued = await client.begin("/api/generate", asked())
        await until(lambda: client.simulator.inference.waiting == 1)
        queued.close()
        await until(lambda: client.simulator.inference.waiting == 0)
        holder.close()
        await until(lambda: client.simulator.inference.active == 0)


async def test_a_client_that_leaves_kills_the_load() -> None:
    async with simulated(replace(FAST, load_seconds=60)) as client:
        connection = await client.begin("/api/generate", asked())
        await until(lambda: client.simulator.scheduler.loads == 1)
        connection.close()
        await until(lambda: client.simulator.scheduler.waiting_for_load == 0)
        assert await loaded(client) == []


async def test_a_full_queue_is_busy() -> None:
    async with simulated(replace(FAST, load_seconds=60, max_queue=1)) as client:
        first = await client.begin("/api/generate", asked())
        await until(lambda: client.simulator.scheduler.loads == 1)
        second: Response = await client.ask("/api/generate", asked())
        assert second.status == 503
        assert second.json()["error"].startswith("server busy")
        first.close()


async def test_a_full_house_unloads_the_one_that_expires_first() -> None:
    async with simulated(replace(FAST, max_loaded=1)) as client:
        await generate(client, 1)
        body = {"model": "nomic-embed-text", "input": "a"}
        assert (await client.ask("/api/embed", body)).status == 200
        assert [m["name"] for m in await loaded(client)] == ["nomic-embed-text:latest"]


async def test_a_known_beginning_is_not_read_again() -> None:
    async with simulated(replace(PACED, prefill_tokens_per_second=20_000)) as client:
        body = asked(1, stream=False) | {"prompt": "one two three " * 300}
        cold, warm = [(await client.ask("/api/generate", body)).json() for _ in range(2)]
        assert cold["prompt_eval_count"] == warm["prompt_eval_count"]
        assert warm["prompt_eval_duration"] < 0.8 * cold["prompt_eval_duration"]


async def test_an_answer_is_the_same_every_time() -> None:
    async with simulated() as client:
        answers = [(await generate(client))["response"] for _ in range(2)]
        assert answers[0] == answers[1]


def test_shared_prefix() -> None:
    assert [shared_prefix(*pair) for pair in (("", "a"), ("abc", "abd"), ("ab", "ab"))] == [0, 2, 2]


def test_the_rest_is_what_the_fields_leave() -> None:
    line = {"total_duration": 10, "load_duration": 1, "prompt_eval_duration": 2}
    assert rest(json.loads(json.dumps(line | {"eval_duration": 3}))) == 4
