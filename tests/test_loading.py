"""A call whose model must be loaded waits for others, and Ollama calls that loading.

On the simulator, whose scheduler has Ollama's order; Ollama's own figures come from it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.simulator import Simulator, SimulatorOptions
from tests.harness import PATIENCE, Proxy, head_bytes, running_proxy

ROOM_FOR_ONE = SimulatorOptions(
    models=("big", "small", "nomic-embed-text"),
    tokens_per_second=50,
    load_seconds=0.5,
    max_loaded=1,
)
LONG, SHORT = 60, 5  # tokens: 1.2 and 0.1 seconds


async def ask(proxy: Proxy, who: str, body: dict[str, Any], path: str = "/api/generate") -> Any:
    """The last object of the answer."""
    data = json.dumps({"prompt": "x", "stream": False} | body).encode()
    client = await proxy.client()
    headers = [("Host", f"127.0.0.1:{proxy.port}"), ("Content-Length", str(len(data)))]
    await client.send(head_bytes(f"POST /app/{who}{path} HTTP/1.1", headers) + data)
    _, answer = await client.read_message()
    await client.close()
    return json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])  # chunked or not


def generate(model: str, tokens: int, **options: int) -> dict[str, Any]:
    return {"model": model, "options": {"num_predict": tokens} | options}


async def phase_of(proxy: Proxy, who: str, *wanted: str) -> str:
    """Its phase, once it is one of those."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = [one for one in await proxy.get("active") if one["client"] == who]
            if found and found[0]["phase"] in wanted:
                return str(found[0]["phase"])
            await asyncio.sleep(0.01)


async def told(proxy: Proxy, who: str) -> dict[str, Any]:
    """Its newest call, once it is known for whom it waited."""
    async with asyncio.timeout(PATIENCE):
        while True:
            [newest, *_] = await proxy.get(f"requests?client={who}")
            call: dict[str, Any] = await proxy.get(f"requests/{newest['id']}")
            if call["waited_for"]:
                return call
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("late", "path", "reason"),
    [
        (generate("small", SHORT), "/api/generate", "room"),
        ({"model": "nomic-embed-text", "input": "x"}, "/api/embed", "room"),
        (generate("big", SHORT, num_ctx=1024), "/api/generate", "reload"),
    ],
)
async def test_a_wait_within_a_load_is_a_wait(
    late: dict[str, Any], path: str, reason: str, tmp_path: Path
) -> None:
    simulator = Simulator(ROOM_FOR_ONE)
    try:
        async with running_proxy(await simulator.start(), tmp_path) as proxy:
            await ask(proxy, "batch.py", generate("big", SHORT))
            long = asyncio.create_task(ask(proxy, "batch.py", generate("big", LONG)))
            await phase_of(proxy, "batch.py", "reading", "working")
            answer = await ask(proxy, "late.py", late, path)
            await long
            call = await told(proxy, "late.py")
    finally:
        await simulator.stop()
    waited = call["insights"]["load_wait"]
    assert waited["reason"] == reason
    # What Ollama told is there, none of it lost; most of it was no loading.
    assert call["load"] + waited["seconds"] == pytest.approx(answer["load_duration"] / 1e9)
    assert call["queue"] >= waited["seconds"] > call["load"] > 0.25
    [one] = call["waited_for"]
    assert (one["client"], one["kind"]) == ("batch.py", reason)
    assert one["seconds"] == pytest.approx(waited["seconds"], rel=0.02)


async def test_while_it_waits_it_is_not_said_to_be_served(tmp_path: Path) -> None:
    simulator = Simulator(ROOM_FOR_ONE)
    try:
        async with running_proxy(await simulator.start(), tmp_path) as proxy:
            await ask(proxy, "batch.py", generate("big", SHORT))
            long = asyncio.create_task(ask(proxy, "batch.py", generate("big", LONG)))
            await phase_of(proxy, "batch.py", "reading", "working")
            other = asyncio.create_task(ask(proxy, "late.py", generate("big", SHORT, num_ctx=1024)))
            await proxy.calls(1)  # from the first it is known how the model is loaded
            inferred = ("waiting_to_load", "loading", "reading", "queued", "working")
            assert await phase_of(proxy, "late.py", *inferred) == "waiting_to_load"
            # Who asks for the same as before is served at once.
            await ask(proxy, "swift.py", generate("big", 1))
            await long
            assert await phase_of(proxy, "late.py", "loading")
            await other
            swift = (await proxy.get("requests?client=swift.py"))[0]
    finally:
        await simulator.stop()
    assert swift["load"] < 0.3


async def test_one_model_is_loaded_after_the_other(tmp_path: Path) -> None:
    """There is room for both, and still the second load waits for the first."""
    simulator = Simulator(replace(ROOM_FOR_ONE, max_loaded=3))
    try:
        async with running_proxy(await simulator.start(), tmp_path) as proxy:
            first = asyncio.create_task(ask(proxy, "first.py", generate("big", SHORT)))
            await phase_of(proxy, "first.py", "waiting", "loading")
            answer = await ask(proxy, "late.py", generate("small", SHORT))
            await first
            call = await told(proxy, "late.py")
    finally:
        await simulator.stop()
    waited = call["insights"]["load_wait"]
    assert (waited["reason"], waited["models"]) == ("load", ["big:latest"])
    assert call["load"] + waited["seconds"] == pytest.approx(answer["load_duration"] / 1e9)
    assert 0.25 < call["load"] < 0.9
    assert [(one["client"], one["kind"]) for one in call["waited_for"]] == [("first.py", "load")]


async def test_who_waits_along_for_a_load_is_no_second_cold_start(tmp_path: Path) -> None:
    simulator = Simulator(replace(ROOM_FOR_ONE, parallel=4))
    try:
        async with running_proxy(await simulator.start(), tmp_path) as proxy:
            await asyncio.gather(*(ask(proxy, f"{n}.py", generate("big", SHORT)) for n in range(4)))
            await proxy.calls(4)
            totals = (await proxy.get("stats"))["all"]
    finally:
        await simulator.stop()
    assert totals["cold_starts"] == 1
    assert 0.25 < totals["load_seconds"] < 0.9
