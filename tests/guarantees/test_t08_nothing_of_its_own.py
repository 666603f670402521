"""T8, S10: no retry, no redirect followed, no cookie kept, HTTP_PROXY ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import Connection, between

GET = b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_a_call_is_never_sent_twice(tmp_path: Path) -> None:
    """Even on a connection that had served one before and closes on the second."""
    heads = 0

    async def script(upstream: Connection) -> None:
        nonlocal heads
        await upstream.read_head()
        heads += 1
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await upstream.read_head()
        heads += 1

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(GET)
        await client.read_head()
        await client.send(GET)
        assert (await client.read_head()).startswith(b"HTTP/1.1 502")
    assert heads == 2


async def test_redirects_and_cookies_are_the_clients_affair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    answer = (
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nSet-Cookie: a=b\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    heads = []

    async def script(upstream: Connection) -> None:
        while True:
            heads.append(await upstream.read_head())
            await upstream.send(answer)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        for _ in range(2):
            await client.send(GET)
            assert await client.read_head() == answer
    assert heads == [GET, GET]
