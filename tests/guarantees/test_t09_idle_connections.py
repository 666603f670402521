"""T9: idle connections that the upstream closes cause no failed call."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path

from ollama_proxy.headers import ResponseHead
from ollama_proxy.pool import Pool
from ollama_proxy.upstream import Signal, Upstream
from tests.harness import PATIENCE, Connection, between

GET = b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_calls_at_random_gaps_around_the_idle_limit_all_succeed(tmp_path: Path) -> None:
    """The upstream closes after 1 s of idleness; ours is half of that, as the docs say."""

    async def script(upstream: Connection) -> None:
        while True:
            async with asyncio.timeout(1.0):
                await upstream.read_head()
            await upstream.send(OK)

    async def patient(upstream: Connection) -> None:
        try:
            await script(upstream)
        except TimeoutError:
            return

    gaps = random.Random(9)
    async with between(patient, tmp_path, timeouts_pool_idle="0.5") as proxy:

        async def caller(count: int) -> None:
            client = await proxy.client()
            for _ in range(count):
                await client.send(GET)
                assert (await client.read_head()) == OK
                await asyncio.sleep(gaps.uniform(0, 1.5))

        await asyncio.gather(*(caller(4) for _ in range(250)))
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


class NoTap:
    """Looks at nothing."""

    def __init__(self) -> None:
        self.pending: list[bytes] = []

    def head(self, head: ResponseHead) -> None: ...

    def piece(self, size: int) -> bool:
        return False


class Caller:
    """A call of which only the end is of interest."""

    def __init__(self, over: asyncio.Event) -> None:
        self._over = over

    def answered(self, signal: Signal) -> None:
        assert signal is Signal.DONE
        self._over.set()

    def upstream_slow(self, slow: bool) -> None: ...


async def idle_connection(
    pool: Pool, server: socket.socket, uploading: bool = False, unread: int = 0
) -> tuple[socket.socket, Upstream]:
    """A connection given back after one call, and the server's end of it."""
    ours, theirs = socket.socketpair()
    client, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    upstream = await pool.connect()
    accepted, _ = server.accept()
    over = asyncio.Event()
    upstream.begin(
        Caller(over), method="GET", http_10=False, client=client, keep_alive=True, tap=NoTap()
    )
    upstream.uploading = uploading
    upstream.transport.write(bytes(unread))
    accepted.sendall(OK)
    await asyncio.wait_for(over.wait(), PATIENCE)
    pool.give_back(upstream)
    client.close()
    theirs.close()
    return accepted, upstream


async def test_a_connection_is_looked_at_before_it_is_used() -> None:
    """Closed by the upstream in the very moment before, which the loop has not heard of yet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        pool = Pool("127.0.0.1", server.getsockname()[1])
        accepted, upstream = await idle_connection(pool, server)
        assert pool.take_idle() is upstream
        pool.close()
        accepted.close()

        pool = Pool("127.0.0.1", server.getsockname()[1])
        accepted, _ = await idle_connection(pool, server)
        accepted.close()
        assert pool.take_idle() is None
        pool.close()


async def test_an_old_connection_is_not_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        pool = Pool("127.0.0.1", server.getsockname()[1], idle_limit=1e-9)
        accepted, _ = await idle_connection(pool, server)
        assert pool.take_idle() is None
        accepted.close()
        pool.close()


async def test_a_connection_whose_request_was_not_sent_whole_is_not_used() -> None:
    """The next request would be taken for the rest of that one's body."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        pool = Pool("127.0.0.1", server.getsockname()[1])
        accepted, _ = await idle_connection(pool, server, uploading=True)
        assert pool.take_idle() is None
        accepted.close()
        pool.close()


async def test_a_connection_whose_request_has_not_left_is_not_used() -> None:
    """The upstream answered without reading; another upload would have nobody to hold it back."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        pool = Pool("127.0.0.1", server.getsockname()[1])
        accepted, _ = await idle_connection(pool, server, unread=64 << 20)
        assert pool.take_idle() is None
        accepted.close()
        pool.close()
