"""T1: bodies are the same bytes both ways, in every framing and encoding."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.harness import (
    Connection,
    between,
    chunk,
    recorded_request,
    recorded_response,
    recording,
    recordings,
)

HOST = b"Host: 127.0.0.1:11434\r\n"
ZSTD = bytes.fromhex("28b52ffd0458290000") + b"hello" + b"\x00" * 4


@pytest.mark.parametrize("size", [1, 7, 1 << 20], ids=["1", "7", "whole"])
@pytest.mark.parametrize("name", recordings())
async def test_a_recorded_exchange_passes_byte_for_byte(
    name: str, size: int, tmp_path: Path
) -> None:
    exchange = recording(name)
    sent = recorded_request(exchange)
    answer = recorded_response(exchange)
    received = b""

    async def script(upstream: Connection) -> None:
        nonlocal received
        head, body = await upstream.read_message()
        received = head + body
        await upstream.send_in_pieces(answer, size)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(sent)
        assert await client.read(len(answer)) == answer
        await client.close()
    assert received == sent


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: 5\r\n", b"plain"),
        (b"Content-Length: 0\r\n", b""),
        (b"Content-Encoding: gzip\r\nContent-Length: %d\r\n", gzip.compress(b"{}" * 99, mtime=0)),
        (b"Content-Encoding: zstd\r\nContent-Length: %d\r\n", ZSTD),
        (b"Transfer-Encoding: chunked\r\n", chunk(b"one") + chunk(b"two") + b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"3;ext=1\r\none\r\n0\r\nTrailer-X: 1\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"0003\r\nabc\r\n000\r\n\r\n"),
    ],
    ids=["length", "empty", "gzip", "zstd", "chunked", "extension-and-trailer", "leading-zeros"],
)
async def test_an_answer_keeps_its_framing_and_its_encoding(
    headers: bytes, body: bytes, tmp_path: Path
) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + headers.replace(b"%d", b"%d" % len(body)) + b"\r\n" + body

    async def script(upstream: Connection) -> None:
        while True:
            await upstream.read_head()
            await upstream.send(answer)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        for _ in range(2):  # twice: the connection must be in step after the first
            await client.send(b"GET /x HTTP/1.1\r\n" + HOST + b"\r\n")
            assert await client.read(len(answer)) == answer
        await client.close()


async def test_an_answer_that_ends_by_closing_ends_so(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nuntil the end")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"GET /x HTTP/1.1\r\n" + HOST + b"\r\n")
        assert await client.read_to_end() == (
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\nConnection: close\r\n\r\nuntil the end"
        )
        (call,) = await proxy.calls(1)
        assert (call["state"], call["response_bytes"]) == ("completed", 13)


@pytest.mark.parametrize("encoding", ["", "gzip"], ids=["plain", "gzip"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_an_upload_arrives_as_it_was_sent(
    chunked: bool, encoding: str, tmp_path: Path
) -> None:
    body = bytes(range(256)) * 4096
    if encoding:
        body = gzip.compress(body * 2, mtime=0)
    arrived = b""

    async def script(upstream: Connection) -> None:
        nonlocal arrived
        head, wire = await upstream.read_message()
        arrived = wire if not chunked else unchunked(wire)
        if encoding:
            assert b"\r\nContent-Encoding: gzip\r\n" in head
        await upstream.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        coding = b"Content-Encoding: gzip\r\n" if encoding else b""
        if chunked:
            framing = b"Transfer-Encoding: chunked\r\n\r\n"
            wire = b"".join(chunk(body[at : at + 7001]) for at in range(0, len(body), 7001))
            wire += b"0\r\n\r\n"
        else:
            framing, wire = b"Content-Length: %d\r\n\r\n" % len(body), body
        await client.send(b"POST /api/blobs/sha256:0 HTTP/1.1\r\n" + HOST + coding + framing)
        await client.send_in_pieces(wire, 50_000)
        assert (await client.read_head()).startswith(b"HTTP/1.1 201 Created\r\n")
        (call,) = await proxy.calls(1)
    assert arrived == body
    assert call["request_bytes"] == len(body)


def unchunked(wire: bytes) -> bytes:
    body, at = b"", 0
    while size := int(wire[at : wire.index(b"\r\n", at)], 16):
        start = wire.index(b"\r\n", at) + 2
        body += wire[start : start + size]
        at = start + size + 2
    return body
