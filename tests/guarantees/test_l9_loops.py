"""L9: an upstream that is the proxy itself is refused at start; a loop is answered 508."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ollama_proxy.forwarder import Forwarder
from ollama_proxy.limits import Limits
from ollama_proxy.listening import bind
from ollama_proxy.live import Live
from ollama_proxy.observers.policy import Policy
from ollama_proxy.observers.privacy import Privacy
from ollama_proxy.parts import Parts
from ollama_proxy.pool import Pool
from ollama_proxy.records import UpstreamHealth
from ollama_proxy.settings import Address
from ollama_proxy.target import Target
from tests.harness import PATIENCE, Connection, ScriptedUpstream, running_proxy
from tests.processes import run

GET = b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_an_upstream_that_is_the_proxy_is_refused_at_start(tmp_path: Path) -> None:
    code, out, err = await run(
        *("serve", "--listen", "127.0.0.1:18435", "--upstream", "http://localhost:18435"),
        *("--data-dir", str(tmp_path)),
    )
    assert (code, out) == (2, "")
    assert "upstream" in err and "forward to itself" in err and err.count("\n") == 1


async def test_a_loop_through_another_program_is_answered_508(tmp_path: Path) -> None:
    """A forwarder that nobody's configuration shows leads back to the proxy."""
    back = 0

    async def forward(connection: Connection) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", back)
        there = Connection(reader, writer)
        await there.send(await connection.read_head())
        head, body = await there.read_message()
        await connection.send(head + body)
        writer.close()

    async with (
        ScriptedUpstream(forward) as upstream,
        running_proxy(upstream.url, tmp_path) as proxy,
    ):
        back = proxy.port
        async with asyncio.timeout(PATIENCE):
            await proxy.app.first_look()
            while not proxy.app.health.loop:
                await asyncio.sleep(0.01)
        client = await proxy.client()
        await client.send(GET)
        head, body = await client.read_message()
    assert head.startswith(b"HTTP/1.1 508 ")
    assert b"X-Ollama-Proxy-Error: loop" in head
    assert b"leads back to this proxy" in body


async def test_a_connection_of_our_own_that_comes_back_is_answered_508() -> None:
    """Even before a probe found out: the call is told by both ends of its connection."""
    live = Live()
    listener = bind(Address("127.0.0.1", 0), "")
    port = listener.getsockname()[1]
    pool = Pool("127.0.0.1", port)
    parts = Parts(
        target=Target(path=b"", authority=b"127.0.0.1", pass_host=True, check_host=False),
        pool=pool,
        live=live,
        limits=Limits(),
        policy=Policy(Privacy.build("truncate")),
        instance="this",
        health=UpstreamHealth,
        on_surprise=lambda: None,
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Forwarder(parts), sock=listener)
    client = Connection(*await asyncio.open_connection("127.0.0.1", port))
    await client.send(GET)
    head, _ = await client.read_message()
    await client.close()
    pool.close()
    server.close()
    assert head.startswith(b"HTTP/1.1 508 ")
    assert [call.reason for call in live.recent_calls()] == ["http_status", "loop"]
