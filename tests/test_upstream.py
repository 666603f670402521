"""A connection to the upstream: what records may fail, the bytes go on."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ollama_proxy.headers import ResponseHead
from ollama_proxy.pool import Pool
from ollama_proxy.upstream import Signal
from tests.harness import PATIENCE, Connection

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef"


class Failing:
    """A tap that fails at one of its steps."""

    def __init__(self, step: str) -> None:
        self._step = step
        self.pending: list[bytes] = []

    def head(self, head: ResponseHead) -> None:
        self._at("head")

    def piece(self, size: int) -> bool:
        self._at("piece")
        return False

    def _at(self, step: str) -> None:
        if step == self._step:
            raise ValueError("the prompt was: tell me a secret")


class Caller:
    def __init__(self) -> None:
        self.over = asyncio.get_running_loop().create_future()

    def answered(self, signal: Signal) -> None:
        self.over.set_result(signal)

    def upstream_slow(self, slow: bool) -> None: ...


@pytest.mark.parametrize("step", ["head", "piece"])
async def test_an_answer_passes_whole_though_nobody_can_look_at_it(
    step: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        pool = Pool("127.0.0.1", server.getsockname()[1])
        upstream = await pool.connect()
        accepted, _ = server.accept()
        ours, theirs = socket.socketpair()
        client, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        call = Caller()
        upstream.begin(
            call, method="GET", http_10=False, client=client, keep_alive=True, tap=Failing(step)
        )
        there = Connection(*await asyncio.open_connection(sock=theirs))
        accepted.sendall(ANSWER[:-3])
        got = await there.read(len(ANSWER) - 3)
        accepted.sendall(ANSWER[-3:])
        got += await there.read(3)
        assert await asyncio.wait_for(call.over, PATIENCE) is Signal.DONE
        await there.close()
        client.close()
        pool.close()
        accepted.close()
    assert got == ANSWER
    (record,) = caplog.records
    assert "no longer looked at" in record.getMessage()
    assert "secret" not in record.getMessage()
