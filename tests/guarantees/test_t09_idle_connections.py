"""T9: idle connections that the upstream closes cause no failed call."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from tests.harness import Connection, between

GET = b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_calls_at_random_gaps_around_the_idle_limit_all_succeed(tmp_path: Path) -> None:
    """The upstream closes after 0.2 s of idleness; ours is half of that, as the docs say."""

    async def script(upstream: Connection) -> None:
        while True:
            async with asyncio.timeout(0.2):
                await upstream.read_head()
            await upstream.send(OK)

    async def patient(upstream: Connection) -> None:
        try:
            await script(upstream)
        except TimeoutError:
            return

    gaps = random.Random(9)
    async with between(patient, tmp_path, timeouts_pool_idle="0.1") as proxy:

        async def caller(count: int) -> None:
            client = await proxy.client()
            for _ in range(count):
                await client.send(GET)
                assert (await client.read_head()) == OK
                await asyncio.sleep(gaps.uniform(0, 0.3))

        await asyncio.gather(*(caller(10) for _ in range(100)))
        calls = await proxy.get("requests?limit=1000&state=failed")
    assert calls == []


async def test_a_connection_is_used_again(tmp_path: Path) -> None:
    connections = 0

    async def script(upstream: Connection) -> None:
        nonlocal connections
        connections += 1
        while True:
            await upstream.read_head()
            await upstream.send(OK)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        for _ in range(20):
            await client.send(GET)
            await client.read_head()
    assert connections == 1
