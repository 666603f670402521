"""Whether a prompt was cut, told by having Ollama write it out, from outside and in numbers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ollama_proxy.admin.answers import json_errors
from ollama_proxy.admin.prompt_check import PromptCheck
from ollama_proxy.insights.prompt_cut import half_cut
from ollama_proxy.insights.rendered import by_rendering
from ollama_proxy.replay import Capture
from ollama_proxy.sensors.rendering import RenderingError, rendered
from ollama_proxy.simulator import Simulator, SimulatorOptions
from tests.admin.support import Stored, World
from tests.harness import Connection, Proxy, head_bytes, running_proxy
from tests.storage.calls import make_call

FAST = SimulatorOptions(
    models=("m",), tokens_per_second=0, prefill_tokens_per_second=0, load_seconds=0
)
WORDS = "one two three four five six seven eight nine ten " * 12


@asynccontextmanager
async def proxied(folder: Path, **settings: str) -> AsyncIterator[Proxy]:
    """The proxy before a simulator."""
    ollama = Simulator(FAST)
    try:
        async with running_proxy(await ollama.start(), folder, **settings) as proxy:
            yield proxy
    finally:
        await ollama.stop()


async def request(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
    headers = [("Host", f"127.0.0.1:{port}"), ("Content-Type", "application/json")]
    headers += [("Content-Length", str(len(body))), ("Connection", "close")]
    await connection.send(head_bytes(f"{method} {path} HTTP/1.1", headers) + body)
    head, _, answer = (await connection.read_to_end()).partition(b"\r\n\r\n")
    await connection.close()
    return int(head.split()[1]), answer


async def checked(proxy: Proxy, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    """Makes the call, then asks whether its prompt was cut."""
    sent = json.dumps({"model": "m", "stream": False, **body}).encode()
    status, _ = await request(proxy.port, "POST", path, sent)
    assert status == 200
    [call] = await proxy.calls(1)
    status, answer = await request(
        proxy.port, "POST", f"/admin/api/requests/{call['id']}/prompt_cut"
    )
    return status, json.loads(answer)


def messages(count: int) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": f"{n} {WORDS}"} for n in range(count)]


CASES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "dropped messages": ("/api/chat", {"messages": messages(9), "options": {"num_ctx": 900}}, True),
    "all of them": ("/api/chat", {"messages": messages(3), "options": {"num_ctx": 4096}}, False),
    "half a prompt": ("/api/generate", {"prompt": WORDS * 340, "options": {"num_ctx": 256}}, True),
    "a whole one": ("/api/generate", {"prompt": WORDS, "options": {"num_ctx": 4096}}, False),
}


@pytest.mark.parametrize("case", CASES)
async def test_of_a_call_that_was_kept_it_is_told(case: str, tmp_path: Path) -> None:
    path, body, cut = CASES[case]
    async with proxied(tmp_path, privacy_mode="full") as proxy:
        status, told = await checked(proxy, path, body)
        assert status == 200, told
        assert (told["cut"], told["rule"]) == (cut, "rendered")
        assert (told["tokens_lost"] is not None) == (case == "dropped messages")
        # The check itself is no call of anybody's.
        assert len(await proxy.get("requests")) == 1


async def test_of_a_call_that_was_not_kept_the_error_says_so(tmp_path: Path) -> None:
    async with proxied(tmp_path) as proxy:
        status, told = await checked(proxy, "/api/generate", {"prompt": "hi"})
        assert (status, "privacy mode full" in told["error"]) == (409, True)


async def test_another_origins_page_may_not_ask(tmp_path: Path) -> None:
    async with proxied(tmp_path) as proxy:
        connection = await proxy.client()
        host = f"127.0.0.1:{proxy.port}"
        headers = [("Host", host), ("Origin", "https://example.org"), ("Content-Length", "0")]
        path = "/admin/api/requests/01/prompt_cut"
        await connection.send(head_bytes(f"POST {path} HTTP/1.1", headers))
        assert b" 403 " in (await connection.read_head()).split(b"\r\n")[0]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_all_else_is_only_read(method: str, tmp_path: Path) -> None:
    async with proxied(tmp_path) as proxy:
        status, answer = await request(proxy.port, method, "/admin/api/requests")
        assert (status, b"the admin only reads" in answer) == (405, True)


def test_what_differs_are_dropped_messages_and_how_much_they_were_is_estimated() -> None:
    found = by_rendering("x" * 100, "x" * 250, tokens=40, context=64, keep=4)
    assert (found.cut, found.lost, found.estimated) == (True, 60, True)


@pytest.mark.parametrize("more", [0, 1])
def test_a_half_cut_is_told_by_its_count(more: int) -> None:
    tokens = half_cut(2048, 4 + more)
    assert by_rendering("x", "x", tokens=tokens, context=2048, keep=4).cut is True
    assert by_rendering("x", "x", tokens=tokens + 2, context=2048, keep=4).cut is False


def test_of_what_was_dropped_and_then_halved_the_loss_is_not_known() -> None:
    found = by_rendering("x", "xy", tokens=half_cut(2048, 4), context=2048, keep=4)
    assert (found.cut, found.lost) == (True, None)


def test_without_the_context_only_dropped_messages_are_seen() -> None:
    assert by_rendering("x", "x", tokens=40, context=None, keep=4).cut is None
    assert by_rendering("x", "xy", tokens=40, context=None, keep=4).cut is True


async def test_ollama_is_asked_with_the_calls_own_options_but_its_keep_alive() -> None:
    asked: list[dict[str, Any]] = []

    async def render(path: str, body: dict[str, Any]) -> str:
        asked.append(body)
        return "x"

    kept = {"model": "m", "prompt": "hi", "options": {"num_ctx": 512}, "keep_alive": 0}
    call = make_call(path="/api/generate", input_tokens=9)
    body = json.dumps(kept).encode()
    capture = Capture(id=call.id, method="POST", target=call.path, headers=[], body=body)
    world = World(stored=Stored(rows=[call], captures={call.id: capture}))
    app = web.Application()
    PromptCheck(world.api.history, render).add_routes(app)
    async with TestClient(TestServer(app)) as client:
        answer = await client.post(f"/api/requests/{call.id}/prompt_cut")
        assert (await answer.json())["cut"] is False
    del kept["keep_alive"]
    assert asked == [kept, kept | {"truncate": False}]


@pytest.mark.parametrize("body", [b"{,", b"[]", b"[" * 100_000])
async def test_what_was_kept_and_is_no_json_is_told_as_such(body: bytes) -> None:
    call = make_call(path="/api/generate", input_tokens=9)
    capture = Capture(id=call.id, method="POST", target=call.path, headers=[], body=body)
    world = World(stored=Stored(rows=[call], captures={call.id: capture}))

    async def never(path: str, body: dict[str, Any]) -> str:
        raise AssertionError("nothing can be asked")

    app = web.Application()
    app.middlewares.append(json_errors)
    PromptCheck(world.api.history, never).add_routes(app)
    async with TestClient(TestServer(app)) as client:
        answer = await client.post(f"/api/requests/{call.id}/prompt_cut")
        assert answer.status == 409 and "no JSON object" in (await answer.json())["error"]


async def test_one_check_is_made_at_a_time() -> None:
    begun, go = 0, asyncio.Event()

    async def render(path: str, body: dict[str, Any]) -> str:
        nonlocal begun
        begun += 1
        await go.wait()
        return "x"

    call = make_call(path="/api/generate", input_tokens=9)
    capture = Capture(id=call.id, method="POST", target=call.path, headers=[], body=b"{}")
    world = World(stored=Stored(rows=[call], captures={call.id: capture}))
    app = web.Application()
    PromptCheck(world.api.history, render).add_routes(app)
    async with TestClient(TestServer(app)) as client:
        path = f"/api/requests/{call.id}/prompt_cut"
        first = asyncio.ensure_future(client.post(path))
        while not begun:
            await asyncio.sleep(0)
        second = await client.post(path)
        assert (second.status, begun) == (503, 1)
        go.set()
        assert (await first).status == 200
        assert (await client.post(path)).status == 200


async def test_an_ollama_that_does_not_know_how_writes_one_token_at_most() -> None:
    asked: list[dict[str, Any]] = []

    async def answers(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response({"response": "a", "done": True})

    app = web.Application()
    app.router.add_post("/api/generate", answers)
    body = {"model": "m", "prompt": "hi", "options": {"num_ctx": 512, "num_predict": 900}}
    async with TestServer(app) as server:
        with pytest.raises(RenderingError, match="does not write out"):
            await rendered(str(server.make_url("")), "/api/generate", body, "me")
    assert asked[0]["options"] == {"num_ctx": 512, "num_predict": 1}


async def test_a_kept_prompt_follows_no_redirection() -> None:
    strangers: list[str] = []

    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(location=str(request.url.with_path("/stolen")))

    async def stolen(request: web.Request) -> web.Response:
        strangers.append(await request.text())
        return web.json_response({"_debug_info": {"rendered_template": "x"}})

    app = web.Application()
    app.router.add_post("/api/chat", moved)
    app.router.add_post("/stolen", stolen)
    async with TestServer(app) as server:
        with pytest.raises(RenderingError, match="status 307"):
            await rendered(str(server.make_url("")), "/api/chat", {"model": "m"}, "me")
    assert strangers == []


@pytest.mark.parametrize(
    "answer", [b"[" * 200_000, b'{"_debug_info":{"rendered_template":"\xff"}}']
)
async def test_what_is_no_rendering_is_told_as_such(answer: bytes) -> None:
    async def odd(request: web.Request) -> web.Response:
        return web.Response(body=answer)

    app = web.Application()
    app.router.add_post("/api/chat", odd)
    async with TestServer(app) as server:
        with pytest.raises(RenderingError, match="does not write out"):
            await rendered(str(server.make_url("")), "/api/chat", {"model": "m"}, "me")
