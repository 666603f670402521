"""A call that asks for its usage, where `inject_usage` is on and its client did not ask.

It waits for the whole request before it is sent. What is not clearly understood goes on as it came,
and then its answer does, too. Not here: what is put in and taken out (`usage.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ollama_proxy.call import ForwardedCall
from ollama_proxy.downstream import Downstream, Piece
from ollama_proxy.exchange import Look, Reason
from ollama_proxy.framing import Chunked
from ollama_proxy.headers import ResponseHead
from ollama_proxy.observers.capturing import CapturingTap
from ollama_proxy.parts import Parts
from ollama_proxy.request_head import RequestHead
from ollama_proxy.upstream import Client, Upstream
from ollama_proxy.usage import BODY_LIMIT, Chunks, asking, chunk

ROUTES = (b"/v1/chat/completions", b"/v1/completions")
_LAST_CHUNK = b"\r\n0\r\n\r\n"


def may_ask(head: RequestHead) -> bool:
    """Whether a request with this head may be one that can ask for usage: its body decides."""
    return (
        head.target.partition(b"?")[0] in ROUTES
        and head.method == "POST"
        and (head.chunked or 0 < head.length <= BODY_LIMIT)
        # HTTP/1.0 gets no chunks, which alone are edited.
        and not (head.http_10 or head.has(b"content-encoding") or head.has(b"expect"))
    )


class AskingCall(ForwardedCall):
    """A call that may ask for its usage."""

    __slots__ = ("_asks", "_gathers", "_payload", "_raw")

    def __init__(
        self,
        parts: Parts,
        client: Downstream,
        head: RequestHead,
        *,
        look: Look | None,
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[[ForwardedCall], None],
    ) -> None:
        super().__init__(parts, client, head, look=look, loop=loop, on_end=on_end)
        self._raw = bytearray()
        self._payload = bytearray()
        self._gathers = True
        self._asks = False

    def begin(self, piece: Piece) -> None:
        self.more(piece)

    def more(self, piece: Piece) -> None:
        """Gather the request until it is whole, or longer than what is waited for."""
        if not self._gathers:
            super().more(piece)
            return
        self._uploading = not piece.whole
        self._note(piece)
        self._raw += piece.raw
        self._payload += b"".join(piece.payload)
        if self._timer is not None:
            self._timer.cancel()
        if piece.whole or len(self._raw) > BODY_LIMIT:
            self._gathers = False
            body = (self._edited() if piece.whole else None) or bytes(self._raw)
            self._raw, self._payload = bytearray(), bytearray()
            self._forward(Piece(body, [], piece.whole))
        elif limit := self._parts.limits.upload:
            self._timer = self._loop.call_later(limit, self._time_out, Reason.UPLOAD_TIMEOUT, limit)

    def _edited(self) -> bytes | None:
        """The body that asks, as it is sent; None where it stays as it came."""
        body = asking(bytes(self._payload))
        # What comes behind the last chunk is a trailer.
        if body is None or (self._head.chunked and not self._raw.endswith(_LAST_CHUNK)):
            return None
        self._asks = True
        if self._head.chunked:
            return chunk(body) + b"0\r\n\r\n"
        self._head = self._head.resized(len(body))
        return body

    def _send(self, upstream: Upstream, *pieces: Piece) -> None:
        super()._send(upstream, *pieces)
        if self._asks:
            upstream.edit = self._edit

    def _edit(self, head: ResponseHead, client: Client) -> EditedAnswer | None:
        answer = without_usage(head, client)
        if answer is not None and isinstance(self._tap, CapturingTap):
            self._tap.usage_taken_out = True
        return answer


class EditedAnswer:
    """A client that gets an answer's body without the usage."""

    __slots__ = ("_chunks", "_client")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._chunks = Chunks()

    def is_closing(self) -> bool:
        return self._client.is_closing()

    def write(self, data: bytes) -> None:
        if edited := self._chunks.feed(data):
            self._client.write(edited)

    def end(self) -> None:
        held = self._chunks.end()
        if held and not self.is_closing():
            self._client.write(held)


def without_usage(head: ResponseHead, client: Client) -> EditedAnswer | None:
    """What writes an answer's body to `client`; None if this answer is none to be edited."""
    streams = (
        head.status == 200
        and head.body is Chunked
        and head.header(b"transfer-encoding").lower() == "chunked"
        and not head.header(b"content-encoding")
        and head.header(b"content-type").partition(";")[0].strip().lower() == "text/event-stream"
    )
    return EditedAnswer(client) if streams else None
