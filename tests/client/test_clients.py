"""Both clients, the one that waits and the one for asyncio, against a real proxy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ollama_proxy.client import (
    MonitorBadParameter,
    MonitorError,
    MonitorNotFound,
    MonitorUnauthorized,
)
from ollama_proxy.client.asking import PAGE
from ollama_proxy.records import Noted, Occurrence
from tests.client.support import TOKEN, Kind, asked, both, monitored
from tests.storage.calls import make_call


@both
async def test_it_tells_what_the_rest_tells(kind: Kind, tmp_path: Path) -> None:
    async with monitored(tmp_path) as proxy:
        await proxy.chat(User_Agent="chatty")
        await proxy.chat("missing")
        health = await asked(kind, proxy.url, "health")
        status = await asked(kind, proxy.url, "status")
        assert (health.status, status.total_requests, status.failed_requests) == ("ok", 2, 1)
        assert await asked(kind, proxy.url, "active") == []
        models = await asked(kind, proxy.url, "models")
        assert [model.stats.failed for model in models if model.name == "missing"] == [1]
        clients = await asked(kind, proxy.url, "clients")
        assert "chatty" in {client.name for client in clients}
        stats = await asked(kind, proxy.url, "stats")
        assert stats.models["m"].completed == stats.clients["chatty"].completed == 1
        series = await asked(kind, proxy.url, "series", since="1h", model="m")
        assert (series.model, len(series.calls.completed)) == ("m:latest", len(series.at))
        (failed,) = await asked(kind, proxy.url, "requests", state="failed", since=0.0)
        assert (failed.model, failed.reason, failed.response) == ("missing", "model_missing", None)
        call = await asked(kind, proxy.url, "request", failed.id)
        assert (call.error, call.waited_for) == (failed.error, [])


@both
async def test_findings(kind: Kind, tmp_path: Path) -> None:
    async with monitored(tmp_path) as proxy:
        calls = [make_call(client="patient") for _ in range(3)]
        waited = Occurrence(kind="waited", other="greedy", seconds=2.0)
        noted = [Noted(call.id, "llama3:8b", "patient", [waited]) for call in calls]
        proxy.app.core.store.write(calls, noted=noted)
        (found,) = await asked(kind, proxy.url, "insights", kind="waited", since=0.0)
        assert (found.client, found.other, found.count, found.seconds) == (
            "patient",
            "greedy",
            3,
            6,
        )
        assert await asked(kind, proxy.url, "insights", kind="looped") == []
        assert await asked(kind, proxy.url, "finding", found.id) == found


@both
async def test_it_is_asked_by_the_proxys_own_port_too_and_by_its_path(
    kind: Kind, tmp_path: Path
) -> None:
    async with monitored(tmp_path) as proxy:
        for url in (proxy.proxy, f"{proxy.proxy}/admin/", proxy.url.removeprefix("http://")):
            assert (await asked(kind, url, "status")).total_requests == 0


@both
async def test_all_calls_page_by_page(kind: Kind, tmp_path: Path) -> None:
    count = 2 * PAGE + 1
    async with monitored(tmp_path) as proxy:
        calls = [make_call() for _ in range(count)]
        proxy.app.core.store.write(calls)
        newest = [call.id for call in reversed(calls)]
        for limit, model in ((None, "llama3:8b"), (PAGE + 30, None), (3, None), (0, None)):
            rows = await asked(kind, proxy.url, "requests", limit=limit, model=model)
            assert [row.id for row in rows] == newest[:limit]
        rows = await asked(kind, proxy.url, "requests", sort="duration")
        assert sorted(row.id for row in rows) == sorted(newest)


@both
@pytest.mark.parametrize("method", ["requests", "insights"])
async def test_less_than_none_is_refused(kind: Kind, method: str) -> None:
    with pytest.raises(MonitorBadParameter, match="limit=-1: must be 0 or more"):
        await asked(kind, "http://127.0.0.1:9/admin", method, -1)


@both
async def test_a_running_call_is_ended_and_one_that_ended_is_not(
    kind: Kind, tmp_path: Path
) -> None:
    async with monitored(tmp_path) as proxy:
        calling = asyncio.create_task(proxy.chat(X_Simulate="stall-after=3"))
        while not (active := await asked(kind, proxy.url, "active")):
            pass
        (call,) = active
        assert (call.model, call.state) == ("m", "running")
        assert (await asked(kind, proxy.url, "cancel", call.id)).id == call.id
        await asyncio.gather(calling, return_exceptions=True)
        assert (await asked(kind, proxy.url, "request", call.id)).state == "cancelled"
        with pytest.raises(MonitorError, match="has ended") as raised:
            await asked(kind, proxy.url, "cancel", call.id)
        assert raised.value.status == 409


@both
async def test_what_is_wrong_is_said_in_the_monitors_words(kind: Kind, tmp_path: Path) -> None:
    async with monitored(tmp_path) as proxy:
        for method, more in (("requests", {"state": "odd"}), ("series", {"step": "7m"})):
            with pytest.raises(MonitorBadParameter, match=r"odd|7m"):
                await asked(kind, proxy.url, method, **more)
        for method in ("request", "cancel", "finding"):
            with pytest.raises(MonitorNotFound, match="no such"):
                await asked(kind, proxy.url, method, "0/../?\n")


@both
async def test_the_token(kind: Kind, tmp_path: Path) -> None:
    async with monitored(tmp_path, OLLAMA_PROXY_ADMIN_TOKEN=TOKEN) as proxy:
        for url in (proxy.url, proxy.proxy):
            assert (await asked(kind, url, "status", token=TOKEN)).total_requests == 0
            for token in (None, "another-token-of-letters"):
                with pytest.raises(MonitorUnauthorized, match=r"asks for its token.* token=$"):
                    await asked(kind, url, "status", token=token)
