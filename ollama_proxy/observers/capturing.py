"""What passed of one call, kept so that it can be made again: the tap that captures it.

Not here: for which calls (`tapping.py`: all others pay nothing), what a capture is good for
(`replay.py`), whether it holds a secret or an image (`matching.py`: in the writer's thread, not on
the relay's way), where it is stored.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from msgspec.structs import replace

from ollama_proxy.exchange import Exchange
from ollama_proxy.framing import Chunked, UntilClose
from ollama_proxy.headers import RawHeaders, ResponseHead
from ollama_proxy.observers.base import Observer
from ollama_proxy.observers.matching import is_clear, may_show_image
from ollama_proxy.observers.ruled import Ruled
from ollama_proxy.observers.secrets import Finder
from ollama_proxy.observers.tap import Tap
from ollama_proxy.recording import Framing, Headers
from ollama_proxy.replay import PIECE_BYTES, Capture
from ollama_proxy.usage import Events

ANSWER_LIMIT = 1 << 20
PIECES_LIMIT = 10_000
ROOM = 64 << 20
"""Bytes that the captures of all running calls may take; what has no room is not captured."""
HEADERS_LIMIT, VALUE_LIMIT = 32, 512

# Whatever is not named here might be a key: it is never kept.
_ASKED = frozenset(
    {b"accept", b"accept-encoding", b"anthropic-version", b"content-encoding", b"content-length"}
    | {b"content-type", b"host", b"transfer-encoding", b"user-agent"}
)
_ANSWERED = frozenset(
    {b"allow", b"cache-control", b"connection", b"content-encoding", b"content-length"}
    | {b"content-type", b"date", b"retry-after", b"transfer-encoding", b"vary"}
    | {b"access-control-allow-origin", b"access-control-expose-headers"}
)
_PLAIN = re.compile(rb"[ -~]*")


class Draft:
    """A capture of a call that ended, yet to be searched for what may not be kept."""

    def __init__(self, capture: Capture, finders: Sequence[Finder]) -> None:
        self.id = capture.id
        self.size = capture.size
        self._capture = capture
        self._finders = finders

    @cached_property
    def capture(self) -> Capture | None:
        """None if it may not be kept. Worked out when it is first asked for, off the event loop."""
        capture = self._capture
        if may_show_image(capture):
            return None
        if self._finders and not capture.complete:
            # More of the answer might have made a match of what there is.
            capture = replace(capture, pieces=[], cut=True)
        return capture if is_clear(capture, self._finders) else None


class Captures:
    """The room for what is captured, and what was until the call's record takes it."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._ended: dict[str, Draft] = {}

    def reserve(self, size: int) -> bool:
        fits = size <= self._room
        self._room -= size if fits else 0
        return fits

    def release(self, size: int) -> None:
        self._room += size

    def keep(self, draft: Draft) -> None:
        """Its room stays reserved until it is taken."""
        self._ended[draft.id] = draft

    def take(self, id: str) -> Draft | None:
        """What was captured of an ended call, once."""
        draft = self._ended.pop(id, None)
        self.release(draft.size if draft else 0)
        return draft


class CapturingTap(Tap):
    """A tap that also keeps what passes, within bounds and within the room there is for all."""

    __slots__ = (
        "_answer",
        "_body",
        "_bytes",
        "_captures",
        "_cut",
        "_head",
        "_headers",
        "_noted",
        "_sent",
        "usage_taken_out",
    )

    def __init__(
        self,
        exchange: Exchange,
        observer: Observer,
        headers: RawHeaders,
        captures: Captures,
        clock: Callable[[], float] = time.monotonic,
        ruled: Ruled | None = None,
    ) -> None:
        super().__init__(exchange, observer, clock, ruled)
        self._captures = captures
        self._headers = _kept(headers, _ASKED)
        self._sent = 0.0
        self._body: bytes | None = None
        self._head: dict[str, Any] = {}
        self._answer: list[tuple[float, bytes]] = []
        self._bytes = 0
        self._noted = 0  # of `pending`
        self._cut = False
        self.usage_taken_out = False

    def request_end(self) -> None:
        if self._request is not None and not self._here:
            self._sent = self._clock()
            body = b"".join(self._request)
            self._request = [body]
            self._body = body if self._captures.reserve(len(body)) else None
        super().request_end()

    def head(self, head: ResponseHead) -> None:
        super().head(head)
        self._head = _told(head)

    def piece(self, size: int) -> bool:
        if not self._cut:
            seconds = max(0.0, self._clock() - self._sent)
            for data in self.pending[self._noted :]:
                self._keep(seconds, data)
            self._noted = len(self.pending)
        return super().piece(size)

    def _keep(self, seconds: float, data: bytes) -> None:
        fits = len(self._answer) < PIECES_LIMIT and self._bytes + len(data) <= ANSWER_LIMIT
        if self._cut or not fits or not self._captures.reserve(len(data) + PIECE_BYTES):
            self._cut_off()
            return
        self._answer.append((seconds, data))
        self._bytes += len(data)

    def _cut_off(self) -> None:
        """Not all of the answer can be kept: then nothing of it is of any use."""
        self._captures.release(self._bytes + PIECE_BYTES * len(self._answer))
        self._answer, self._bytes, self._cut = [], 0, True

    def digest(self) -> None:
        super().digest()
        self._noted = 0

    def close(self, complete: bool) -> None:
        if self._closed:
            return
        was_sent = self._here
        super().close(complete)
        if not was_sent or len(self._body or b"") < self._exchange.request_bytes:
            self._forget_body()
        if self.usage_taken_out:
            self._take_usage_out()
        capture = self._made(complete)
        privacy = self._observer.privacy
        if privacy.keeps_all and not self._exchange.observation.images:
            self._captures.keep(Draft(capture, privacy.finders))
        else:
            self._captures.release(capture.size)

    def _forget_body(self) -> None:
        """It is longer than what is kept, or did not come whole: no call can be made of it."""
        self._cut_off()
        self._captures.release(len(self._body or b""))
        self._body = None

    def _take_usage_out(self) -> None:
        """Leave what the client got: made again, its request brings no usage."""
        events, before = Events(), self._bytes + PIECE_BYTES * len(self._answer)
        edited = [(seconds, events.feed(data)) for seconds, data in self._answer]
        edited.append((edited[-1][0] if edited else 0.0, events.end()))
        self._answer = [(seconds, data) for seconds, data in edited if data]
        self._bytes = sum(len(data) for _, data in self._answer)
        self._captures.release(before - self._bytes - PIECE_BYTES * len(self._answer))

    def _made(self, complete: bool) -> Capture:
        exchange = self._exchange
        return Capture(
            id=exchange.id,
            method=exchange.method,
            target=exchange.path,
            headers=self._headers,
            body=self._body,
            pieces=self._answer,
            complete=complete,
            cut=self._cut,
            **self._head,
        )


def _kept(headers: RawHeaders, names: frozenset[bytes]) -> Headers:
    return [
        (name.decode(), value.decode())
        for name, value in headers
        if name.lower() in names and len(value) <= VALUE_LIMIT and _PLAIN.fullmatch(value)
    ][:HEADERS_LIMIT]


def _told(head: ResponseHead) -> dict[str, Any]:
    """What a capture says of an answer's head."""
    first, *lines = head.raw[:-4].split(b"\r\n")
    parts = (line.partition(b":") for line in lines)
    reason = _PLAIN.fullmatch(first[13:])
    return {
        "status": head.status,
        "reason": reason[0][:VALUE_LIMIT].decode() if reason else "",
        "response_headers": _kept([(name, value.strip()) for name, _, value in parts], _ANSWERED),
        "framing": _framing(head),
    }


def _framing(head: ResponseHead) -> Framing:
    if head.body is Chunked:
        return "chunked"
    return "close" if head.body is UntilClose else "length"
