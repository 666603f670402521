"""A script tested without a GPU: record a call through the proxy, play it, get the same bytes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ollama_proxy.simulator import Simulator, SimulatorOptions
from tests.harness import PATIENCE, Connection, Proxy, head_bytes, running_proxy

FAST = SimulatorOptions(
    models=("m",), tokens_per_second=0, prefill_tokens_per_second=0, load_seconds=0
)
BREAKS = "simulate-break-after-3"
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/api/chat", {"messages": [{"role": "user", "content": "Grüße, così è"}]}),
    ("/api/chat", {"messages": [{"role": "user", "content": "x"}], "stream": False}),
    ("/api/chat", {"model": "missing", "messages": []}),
    ("/api/generate", {"prompt": "x", "options": {"num_predict": 500}}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "stream": True}),
    ("/v1/messages", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9}),
    ("/api/generate", {"prompt": "x", "model": BREAKS}),
]
UNSEARCHED = {f"privacy_redact_{kind}": "false" for kind in ("keys", "mails", "cards")}


@asynccontextmanager
async def playing(recording: Path) -> AsyncIterator[int]:
    """The port of a simulator that was started as the documentation says."""
    program = [sys.executable, "-m", "ollama_proxy.simulator", "--listen", "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(
        *program, "--play", str(recording), "--speed", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            told = (await process.stdout.readline()).decode()
            assert b"plays 1 recorded answer" in await process.stdout.readline()
        yield urlsplit(told.split()[3].rstrip(":")).port or 0
    finally:
        process.terminate()
        await process.wait()


async def asked(port: int, path: str, body: bytes) -> bytes:
    """All that comes back to a client that makes this call, as it is on the wire."""
    connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
    headers = [("Host", f"127.0.0.1:{port}"), ("Content-Type", "application/json")]
    headers.append(("Content-Length", str(len(body))))
    await connection.send(head_bytes(f"POST {path} HTTP/1.1", headers) + body)
    try:
        if BREAKS.encode() in body:
            return await connection.read_to_end()
        return b"".join(await connection.read_message())
    finally:
        await connection.close()


async def downloaded(proxy: Proxy, folder: Path) -> Path:
    id = (await proxy.calls(1))[0]["id"]
    path = folder / "recording.json"
    path.write_text(json.dumps(await proxy.get(f"requests/{id}/replay?as=recording")))
    return path


@pytest.mark.parametrize(("path", "fields"), ASKED)
async def test_a_recorded_call_gets_the_same_bytes_again(
    path: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    body = json.dumps({"model": "m"} | fields).encode()
    simulator = Simulator(FAST)
    upstream = await simulator.start()
    try:
        settings = UNSEARCHED | {"privacy_mode": "full"}
        async with running_proxy(upstream, tmp_path / "data", **settings) as proxy:
            first = await asked(proxy.port, path, body)
            recording = await downloaded(proxy, tmp_path)
    finally:
        await simulator.stop()
    async with playing(recording) as port:
        again = await asked(port, path, json.dumps(json.loads(body), indent=2).encode())
    assert first.startswith(b"HTTP/1.1 ")
    assert again == first
