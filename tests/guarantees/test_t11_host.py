"""T11: Host and Origin: the answer is the one Ollama itself would give on that listener."""

from __future__ import annotations

from pathlib import Path

import pytest

from ollama_proxy.headers import CUT, host_allowed
from ollama_proxy.request_head import RequestHead
from ollama_proxy.target import Target
from tests.harness import Connection, between, recorded_request, recorded_response, recording


@pytest.mark.parametrize("name", ["host_rebinding", "cors_forbidden_origin", "cors_preflight"])
async def test_on_loopback_ollama_answers_for_itself(name: str, tmp_path: Path) -> None:
    """Host and Origin reach it unchanged, and so does its answer the client."""
    exchange = recording(name)
    sent, answer = recorded_request(exchange), recorded_response(exchange)
    seen = b""

    async def script(upstream: Connection) -> None:
        nonlocal seen
        seen = await upstream.read_head()
        await upstream.send(answer)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(sent)
        assert await client.read(len(answer)) == answer
    assert seen == sent


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:11435",
        "127.0.0.1:11434",
        "127.9.9.9",
        "[::1]:11435",
        "10.1.2.3",
        "172.16.0.9:80",
        "192.168.1.5:11435",
        "0.0.0.0",
        "my.localhost",
        "box.local:11435",
        "host.docker.internal:11435",
        "",
    ],
)
def test_hosts_that_ollama_answers(host: str) -> None:
    assert host_allowed(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "8.8.8.8", "100.64.0.1", "xlocalhost", "1.1"]
)
def test_hosts_that_ollama_refuses(host: str) -> None:
    assert not host_allowed(host)


def sent_on(head: bytes) -> bytes:
    """What goes to an upstream on another machine."""
    target = Target(path=b"", authority=b"gpu.example:11434", pass_host=False, check_host=False)
    return RequestHead(head, target, CUT).upstream


def test_towards_another_machine_host_is_its_own_and_a_same_origin_page_stays_one() -> None:
    head = sent_on(
        b"GET /api/tags HTTP/1.1\r\nHost: proxy.local:11435\r\n"
        b"Origin: http://proxy.local:11435\r\nA: b\r\n\r\n"
    )
    assert head == (
        b"GET /api/tags HTTP/1.1\r\nHost: gpu.example:11434\r\n"
        b"Origin: http://gpu.example:11434\r\nA: b\r\n\r\n"
    )


def test_a_foreign_origin_stays_what_it_is() -> None:
    head = sent_on(b"GET / HTTP/1.1\r\nHost: proxy.local\r\nOrigin: http://evil.example\r\n\r\n")
    assert b"\r\nOrigin: http://evil.example\r\n" in head
