"""S3: what two readers could understand differently is refused, or reaches the upstream as one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.harness import PATIENCE, Connection, between

HOST = b"Host: localhost\r\n"
TWICE = {
    "cl-and-te": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked"
    b"\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "two-lengths": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n"
    b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "listed-length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0, 44\r\n\r\n"
    b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "signed-length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +0\r\n\r\n",
    "two-hosts": b"GET / HTTP/1.1\r\n" + HOST + b"Host: other\r\n\r\n",
    "space-before-colon": b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length : 3\r\n\r\nabc",
    "empty-name": b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n",
    "obs-fold": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "nul-in-value": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
    "nul-in-target": b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "te-gzip-chunked": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"
    b"0\r\n\r\n",
    "te-unknown": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "te-twice": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunk-size-sign": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    b"+1\r\na\r\n0\r\n\r\n",
    "chunk-size-0x": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    b"0x1\r\na\r\n0\r\n\r\n",
    "cr-in-value": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rGET /smuggled HTTP/1.1\r\n\r\n",
    "http-1.0-te": b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", TWICE)
async def test_an_ambiguous_request_is_never_two(name: str, tmp_path: Path) -> None:
    arrived = b""

    async def script(upstream: Connection) -> None:
        nonlocal arrived
        while True:
            arrived += await upstream.read_head()
            await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(TWICE[name])
        head = await client.read_head()
        await client.close()
    assert b"/smuggled" not in arrived
    assert arrived.count(b"HTTP/1.") <= 1
    assert head.split(b" ")[1] in (b"400", b"501"), head


async def test_trailers_of_an_upload_never_become_headers_of_the_next_request(
    tmp_path: Path,
) -> None:
    heads, trailers = [], []

    async def script(upstream: Connection) -> None:
        while True:
            heads.append(await upstream.read_head())
            if b"chunked" in heads[-1]:
                trailers.append(await upstream.read_until(b"\r\n\r\n"))
            await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(
            b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
            b"0\r\nAuthorization: Bearer stolen\r\n\r\nGET /b HTTP/1.1\r\n" + HOST + b"\r\n"
        )
        for _ in range(2):
            assert b" 200 " in await client.read_head()
    assert [head.split(b" ")[1] for head in heads] == [b"/a", b"/b"]
    assert b"stolen" not in b"".join(heads)
    assert trailers == [b"0\r\nAuthorization: Bearer stolen\r\n\r\n"]


@pytest.mark.parametrize(
    "rest",
    [
        b"zz\r\nx\r\n",
        b"1\r\naX\r\n",
        b"2\nab\r\n",
        b"1;a\rb\r\na\r\n",
        b"0\r\nX: a\n\r\n",
        b"0\r\n\n",
    ],
)
async def test_an_upload_that_breaks_its_chunks_midway_is_refused_at_once(
    rest: bytes, tmp_path: Path
) -> None:
    """What comes after it on the connection is of no known meaning, and goes nowhere."""
    arrived = b""
    began, gone = asyncio.Event(), asyncio.Event()

    async def script(upstream: Connection) -> None:
        nonlocal arrived
        await upstream.read_head()
        arrived = await upstream.read(8)
        began.set()
        try:
            arrived += await upstream.read_to_end()
        finally:
            gone.set()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(
            b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n"
        )
        await asyncio.wait_for(began.wait(), PATIENCE)
        await client.send(rest)
        await client.send(b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n")
        head, body = await client.read_message()
        assert await client.read_to_end() == b""
        await asyncio.wait_for(gone.wait(), PATIENCE)
        (call,) = await proxy.calls(1)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"X-Ollama-Proxy-Error: refused" in head
    assert b"chunk" in body
    assert b"smuggled" not in arrived
    assert (call["state"], call["reason"]) == ("failed", "refused")


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"https"),
        (b"GET / HTTP/1.1\nHost: localhost\n\n", b"without CR"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", b"not a request"),
    ],
)
async def test_what_is_no_request_gets_one_clear_line_and_the_end(
    sent: bytes, told: bytes, tmp_path: Path
) -> None:
    async def script(upstream: Connection) -> None:
        raise AssertionError("reached")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(sent)
        head, body = await client.read_message()
        assert await client.read_to_end() == b""
    assert head.startswith(b"HTTP/1.1 400 ")
    assert told in body


@pytest.mark.parametrize(
    "line", [b"X: a\nContent-Length: 1", b"X: a\x00b", b"X: a\rb", b"X\x0b: 1", b"Bad Name: 1"]
)
async def test_an_answer_with_control_characters_in_its_head_is_a_502(
    line: bytes, tmp_path: Path
) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 0\r\n\r\n")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await client.read_head()).startswith(b"HTTP/1.1 502 ")
