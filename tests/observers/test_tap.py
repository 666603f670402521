"""The tap between relay and observer: what it says of a request's pieces, and what it counts."""

from __future__ import annotations

import itertools
import json

import pytest

from ollama_proxy.exchange import Exchange
from ollama_proxy.headers import response_head
from ollama_proxy.observers import REQUEST_LIMIT, Privacy, observer_for
from ollama_proxy.observers.tap import Tap


def tap(method: str, path: str) -> tuple[Tap, Exchange]:
    exchange = Exchange.begin(method, path, None)
    return Tap(exchange, observer_for(method, path, exchange.observation, Privacy())), exchange


def test_a_request_is_there_to_be_read_once() -> None:
    read, exchange = tap("POST", "/api/create")
    piece = bytes(REQUEST_LIMIT // 2)
    assert [read.request_piece(piece) for _ in range(2)] == [False, True]
    read.request_end()
    assert [read.request_piece(piece) for _ in range(3)] == [False] * 3
    assert exchange.request_bytes == 5 * len(piece)


def test_an_upload_that_nobody_reads_is_counted_and_never_there_to_be_read() -> None:
    blob, exchange = tap("POST", "/api/blobs/sha256:00")
    assert not any(blob.request_piece(b"12345") for _ in range(100))
    assert exchange.request_bytes == 500


def chat(*lines: str, head: str = "application/x-ndjson") -> Exchange:
    """A chat whose answer came as these pieces, one a second, from second 11 on."""
    exchange = Exchange.begin("POST", "/api/chat", None)
    exchange.started = 10.0
    observer = observer_for("POST", "/api/chat", exchange.observation, Privacy())
    watched = Tap(exchange, observer, clock=itertools.count(11.0).__next__)
    watched.request_piece(b'{"model":"m"}')
    watched.request_end()
    watched.head(
        response_head(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n\r\n" % head.encode(), "POST")
    )
    for line in lines:
        watched.pending.append(line.encode())
        watched.piece(len(line))
    watched.close(True)
    return exchange


def piece(content: str = "", thinking: str | None = None, **more: object) -> str:
    message = {"role": "assistant", "content": content, **more}
    if thinking is not None:
        message["thinking"] = thinking
    return (
        json.dumps({"model": "m", "message": message, "done": False}, separators=(",", ":")) + "\n"
    )


DONE = '{"model":"m","message":{"role":"assistant","content":""},"done":true,"eval_count":3}\n'


def test_thinking_is_the_first_token_and_not_the_first_answer() -> None:
    call = chat(piece(thinking="hm"), piece(thinking="so"), piece("yes"), DONE).record()
    # The clock is looked at for the head, the first token, and once or twice a piece from there on.
    assert call.time_to_first_byte == 1.0
    assert call.time_to_first_token == 2.0
    assert call.time_to_first_answer == 5.0


def test_an_answer_without_thinking_begins_with_its_first_token() -> None:
    call = chat(piece("yes"), piece("no"), DONE).record()
    assert call.time_to_first_token == call.time_to_first_answer == 2.0


def test_a_tool_call_is_an_answer() -> None:
    call = chat(piece(tool_calls=[{"function": {"name": "f", "arguments": {}}}]), DONE).record()
    assert call.time_to_first_answer == 2.0


def test_gaps_are_counted_from_the_first_token_on() -> None:
    call = chat(piece(), piece("a"), piece("b"), DONE).record()
    assert call.longest_gap == 1.0
    assert call.p95_gap == pytest.approx(1.0, rel=0.1)


def test_what_is_not_streamed_has_no_tokens_in_time() -> None:
    call = chat(DONE, head="application/json").record()
    assert call.time_to_first_byte == 1.0
    assert (call.time_to_first_token, call.time_to_first_answer, call.longest_gap) == (None,) * 3


def test_long_thinking_is_read_in_blocks() -> None:
    """Else each of its pieces would be parsed on the relay's way, and none ever forgotten."""
    lines = [piece(thinking="x" * 100)] * 2000
    exchange = Exchange.begin("POST", "/api/chat", None)
    observer = observer_for("POST", "/api/chat", exchange.observation, Privacy())
    watched = Tap(exchange, observer)
    watched.head(
        response_head(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n", "POST")
    )
    most = 0
    for line in lines:
        watched.pending.append(line.encode())
        watched.piece(len(line))
        most = max(most, sum(map(len, watched.pending)))
    assert 30_000 < most < 70_000
