"""What tests of the client share: a proxy, one way to call both clients, scripts of their own."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ollama_proxy.app import App
from ollama_proxy.client import AsyncMonitorClient, MonitorClient
from ollama_proxy.config import load
from ollama_proxy.simulator import Simulator
from tests.admin.test_reference import FAST
from tests.harness import PATIENCE, Connection

TOKEN = "a-token-of-sixteen-letters"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
both = pytest.mark.parametrize("kind", [MonitorClient, AsyncMonitorClient])
Kind = type[MonitorClient] | type[AsyncMonitorClient]


class Monitored:
    """A proxy in front of a simulator; `url` is its pages', `proxy` its own."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.url = f"http://{app.admin_address}"
        self.proxy = f"http://127.0.0.1:{app.port}"

    async def chat(self, model: str = "m", **headers: str) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{self.proxy}/api/chat",
                json=CHAT | {"model": model},
                headers={name.replace("_", "-"): value for name, value in headers.items()},
            ) as answer,
        ):
            await answer.read()


@asynccontextmanager
async def monitored(folder: Path, **environ: str) -> AsyncIterator[Monitored]:
    simulator = Simulator(FAST)
    flags = {"listen": "127.0.0.1:0", "upstream": await simulator.start()}
    flags |= {"admin_listen": "127.0.0.1:0", "data_dir": str(folder)}
    own = {"OLLAMA_PROXY_CLIENTS_PROCESSES": "false", "OLLAMA_PROXY_TIMEOUTS_DRAIN": "0"}
    app = App(load(flags=flags, environ=own | environ))
    await app.start()
    try:
        yield Monitored(app)
    finally:
        await app.stop()
        await simulator.stop()


async def asked(
    kind: Kind, url: str, method: str, /, *args: Any, token: str | None = None, **more: Any
) -> Any:
    """What a client's method returns; of an iterator all."""
    seconds = more.pop("seconds", PATIENCE)
    if kind is MonitorClient:

        def ask() -> Any:
            told = getattr(MonitorClient(url, token, seconds=seconds), method)(*args, **more)
            return list(told) if inspect.isgenerator(told) or hasattr(told, "__next__") else told

        return await asyncio.to_thread(ask)
    async with AsyncMonitorClient(url, token, seconds=seconds) as client:
        told = getattr(client, method)(*args, **more)
        return [row async for row in told] if hasattr(told, "__anext__") else await told


async def script(text: str, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run Python in a process of its own: exit code, standard output, standard error."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("OLLAMA_", "HTTP_"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", text, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=own | environ,
        cwd=Path(__file__).parents[2],
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def told(
    connection: Connection, body: bytes, *lines: bytes, status: bytes = b"200 OK"
) -> None:
    """Answer one request with a body and close."""
    await connection.read_head()
    head = [b"HTTP/1.1 " + status, b"Connection: close", *lines]
    await connection.send(b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body]))


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()
