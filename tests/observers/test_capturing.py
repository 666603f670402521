"""The tap that captures: times from the sending on, and never more room than there is."""

from __future__ import annotations

from collections.abc import Iterator

from ollama_proxy.exchange import Exchange
from ollama_proxy.headers import response_head
from ollama_proxy.observers import REQUEST_LIMIT, Privacy, observer_for
from ollama_proxy.observers.capturing import Captures, CapturingTap
from ollama_proxy.replay import PIECE_BYTES, Capture

BODY = b'{"model": "m", "prompt": "x"}'
HEAD = response_head(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "POST")
FULL = Privacy.build("full")


def seconds() -> Iterator[float]:
    moment = 100.0
    while True:
        yield moment
        moment += 1.0


def capture(captures: Captures, body: bytes = BODY) -> Capture | None:
    """What is captured of a call whose answer comes in two pieces."""
    exchange = Exchange.begin("POST", "/api/generate", None)
    observer = observer_for("POST", exchange.path, exchange.observation, FULL)
    tap = CapturingTap(exchange, observer, [], captures, seconds().__next__)
    tap.request_piece(body)
    tap.request_end()
    tap.head(HEAD)
    for piece in (b"abc", b"def"):
        tap.pending.append(piece)
        tap.piece(3)
    tap.close(True)
    draft = captures.take(exchange.id)
    assert captures.take(exchange.id) is None
    return None if draft is None else draft.capture


def test_pieces_have_their_seconds_since_the_request_was_sent_on() -> None:
    found = capture(Captures())
    assert found is not None
    (first, one), (second, two) = found.pieces
    assert (one, two, found.body) == (b"abc", b"def", BODY)
    assert 0 < first < second < 50


def test_there_is_room_again_after_each_call_whatever_became_of_it() -> None:
    captures = Captures(room=REQUEST_LIMIT + 2 * (3 + PIECE_BYTES))
    for body in (BODY, bytes(REQUEST_LIMIT + 1), b'{"images": ["aGk="]}', bytes(REQUEST_LIMIT)):
        found = capture(captures, body)
    assert found is not None and found.body == bytes(REQUEST_LIMIT)
    assert [data for _, data in found.pieces] == [b"abc", b"def"]


def test_where_there_is_no_room_the_answer_is_left_out_or_all() -> None:
    request_only = capture(Captures(room=len(BODY) + 2 * (3 + PIECE_BYTES) - 1))
    assert request_only is not None
    assert (request_only.body, request_only.pieces, request_only.cut) == (BODY, [], True)
    nothing = capture(Captures(room=len(BODY) - 1))
    assert nothing is not None
    assert (nothing.body, nothing.pieces, nothing.cut) == (None, [], True)
