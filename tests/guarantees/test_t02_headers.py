"""T2, T3: end-to-end headers are the same list both ways; hop-by-hop headers are not forwarded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import Connection, between

ODD = (
    b"Host: localhost:11434\r\n"
    b"x-lower: a\r\n"
    b"X-Twice: 1\r\n"
    b"ACCEPT: */*\r\n"
    b"X-Twice: 2\r\n"
    b"Accept-Encoding: zstd, br;q=0.1\r\n"
    b"Cookie: a=b\r\n"
    b"Authorization: Bearer sk-canary\r\n"
    b"X-Empty: \r\n"
    b"X-Latin: caf\xe9\r\n"
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
)


async def exchange(tmp_path: Path, request: bytes, answer: bytes) -> tuple[bytes, bytes]:
    """(head that reached the upstream, head that reached the client)."""
    seen = b""

    async def script(upstream: Connection) -> None:
        nonlocal seen
        seen = await upstream.read_head()
        await upstream.send(answer)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(request)
        head = await client.read_head()
        await client.close()
    return seen, head


async def test_request_headers_keep_order_case_duplicates_and_bytes(tmp_path: Path) -> None:
    request = b"GET /api/tags HTTP/1.1\r\n" + ODD + b"\r\n"
    seen, _ = await exchange(tmp_path, request, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert seen == request


async def test_blanks_around_a_value_and_odd_names_stay_as_they_were(tmp_path: Path) -> None:
    request = (
        b"GET /api/tags HTTP/1.1\r\nhost:localhost\r\nX-Tab:\ta \t\r\nX-Wide:   b\r\n"
        b"~`|!: c\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n"
    )
    seen, _ = await exchange(tmp_path, request, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert seen == request


async def test_response_headers_keep_order_case_duplicates_and_bytes(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 All is well\r\n" + ODD + b"set-cookie: a\r\nContent-Length: 0\r\n\r\n"
    _, head = await exchange(tmp_path, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", answer)
    assert head == answer


async def test_hop_by_hop_request_headers_stay_here(tmp_path: Path) -> None:
    request = (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, X-Mine\r\n"
        b"X-Mine: secret\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: x\r\n"
        b"X-Kept: 1\r\n\r\n"
    )
    seen, _ = await exchange(tmp_path, request, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert seen == b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Kept: 1\r\n\r\n"


@pytest.mark.parametrize("name", [b"Host", b"Content-Length", b"Authorization"])
async def test_what_decides_who_may_ask_is_not_dropped_by_naming_it(
    name: bytes, tmp_path: Path
) -> None:
    request = (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: " + name + b"\r\n"
        b"Authorization: Bearer x\r\nContent-Length: 0\r\n\r\n"
    )
    seen, _ = await exchange(tmp_path, request, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert b"\r\n" + name + b": " in seen


async def test_hop_by_hop_response_headers_stay_here(tmp_path: Path) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=9\r\n"
        b"X-Kept: 1\r\nContent-Length: 0\r\n\r\n"
    )
    _, head = await exchange(tmp_path, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", answer)
    assert head == b"HTTP/1.1 200 OK\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n"


async def test_keep_alive_lines_of_another_connection_stay_here(tmp_path: Path) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    _, head = await exchange(tmp_path, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", answer)
    assert head == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_a_client_that_wants_to_close_is_told_so(tmp_path: Path) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    seen, head = await exchange(tmp_path, request, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert seen == b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert head == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def test_a_name_that_is_none_drops_no_line_of_the_answer(tmp_path: Path) -> None:
    """`transfer-encoding: a` is no header's name, but how such a line may begin."""
    answer = (
        b"HTTP/1.1 200 OK\r\nConnection: transfer-encoding: a, x-gone\r\nX-Gone: 1\r\n"
        b"Transfer-Encoding: a:b, chunked\r\n\r\n0\r\n\r\n"
    )
    _, head = await exchange(tmp_path, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", answer)
    assert head == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: a:b, chunked\r\n\r\n"
