"""T5, T6: a chunk reaches the client before the next is produced; a slow peer slows the other."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ollama_proxy.listening import allow_many_files
from tests.harness import PATIENCE, Connection, between, chunk

GET = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_each_chunk_arrives_before_the_next_is_made(tmp_path: Path) -> None:
    """The upstream sends chunk n+1 only when the client has shown that it has chunk n."""
    seen: asyncio.Queue[int] = asyncio.Queue()

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(50):
            await upstream.send(chunk(b"%d\n" % number))
            assert await asyncio.wait_for(seen.get(), PATIENCE) == number
        await upstream.send(b"0\r\n\r\n")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(GET)
        await client.read_head()
        for number in range(50):
            assert await client.read_until(b"\n\r\n") == chunk(b"%d\n" % number)
            seen.put_nowait(number)
        assert await client.read(5) == b"0\r\n\r\n"


async def test_a_thousand_streams_run_at_once(tmp_path: Path) -> None:
    """No stream gets its second chunk before each of them has its first."""
    allow_many_files()
    count, started, all_started = 1000, 0, asyncio.Event()

    async def script(upstream: Connection) -> None:
        nonlocal started
        await upstream.read_head()
        await upstream.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first\n")
        )
        started += 1
        if started == count:
            all_started.set()
        await all_started.wait()
        await upstream.send(chunk(b"last\n") + b"0\r\n\r\n")

    async with between(script, tmp_path) as proxy:

        async def stream() -> bytes:
            client = await proxy.client()
            await client.send(GET)
            async with asyncio.timeout(60):
                answer = await client.reader.readuntil(b"0\r\n\r\n")
            await client.close()
            return answer

        answers = await asyncio.gather(*(stream() for _ in range(count)))
        status = await proxy.get("status")
    assert len(set(answers)) == 1
    assert (status["completed_requests"], status["failed_requests"]) == (count, 0)


async def test_an_upload_is_passed_on_before_it_is_whole(tmp_path: Path) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        for _ in range(3):
            arrived.put_nowait(await upstream.read(4))
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n")
        for part in (b"abcd", b"efgh", b"ijkl"):
            await client.send(part)
            assert await asyncio.wait_for(arrived.get(), PATIENCE) == part
        assert (await client.read_head()).startswith(b"HTTP/1.1 200")


async def test_a_client_that_does_not_read_stops_the_upstream(tmp_path: Path) -> None:
    """At most what the sockets and 256 KiB of ours hold is taken from the upstream."""
    stuck = asyncio.Event()
    sent = 0

    async def script(upstream: Connection) -> None:
        nonlocal sent
        await upstream.read_head()
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        upstream.writer.transport.set_write_buffer_limits(0)
        block = bytes(1 << 20)
        while True:
            upstream.writer.write(block)
            sent += len(block)
            try:
                async with asyncio.timeout(0.5):
                    await upstream.writer.drain()
            except TimeoutError:
                stuck.set()
                await upstream.closed()
                return

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        client.writer.get_extra_info("socket")
        await client.send(GET)
        await client.read_head()
        await asyncio.wait_for(stuck.wait(), PATIENCE)
        assert sent < 64 << 20
        client.reset()


async def test_an_upstream_that_does_not_read_stops_the_client(tmp_path: Path) -> None:
    stuck = asyncio.Event()
    sent = 0

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await stuck.wait()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        head = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (1 << 30)
        client.writer.transport.set_write_buffer_limits(0)
        await client.send(head)
        block = bytes(1 << 20)
        while not stuck.is_set():
            client.writer.write(block)
            sent += len(block)
            try:
                async with asyncio.timeout(0.5):
                    await client.writer.drain()
            except TimeoutError:
                stuck.set()
        assert sent < 64 << 20
        client.reset()


async def test_a_slow_reader_gets_every_byte(tmp_path: Path) -> None:
    body = bytes(range(256)) * (1 << 14)

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(GET)
        await client.read_head()
        got = bytearray()
        while len(got) < len(body):
            got += await client.read(min(65536, len(body) - len(got)))
            await asyncio.sleep(0)
        assert got == body
