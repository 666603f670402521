"""The tap between relay and observer: what it says of a request's pieces, and what it counts."""

from __future__ import annotations

from ollama_proxy.exchange import Exchange
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
