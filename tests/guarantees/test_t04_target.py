"""T4: the request target is the same bytes, and never makes an open proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import Connection, ScriptedUpstream, between, running_proxy

TARGETS = [
    b"/a%2Fb//c/../d;p=1?q=a+b&&x=%zz%",
    b"//api//tags",
    b"/api/blobs/sha256:ab?x=1#not-a-fragment-here",
    b"/%E2%82%AC/%c3%28",
    b"/adminx",
    b"/api/../admin/",
    b"*",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_the_target_is_the_same_bytes(target: bytes, tmp_path: Path) -> None:
    seen = b""

    async def script(upstream: Connection) -> None:
        nonlocal seen
        seen = await upstream.read_head()
        await upstream.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    method = b"OPTIONS " if target == b"*" else b"GET "
    request = method + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(request)
        await client.read_head()
    assert seen == request


async def test_an_absolute_target_reaches_the_upstream_and_nobody_else(tmp_path: Path) -> None:
    seen = b""

    async def script(upstream: Connection) -> None:
        nonlocal seen
        seen = await upstream.read_head()
        await upstream.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"GET http://evil.example/x HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert (await client.read_head()).startswith(b"HTTP/1.1 403")
    assert seen.startswith(b"GET http://evil.example/x HTTP/1.1\r\n")


async def test_an_upstream_with_a_path_gets_it_before_each_target(tmp_path: Path) -> None:
    seen = []

    async def script(upstream: Connection) -> None:
        while True:
            head = await upstream.read_head()
            if b"X-Ollama-Proxy-Probe" not in head:
                seen.append(head.partition(b" HTTP/1.1")[0])
            await upstream.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with (
        ScriptedUpstream(script) as upstream,
        running_proxy(f"{upstream.url}/pre/", tmp_path, models_interval="3600") as proxy,
    ):
        client = await proxy.client()
        for line in (b"GET /api/tags", b"OPTIONS *", b"GET http://u:pw@localhost/api/x"):
            await client.send(line + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await client.read_head()
        calls = await proxy.calls(3)
    assert seen == [b"GET /pre/api/tags", b"OPTIONS *", b"GET http://u:pw@localhost/api/x"]
    assert calls[0]["path"] == "/api/x"


async def test_connect_is_refused(tmp_path: Path) -> None:
    reached = False

    async def script(upstream: Connection) -> None:
        nonlocal reached
        reached = True

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n")
        assert (await client.read_head()).startswith(b"HTTP/1.1 501 ")
    assert not reached


async def test_a_name_in_the_path_is_taken_out_and_recorded(tmp_path: Path) -> None:
    """`OLLAMA_HOST=http://127.0.0.1:11435/app/bot`: the one part of a target that is ours."""
    seen = []

    async def script(upstream: Connection) -> None:
        while True:
            seen.append(await upstream.read_head())
            await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with between(script, tmp_path, clients_header="X-Who") as proxy:
        client = await proxy.client()
        await client.send(b"GET /app/bot/api//tags?a=%2F HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.read_message()
        await client.send(b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nX-Who: me\r\n\r\n")
        await client.read_message()
        second, first = await proxy.calls(2)
        clients = await proxy.get("clients")
    assert seen[0] == b"GET /api//tags?a=%2F HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert seen[1].endswith(b"\r\nX-Who: me\r\n\r\n")
    assert (first["client"], first["path"]) == ("bot", "/api//tags")
    assert second["client"] == "me"
    assert [(one["name"], one["requests"]) for one in clients] == [("bot", 1), ("me", 1)]
