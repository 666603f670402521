"""L10: a call that an operator stops frees the model at once, in whatever phase; its client gets an
error, never a clean end; it ends once, as `cancelled` by the `operator`."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.simulator import Simulator, SimulatorOptions
from tests.harness import (
    PATIENCE,
    Connection,
    Proxy,
    between,
    chunk,
    head_bytes,
    running_proxy,
)

CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
ASKS_FOR_NO_USAGE = b'{"model":"m","stream":true,"messages":[]}'
LINE = b'{"model":"m","message":{"role":"assistant","content":"w"},"done":false}\n'
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def post(path: str, body: bytes) -> bytes:
    lines = [("Host", "localhost"), ("Content-Length", str(len(body)))]
    return head_bytes(f"POST {path} HTTP/1.1", lines) + body


async def ask(proxy: Proxy, method: str, path: str, **headers: str) -> tuple[int, Any]:
    """An answer of the admin."""
    lines = [("Host", f"127.0.0.1:{proxy.port}"), ("Content-Length", "0")]
    lines += [(name.replace("_", "-"), value) for name, value in headers.items()]
    connection = await proxy.client()
    await connection.send(head_bytes(f"{method} /admin/api/{path} HTTP/1.1", lines))
    head, body = await connection.read_message()
    await connection.close()
    return int(head.split()[1]), json.loads(body)


async def cancelled(proxy: Proxy) -> dict[str, Any]:
    """Stops the only call that runs; its row, as the answer has it."""
    async with asyncio.timeout(PATIENCE):
        while len(active := await proxy.get("active")) != 1:
            await asyncio.sleep(0.005)
    status, row = await ask(proxy, "POST", f"requests/{active[0]['id']}/cancel")
    assert status == 200, row
    assert await proxy.get("active") == []
    found: dict[str, Any] = row
    return found


async def assert_recorded(proxy: Proxy, row: dict[str, Any]) -> None:
    """The row is that of an operator's cancel, and the only one that is told of this call."""
    assert (row["state"], row["reason"]) == ("cancelled", "operator")
    assert "operator" in row["error"]
    assert row["duration"] is not None
    (recorded,) = await proxy.calls(1)
    assert recorded.items() <= row.items()
    status = await proxy.get("status")
    assert (status["cancelled_requests"], status["total_requests"]) == (1, 1)
    assert (status["failed_requests"], status["success_rate"]) == (0, None)


def assert_told(head: bytes, body: bytes) -> None:
    """The client was told who ended its call, and that it should not send it again."""
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json")
    assert b"\r\nX-Ollama-Proxy-Error: operator\r\n" in head
    assert b"\r\nX-Should-Retry: false\r\n" in head
    assert b"operator stopped this call" in body


@asynccontextmanager
async def nobody_accepts() -> AsyncIterator[str]:
    """The address of a port that takes no more connections, and does not refuse them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for one in waiting:
            one.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full port refuses")
async def test_while_it_connects(tmp_path: Path) -> None:
    async with nobody_accepts() as url, running_proxy(url, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(post("/api/chat", CHAT))
        row = await cancelled(proxy)
        assert_told(*await client.read_message())
        await assert_recorded(proxy, row)


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages", "/api/pull"])
async def test_before_the_answer(path: str, tmp_path: Path) -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    async def script(upstream: Connection) -> None:
        while True:
            await upstream.read_message()
            if asked.is_set():
                await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                return
            asked.set()
            await upstream.closed()
            closed.set()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(post(path, CHAT))
        await asyncio.wait_for(asked.wait(), PATIENCE)
        row = await cancelled(proxy)
        await asyncio.wait_for(closed.wait(), PATIENCE)
        head, body = await client.read_message()
        assert_told(head, body)
        error = json.loads(body)["error"]
        assert isinstance(error, dict) is path.startswith("/v1/")
        await assert_recorded(proxy, row)
        # Its connection may carry the next call.
        await client.send(post("/api/chat", CHAT))
        assert (await client.read_head()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("asks", [False, True], ids=["passed on as it comes", "gathered first"])
async def test_during_its_upload(asks: bool, tmp_path: Path) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        arrived.set()
        await upstream.closed()
        closed.set()

    async with between(script, tmp_path, inject_usage=str(asks).lower()) as proxy:
        client = await proxy.client()
        await client.send(post("/v1/chat/completions", ASKS_FOR_NO_USAGE)[:-5])
        if not asks:
            await asyncio.wait_for(arrived.wait(), PATIENCE)
        row = await cancelled(proxy)
        if not asks:
            await asyncio.wait_for(closed.wait(), PATIENCE)
        answer = await client.read_to_end()  # what is missing of the request may never come
        assert_told(*answer.split(b"\r\n\r\n", 1))
        await assert_recorded(proxy, row)


async def test_while_its_upload_is_held_back(tmp_path: Path) -> None:
    """The upstream does not read, so neither does the proxy: its answer arrives all the same."""

    async def script(upstream: Connection) -> None:
        upstream.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        client.writer.transport.set_write_buffer_limits(0)
        await client.send(post("/api/blobs/sha256:0", b"")[:-5] + b"999999999\r\n\r\n")
        try:
            async with asyncio.timeout(1):
                while True:
                    client.writer.write(bytes(1 << 16))
                    await client.writer.drain()
        except TimeoutError:
            pass  # full: nobody reads any more
        row = await cancelled(proxy)
        assert_told(await client.read_head(), await client.read_until(b"}"))
        await assert_recorded(proxy, row)
        client.reset()


FRAMINGS = {
    "chunked": (STREAM + chunk(LINE) * 3, None),
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + LINE, None),
    "until it closes": (b"HTTP/1.1 200 OK\r\n\r\n" + LINE, ConnectionResetError),
    "head alone": (STREAM, None),
}


@pytest.mark.parametrize("path", ["/api/chat", "/api/pull", "/api/create"])
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_an_answer_that_has_begun_is_broken_off(
    framing: str, path: str, tmp_path: Path
) -> None:
    """By a missing end, or where only closing ends it, by a reset."""
    begun, broken = FRAMINGS[framing]
    closed = asyncio.Event()

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(begun)
        await upstream.closed()
        closed.set()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(post(path, CHAT))
        head = await client.read_head()
        body = await client.read(len(begun.partition(b"\r\n\r\n")[2]))
        row = await cancelled(proxy)
        await asyncio.wait_for(closed.wait(), PATIENCE)
        if broken is None:
            assert await client.read_to_end() == b""
        else:
            with pytest.raises(broken):
                await client.read_to_end()
        await assert_recorded(proxy, row)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == begun.partition(b"\r\n\r\n")[2]
    assert row["status_code"] == 200
    if path == "/api/chat" and framing == "chunked":
        assert row["output_chunks"] == 3


async def test_an_edited_answer_is_broken_off_too(tmp_path: Path) -> None:
    event = b'data: {"choices":[{"delta":{"content":"w"}}]}\n\n'
    head = STREAM.replace(b"application/x-ndjson", b"text/event-stream")

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(head + chunk(event) + chunk(event)[:9])
        await upstream.closed()

    async with between(script, tmp_path, inject_usage="true") as proxy:
        client = await proxy.client()
        await client.send(post("/v1/chat/completions", ASKS_FOR_NO_USAGE))
        await client.read_head()
        await client.read(len(chunk(event)))
        row = await cancelled(proxy)
        assert b"\r\n0\r\n" not in await client.read_to_end()
        await assert_recorded(proxy, row)


async def test_the_model_is_freed_though_the_client_does_not_read(tmp_path: Path) -> None:
    full, freed = asyncio.Event(), asyncio.Event()

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")
        upstream.writer.transport.set_write_buffer_limits(0)
        try:
            while True:
                upstream.writer.write(bytes(1 << 16))
                try:
                    await asyncio.wait_for(upstream.writer.drain(), 1)
                except TimeoutError:
                    full.set()
        except ConnectionError:
            freed.set()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(post("/api/chat", CHAT))
        await asyncio.wait_for(full.wait(), PATIENCE)
        row = await cancelled(proxy)
        await asyncio.wait_for(freed.wait(), PATIENCE)
        answer = await client.read_to_end()
        await assert_recorded(proxy, row)
    assert len(answer) < 9999999999


async def test_a_call_ends_once_whoever_is_first(tmp_path: Path) -> None:
    """Its last bytes, its client's leaving and two operators come at about the same time."""
    go = asyncio.Event()
    end = b'{"model":"m","done":true,"eval_count":1,"prompt_eval_count":1}\n'

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(STREAM + chunk(LINE))
        await go.wait()
        await upstream.send(chunk(end) + b"0\r\n\r\n")
        await upstream.closed()

    async with between(script, tmp_path) as proxy:
        clients = [await proxy.client() for _ in range(30)]
        for client in clients:
            await client.send(post("/api/chat", CHAT))
            await client.read_head()
        running = [call["id"] for call in await proxy.get("active")]
        assert len(running) == len(clients)
        # Connections of their own are open, so that what follows comes close together.
        operators = [await proxy.client() for _ in range(2 * len(running))]
        host = [("Host", f"127.0.0.1:{proxy.port}"), ("Content-Length", "0")]
        go.set()
        for number, operator in enumerate(operators):
            path = f"/admin/api/requests/{running[number // 2]}/cancel"
            await operator.send(head_bytes(f"POST {path} HTTP/1.1", host))
            if number % 6 == 0:
                clients[number // 2].reset()
        said = [int((await operator.read_message())[0].split()[1]) for operator in operators]
        calls = await proxy.calls(len(running))
        status = await proxy.get("status")
    assert set(said) <= {200, 409}
    by_operator = [call for call in calls if call["reason"] == "operator"]
    assert said.count(200) == len(by_operator)
    assert sorted(call["id"] for call in calls) == sorted(running)
    assert {call["state"] for call in calls} <= {"completed", "cancelled"}
    assert status["total_requests"] == len(running)
    assert status["cancelled_requests"] + status["completed_requests"] == len(running)


async def test_of_a_call_that_has_ended_or_never_was_the_answer_says_so(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(post("/x", b""))
        await client.read_message()
        (call,) = await proxy.calls(1)
        path = f"requests/{call['id']}/cancel"
        assert await ask(proxy, "POST", path) == (
            409,
            {"error": "this call has ended (completed): nothing is to cancel"},
        )
        another = call["id"][:-1] + ("1" if call["id"].endswith("0") else "0")
        for unknown in (another, "nonsense", "%00"):
            status, answer = await ask(proxy, "POST", f"requests/{unknown}/cancel")
            assert (status, answer["error"][:12]) == (404, "no such call")
        assert (await ask(proxy, "POST", f"{path}?force=1"))[0] == 400
        for method in ("GET", "DELETE", "PUT"):
            assert (await ask(proxy, method, path))[0] == 405
        assert [call] == await proxy.calls(1)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
        {"Host": "evil.example"},
    ],
)
async def test_no_other_sites_page_can_stop_a_call(headers: dict[str, str], tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.closed()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(post("/api/chat", CHAT))
        async with asyncio.timeout(PATIENCE):
            while not (active := await proxy.get("active")):
                await asyncio.sleep(0.005)
        path = f"requests/{active[0]['id']}/cancel"
        if "Host" in headers:
            lines = [*headers.items(), ("Content-Length", "0")]
            stranger = await proxy.client()
            await stranger.send(head_bytes(f"POST /admin/api/{path} HTTP/1.1", lines))
            assert (await stranger.read_head()).startswith(b"HTTP/1.1 403 ")
        else:
            assert (await ask(proxy, "POST", path, **headers))[0] == 403
        assert [call["state"] for call in await proxy.get("active")] == ["running"]
        own = {"Origin": f"http://127.0.0.1:{proxy.port}", "Sec_Fetch_Site": "same-origin"}
        assert (await ask(proxy, "POST", path, **own))[0] == 200


FAST = SimulatorOptions(
    models=("m",), load_seconds=0, prefill_tokens_per_second=0, tokens_per_second=20
)
SLOW = {
    "loading": replace(FAST, load_seconds=3600),
    "reading": replace(FAST, prefill_tokens_per_second=0.05),
    "answering": replace(FAST, answer_tokens=9999),
}


@pytest.mark.parametrize("phase", SLOW)
async def test_a_made_up_ollama_stops_working_on_it(phase: str, tmp_path: Path) -> None:
    ollama = Simulator(SLOW[phase])
    async with running_proxy(await ollama.start(), tmp_path) as proxy:
        client = await proxy.client()
        await client.send(post("/api/chat", CHAT))
        if phase == "answering":
            await client.read_head()
        async with asyncio.timeout(PATIENCE):
            while phase == "reading" and not ollama.inference.active:
                await asyncio.sleep(0.005)
        row = await cancelled(proxy)
        async with asyncio.timeout(PATIENCE):
            while not ollama.inference.aborted or ollama.inference.active:
                await asyncio.sleep(0.005)
        await assert_recorded(proxy, row)
        if phase != "answering":
            assert_told(*await client.read_message())
        # Nothing was the client's fault.
        assert (row["insights"] or {}).get("waste") is None
    await ollama.stop()
