"""T7: an upstream that breaks off is seen as broken off; surplus bytes never reach the client."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.harness import PATIENCE, Connection, between, chunk

GET = b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHAT = b'POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 13\r\n\r\n{"model":"m"}'
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    "answer",
    [LENGTH + b"part", CHUNKED + chunk(b"part"), CHUNKED + b"64\r\npart", CHUNKED],
    ids=["length", "between-chunks", "within-a-chunk", "no-body"],
)
async def test_a_broken_body_arrives_broken(answer: bytes, reset: bool, tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(answer)
        if reset:
            # A reset may overtake what is not yet read: only once the client has it.
            await asyncio.wait_for(arrived.wait(), PATIENCE)
            upstream.reset()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(GET)
        assert await client.read(len(answer)) == answer
        arrived.set()
        assert await client.read_to_end() == b""
        (call,) = await proxy.calls(1)
    assert (call["state"], call["reason"]) == ("failed", "upstream_aborted")


async def test_a_broken_body_without_framing_is_a_reset(tmp_path: Path) -> None:
    """Without length or chunks only a reset tells a break from the end."""
    arrived = asyncio.Event()

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        await asyncio.wait_for(arrived.wait(), PATIENCE)
        upstream.reset()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(GET)
        await client.read_until(b"part")
        arrived.set()
        with pytest.raises(ConnectionResetError):
            await client.read_to_end()
        (call,) = await proxy.calls(1)
    assert (call["state"], call["reason"]) == ("failed", "upstream_aborted")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        CHUNKED + chunk(b"ok") + b"0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
    ids=["length", "chunked", "no-body"],
)
async def test_surplus_bytes_never_reach_a_client(answer: bytes, tmp_path: Path) -> None:
    """Neither this client, nor the next that would get this upstream connection."""

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(answer + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await upstream.closed()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        for _ in range(3):
            await client.send(GET)
            assert await client.read(len(answer)) == answer
        await client.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nabcde",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        b"",
    ],
    ids=[
        "nonsense",
        "status",
        "no-colon",
        "two-lengths",
        "both",
        "plus",
        "huge",
        "2000",
        "099",
        "mail",
        "ssh",
        "bare-lf",
        "101",
        "nothing",
    ],
)
async def test_what_is_not_one_clear_answer_is_a_502(answer: bytes, tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(answer)
        if answer:
            await upstream.closed()  # it is for the proxy to see that this is no answer

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(CHAT)
        head, body = await client.read_message()
        assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert b"\r\nX-Ollama-Proxy-Error: upstream_aborted\r\n" in head
        assert body.startswith(b'{"error":"')
        (call,) = await proxy.calls(1)
    assert (call["state"], call["reason"]) == ("failed", "upstream_aborted")


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nx\r\n",
        b"-1\r\nx\r\n",
        b"0x2\r\nok\r\n",
        b"2\r\nok\rX0\r\n\r\n",
        b"2\r\nokX\n0\r\n\r\n",
        b"1_0\r\n",
    ],
)
async def test_broken_chunk_framing_ends_the_connection(body: bytes, tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(CHUNKED + chunk(b"sound"))
        await upstream.send(body)
        await upstream.closed()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(GET)
        got = await client.read_to_end()
        assert got.startswith(CHUNKED)
        assert not got.endswith(b"0\r\n\r\n")
        (call,) = await proxy.calls(1)
    assert call["state"] == "failed"
