"""Privacy by rule and by request, from outside: what is kept, and what goes upstream."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Connection, Proxy, between, head_bytes

PROMPT = "the prompt " + "x" * 300
ANSWER = json.dumps({"model": "m", "response": "the answer", "done": True}).encode()
SEEN: list[bytes] = []


async def answering(upstream: Connection) -> None:
    while True:
        head, _ = await upstream.read_message()
        SEEN.append(head)
        await upstream.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
        )


async def ask(
    proxy: Proxy, model: str = "m", path: str = "/api/generate", **headers: str
) -> dict[str, Any]:
    """One call, and its record."""
    before = len(await proxy.calls(0))
    client = await proxy.client()
    body = json.dumps({"model": model, "prompt": PROMPT, "stream": False}).encode()
    lines = [("Host", "localhost"), ("Content-Length", str(len(body)))]
    lines += [(name.replace("_", "-"), value) for name, value in headers.items()]
    await client.send(head_bytes(f"POST {path} HTTP/1.1", lines) + body)
    await client.read_message()
    await client.close()
    return (await proxy.calls(before + 1))[0]


def kept(call: dict[str, Any]) -> tuple[str, str]:
    """By which mode prompt and answer look as they do."""
    return _mode(call["prompt"]), _mode(call["response"])


def _mode(text: str | None) -> str:
    if text is None:
        return "none"
    if text.startswith("sha256:"):
        return "hash"
    return "truncate" if len(text) == 200 or text == "the answer" else "full"


async def test_by_model_client_and_route(tmp_path: Path) -> None:
    rules = [
        {"model": "secret", "mode": "none"},
        {"client": "debugger", "mode": "full"},
        {"route": "/v1/*", "responses": "hash"},
        {"client": "half", "mode": "hash", "responses": "none"},
    ]
    async with between(answering, tmp_path, privacy_rules=json.dumps(rules)) as proxy:
        assert kept(await ask(proxy)) == ("truncate", "truncate")
        assert kept(await ask(proxy, "secret")) == ("none", "none")
        assert kept(await ask(proxy, "secret:latest", User_Agent="debugger")) == ("none", "none")
        assert kept(await ask(proxy, User_Agent="debugger/1")) == ("truncate", "truncate")
        assert kept(await ask(proxy, User_Agent="debugger"))[0] == "full"
        assert kept(await ask(proxy, User_Agent="half")) == ("hash", "none")
        assert kept(await ask(proxy, path="/v1/completions"))[0] == "truncate"


async def test_for_answers_alone(tmp_path: Path) -> None:
    async with between(answering, tmp_path, privacy_responses="none") as proxy:
        assert kept(await ask(proxy)) == ("truncate", "none")


@pytest.mark.parametrize("said", ["none", "hash", "full", "nonsense"])
async def test_by_a_header_that_goes_no_further(tmp_path: Path, said: str) -> None:
    SEEN.clear()
    async with between(answering, tmp_path) as proxy:
        call = await ask(proxy, x_ollama_proxy_privacy=said, X_Other="stays")
    assert kept(call)[0] == ("none" if said == "nonsense" else said)
    assert b"privacy" not in SEEN[0].lower()
    assert b"\r\nX-Other: stays\r\n" in SEEN[0]


async def test_another_header_or_none(tmp_path: Path) -> None:
    SEEN.clear()
    for name in ("X-Keep", "off"):
        async with between(answering, tmp_path / name, privacy_header=name) as proxy:
            call = await ask(proxy, X_Keep="none", X_Ollama_Proxy_Privacy="none")
        assert kept(call)[0] == ("none" if name == "X-Keep" else "truncate")
    with_name, without = SEEN
    assert b"X-Keep" not in with_name
    assert b"X-Ollama-Proxy-Privacy: none" in with_name
    assert b"X-Keep: none" in without


SCRIPT = """
import json, sys, urllib.request
body = json.dumps({"model": "m", "prompt": sys.argv[2], "stream": False}).encode()
urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/api/generate", body)).read()
"""


def call_from(script: Path, port: int) -> None:
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), f"http://127.0.0.1:{port}", PROMPT]
    subprocess.run(command, check=True, timeout=30)


@pytest.mark.skipif(sys.platform != "linux", reason="a process is found by its socket on Linux")
@pytest.mark.parametrize(
    ("usual", "ruled"), [("truncate", "none"), ("none", "full"), ("full", "hash")]
)
async def test_by_the_program_that_is_found_behind_the_connection(
    tmp_path: Path, usual: str, ruled: str
) -> None:
    """Its name comes later than its request: neither too much is kept meanwhile, nor too little."""
    rules = json.dumps([{"client": "quiet.py", "mode": ruled}])
    named = asyncio.Event()

    async def patient(upstream: Connection) -> None:
        while True:
            await upstream.read_message()
            await named.wait()
            await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            await upstream.send(b"Content-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))

    settings = {"privacy_mode": usual, "privacy_rules": rules, "clients_processes": "true"}
    async with between(patient, tmp_path, **settings) as proxy:
        for count, name in enumerate(("quiet.py", "other.py"), 1):
            named.clear()
            calling = asyncio.create_task(asyncio.to_thread(call_from, tmp_path / name, proxy.port))
            async with asyncio.timeout(10):
                while name not in [call["client"] for call in await proxy.get("active")]:
                    await asyncio.sleep(0.005)
            named.set()
            await calling
            call = (await proxy.calls(count))[0]
            assert call["client"] == name
            assert kept(call)[0] == (ruled if name == "quiet.py" else usual)
