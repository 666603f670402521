"""T10: HEAD, 204, 304, OPTIONS, Expect, HTTP/1.0 and long lines never hang."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import Connection, between, chunk

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 404 Not Found\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
        (b"OPTIONS", b"HTTP/1.1 204 No Content\r\nAllow: POST\r\n\r\n"),
        (b"DELETE", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (b"PATCH", b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"),
    ],
)
async def test_an_answer_without_a_body_ends_at_its_head(
    method: bytes, answer: bytes, tmp_path: Path
) -> None:
    async def script(upstream: Connection) -> None:
        while True:
            await upstream.read_head()
            await upstream.send(answer)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        for _ in range(2):
            await client.send(method + b" /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await client.read(len(answer)) == answer
        assert len(await proxy.calls(2)) == 2


async def test_expect_goes_end_to_end(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        head = await upstream.read_head()
        assert b"\r\nExpect: 100-continue\r\n" in head
        await upstream.send(b"HTTP/1.1 100 Continue\r\nX-I: 1\r\n\r\n")
        assert await upstream.read(4) == b"body"
        await upstream.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(
            b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert await client.read_head() == b"HTTP/1.1 100 Continue\r\nX-I: 1\r\n\r\n"
        await client.send(b"body")
        assert await client.read_head() == b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        assert await client.read(len(OK)) == OK


async def test_a_refused_expectation_ends_the_connection_at_once(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
        await upstream.closed()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(
            b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        answer = await client.read_to_end()
        assert answer == (
            b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        (call,) = await proxy.calls(1)
    assert (call["state"], call["status_code"]) == ("failed", 417)


async def test_an_upstream_that_did_not_take_the_whole_body_gets_no_other_call(
    tmp_path: Path,
) -> None:
    """It would take the next request for the rest of this one's body."""
    connections = []

    async def script(upstream: Connection) -> None:
        connections.append((await upstream.read_head()).split(b" ")[1])
        await upstream.send(OK)
        rest = await upstream.read_to_end()
        assert b"GET" not in rest

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab")
        assert (await client.read_head()).endswith(b"\r\nConnection: close\r\n\r\n")
        other = await proxy.client()
        await other.send(b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await other.read(len(OK)) == OK
    assert connections == [b"/early", b"/next"]


async def test_an_early_refusal_reaches_a_client_that_is_still_sending(tmp_path: Path) -> None:
    """The upstream answers 413 and closes while the upload runs: twenty times of twenty."""

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(
            b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 4\r\n\r\nmuch"
        )

    async with between(script, tmp_path) as proxy:
        for _ in range(20):
            client = await proxy.client()
            await client.send(
                b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
            )
            try:
                for _ in range(20):
                    client.writer.write(bytes(1 << 16))
                    await client.writer.drain()
            except ConnectionError:
                pass
            assert (await client.read_head()).startswith(b"HTTP/1.1 413 ")
            assert await client.read(4) == b"much"
            client.reset()


async def test_a_client_of_http_1_0_gets_its_answer_and_the_end(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        head = await upstream.read_head()
        assert head.startswith(b"GET /x HTTP/1.0\r\n")
        await upstream.send(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"GET /x HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert (await client.read_to_end()).endswith(b"\r\n\r\nuntil the end")


async def test_a_client_of_http_1_0_never_gets_chunks(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x") + b"0\r\n\r\n"
        )

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"GET /x HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("where", ["target", "header", "answer"])
async def test_64_kib_in_one_line_pass(where: str, tmp_path: Path) -> None:
    long = b"x" * 65536
    seen = b""
    answer = OK.replace(b"Content-Length", b"X-Long: " + long + b"\r\nContent-Length")
    target = b"/x?" + long if where == "target" else b"/x"
    header = b"X-Long: " + long + b"\r\n" if where == "header" else b""
    request = b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n"

    async def script(upstream: Connection) -> None:
        nonlocal seen
        seen = await upstream.read_head()
        await upstream.send(answer if where == "answer" else OK)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(request)
        expected = answer if where == "answer" else OK
        assert await client.read(len(expected)) == expected
    assert seen == request


async def test_a_head_over_the_limit_ends_that_connection_only(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        while True:
            await upstream.read_head()
            await upstream.send(OK)

    async with between(script, tmp_path) as proxy:
        other = await proxy.client()
        client = await proxy.client()
        try:
            await client.send(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 3_000_000 + b"\r\n\r\n"
            )
            assert (await client.read_head()).split(b" ")[1] == b"431"
        except ConnectionError:
            pass  # it may close before it has read what we still send
        await other.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await other.read(len(OK)) == OK
