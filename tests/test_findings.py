"""What users look for is found of real calls: an Ollama that is down, a model that is not there."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from ollama_proxy.simulator import Simulator, SimulatorOptions
from tests.guarantees.test_l2_upstream_trouble import closed_port
from tests.harness import PATIENCE, Proxy, running_proxy
from tests.test_loading import ask, generate

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
    assert [outage["opened_at"], outage["last_at"]] == [
        calls[-1]["started_at"],
        calls[0]["started_at"],
    ]
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
