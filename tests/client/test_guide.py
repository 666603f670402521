"""The four functions for scripts: plain dicts, and nothing where no monitor tells."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.client import (
    MonitorWarning,
    get_active_requests,
    get_model_performance,
    get_monitor_status,
    get_recent_requests,
)
from ollama_proxy.client.asking import PAGE
from tests.client.support import TOKEN, as_json, monitored, told
from tests.client.test_strangers import DOWN, FOREIGN, HANGING
from tests.harness import Connection, ScriptedUpstream
from tests.storage.calls import make_call

NOTHING: dict[Callable[..., Any], Any] = {
    get_monitor_status: None,
    get_active_requests: [],
    get_recent_requests: [],
    get_model_performance: {},
}
functions = pytest.mark.parametrize("function", NOTHING)


async def tell(function: Callable[..., Any], *args: Any, **more: Any) -> tuple[Any, list[Any]]:
    """What it returns, and its warnings."""

    def ask() -> Any:
        return function(*args, **more)  # where the warnings are of

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        answer = await asyncio.to_thread(ask)
    return answer, said


async def test_what_they_tell(tmp_path: Path) -> None:
    async with monitored(tmp_path) as proxy:
        for model in ("m", "m", "other", "missing"):
            await proxy.chat(model)
        calling = asyncio.create_task(proxy.chat(X_Simulate="stall-after=3"))
        while not (active := (await tell(get_active_requests, url=proxy.url))[0]):
            pass
        assert [(call["model"], call["state"]) for call in active] == [("m", "running")]
        assert active[0]["phase_seconds"] >= 0
        status, said = await tell(get_monitor_status, url=proxy.url)
        assert (status["total_requests"], status["failed_requests"]) == (5, 1)
        assert status["avg_response_time"] > 0 and "waiting" in status and not said
        recent, _ = await tell(get_recent_requests, 3, url=proxy.url)
        assert [call["model"] for call in recent] == ["m", "missing", "other"]
        performance, _ = await tell(get_model_performance, url=proxy.url)
        assert {name: one["requests"] for name, one in performance.items()} == {
            "m": 2,
            "other": 1,
            "missing": 1,
        }
        assert performance["m"]["duration"]["mean"] > 0
        calling.cancel()


async def test_ten_calls_unless_more_are_asked_for(tmp_path: Path) -> None:
    async with monitored(tmp_path) as proxy:
        calls = [make_call() for _ in range(PAGE + 7)]
        proxy.app.core.store.write(calls)
        newest = [call.id for call in reversed(calls)]
        assert [one["id"] for one in (await tell(get_recent_requests, url=proxy.url))[0]] == (
            newest[:10]
        )
        for limit in (PAGE + 3, 10_000, 1, 0, -1):
            rows, said = await tell(get_recent_requests, limit, url=proxy.url)
            assert [one["id"] for one in rows] == newest[: max(limit, 0)] and not said


@functions
@pytest.mark.parametrize("what", sorted(DOWN.keys() - HANGING.keys()))
async def test_nothing_is_said_of_one_that_is_down(function: Any, what: str) -> None:
    async with ScriptedUpstream(DOWN[what][0]) as other:
        assert await tell(function, url=f"{other.url}/admin") == (NOTHING[function], [])


async def test_one_that_hangs_is_not_waited_for() -> None:
    """All at once, since that takes seconds."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as others:
        with ThreadPoolExecutor(4 * len(HANGING)) as threads:
            asked = []
            for stranger in HANGING.values():
                url = f"{(await others.enter_async_context(ScriptedUpstream(stranger))).url}/admin"
                for function in NOTHING:
                    asked.append(loop.run_in_executor(threads, partial(function, url=url)))
            assert await asyncio.gather(*asked) == [*NOTHING.values()] * len(HANGING)


async def test_a_search_without_an_end_is_left() -> None:
    pages = count()

    async def onward(connection: Connection) -> None:
        await asyncio.sleep(0.1)
        link = b'Link: <?before=%d>; rel="next"' % next(pages)
        await told(connection, b"[]", link, b"X-Ollama-Proxy-Scanned-To: x")

    async with ScriptedUpstream(onward) as other:
        rows, (warning,) = await tell(get_recent_requests, url=f"{other.url}/admin")
    assert rows == [] and "take too long" in str(warning.message)


@pytest.mark.parametrize(
    ("value", "known"),
    [(b'{"a": [1]}', True), (b"9" * 6000, False), (b'"\xff"', False), (b"NaN", False)],
)
async def test_a_field_that_is_not_known(value: bytes, known: bool, tmp_path: Path) -> None:
    """It is told as it is, or that this is no monitor's answer."""
    async with monitored(tmp_path) as proxy:
        status, _ = await tell(get_monitor_status, url=proxy.url)
    body = as_json(status)[:-1] + b', "new": ' + value + b"}"
    async with ScriptedUpstream(lambda connection: told(connection, body)) as other:
        answer, said = await tell(get_monitor_status, url=f"{other.url}/admin")
    assert answer == ((status | {"new": json.loads(value)}) if known else None)
    assert known or "no proxy's monitor" in str(said[0].message)


@functions
@pytest.mark.parametrize("what", sorted(FOREIGN.keys() - {"endless"}))
async def test_another_program_is_named(function: Any, what: str) -> None:
    async with ScriptedUpstream(FOREIGN[what][0]) as other:
        if what == "a list" and NOTHING[function] == []:
            pytest.skip("that is one of no calls")
        answer, (warning,) = await tell(function, url=f"{other.url}/admin")
    assert answer == NOTHING[function]
    assert "no proxy's monitor" in str(warning.message)


@functions
async def test_a_wrong_token_is_told_where_it_was_used(function: Any, tmp_path: Path) -> None:
    async with monitored(tmp_path, OLLAMA_PROXY_ADMIN_TOKEN=TOKEN) as proxy:
        right, said = await tell(function, url=proxy.url, token=TOKEN)
        assert right is not None and not said
        answer, (warning,) = await tell(function, url=proxy.url, token="wrong" * 5)
    assert answer == NOTHING[function]
    assert warning.category is MonitorWarning and "asks for its token" in str(warning.message)
    assert warning.filename == __file__


@functions
async def test_what_is_no_address_is_told(function: Any) -> None:
    answer, (warning,) = await tell(function, url="ftp://x")
    assert answer == NOTHING[function]
    assert "expected http://HOST:PORT" in str(warning.message)


async def test_a_store_that_cannot_be_read_is_told() -> None:
    body = b'{"error": "the store cannot be read now"}'
    async with ScriptedUpstream(
        lambda connection: told(connection, body, status=b"503 Service Unavailable")
    ) as other:
        answer, (warning,) = await tell(get_recent_requests, url=f"{other.url}/admin")
    assert answer == [] and "the store cannot be read now" in str(warning.message)


async def test_a_list_that_may_lack_calls_says_so() -> None:
    async with ScriptedUpstream(
        lambda connection: told(connection, b"[]", b"X-Ollama-Proxy-Incomplete: no disk")
    ) as other:
        answer, (warning,) = await tell(get_recent_requests, url=f"{other.url}/admin")
    assert answer == [] and "calls may be missing: no disk" in str(warning.message)
