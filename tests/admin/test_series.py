"""`GET series` from outside: what passed the proxy is in its columns, also after a restart."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.simulator import Simulator, SimulatorOptions
from tests.admin.support import NOW, Stored, World, got, served
from tests.harness import PATIENCE, Proxy, head_bytes, running_proxy
from tests.processes import Program, serving

FAST = SimulatorOptions(tokens_per_second=1000, load_seconds=0)
SLOW = SimulatorOptions(tokens_per_second=5, load_seconds=0)


@asynccontextmanager
async def simulated(options: SimulatorOptions = FAST) -> AsyncIterator[str]:
    simulator = Simulator(options)
    try:
        yield await simulator.start()
    finally:
        await simulator.stop()


async def chat(proxy: Proxy | Program, model: str = "llama3.2", tokens: int = 3) -> None:
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": "x"}],
            "options": {"num_predict": tokens},
        }
    ).encode()
    client = await proxy.client()
    lines = [("Host", "localhost"), ("Content-Length", str(len(body)))]
    await client.send(head_bytes("POST /api/chat HTTP/1.1", lines) + body)
    await client.read_message()
    await client.close()


async def series(proxy: Proxy | Program, asked: str = "") -> dict[str, Any]:
    found: dict[str, Any] = await proxy.get(f"series{asked}")
    return found


async def stored(proxy: Proxy | Program, calls: int, asked: str = "") -> dict[str, Any]:
    """The series once it holds so many calls, what was stored before the start among them."""
    async with asyncio.timeout(PATIENCE):
        while sum((told := await series(proxy, asked))["n"]) < calls:
            await asyncio.sleep(0.02)
    return told


async def test_what_passed_is_in_the_columns(tmp_path: Path) -> None:
    async with simulated() as upstream, running_proxy(upstream, tmp_path) as proxy:
        before = time.time()
        for _ in range(6):
            await chat(proxy, tokens=4)
        await chat(proxy, model="no such model")
        told = await stored(proxy, 7)
        one = await stored(proxy, 6, "?model=LLAMA3.2:latest&since=15m")
    assert told["step"] == 60 and told["unfinished"] is True
    assert all(minute % 60 == 0 for minute in told["at"])
    assert before - 60 <= told["at"][0] <= told["at"][-1] <= told["now"]
    assert sum(told["calls"]["completed"]) == 6
    assert sum(told["calls"]["failed"]) == 1
    assert sum(told["output_tokens"]) == 24
    assert sum(told["duration"]["n"]) == 6  # how long it took to fail is no time of a model
    assert sum(told["time_to_first_token"]["n"]) == sum(told["tokens_per_second"]["n"]) == 6
    for group in ("calls", "duration", "running", "queue", "cpu", "memory", "gpu"):
        assert {len(column) for column in told[group].values()} == {len(told["at"])}
    assert one["model"] == "llama3.2:latest"
    assert sum(one["calls"]["completed"]) == 6 and sum(one["calls"]["failed"]) == 0


async def test_who_runs_and_who_waits_is_told_while_it_is_so(tmp_path: Path) -> None:
    settings = {"models_interval": "0.2", "timeouts_drain": "0"}
    async with (
        simulated(SLOW) as upstream,
        running_proxy(upstream, tmp_path, **settings) as proxy,
    ):
        calls = [asyncio.create_task(chat(proxy, tokens=1000)) for _ in range(3)]
        async with asyncio.timeout(PATIENCE):
            while True:
                told = await series(proxy)
                queue, memory = told["queue"]["max"][-1:], told["memory"]["host_bytes"][-1:]
                mean = told["running"]["mean"][-1:]  # of a minute that has just begun it is 0
                if queue and (queue[0] or 0) >= 2 and memory[0] and mean[0]:
                    break
                await asyncio.sleep(0.02)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    assert told["running"]["max"][-1] == 3
    assert 0 < told["running"]["mean"][-1] <= 3
    assert told["memory"]["host_bytes"][-1] > 0
    assert told["gpu"]["watts"][-1] is None


async def test_a_minute_in_which_nothing_ran_is_there_and_one_before_the_start_is_not(
    tmp_path: Path,
) -> None:
    began = time.time()
    async with (
        simulated() as upstream,
        running_proxy(upstream, tmp_path, models_interval="0.2") as proxy,
    ):
        async with asyncio.timeout(PATIENCE):
            while True:
                told = await series(proxy, "?since=15m")
                if any(told["memory"]["host_bytes"]):
                    break
                await asyncio.sleep(0.02)
    assert told["at"][0] > began - 60 and len(told["at"]) <= 2
    assert set(told["n"]) == set(told["running"]["max"]) == set(told["output_tokens"]) == {0}
    assert set(told["duration"]["p50"]) == {None}


async def test_each_call_is_in_the_series_once_after_kills_and_restarts(tmp_path: Path) -> None:
    async with simulated() as upstream:
        for kills in range(3):
            async with serving(tmp_path, upstream) as program:
                before = sum((await series(program))["n"])
                assert before == 5 * kills
                for _ in range(5):
                    await chat(program)
                await stored(program, before + 5)
                await program.kill()
        async with serving(tmp_path, upstream) as program:
            totals = await program.get("status")
            told = await series(program)
            assert await program.stop() == 0
        assert sum(told["n"]) == totals["total_requests"] == 15
        async with serving(tmp_path, upstream) as program:
            again = await series(program)
    assert sum(again["n"]) == 15
    assert [seconds for seconds in again["running"]["mean"] if seconds is not None]


async def test_a_call_that_a_kill_broke_off_is_interrupted_in_the_series(tmp_path: Path) -> None:
    async with simulated(SLOW) as upstream:
        async with serving(tmp_path, upstream) as program:
            call = asyncio.create_task(chat(program, tokens=1000))
            async with asyncio.timeout(PATIENCE):
                while not await program.get("requests?state=running"):
                    await asyncio.sleep(0.02)
            while not database_has_running(tmp_path):
                await asyncio.sleep(0.02)
            await program.kill()
            await asyncio.gather(call, return_exceptions=True)
        for _ in range(2):
            async with serving(tmp_path, upstream) as program:
                told = await series(program)
                assert (sum(told["n"]), sum(told["calls"]["interrupted"])) == (1, 1)


def database_has_running(folder: Path) -> bool:
    connection = sqlite3.connect(folder / "calls.sqlite3")
    try:
        return bool(connection.execute("SELECT 1 FROM calls WHERE state = 'running'").fetchall())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("step=7", "step=7: must be one of 1m, 5m, 15m, 1h, 6h, 1d"),
        ("since=3d&step=5m", "step=5m: what is older than two days is kept by the hour"),
        ("since=30h&step=1m", "step=1m: that is more than 1500 steps: ask for 5m or more"),
        ("since=1h&until=2h", "since: must be before until, and before now"),
        ("since=2100-01-01", "since: must be before until, and before now"),
        ("since=yesterday", "since=yesterday: must be a time"),
        ("model=", "model=: must be the name of a model"),
        ("limit=3", "limit: no such parameter here; it takes since, until, step, model"),
        ("step=1m&step=5m", "step: given more than once"),
    ],
)
async def test_what_cannot_be_told_is_refused_in_a_line(asked: str, says: str) -> None:
    async with served(World()) as client:
        told = await got(client, f"/api/series?{asked}", 400)
    assert told["error"].startswith(says) and "\n" not in told["error"]


@pytest.mark.parametrize("step", ["1h", "3600"])
async def test_a_step_is_asked_for_in_either_form(step: str) -> None:
    async with served(World()) as client:
        told = await got(client, f"/api/series?since=30d&until=1d&step={step}")
    assert (told["step"], told["at"], told["n"]) == (3600, [], [])
    assert (told["until"] - told["since"]) // 3600 in (696, 697)


async def test_nothing_is_told_of_the_time_to_come() -> None:
    async with served(World()) as client:
        told = await got(client, "/api/series?until=2100-01-01")
    assert NOW <= told["until"] < NOW + 60
    assert NOW - 3660 < told["since"] <= NOW - 3600


async def test_without_its_store_it_says_so() -> None:
    async with served(World(stored=Stored(broken=True))) as client:
        assert await got(client, "/api/series", 503) == {"error": "the store cannot be read now"}
