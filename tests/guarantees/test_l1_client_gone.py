"""L1: a client that leaves frees the model at once, whenever it leaves, and is recorded so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.harness import PATIENCE, Connection, between, chunk

CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
POST = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(CHAT)
LINE = b'{"model":"m","message":{"role":"assistant","content":"w"},"done":false}\n'


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("when", ["upload", "before", "midway"])
async def test_the_upstream_is_closed_when_the_client_leaves(
    when: str, how: str, tmp_path: Path
) -> None:
    ready, closed = asyncio.Event(), asyncio.Event()

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        if when == "midway":
            await upstream.read(len(CHAT))
            await upstream.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            for _ in range(3):
                await upstream.send(chunk(LINE))
        ready.set()
        await upstream.closed()
        closed.set()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(POST + (CHAT[:5] if when == "upload" else CHAT))
        await asyncio.wait_for(ready.wait(), PATIENCE)
        if when == "midway":
            await client.read_head()
            for _ in range(3):
                await client.read(len(chunk(LINE)))
        assert [call["state"] for call in await proxy.get("active")] == ["running"]
        if how == "close":
            await client.close()
        else:
            client.reset()
        await asyncio.wait_for(closed.wait(), PATIENCE)
        (call,) = await proxy.calls(1)
        assert await proxy.get("active") == []
    assert (call["state"], call["reason"]) == ("cancelled", "client_disconnected")
    assert call["output_chunks"] == (3 if when == "midway" else None)
    assert call["model"] == (None if when == "upload" else "m")
    word = {"upload": "upload", "before": "before", "midway": "on its way"}[when]
    assert word in call["error"]
