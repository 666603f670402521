"""L1: a client that leaves frees the model at once, whenever it leaves, and is recorded so."""

from __future__ import annotations

import asyncio
import select
import socket
from pathlib import Path

import pytest

from tests.harness import (
    PATIENCE,
    Connection,
    ScriptedUpstream,
    between,
    chunk,
    running_proxy,
)

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


async def test_a_client_that_leaves_while_its_upload_is_held_back_is_noticed(
    tmp_path: Path,
) -> None:
    """The upstream does not read, so the proxy does not either, and hears no good-bye."""
    closed = asyncio.Event()

    async def script(upstream: Connection) -> None:
        upstream.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection: socket.socket = upstream.writer.get_extra_info("socket")
        while connection_is_open(connection):
            await asyncio.sleep(0.01)
        closed.set()

    async with ScriptedUpstream(script) as upstream, running_proxy(upstream.url, tmp_path) as proxy:
        client = await proxy.client()
        client.writer.transport.set_write_buffer_limits(0)
        await client.send(
            b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
        )
        try:
            async with asyncio.timeout(1):
                while True:
                    client.writer.write(bytes(1 << 16))
                    await client.writer.drain()
        except TimeoutError:
            pass  # full: nobody reads any more
        client.reset()
        (call,) = [c for c in await proxy.calls(1) if c["method"] == "POST"]
        await asyncio.wait_for(closed.wait(), PATIENCE)
    assert (call["state"], call["reason"]) == ("cancelled", "client_disconnected")


def connection_is_open(connection: socket.socket) -> bool:
    """Whether the peer has neither closed nor reset, without reading from it."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    return not poll.poll(0)


async def test_a_client_that_leaves_behind_many_waiting_requests_is_noticed(tmp_path: Path) -> None:
    """Nothing more is read while that many requests wait behind the one that runs."""
    ready, closed = asyncio.Event(), asyncio.Event()

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        ready.set()
        await upstream.closed()
        closed.set()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5000)
        await asyncio.wait_for(ready.wait(), PATIENCE)
        await client.close()
        await asyncio.wait_for(closed.wait(), PATIENCE)
