"""What the clients say of a monitor that is down, hangs or is another program: always one line, and
the token to none of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from ollama_proxy.client import MonitorClient, MonitorDown, MonitorError, NotAMonitor
from tests.client.support import TOKEN, Kind, as_json, asked, both, monitored, script, told
from tests.harness import Connection, ScriptedUpstream

Stranger = Callable[[Connection], Awaitable[None]]
HTML = b"<html>It works!</html>"


async def silent(connection: Connection) -> None:
    await connection.read_head()
    await asyncio.Event().wait()


def drip(start: bytes, drop: bytes) -> Stranger:
    """Each byte in time for one who waits for a byte, and never all of them."""

    async def dripping(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(start)
        while True:
            await connection.send(drop)
            await asyncio.sleep(0.05)

    return dripping


async def closing(connection: Connection) -> None:
    await connection.read_head()


async def breaking_off(connection: Connection) -> None:
    await connection.read_head()
    await connection.send(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"status": ')


async def breaking_off_a_chunk(connection: Connection) -> None:
    await connection.read_head()
    await connection.send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"st')


async def endless(connection: Connection) -> None:
    await connection.read_head()
    await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await connection.send(b" " * 2**20)


async def no_http(connection: Connection) -> None:
    await connection.read_head()
    await connection.send(b"220 mail.example ESMTP\r\n" * 3)


def answering(body: bytes, status: bytes = b"200 OK") -> Stranger:
    return lambda connection: told(connection, body, status=status)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = b"Content-Length: 1000000\r\n\r\n"
HANGING = {
    "silent": silent,
    "in the status line": drip(b"HTTP/1.1 200 ", b"O"),
    "in the headers": drip(b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "before them": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "in the body": drip(b"HTTP/1.1 200 OK\r\n" + LONG, b" "),
    "in a chunk's size": drip(CHUNKED, b"0"),
    "after the last chunk": drip(CHUNKED + b"4\r\nnull\r\n0\r\n", b"x: y\r\n"),
    "in a 404": drip(b"HTTP/1.1 404 Not Found\r\n" + LONG, b"x"),
    "in a 401": drip(b"HTTP/1.1 401 Unauthorized\r\n" + LONG, b"x"),
}
DOWN = {
    **{where: (stranger, "no answer in time") for where, stranger in HANGING.items()},
    "closing": (closing, "clos|reset"),
    "breaking off": (breaking_off, "broke off"),
    "breaking off a chunk": (breaking_off_a_chunk, "broke off"),
}
FOREIGN = {
    "page": (answering(HTML), "JSON"),
    "nothing": (answering(b""), "truncated"),
    "another shape": (answering(b'{"status": 1}'), "status"),
    "a list": (answering(b"[]"), "object"),
    "deep": (answering(b"[" * 100_000), "recursion|Expected"),
    "no text": (answering(b'{"status": "\xff"}'), "UTF-8|utf-8"),
    "not found": (answering(HTML, b"404 Not Found"), "404"),
    "gone\x1b": (answering(as_json({"errors": "x"}), b"503 \x1b[31mGone"), "503"),
    "no HTTP": (no_http, "HTTP"),
    "endless": (endless, "no end"),
}


@both
@pytest.mark.parametrize("what", DOWN)
async def test_one_that_is_down(kind: Kind, what: str) -> None:
    stranger, why = DOWN[what]
    async with ScriptedUpstream(stranger) as other:
        url = f"{other.url}/admin"
        with pytest.raises(MonitorDown, match=f"{url}.*({why})") as raised:
            await asked(kind, url, "status", seconds=0.5)
    assert str(raised.value).isprintable()


@both
async def test_a_stream_that_never_begins(kind: Kind) -> None:
    async with ScriptedUpstream(HANGING["in the headers"]) as other:
        with pytest.raises(MonitorDown, match="no answer in time"):
            await asked(kind, f"{other.url}/admin", "events", seconds=0.5)


async def hushed(connection: Connection) -> None:
    await asyncio.Event().wait()


async def greeting(connection: Connection) -> None:
    await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await asyncio.Event().wait()


@both
@pytest.mark.parametrize(("stranger", "why"), [(hushed, "in time"), (greeting, "SSL|TLS")])
async def test_one_that_speaks_no_tls(kind: Kind, stranger: Stranger, why: str) -> None:
    async with ScriptedUpstream(stranger) as other:
        url = f"https://127.0.0.1:{other.port}/admin"
        with pytest.raises(MonitorDown, match=f"{url}.*({why})"):
            await asked(kind, url, "status", seconds=0.5)


@both
async def test_where_nobody_listens(kind: Kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as port:
        url = f"http://127.0.0.1:{port.getsockname()[1]}"
    for place in (url, f"{url}/admin"):
        with pytest.raises(MonitorDown, match=f"{url}.*refused"):
            await asked(kind, place, "status")


@both
@pytest.mark.parametrize("what", FOREIGN)
async def test_another_program(kind: Kind, what: str) -> None:
    stranger, why = FOREIGN[what]
    async with ScriptedUpstream(stranger) as other:
        with pytest.raises(NotAMonitor, match=f"no proxy's monitor.*({why})") as raised:
            await asked(kind, f"{other.url}/admin", "status", seconds=30.0)
    assert str(raised.value).isprintable()


@both
@pytest.mark.parametrize("rows", [0, 1])
async def test_pages_that_lead_nowhere_end(kind: Kind, rows: int, tmp_path: Path) -> None:
    """An empty page, or the same one again, each with a link to the next."""
    async with monitored(tmp_path) as proxy:
        await proxy.chat()
        (call,) = await asked(kind, proxy.url, "requests", limit=1)
    body = as_json([msgspec.to_builtins(call)] * rows)
    link = b'Link: <?before=x>; rel="next"'
    async with ScriptedUpstream(lambda connection: told(connection, body, link)) as other:
        calls = await asked(kind, f"{other.url}/admin", "requests")
        assert other.connections == 1 + rows and calls == [call] * 2 * rows


async def test_a_search_that_goes_on_after_an_empty_page_is_followed() -> None:
    pages = iter([(b"[]", b'Link: <?before=x>; rel="next"'), (b"[]", b"X: y")])
    on = b"X-Ollama-Proxy-Scanned-To: x"
    async with ScriptedUpstream(lambda one: told(one, *next(pages), on)) as other:
        assert await asked(MonitorClient, f"{other.url}/admin", "requests", text="x") == []
        assert other.connections == 2


async def test_a_program_ends_while_a_monitor_is_still_looked_for() -> None:
    text = (
        "import asyncio, sys; from ollama_proxy.client import AsyncMonitorClient\n"
        "async def main():\n"
        "  async with AsyncMonitorClient(sys.argv[1], seconds=3600) as monitor:\n"
        "    try:\n"
        "      async with asyncio.timeout(0.5): await monitor.status()\n"
        "    except TimeoutError: print('given up')\n"
        "asyncio.run(main())"
    )
    async with ScriptedUpstream(silent) as other:
        assert await script(text, other.url) == (0, "given up\n", "")


@both
async def test_a_refusal_that_comes_in_two_pieces_is_read_whole(kind: Kind) -> None:
    async def halting(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
            b'Content-Length: 23\r\n\r\n{"error": "it '
        )
        await asyncio.sleep(0.1)  # so that the halves are read apart
        await connection.send(b'is busy"}')

    async with ScriptedUpstream(halting) as other:
        with pytest.raises(MonitorError, match="503: it is busy") as raised:
            await asked(kind, f"{other.url}/admin", "status")
    assert not isinstance(raised.value, NotAMonitor) and raised.value.status == 503


@both
@pytest.mark.parametrize("status", [b"301 Moved", b"307 Temporary Redirect"])
async def test_no_redirection_is_followed(kind: Kind, status: bytes, tmp_path: Path) -> None:
    async with monitored(tmp_path) as proxy:
        there = b"Location: %b/api/status" % proxy.url.encode()
        async with ScriptedUpstream(
            lambda connection: told(connection, b"", there, status=status)
        ) as other:
            with pytest.raises(MonitorError, match=f"{status[:3].decode()}"):
                await asked(kind, f"{other.url}/admin", "status")


@both
@pytest.mark.parametrize("challenge", [b"X: y", b'WWW-Authenticate: Bearer realm="other"'])
async def test_the_token_is_said_to_none_of_them(kind: Kind, challenge: bytes) -> None:
    heads: list[bytes] = []

    async def asking(connection: Connection) -> None:
        heads.append(await connection.read_head())
        connection.unread_head(heads[-1])
        await told(connection, b"{}", challenge, status=b"401 No")

    async with ScriptedUpstream(asking) as other:
        with pytest.raises(MonitorError):
            await asked(kind, f"{other.url}/admin", "status", token=TOKEN)
    assert len(heads) == 1 and TOKEN.encode() not in heads[0]


@both
@pytest.mark.parametrize("url", ["", "http://", "ftp://127.0.0.1", "127.0.0.1:x", "http://[::1"])
async def test_what_is_no_address(kind: Kind, url: str) -> None:
    with pytest.raises(MonitorError, match="expected http://HOST:PORT"):
        await asked(kind, url, "status")
