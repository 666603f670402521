"""A client that sees what is really on the wire: header order, HTTP chunks, a broken end.

Not here: keep-alive, redirects, or anything else that a client would do for its user.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ollama_proxy.simulator import Simulator, SimulatorOptions
from ollama_proxy.simulator.playing import Player

FAST = SimulatorOptions(
    models=("smollm2:latest", "qwen3:8b", "nomic-embed-text:latest"),
    tokens_per_second=0,
    prefill_tokens_per_second=0,
    load_seconds=0,
    version="0.0.0",
    registry=False,
)
PATIENCE = 10.0  # seconds after which a test has failed; none waits this long to pass


@dataclass
class Response:
    """`chunks` are HTTP chunks, or the one body of a known length. `complete`: it ended well."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    framing: str
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = True

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def json(self) -> Any:
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


class Connection:
    """One request on one connection, to be read piece by piece or whole."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> Response:
        async with asyncio.timeout(PATIENCE):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode().split("\r\n")[:-2]
        _, status, reason = first.split(" ", 2)
        headers = [tuple(line.split(": ", 1)) for line in lines]
        named = [(name, value) for name, value in headers]
        chunked = ("Transfer-Encoding", "chunked") in named
        return Response(int(status), reason, named, "chunked" if chunked else "length")

    async def chunk(self) -> bytes:
        """Empty at the end of the body."""
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def response(self, bodiless: bool = False) -> Response:
        response = await self.head()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._body(response, bodiless)
        except asyncio.IncompleteReadError:
            response.complete = False
        self.close()
        return response

    async def _body(self, response: Response, bodiless: bool) -> None:
        length = int(response.header("Content-Length") or 0)
        if response.framing == "chunked":
            while chunk := await self.chunk():
                response.chunks.append(chunk)
        elif length and not bodiless:
            response.chunks.append(await self.reader.readexactly(length))

    def close(self) -> None:
        self.writer.close()


class Client:
    """Talks to one simulator, a new connection a request."""

    def __init__(self, url: str, simulator: Simulator) -> None:
        self.address = urlsplit(url)
        self.simulator = simulator

    async def open(self, raw: bytes) -> Connection:
        host, port = self.address.hostname, self.address.port
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
        writer.write(raw)
        return Connection(reader, writer)

    async def begin(self, target: str, body: Any = None, **headers: str) -> Connection:
        """A POST of JSON, its answer not yet read. Header names have _ for -."""
        method, _, path = target.rpartition(" ")
        raw = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method or 'POST'} {path} HTTP/1.1", f"Host: {self.address.netloc}"]
        lines += [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
        lines += [f"Content-Length: {len(raw)}"] if raw else []
        return await self.open("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)

    async def ask(self, target: str, body: Any = None, **headers: str) -> Response:
        connection = await self.begin(target, body, **headers)
        return await connection.response(bodiless=target.startswith("HEAD"))


@asynccontextmanager
async def simulated(
    options: SimulatorOptions = FAST, player: Player | None = None
) -> AsyncIterator[Client]:
    simulator = Simulator(options, player)
    url = await simulator.start()
    try:
        yield Client(url, simulator)
    finally:
        await simulator.stop()
