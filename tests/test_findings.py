"""What users look for is found of real calls: an Ollama that is down, a model that is not there."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from ollama_proxy.exchange import Call
from ollama_proxy.ids import iso, moment_of
from ollama_proxy.insights.occurring import kinds
from ollama_proxy.records import Noted, Occurrence
from ollama_proxy.simulator import Simulator, SimulatorOptions
from ollama_proxy.storage.folder import DATABASE
from ollama_proxy.storage.sqlite import SqliteStore
from tests.guarantees.test_l2_upstream_trouble import closed_port
from tests.harness import PATIENCE, Proxy, running_proxy
from tests.storage.calls import make_call
from tests.storage.test_findings import begun
from tests.test_loading import ask, generate, phase_of

FAST = SimulatorOptions(
    models=("m",), tokens_per_second=0, prefill_tokens_per_second=0, load_seconds=0
)


async def found(proxy: Proxy, count: int, query: str = "since=1h") -> list[dict[str, Any]]:
    """The findings, once they name so many calls."""
    async with asyncio.timeout(PATIENCE):
        while True:
            rows: list[dict[str, Any]] = await proxy.get(f"insights?{query}")
            if sum(row["count"] for row in rows) == count:
                return rows
            await asyncio.sleep(0.02)


def waited(ago: float, seconds: float, other: str) -> tuple[Call, Noted]:
    """A call so long ago that waited for a client."""
    began = time.time() - ago
    call = begun(began, client="late.py")
    waits = [Occurrence(kind="waited", other=other, seconds=seconds)]
    return call, Noted(call.id, call.model, call.client, waits)


async def page(proxy: Proxy, address: str) -> str:
    """What a reader without script sees."""
    url = f"http://127.0.0.1:{proxy.port}/admin/{address}"
    async with ClientSession() as client, client.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


@pytest.mark.parametrize(
    ("address", "sentence", "pairs"),
    [
        ("?since=1h", "late.py waited 30\xa0s for busy.py", ["busy.py"]),
        ("", "late.py waited 10 min for night.py", ["night.py", "busy.py"]),
        ("?since=1y", "late.py waited 10 min for night.py", ["night.py", "busy.py"]),
        (
            "?since=7d",
            "late.py waited 1\xa0h\xa040\xa0min for batch.py",
            ["batch.py", "night.py", "busy.py"],
        ),
    ],
)
async def test_which_script_made_ollama_slow_is_told_of_the_span_that_is_asked_for(
    address: str, sentence: str, pairs: list[str], tmp_path: Path
) -> None:
    rows = [
        waited(600, 30.0, "busy.py"),
        waited(2 * 3600, 600.0, "night.py"),
        waited(3 * 86400, 6000.0, "batch.py"),
    ]
    store = SqliteStore(tmp_path / DATABASE)
    store.open()
    store.write([call for call, _ in rows], noted=[noted for _, noted in rows])
    store.close()
    async with running_proxy(f"http://127.0.0.1:{closed_port()}", tmp_path) as proxy:
        html = await page(proxy, address)
    told = re.findall(r'data-f="text">(late\.py[^<]*)', html)
    assert len(told) == len(pairs)
    assert told[0].startswith(sentence)
    others = re.findall(r'data-f="other"[^>]*>([^<]+)', html)
    assert others == pairs
    span = address.removeprefix("?since=") if address in ("?since=1h", "?since=7d") else "1d"
    assert f'<a href="?since={span}#findings" aria-current="true">' in html


async def test_a_call_that_waited_says_so_and_is_found_by_it(tmp_path: Path) -> None:
    simulator = Simulator(replace(FAST, tokens_per_second=50))
    try:
        async with running_proxy(await simulator.start(), tmp_path) as proxy:
            await ask(proxy, "first.py", generate("m", 1))
            long = asyncio.create_task(ask(proxy, "long.py", generate("m", 60)))
            await phase_of(proxy, "long.py", "reading", "working")
            await ask(proxy, "late.py", generate("m", 1))
            await long
            await found(proxy, 1, "since=1h&kind=waited")
            calls = await proxy.get("requests")
            listed = await proxy.get("requests?insight=waited")
            html = await page(proxy, "requests?insight=waited")
    finally:
        await simulator.stop()
    assert {call["client"]: call["found"] for call in calls} == {
        "late.py": ["waited"],
        "long.py": None,
        "first.py": None,
    }
    assert [call["client"] for call in listed] == ["late.py"]
    assert re.findall(r'data-f="found"[^>]*>([^<]+)', html) == ["waited"]


@pytest.mark.parametrize(
    ("queue", "duration", "marked"),
    [
        (None, 9.0, False),
        (0.49, 1.0, False),
        (0.5, 2.5, True),
        (0.5, 2.6, False),
        (9.0, None, True),
    ],
)
def test_a_wait_is_worth_a_word_from_half_a_second_and_a_fifth_on(
    queue: float | None, duration: float | None, marked: bool
) -> None:
    told = kinds(make_call(queue=queue, duration=duration))
    assert told == (["waited"] if marked else None)


async def test_an_outage_is_one_finding_whoever_met_it(tmp_path: Path) -> None:
    async with running_proxy(f"http://127.0.0.1:{closed_port()}", tmp_path) as proxy:
        for who in ("signals.py", "backtest.py", "signals.py"):
            await ask(proxy, who, generate("m" if who == "signals.py" else "other", 1))
        [outage] = await found(proxy, 3)
        calls = await proxy.get(f"requests?finding={outage['id']}")
        same = await proxy.get("requests?insight=outage")
    assert (outage["kind"], outage["count"], outage["of"]) == ("outage", 3, 3)
    assert (outage["model"], outage["client"]) == (None, None)
    assert [call["client"] for call in calls] == ["signals.py", "backtest.py", "signals.py"]
    assert same == calls
    assert calls[0]["found"] == ["outage"]
    ends = [iso(moment_of(call["id"])) for call in (calls[-1], calls[0])]
    assert [outage["opened_at"], outage["last_at"]] == ends
    assert "3 calls failed" in outage["text"]["en"]


async def test_a_client_that_works_out_its_context_is_one_finding(tmp_path: Path) -> None:
    simulator = Simulator(replace(FAST, load_seconds=0.15))
    try:
        async with running_proxy(await simulator.start(), tmp_path) as proxy:
            for context in range(1000, 1500, 100):
                await ask(proxy, "fixed.py", generate("m", 1, num_ctx=4096))
                await ask(proxy, "free.py", generate("m", 1, num_ctx=context))
            query = "since=1h&kind=reload_options&client=free.py"
            [one] = await found(proxy, 5, query)
    finally:
        await simulator.stop()
    assert (one["other"], one["detail"], one["count"]) == ("fixed.py", "num_ctx", 5)
    [option] = one["options"]
    assert option["old"] == {"values": ["4096"], "others": 0}
    assert option["new"]["others"] == 2 and "1400" in option["new"]["values"]
    assert "set num_ctx to 4096" in one["text"]["en"]


async def loaded_with(proxy: Proxy, context: int) -> None:
    """Until a look has found a model in memory with this context."""
    async with asyncio.timeout(PATIENCE):
        while context not in [one["context_length"] for one in await proxy.get("models")]:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("options", [{}, {"num_ctx": 4096}])
async def test_what_goes_past_the_proxy_is_not_put_down_to_a_client(
    options: dict[str, int], tmp_path: Path
) -> None:
    simulator = Simulator(replace(FAST, load_seconds=0.15))
    try:
        upstream = await simulator.start()
        async with (
            running_proxy(upstream, tmp_path, models_interval="0.2") as proxy,
            ClientSession() as past,
        ):
            for _ in range(2):  # each time it loads the model again
                async with asyncio.timeout(PATIENCE):
                    while await context_of(proxy, options) != 4096:
                        await asyncio.sleep(0.05)
                await loaded_with(proxy, 4096)
                body = {"model": "m", "prompt": "x", "options": {"num_ctx": 8192}}
                async with past.post(f"{upstream}/api/generate", json=body) as answer:
                    await answer.read()
                await loaded_with(proxy, 8192)
                assert await context_of(proxy, options) == 4096
            [one] = await found(proxy, 2, "since=1h&kind=reload_bypass")
            assert not await proxy.get("insights?since=1h&kind=reload_options")
            call = await proxy.get(f"requests/{one['calls'][0]}")
    finally:
        await simulator.stop()
    assert (one["client"], one["other"]) == ("signals.py", None)
    assert (
        "because something that goes past the proxy had loaded it with num_ctx 8192"
        in (one["text"]["en"])
    )
    assert call["insights"]["reload"]["changed"] == {"num_ctx": [8192, 4096]}
    assert call["insights"]["reload"]["by"] is None


async def context_of(proxy: Proxy, options: dict[str, int]) -> int | None:
    """That of one more call, as far as it is known."""
    await ask(proxy, "signals.py", generate("m", 1, **options))
    newest = (await proxy.get("requests"))[0]
    told: int | None = (await proxy.get(f"requests/{newest['id']}"))["insights"]["prompt_cut"][
        "context"
    ]
    return told


async def test_a_model_that_is_not_there_is_found_for_each_client(tmp_path: Path) -> None:
    simulator = Simulator(FAST)
    try:
        async with running_proxy(await simulator.start(), tmp_path) as proxy:
            await ask(proxy, "signals.py", generate("m", 1))
            for who in ("signals.py", "backtest.py", "signals.py"):
                await ask(proxy, who, generate("gone:7b", 1))
            most, least = await found(proxy, 3)
            calls = await proxy.get(f"requests?finding={most['id']}")
    finally:
        await simulator.stop()
    assert [(row["kind"], row["model"]) for row in (most, least)] == [
        ("model_missing", "gone:7b")
    ] * 2
    assert (most["client"], most["count"], most["of"]) == ("signals.py", 2, 2)
    assert (least["client"], least["count"]) == ("backtest.py", 1)
    assert [call["status_code"] for call in calls] == [404, 404]
    assert "ollama pull gone:7b" in most["text"]["en"]
    assert "ollama pull gone:7b" in most["text"]["it"]
