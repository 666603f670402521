"""A client's connection, from outside: what follows what on it, and who waits for whom."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from ollama_proxy.downstream import Downstream, Piece
from ollama_proxy.framing import FramingError
from ollama_proxy.headers import CUT
from ollama_proxy.request_head import Heads, RequestError, RequestHead
from ollama_proxy.target import Target
from tests.harness import PATIENCE, Connection, between, chunk, head_bytes, running_proxy

HOST = b"Host: localhost\r\n"
GET = b"GET /x HTTP/1.1\r\n" + HOST + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
END = b"0\r\n\r\n"


async def answer_all(upstream: Connection) -> None:
    while True:
        await upstream.read_message()
        await upstream.send(OK)


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    "upload",
    [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"abc") + END],
    ids=["length", "chunked"],
)
async def test_requests_of_all_kinds_follow_each_other_on_one_connection(
    upload: bytes, size: int, tmp_path: Path
) -> None:
    sent = [b"POST /x HTTP/1.1\r\n" + HOST + upload, GET, b"PURGE /y HTTP/1.1\r\n" + HOST + b"\r\n"]
    seen: list[bytes] = []

    async def script(upstream: Connection) -> None:
        while True:
            seen.append(b"".join(await upstream.read_message()))
            await upstream.send(OK)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send_in_pieces(b"\r\n".join([*sent, sent[0]]), size)  # a blank line is borne
        for _ in range(4):
            assert await client.read(len(OK)) == OK
        calls = await proxy.calls(4)
    assert seen == [*sent, sent[0]]
    assert [call["request_bytes"] for call in calls] == [3, 0, 0, 3]


async def test_a_body_that_came_before_the_connection_to_ollama_is_sent_whole(
    tmp_path: Path,
) -> None:
    """The proxy has to connect first; what comes meanwhile waits, in its order."""
    body = bytes(range(256)) * 4096
    arrived = asyncio.Queue[bytes]()

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        arrived.put_nowait(await upstream.read(len(body)))
        await upstream.send(OK)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        head = [("Host", "localhost"), ("Content-Length", str(len(body)))]
        client.writer.write(head_bytes("POST /x HTTP/1.1", head) + body[:1])
        client.writer.write(body[1:])
        assert await client.read(len(OK)) == OK
        assert arrived.get_nowait() == body


async def test_a_slow_reader_of_one_answer_gets_the_next_one_too(tmp_path: Path) -> None:
    """Its first answer ends while most of it still waits here; both connections go on."""
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (4 << 20) + bytes(4 << 20)
    connections = 0

    async def script(upstream: Connection) -> None:
        nonlocal connections
        connections += 1
        while True:
            head = await upstream.read_head()
            await upstream.send(large if b"/large" in head else OK)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        for _ in range(3):
            await client.send(GET.replace(b"/x", b"/large") + GET)
            got = bytearray()
            while len(got) < len(large) + len(OK):
                got += await client.read(min(1 << 16, len(large) + len(OK) - len(got)))
                await asyncio.sleep(0)
            assert got == large + OK
    assert connections == 1


class Quick:
    """A server whose every call is over at once."""

    closing = leaving = False

    def __init__(self) -> None:
        self.begun = 0
        self.client: Downstream | None = None

    def opened(self, client: Downstream) -> None:
        self.client = client

    def closed(self, client: Downstream) -> None: ...

    def read_head(self, raw: bytes) -> RequestHead:
        return Heads(Target(b"", b"", True, False), CUT).read(raw)

    def takes(self, client: Downstream, head: RequestHead, data: bytes) -> bool:
        return False

    def call(self, client: Downstream, head: RequestHead) -> Quick:
        self.begun += 1
        return self

    def refuse(self, client: Downstream, error: RequestError) -> None: ...

    def hand_on(self, client: Downstream, waiting: bytes) -> None: ...

    def begin(self, piece: Piece) -> None:
        assert self.client is not None
        self.client.over(True)

    def more(self, piece: Piece) -> None: ...

    def malformed(self, error: FramingError) -> None: ...

    def client_left(self) -> None: ...

    def client_slow(self, slow: bool) -> None: ...

    def failed(self) -> None: ...


async def test_no_call_begins_for_a_client_that_takes_no_answers() -> None:
    """Refusals, each longer than what asked for it, would pile up here without end."""
    loop = asyncio.get_running_loop()
    server = Quick()
    ours, theirs = socket.socketpair()
    transport, client = await loop.create_connection(lambda: Downstream(loop, server), sock=ours)
    client.pause_writing()
    client.data_received(GET * 3000)
    for _ in range(5):
        await asyncio.sleep(0)
    assert server.begun == 0
    assert not transport.is_reading()
    client.resume_writing()
    while server.begun < 3000:
        await asyncio.sleep(0)
    assert transport.is_reading()
    transport.abort()
    theirs.close()


async def test_a_long_head_behind_a_running_call_is_read_once_that_is_over(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    long = b"GET /y HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 300_000

    async def script(upstream: Connection) -> None:
        while True:
            await upstream.read_head()
            await go_on.wait()
            await upstream.send(OK)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(GET + long)
        go_on.set()
        assert await client.read(len(OK)) == OK
        await client.send(b"\r\n\r\n")
        assert await client.read(len(OK)) == OK


async def test_what_breaks_in_its_first_piece_is_recorded_too(tmp_path: Path) -> None:
    async with between(answer_all, tmp_path, privacy_mode="full") as proxy:
        client = await proxy.client()
        await client.send(
            b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
        )
        assert (await client.read_head()).startswith(b"HTTP/1.1 400 ")
        (call,) = await proxy.calls(1)
    assert (call["path"], call["state"], call["reason"]) == ("/api/chat", "failed", "refused")


async def test_an_early_answer_reaches_a_slow_reader_whole_though_it_still_sends(
    tmp_path: Path,
) -> None:
    large = bytes(8 << 20)

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(b"HTTP/1.1 413 Large\r\nContent-Length: %d\r\n\r\n" % len(large))
        await upstream.send(large)
        await upstream.closed()

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length: 99\r\n\r\nabc")
        assert b" 413 " in await client.read_head()
        got = 0
        while got < len(large):
            got += len(await client.read(min(1 << 18, len(large) - got)))
            client.writer.write(b"d")
            await asyncio.sleep(0)
        assert await client.read_to_end() == b""


async def test_an_answer_is_whole_though_more_was_asked_behind_it(tmp_path: Path) -> None:
    """Closing with something unread would reset the connection, and throw away what was sent."""
    large = bytes(4 << 20)

    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(large) + large)

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"GET /x HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n" + GET * 9000)
        await client.read_head()
        got = 0
        while got < len(large):
            got += len(await client.read(min(1 << 18, len(large) - got)))
            await asyncio.sleep(0)
        assert await client.read_to_end() == b""


async def test_a_method_is_a_word(tmp_path: Path) -> None:
    """It is kept in each record."""
    async with between(answer_all, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(b"A" * 33 + b" / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await client.read_head()).startswith(b"HTTP/1.1 400 ")


async def test_the_admin_closes_behind_its_answer_so_that_the_next_request_is_a_call(
    tmp_path: Path,
) -> None:
    """What a client asks next on that connection would else be the admin's to answer."""
    ask = head_bytes("GET /admin/api/status HTTP/1.1", [("Host", "localhost")])
    async with between(answer_all, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(GET)
        assert await client.read(len(OK)) == OK
        await client.send(ask + GET)
        head, _ = await client.read_message()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in head
        assert await client.read_to_end() == b""
        assert len(await proxy.calls(1)) == 1


async def test_the_client_may_leave_while_the_proxy_connects(tmp_path: Path) -> None:
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # nobody accepts: whoever comes now waits for ever
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        async with running_proxy(url, tmp_path, models_interval="3600") as proxy:
            client = await proxy.client()
            await client.send(b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nabc")
            async with asyncio.timeout(PATIENCE):
                while not await proxy.get("active"):
                    await asyncio.sleep(0.01)
            client.reset()
            (call,) = await proxy.calls(1)
    assert (call["state"], call["reason"]) == ("cancelled", "client_disconnected")
    assert "during its upload" in call["error"]
