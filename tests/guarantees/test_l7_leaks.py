"""L7, L8: nothing is left behind by calls and aborts; a hostile client delays nobody else."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

from tests.harness import PATIENCE, Connection, Proxy, between, chunk

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def mixed(upstream: Connection) -> None:
    """Answers by the path: plainly, in a stream that never ends, not at all, or by breaking off."""
    while True:
        head = await upstream.read_head()
        if b"/endless" in head:
            await upstream.send(STREAM)
            while True:
                await upstream.send(chunk(b"x" * 100))
                await asyncio.sleep(0.01)
        elif b"/silent" in head:
            await upstream.closed()
            return
        elif b"/broken" in head:
            await upstream.send(STREAM + chunk(b"x"))
            return
        else:
            await upstream.send(OK)


async def visit(proxy: Proxy, what: str) -> None:
    client = await proxy.client()
    await client.send(GET.replace(b"/x", f"/{what}".encode()))
    if what == "endless":
        await client.read_head()
    elif what == "broken":
        await client.read_to_end()
    elif what == "plain":
        assert await client.read(len(OK)) == OK
    client.reset() if what == "silent" else await client.close()


async def test_files_and_tasks_are_back_where_they_were(tmp_path: Path) -> None:
    choice = random.Random(7)
    kinds = ["plain", "plain", "endless", "silent", "broken"]
    async with between(mixed, tmp_path) as proxy:
        await asyncio.gather(*(visit(proxy, kind) for kind in kinds))
        await proxy.calls(5)
        files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        for _ in range(20):
            await asyncio.gather(*(visit(proxy, choice.choice(kinds)) for _ in range(20)))
        async with asyncio.timeout(PATIENCE):
            while (await proxy.get("status"))["active_requests"]:
                await asyncio.sleep(0.01)
            # Idle connections may be kept, on both sides of the proxy within this process.
            while (
                len(os.listdir("/proc/self/fd")) > files + 60
                or len(asyncio.all_tasks()) > tasks + 60
            ):
                await asyncio.sleep(0.01)
        status = await proxy.get("status")
        open_connections = len(proxy.app.pool)
    assert open_connections <= 64  # those that are kept idle
    assert status["total_requests"] == 405


async def test_a_thousand_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        while True:
            path = (await upstream.read_head()).split(b" ")[1]
            await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path) + path)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(
            b"".join(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % n for n in range(1000))
        )
        for number in range(1000):
            _, body = await client.read_message()
            assert body == b"/%d" % number


async def test_slow_heads_and_readers_that_never_read_delay_nobody(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        while True:
            head = await upstream.read_head()
            if b"/flood" in head:
                await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")
                while True:
                    upstream.writer.write(bytes(65536))
                    await upstream.writer.drain()
            await upstream.send(OK)

    async with between(script, tmp_path) as proxy:
        hostile = []
        for _ in range(50):
            slow = await proxy.client()
            await slow.send(b"GET /x HTTP/1.1\r\nHost: loc")
            never_reads = await proxy.client()
            await never_reads.send(GET.replace(b"/x", b"/flood"))
            hostile += [slow, never_reads]
        client = await proxy.client()
        for _ in range(50):
            await client.send(GET)
            assert await client.read(len(OK)) == OK
        for one in hostile:
            one.reset()


async def test_ten_thousand_one_byte_chunks_arrive(tmp_path: Path) -> None:
    body = chunk(b"x") * 10_000 + b"0\r\n\r\n"

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(STREAM)
        await upstream.send_in_pieces(body, 6)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(GET)
        assert await client.read(len(STREAM + body)) == STREAM + body
        (call,) = await proxy.calls(1)
    assert call["response_bytes"] == 10_000
