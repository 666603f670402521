"""Between the relay and an observer: counts what passes, and hands it on later, in blocks.

`piece` runs once for each piece of an answer, on the relay's way, so it only counts: the relay's
own scanner has put the body's bytes into `pending`, framing removed. They are observed when a block
is full, when somebody looks, or at the end; only until the first text was seen is each piece
observed at once, to know its time.
"""

from __future__ import annotations

import time

from ollama_proxy.exchange import Exchange
from ollama_proxy.headers import ResponseHead
from ollama_proxy.observers.base import REQUEST_LIMIT, Observer

BLOCK = 64 * 1024


class Tap:
    """One call's tap: fills `exchange` with what its observer makes of the bytes."""

    __slots__ = (
        "_closed",
        "_eager",
        "_exchange",
        "_observer",
        "_reads",
        "_request",
        "_size",
        "pending",
    )

    def __init__(self, exchange: Exchange, observer: Observer) -> None:
        self._exchange = exchange
        self._observer = observer
        self._reads = observer.reads_all
        self._eager = observer.waits_for_text
        self._request: list[bytes] | None = [] if self._reads else None
        self.pending: list[bytes] = []
        self._size = 0
        self._closed = False

    def request_piece(self, data: bytes) -> bool:
        """Keep a piece of the request's body. True when as much is here as is ever looked at."""
        before = self._exchange.request_bytes
        self._exchange.request_bytes = before + len(data)
        if self._request is None:
            return False
        self._request.append(data[: REQUEST_LIMIT - before])
        return before + len(data) >= REQUEST_LIMIT

    def request_end(self) -> None:
        """The request is here, or all of it that is looked at: read it, once."""
        if self._request is None:
            return
        body = b"".join(self._request)
        self._request = None
        self._observer.request(body, self._exchange.request_bytes == len(body))

    def head(self, head: ResponseHead) -> None:
        self._exchange.status_code = head.status
        self._reads = self._reads or head.status >= 400
        if self._reads:
            self._observer.response(
                head.status, head.header(b"content-type"), head.header(b"content-encoding")
            )

    def piece(self, size: int) -> None:
        """`size` bytes have passed, and what they hold of the body is in `pending`."""
        self._size += size
        if self._eager:
            self._first_text()
        elif self._size >= BLOCK:
            self.digest()

    def _first_text(self) -> None:
        now = time.monotonic()
        self.digest()
        if self._observer.text_seen:
            self._eager = False
            if self._exchange.observation.streamed:
                self._exchange.first_token = now

    def digest(self) -> None:
        """Observe what is pending; brings `exchange.observation` up to date."""
        pending = self.pending
        if not pending:
            return
        self._exchange.response_bytes += sum(map(len, pending))
        if self._reads:
            self._observer.feed(pending[0] if len(pending) == 1 else b"".join(pending))
        pending.clear()
        self._size = 0

    def close(self, complete: bool) -> None:
        """The answer is over, whole or broken off; what is said of it first holds."""
        if self._closed:
            return
        self._closed = True
        self.digest()
        self.request_end()
        if self._reads:
            self._observer.close(complete)
