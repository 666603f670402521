"""The proxy's port: odd versions of HTTP, and the admin behind one path, with its leavers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import Connection, between, head_bytes

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def answer_all(upstream: Connection) -> None:
    while True:
        await upstream.read_head()
        await upstream.send(OK)


@pytest.mark.parametrize("line", [b"GET /x HTTP/2.0", b"PRI * HTTP/2.0", b"GET /x HTTP/1.2"])
async def test_other_versions_of_http_are_refused(line: bytes, tmp_path: Path) -> None:
    async with between(answer_all, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(line + b"\r\nHost: localhost\r\n\r\n")
        assert (await client.read_head()).split(b" ")[1] in (b"400", b"505")


@pytest.mark.parametrize("more", [b"", b"Host: a\r\nHost: b\r\n", b"Host: localhost\r\nX : a\r\n"])
async def test_what_is_no_request_to_the_admin_is_the_clients_affair(
    more: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is logged of it: whoever reaches the port could fill the disk."""
    async with between(answer_all, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"GET /admin/api/status HTTP/1.1\r\n" + more + b"\r\n")
        assert (await client.read_head()).split(b" ")[1] in (b"400", b"403")
    told = [record for record in caplog.records if record.levelno > 20]
    # Of the upstream it is said, once, that it is no Ollama.
    assert [one for one in told if one.name != "ollama_proxy.sensors.models"] == []


async def test_the_admin_survives_a_client_that_leaves_in_the_middle(tmp_path: Path) -> None:
    ask = head_bytes("GET /admin/api/events HTTP/1.1", [("Host", "localhost")])
    async with between(answer_all, tmp_path) as proxy:
        for _ in range(20):
            client = await proxy.client()
            await client.send(ask)
            await client.read_until(b"event: snapshot")
            client.reset()
        assert (await proxy.get("status"))["total_requests"] == 0


async def test_the_admin_path_without_its_slash_leads_to_the_page(tmp_path: Path) -> None:
    async with between(answer_all, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(head_bytes("GET /admin HTTP/1.1", [("Host", "localhost")]))
        head = await client.read_head()
    assert b" 308 " in head
    assert b"Location: /admin/\r\n" in head
