"""Who may ask the admin: every route, by hostile Host, Origin, site and peer (S1, S2)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ollama_proxy.admin.security import HEADERS, is_local, refusal
from tests.admin.support import PATIENCE, Client, World, served

ROUTES = ["/api/status", "/api/requests", "/api/events", "/healthz", "/", "/nowhere"]


async def asked(client: Client, path: str = "/api/status", **headers: str) -> int:
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.get(path, headers=spelled) as response:
        return response.status


def origin(client: Client) -> str:
    return f"http://127.0.0.1:{client.server.port}"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:11435",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.1.evil.example",
        "8.8.8.8",
        "[2001:4860:4860::8888]:80",
        "user@evil.example",
    ],
)
async def test_a_hostile_host_is_refused_on_every_route(host: str) -> None:
    """DNS rebinding: the browser sends the name that its page came from."""
    async with served(World()) as client:
        for path in ROUTES:
            assert await asked(client, path, Host=host) == 403


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:11435",
        "127.0.0.1",
        "[::1]:11435",
        "192.168.1.7:80",
        "app.localhost",
        "machine.local",
        "host.docker.internal:1",
        socket.gethostname(),
    ],
)
async def test_this_machines_names_are_served(host: str) -> None:
    async with served(World()) as client:
        assert await asked(client, Host=host) == 200


@pytest.mark.parametrize(
    "hosts", ["", "Host:\r\n", "Host: localhost\r\nHost: localhost\r\n", "Host: localhost, e\r\n"]
)
async def test_no_host_or_two_are_not_served(hosts: str) -> None:
    async with served(World()) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
        writer.write(f"GET /api/status HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        assert answer.split(b" ")[1] in (b"400", b"403")
        writer.close()


async def test_only_the_own_origin_is_served() -> None:
    async with served(World()) as client:
        assert await asked(client, Origin=origin(client)) == 200
        assert await asked(client, Origin=origin(client).upper()) == 200
        port = client.server.port
        for other in (
            "https://evil.example",
            f"http://localhost:{port}",
            f"https://127.0.0.1:{port}",
            "http://127.0.0.1:1",
            "http://127.0.0.1",
            "null",
            "",
            f"{origin(client)}.evil.example",
        ):
            for path in ROUTES:
                assert await asked(client, path, Origin=other) == 403, other


async def test_an_origins_default_port_may_be_left_out() -> None:
    async with served(World()) as client:
        assert await asked(client, Host="localhost:80", Origin="http://localhost") == 200
        assert await asked(client, Host="localhost", Origin="http://localhost:80") == 200
        assert await asked(client, Host="localhost", Origin="http://localhost:443") == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "odd"])
async def test_pages_of_other_sites_get_no_data(site: str) -> None:
    async with served(World()) as client:
        for path in ROUTES:
            assert await asked(client, path, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors") == 403
        for path in ROUTES[:3]:
            assert await asked(client, path, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate") == 403
        # A link to a page: allowed through to the router, which has no such page here.
        assert await asked(client, "/", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate") == 404
        # A form that is sent is no link.
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
        async with client.post("/", headers=headers) as response:
            assert response.status == 403


async def test_our_own_pages_and_typed_addresses_are_served() -> None:
    async with served(World()) as client:
        assert await asked(client, Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="cors") == 200
        assert await asked(client, Sec_Fetch_Site="none", Sec_Fetch_Mode="navigate") == 200


async def test_there_is_no_cors() -> None:
    async with served(World()) as client:
        preflight = {"Origin": origin(client), "Access-Control-Request-Method": "GET"}
        async with client.options("/api/status", headers=preflight) as response:
            assert response.status == 405
            assert not [name for name in response.headers if name.startswith("Access-Control")]
        async with client.get("/api/status", headers={"Origin": origin(client)}) as response:
            assert not [name for name in response.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("prefix", ["", "/admin"])
async def test_every_answer_has_the_security_headers(prefix: str) -> None:
    world = World()
    async with served(world, prefix=prefix) as client:
        for path, headers, status in (
            ("/api/status", {}, 200),
            ("/api/events", {}, 200),
            ("/api/nothing", {}, 404),
            ("/api/requests?limit=x", {}, 400),
            ("/api/status", {"Host": "evil.example"}, 403),
        ):
            async with client.get(prefix + path, headers=headers) as response:
                assert response.status == status
                assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
                assert "Server" not in response.headers


async def test_a_refusal_is_one_line_of_json() -> None:
    hostile = {"Host": "evil.example"}
    async with served(World()) as client, client.get("/", headers=hostile) as response:
        assert response.headers["Content-Type"] == "application/json"
        assert list(await response.json()) == ["error"]


# -- peers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        (("127.0.0.1", 5), True),
        (("127.8.9.1", 5), True),
        (("::1", 5, 0, 0), True),
        (("::ffff:127.0.0.1", 5, 0, 0), True),
        ("", True),
        (b"\0name", True),
        (("192.168.1.9", 5), False),
        (("10.0.0.1", 5), False),
        (("::ffff:192.168.1.9", 5, 0, 0), False),
        (("fe80::1%eth0", 5, 0, 2), False),
        (("0.0.0.0", 5), False),
        (("nonsense", 5), False),
        ((), False),
        (None, False),
    ],
)
def test_which_peers_are_this_machine(peer: Any, local: bool) -> None:
    assert is_local(peer) is local


class Transport(asyncio.Transport):
    def __init__(self, peer: Any) -> None:
        super().__init__({"peername": peer})


def request_of(peer: Any) -> web.Request:
    return make_mocked_request("GET", "/", headers={"Host": "localhost"}, transport=Transport(peer))


def test_another_machine_is_refused_in_one_line() -> None:
    refused = refusal(request_of(("192.168.1.9", 5)))
    assert refused is not None
    assert refused.startswith("the admin answers to this machine only: ")
    assert "\n" not in refused
    assert refusal(request_of(("127.0.0.1", 5))) is None
