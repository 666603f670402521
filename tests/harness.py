"""Both ends of the wire for tests: a scripted upstream, a raw client, and the proxy between them.

Real sockets on loopback, bytes as they are; nothing of the proxy is patched. Not here: any test.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ollama_proxy.app import App
from ollama_proxy.config import load

WIRE = Path(__file__).parent / "wire"
PATIENCE = 20.0
"""Seconds after which a test that waits for bytes has failed; no test waits this long to pass."""


def recording(name: str) -> dict[str, Any]:
    """One recorded exchange of a real Ollama; the form is told in tests/wire/README.md."""
    loaded: dict[str, Any] = json.loads((WIRE / f"{name}.json").read_text())
    return loaded


def recordings() -> list[str]:
    return sorted(path.stem for path in WIRE.glob("*.json"))


def head_bytes(first_line: str, headers: list[list[str]] | list[tuple[str, str]]) -> bytes:
    lines = [first_line, *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def recorded_request(exchange: dict[str, Any]) -> bytes:
    request = exchange["request"]
    line = f"{request['method']} {request['target']} HTTP/1.1"
    body: str = request["body"]
    return head_bytes(line, request["headers"]) + body.encode()


def recorded_response(exchange: dict[str, Any]) -> bytes:
    response = exchange["response"]
    head = head_bytes(f"HTTP/1.1 {response['status']} {response['reason']}", response["headers"])
    parts = [text.encode() for _, text in response["chunks"]]
    if response["framing"] != "chunked":
        return head + b"".join(parts)
    return head + b"".join(map(chunk, parts)) + b"0\r\n\r\n"


class Connection:
    """One end of a connection: whole messages or raw bytes, each wait bounded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._head_read: bytes | None = None

    def unread_head(self, head: bytes) -> None:
        """Give a head back: the next `read_head` returns it."""
        self._head_read = head

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def send_in_pieces(self, data: bytes, size: int) -> None:
        """Send so that the receiver may see each piece by itself."""
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            await asyncio.sleep(0)

    async def read_head(self) -> bytes:
        if self._head_read is not None:
            head, self._head_read = self._head_read, None
            return head
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(size)

    async def read_until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(mark)

    async def read_message(self) -> tuple[bytes, bytes]:
        """(head, body as on the wire) of a message framed by its length or by chunks."""
        head = await self.read_head()
        fields = head.lower()
        if b"\r\ntransfer-encoding: chunked" in fields:
            body = b""
            while not body.endswith(b"0\r\n\r\n"):
                line = await self.read_until(b"\r\n")
                body += line + await self.read(int(line.split(b";")[0], 16) + 2)
            return head, body
        if b"\r\ncontent-length:" in fields:
            length = int(fields.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
            return head, await self.read(length)
        return head, b""

    async def read_to_end(self) -> bytes:
        """Everything up to the peer's close. Raises ConnectionResetError on a reset."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def closed(self) -> None:
        """Wait until the peer has closed, whichever way."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            return

    async def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close with a reset, as a crash does."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Connection], Awaitable[None]]


class ScriptedUpstream:
    """A server that runs a test's script on each connection; errors of the script are kept."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.errors: list[BaseException] = []

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> ScriptedUpstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**22)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert not self.errors, self.errors

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._script(Connection(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except RuntimeError as error:
            if "the handler is closed" not in str(error):  # uvloop's word for a broken connection
                self.errors.append(error)
        except Exception as error:  # noqa: BLE001 - shown when the test ends
            self.errors.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()


class Proxy:
    """A running proxy and what a test asks of it."""

    def __init__(self, app: App) -> None:
        self.app = app

    @property
    def port(self) -> int:
        return self.app.port

    async def client(self) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**22)
        return Connection(reader, writer)

    async def get(self, path: str) -> Any:
        """A JSON answer of the admin, over the proxy's own port."""
        connection = await self.client()
        await connection.send(
            head_bytes(f"GET /admin/api/{path} HTTP/1.1", [("Host", f"127.0.0.1:{self.port}")])
        )
        head, body = await connection.read_message()
        await connection.close()
        assert head.startswith(b"HTTP/1.1 200"), (head, body)
        return json.loads(body)

    async def calls(self, count: int, state: str | None = None) -> list[dict[str, Any]]:
        """The newest calls once `count` of them have ended; bounded wait, newest first."""
        async with asyncio.timeout(PATIENCE):
            while True:
                calls = [c for c in await self.get("requests") if c["state"] != "running"]
                if state is not None:
                    calls = [call for call in calls if call["state"] == state]
                if len(calls) >= count:
                    found: list[dict[str, Any]] = calls
                    return found
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running_proxy(upstream: str, data_dir: Path, **settings: str) -> AsyncIterator[Proxy]:
    """The whole program in this process, on a port of its own, in front of `upstream`.

    Settings by their environment names in lower case without the prefix: timeouts_idle="0.2".
    """
    # All clients are this one process: their user agents tell them apart.
    settings.setdefault("clients_processes", "false")
    environ = {f"OLLAMA_PROXY_{name.upper()}": value for name, value in settings.items()}
    flags = {"listen": "127.0.0.1:0", "upstream": upstream, "data_dir": str(data_dir)}
    flags.setdefault("admin_listen", "off")
    app = App(load(flags=flags, environ=environ))
    await app.start()
    try:
        yield Proxy(app)
    finally:
        await app.stop()


@asynccontextmanager
async def between(script: Script, data_dir: Path, **settings: str) -> AsyncIterator[Proxy]:
    """A proxy in front of an upstream that follows `script`.

    The proxy's own looks at the upstream are answered 404 and never reach the script.
    """

    async def without_probes(connection: Connection) -> None:
        head = await connection.read_head()
        if b"\r\nx-ollama-proxy-probe:" in head.lower():
            await connection.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            await connection.closed()
            return
        connection.unread_head(head)
        await script(connection)

    async with (
        ScriptedUpstream(without_probes) as upstream,
        running_proxy(upstream.url, data_dir, **settings) as proxy,
    ):
        yield proxy
