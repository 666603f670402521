"""The tap between relay and observer: what it says of a request's pieces, and what it counts."""

from __future__ import annotations

import json

import pytest

from ollama_proxy.exchange import Exchange
from ollama_proxy.headers import response_head
from ollama_proxy.observers import REQUEST_LIMIT, Privacy, observer_for
from ollama_proxy.observers.tap import BLOCK, LONG_LOOK, Tap
from ollama_proxy.simulator.script import Piece
from tests.observers.spoken import (
    ALL,
    EVENTS,
    NATIVE,
    SSE,
    TELLING,
    say,
    think,
    units,
    use,
    whole,
)

WHOLE = ("application/json",)


def tap(method: str, path: str) -> tuple[Tap, Exchange]:
    exchange = Exchange.begin(method, path, None)
    return Tap(exchange, observer_for(method, path, exchange.observation, Privacy())), exchange


def test_a_request_is_there_to_be_read_once() -> None:
    read, exchange = tap("POST", "/api/create")
    piece = bytes(REQUEST_LIMIT // 2)
    assert [read.request_piece(piece) for _ in range(2)] == [False, True]
    read.request_end()
    read.understand()
    assert [read.request_piece(piece) for _ in range(3)] == [False] * 3
    assert exchange.request_bytes == 5 * len(piece)


def test_an_upload_that_nobody_reads_is_counted_and_never_there_to_be_read() -> None:
    blob, exchange = tap("POST", "/api/blobs/sha256:00")
    assert not any(blob.request_piece(b"12345") for _ in range(100))
    assert exchange.request_bytes == 500


def chat(
    *lines: str,
    head: str = "application/x-ndjson",
    path: str = "/api/chat",
    privacy: Privacy | None = None,
) -> Exchange:
    """A chat begun at second 10: its answer's head comes at 11, each piece a second later."""
    exchange = Exchange.begin("POST", path, None)
    exchange.started = 10.0
    observer = observer_for("POST", path, exchange.observation, privacy or Privacy())
    now = 11.0
    watched = Tap(exchange, observer, clock=lambda: now)
    watched.request_piece(b'{"model":"m","stream":%b}' % str(head not in WHOLE).lower().encode())
    watched.request_end()
    watched.head(
        response_head(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n\r\n" % head.encode(), "POST")
    )
    for line in lines:
        now += 1.0
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


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
DONE = '{"model":"m","message":{"role":"assistant","content":""},"done":true,"eval_count":3}\n'


def test_thinking_is_the_first_token_and_not_the_first_answer() -> None:
    call = chat(piece(thinking="hm"), piece(thinking="so"), piece("yes"), DONE).record()
    assert call.time_to_first_byte == 1.0
    assert call.time_to_first_token == 2.0
    assert call.time_to_first_answer == 4.0


@pytest.mark.parametrize("mode", ["truncate", "none", "hash", "full"])
@pytest.mark.parametrize("path", TELLING)
def test_first_token_and_first_answer_in_every_dialect(path: str, mode: str) -> None:
    def told(*pieces: Piece) -> Exchange:
        written = [unit.decode() for unit in units(path, list(pieces))]
        head = SSE if path in EVENTS else NATIVE
        return chat(*written, head=head, path=path, privacy=Privacy.build(mode))

    thoughts = think("hm", "so")
    for answer in (say("yes", "no"), use("f")):
        call = told(*thoughts, *answer)
        assert call.first_answer is not None and call.first_token is not None
        assert call.first_answer > call.first_token
        assert told(*answer).first_answer == told(*answer).first_token
    assert told(*thoughts).first_answer is None


@pytest.mark.parametrize("path", ALL)
def test_an_object_has_no_first_token(path: str) -> None:
    answer = whole(path, *say("yes")).answer.decode()
    record = chat(answer, head="application/json", path=path).record()
    assert (record.time_to_first_token, record.time_to_first_answer) == (None, None)
    assert record.response == "yes"


@pytest.mark.parametrize("mode", ["truncate", "none"])
@pytest.mark.parametrize("path", TELLING)
def test_long_thinking_is_read_in_blocks(path: str, mode: str) -> None:
    """Else each of its pieces would be parsed on the relay's way, and none ever forgotten."""
    pieces = units(path, think(*["hmm "] * 2000), end=False)
    exchange = Exchange.begin("POST", path, None)
    privacy = Privacy.build(mode)
    watched = Tap(exchange, observer_for("POST", path, exchange.observation, privacy))
    watched.request_piece(b'{"model":"m","stream":true}')
    watched.request_end()
    head = (SSE if path in EVENTS else NATIVE).encode()
    watched.head(response_head(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n\r\n" % head, "POST"))
    most = 0
    for written in pieces:
        watched.pending.append(written)
        watched.piece(len(written))
        most = max(most, sum(map(len, watched.pending)))
    assert 0.45 * BLOCK < most < 1.1 * BLOCK


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


def test_where_no_durations_are_told_the_stream_times_its_tokens() -> None:
    path = "/v1/messages"

    def each(*pieces: Piece) -> float | None:
        written = [unit.decode() for unit in units(path, list(pieces))]
        exchange = chat(*written, head=SSE, path=path)
        exchange.observation.output_tokens = 5
        return exchange.record().time_per_output_token

    answer = each(*say("a", "b", "c", "d"))
    assert answer is not None and answer >= 0.75  # a second from piece to piece
    assert each(*use("f")) is None


def test_what_is_not_streamed_has_no_tokens_in_time() -> None:
    call = chat(DONE, head="application/json").record()
    assert call.time_to_first_byte == 1.0
    assert (call.time_to_first_token, call.time_to_first_answer, call.longest_gap) == (None,) * 3


def test_an_answer_in_the_same_piece_as_thinking_is_noticed() -> None:
    call = chat(piece(thinking="hm"), piece(thinking="so") + piece("yes") + DONE).record()
    assert call.time_to_first_token is not None
    assert call.time_to_first_answer is not None
    assert call.time_to_first_answer > call.time_to_first_token


def test_a_look_that_takes_long_asks_for_a_pause() -> None:
    exchange = Exchange.begin("POST", "/api/chat", None)
    observer = observer_for("POST", "/api/chat", exchange.observation, Privacy())
    slow = iter([0.0, 0.9, 1.0, 1.0 + 2 * LONG_LOOK, *[9.0] * 9])
    watched = Tap(exchange, observer, clock=slow.__next__)
    watched.head(response_head(HEAD, "POST"))
    watched.pending.append(piece("a").encode())
    assert watched.piece(BLOCK)
    watched.pending.append(piece("b").encode())
    assert not watched.piece(BLOCK)


def test_the_first_piece_of_text_has_no_gap_before_it() -> None:
    gaps = chat(piece(), piece("a"), piece("b"), piece("c"), DONE).gaps
    assert gaps is not None
    assert gaps.percentile(0.01) == pytest.approx(1.0, rel=0.1)
