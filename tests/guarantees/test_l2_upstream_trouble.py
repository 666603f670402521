"""L2: an upstream that is down or too slow: 502 or 504 in the client's dialect, marked as ours."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest

from tests.harness import PATIENCE, Connection, between, chunk, head_bytes, running_proxy

GET = b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/api/chat", []),
        ("/v1/chat/completions", ["message", "type", "param", "code"]),
        ("/v1/messages", ["type", "message"]),
    ],
)
async def test_ollama_down_is_a_502_in_the_clients_dialect(
    path: str, keys: list[str], tmp_path: Path
) -> None:
    async with running_proxy(f"http://127.0.0.1:{closed_port()}", tmp_path) as proxy:
        client = await proxy.client()
        for _ in range(2):  # the connection stays usable
            await client.send(
                head_bytes(
                    f"POST {path} HTTP/1.1", [("Host", "localhost"), ("Content-Length", "2")]
                )
                + b"{}"
            )
            head, body = await client.read_message()
        (call, _) = await proxy.calls(2)
    assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json")
    assert b"\r\nX-Ollama-Proxy-Error: upstream_unreachable\r\n" in head
    error = json.loads(body)["error"]
    assert list(error) == keys if keys else "cannot be reached" in error
    assert (call["state"], call["reason"], call["status_code"]) == (
        "failed",
        "upstream_unreachable",
        502,
    )
    assert "Is it running?" in call["error"]


@pytest.mark.parametrize("comes", [True, False])
async def test_what_was_asked_is_known_though_its_body_came_after_ollama_refused(
    comes: bool, tmp_path: Path
) -> None:
    body = json.dumps({"model": "llama3.2", "prompt": "x" * 200_000}).encode()
    async with running_proxy(f"http://127.0.0.1:{closed_port()}", tmp_path) as proxy:
        client = await proxy.client()
        fields = [("Host", "localhost"), ("Content-Length", str(len(body)))]
        await client.send(head_bytes("POST /api/generate HTTP/1.1", fields))
        if comes:
            await asyncio.sleep(0.05)  # clients that send the head by itself
            await client.send(body)
        head, _ = await client.read_message()  # nobody waits for ever
        if comes:  # the connection stays usable
            await client.send(GET)
            await client.read_message()
        (*_, call) = await proxy.calls(2 if comes else 1)
    assert head.startswith(b"HTTP/1.1 502 ")
    assert (call["model"], call["reason"]) == (
        "llama3.2" if comes else None,
        "upstream_unreachable",
    )


@pytest.mark.parametrize("greets", [False, True], ids=["closes", "greets-first"])
async def test_an_upstream_that_does_not_wait_for_a_request_is_a_502(
    greets: bool, tmp_path: Path
) -> None:
    """What forwards a port to nothing accepts and closes; what is not HTTP may speak first."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greets:
            writer.write(b"220 hello\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with running_proxy(url, tmp_path) as proxy:
        client = await proxy.client()
        for _ in range(50):
            await client.send(GET)
            head, body = await client.read_message()
            assert head.startswith(b"HTTP/1.1 502 "), head
            assert b'{"error":' in body
        calls = await proxy.calls(50)
    server.close()
    assert {call["reason"] for call in calls} == {"upstream_aborted"}


async def test_a_call_that_never_reached_ollama_still_tells_what_it_wanted(tmp_path: Path) -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    async with running_proxy(f"http://127.0.0.1:{closed_port()}", tmp_path) as proxy:
        client = await proxy.client()
        await client.send(
            head_bytes(
                "POST /api/chat HTTP/1.1",
                [("Host", "localhost"), ("Content-Length", str(len(body)))],
            )
            + body
        )
        await client.read_message()
        (call,) = await proxy.calls(1)
    assert (call["model"], call["prompt"], call["request_bytes"]) == ("m", "hi", len(body))


async def test_a_slow_upload_does_not_count_against_the_first_byte(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        for _ in range(8):
            await upstream.read(1)
            arrived.set()
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    arrived = asyncio.Event()
    async with between(script, tmp_path, timeouts_first_byte="0.2") as proxy:
        client = await proxy.client()
        await client.send(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.05)  # the upload's own pace: twice the limit in all
            await client.send(b"x")
            await asyncio.wait_for(arrived.wait(), PATIENCE)
            arrived.clear()
        assert (await client.read_head()).startswith(b"HTTP/1.1 200 ")


async def test_a_limit_frees_the_model_even_if_the_client_does_not_read(tmp_path: Path) -> None:
    freed = asyncio.Event()

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")
        try:
            while True:
                upstream.writer.write(bytes(1 << 16))
                await upstream.writer.drain()
        except ConnectionError:
            freed.set()

    async with between(script, tmp_path, timeouts_total="0.5") as proxy:
        client = await proxy.client()
        await client.send(GET)
        await asyncio.wait_for(freed.wait(), PATIENCE)
        (call,) = await proxy.calls(1)
        assert await proxy.get("active") == []
        client.reset()
    assert (call["state"], call["reason"]) == ("timeout", "total_timeout")


@pytest.mark.parametrize("limit", ["first_byte", "total"])
async def test_no_answer_within_the_limit_is_a_504(limit: str, tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.closed()

    async with between(script, tmp_path, **{f"timeouts_{limit}": "0.05"}) as proxy:
        client = await proxy.client()
        await client.send(b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head, body = await client.read_message()
        (call,) = await proxy.calls(1)
    assert head.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert f"X-Ollama-Proxy-Error: {limit}_timeout".encode() in head
    assert f"timeouts.{limit}" in json.loads(body)["error"]
    assert (call["state"], call["reason"]) == ("timeout", f"{limit}_timeout")


@pytest.mark.parametrize("limit", ["idle", "total"])
async def test_a_limit_that_passes_midway_breaks_the_answer_off(limit: str, tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x\n")
        )
        await upstream.closed()
        gone.set()

    async with between(script, tmp_path, **{f"timeouts_{limit}": "0.05"}) as proxy:
        client = await proxy.client()
        await client.send(b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await client.read_to_end()).endswith(chunk(b"x\n"))
        (call,) = await proxy.calls(1)
        await asyncio.wait_for(gone.wait(), 5)
    assert (call["state"], call["reason"]) == ("timeout", f"{limit}_timeout")


async def test_an_upload_that_stalls_ends(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.closed()

    async with between(script, tmp_path, timeouts_upload="0.05") as proxy:
        client = await proxy.client()
        await client.send(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc")
        assert (await client.read_head()).startswith(b"HTTP/1.1 504 ")
        (call,) = await proxy.calls(1)
    assert (call["state"], call["reason"]) == ("timeout", "upload_timeout")
