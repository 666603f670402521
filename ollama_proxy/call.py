"""One call, straight through: from the client's request to its end, as a sequence of events.

Nothing here waits, but for a new connection: the client's bytes are written on in the call that
brings them, and the record is closed when they have left (`live.py`). Not here: how
requests are cut (`downstream.py`), how answers are relayed (`upstream.py`), what is edited in a
head (`request_head.py`, `headers.py`).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable

from ollama_proxy.admission import admit
from ollama_proxy.answers import Refusal, refusal_answer
from ollama_proxy.downstream import Downstream, Piece
from ollama_proxy.exchange import Exchange, Look, Reason, State
from ollama_proxy.framing import FramingError
from ollama_proxy.headers import DEADLINE, deadline
from ollama_proxy.limits import Watchdog
from ollama_proxy.logs import where
from ollama_proxy.names import by_agent
from ollama_proxy.observers import dialect_of, error_body
from ollama_proxy.observers.heads import kept
from ollama_proxy.parts import Parts
from ollama_proxy.request_head import RequestHead
from ollama_proxy.tapping import make_tap
from ollama_proxy.upstream import Signal, Upstream

log = logging.getLogger(__name__)

HELD_BYTES = 16 * 1024
"""A longer request is read at once, not held until somebody looks."""
REST_SECONDS = 0.25
"""That the rest of a request has to come once Ollama was not reached: many clients send the head by
itself, and the body tells what the call was."""
FAULT = "the proxy failed: see its log"
BY_HAND = "an operator stopped this call at the proxy"


class ForwardedCall:
    """One call on its way: its client, its connection to the upstream, its record."""

    __slots__ = (
        "_answer_over",
        "_client",
        "_connecting",
        "_early",
        "_head",
        "_loop",
        "_on_end",
        "_parts",
        "_tap",
        "_timer",
        "_unreached",
        "_upstream",
        "_uploading",
        "_watchdog",
        "_whole",
        "exchange",
    )

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
        """`on_end` is told when the record is closed."""
        self._parts = parts
        self._client = client
        self._head = head
        self._loop = loop
        self._on_end = on_end
        self._upstream: Upstream | None = None
        self._connecting: asyncio.Task[Upstream] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._early: list[Piece] = []  # of the body, until there is a connection
        self._unreached: Refusal | None = None  # to be answered once the request is here
        self._uploading = False
        self._watchdog: Watchdog | None = None
        self._answer_over = False
        self._whole = False
        named = head.app or parts.naming.name_of(head.header)
        address = client.peer[0] if client.peer else ""
        self.exchange = Exchange.begin(
            head.method,
            head.path,
            named or by_agent(head.agent, address),
            named=named is not None,
        )
        self.exchange.look = look
        if head.has(DEADLINE):
            self.exchange.deadline = deadline(head.header(DEADLINE))
        self._tap = make_tap(parts, self.exchange, head)

    # -- the request ------------------------------------------------------------------------

    def begin(self, piece: Piece) -> None:
        self._uploading = not piece.whole
        self._note(piece)
        self._forward(piece)

    def _forward(self, *pieces: Piece) -> None:
        """Send the request on, as far as it is here; or answer it."""
        try:
            admit(self._head, self._client, self._parts)
            upstream = self._parts.pool.take_idle()
            if upstream is None:
                self._early.extend(pieces)
                self._connect()
            else:
                self._send(upstream, *pieces)
        except Refusal as refusal:
            self._refuse(refusal)

    def more(self, piece: Piece) -> None:
        self._uploading = not piece.whole
        self._note(piece)
        upstream = self._upstream
        if self._unreached is not None:
            if piece.whole:
                self._refuse(self._unreached)
            return
        if upstream is None:
            self._early.append(piece)
            self._client.hold(True)
            return
        if upstream.usable:
            upstream.transport.write(piece.raw)
        if self._watchdog is not None:
            self._watchdog.piece_sent()
        if piece.whole:
            upstream.uploading = False
            upstream.sent_at = self._loop.time()

    def malformed(self, error: FramingError) -> None:
        self._refuse(Refusal(400, State.FAILED, Reason.REFUSED, f"the request's body: {error}"))

    def _connect(self) -> None:
        began = time.monotonic()
        connecting = asyncio.ensure_future(self._parts.pool.connect())
        self._connecting = connecting
        limit = self._parts.limits.connect
        if limit:
            self._timer = self._loop.call_later(limit, self._connect_timed_out)
        connecting.add_done_callback(lambda _: self._connected(connecting, began))

    def _connect_timed_out(self) -> None:
        limit = self._parts.limits.connect
        assert self._connecting is not None
        self._connecting.cancel()
        self._noticed(False)
        text = f"Ollama at {self._where} did not accept a connection within {limit:g} s"
        self._not_reached(Refusal(504, State.TIMEOUT, Reason.CONNECT_TIMEOUT, text))

    def _not_reached(self, refusal: Refusal) -> None:
        """Answer so, once the rest of the request is here or is late."""
        self._early.clear()
        if not self._uploading or self._head.has(b"expect"):
            self._refuse(refusal)
            return
        self._unreached = refusal
        self._client.hold(False)
        self._timer = self._loop.call_later(REST_SECONDS, self._refuse, refusal)

    def _connected(self, connecting: asyncio.Task[Upstream], began: float) -> None:
        """A new connection is there, or there will be none; or the call has ended meanwhile."""
        if connecting.cancelled():
            return
        error = connecting.exception()
        if self._answer_over or self._unreached is not None:
            if error is None:
                connecting.result().abort()
            return
        if self._timer is not None:
            self._timer.cancel()
        if isinstance(error, OSError):
            self._noticed(False)
            text = f"Ollama at {self._where} cannot be reached: {_cause(error)}"
            self._not_reached(Refusal(502, State.FAILED, Reason.UPSTREAM_UNREACHABLE, text))
            return
        try:
            upstream = connecting.result()
            self._noticed(True)
            self.exchange.connect = time.monotonic() - began
            self._client.hold(False)
            if not upstream.usable:
                self._upstream = upstream
                text = f"Ollama at {self._where} closed a new connection at once"
                raise Refusal(502, State.FAILED, Reason.UPSTREAM_ABORTED, text)
            self._send(upstream, *self._early)
            self._early.clear()
        except Refusal as refusal:
            self._refuse(refusal)
        except Exception as fault:  # noqa: BLE001 - guard: a fault of ours is still an answer
            log.error("a call failed in the proxy itself: %s", where(fault))
            self.failed()

    def failed(self) -> None:
        """A fault of the proxy's own, which is in its log."""
        self._refuse(Refusal(500, State.FAILED, Reason.INTERNAL_ERROR, FAULT))

    def _send(self, upstream: Upstream, *pieces: Piece) -> None:
        """Write the request, or its beginning."""
        self._upstream = upstream
        head, client = self._head, self._client
        upstream.begin(
            self,
            method=head.method,
            http_10=head.http_10,
            client=client.transport,
            keep_alive=head.keep_alive,
            tap=self._tap,
        )
        upstream.uploading = self._uploading
        body = b"".join([piece.raw for piece in pieces])
        upstream.transport.write(head.upstream + body if body else head.upstream)
        upstream.sent_at = self._loop.time()
        if client.slow:
            upstream.pause()
        if self._parts.limits.any_after_sending or self._uploading:
            self._watchdog = Watchdog(self._parts.limits, upstream, self._time_out)

    def _note(self, piece: Piece) -> None:
        """Show the tap what came of the request; it is read when somebody looks, or at the end."""
        tap = self._tap
        enough = piece.whole
        for data in piece.payload:
            enough |= tap.request_piece(data)
        if enough and tap.awaits_request:
            tap.request_end()
            self._parts.live.describe(self)
            if self.exchange.request_bytes > HELD_BYTES:
                self._loop.call_soon(tap.understand)

    def understand(self) -> None:
        """Read the request, if it is here."""
        self._tap.understand()

    def upstream_slow(self, slow: bool) -> None:
        self._client.hold(slow and self._uploading)

    # -- the answer -------------------------------------------------------------------------

    def client_slow(self, slow: bool) -> None:
        if self._upstream is None:
            return
        if slow:
            self._upstream.pause()
        else:
            self._upstream.resume()

    def answered(self, signal: Signal) -> None:
        """The answer is over: what became of it?"""
        upstream = self._upstream
        assert upstream is not None
        if signal is Signal.DONE:
            self._over(upstream.client_kept, whole=True)
        elif upstream.head is not None:
            self.exchange.end(State.FAILED, Reason.UPSTREAM_ABORTED, signal.value)
            if upstream.head.ends_with_connection:
                self._client.reset()
            self._over(False)
        elif signal is Signal.STOPPED:
            # Cancelled or interrupted: whatever could be said would not be Ollama's answer.
            self._over(False)
        else:
            text = f"Ollama at {self._where} gave no answer: {signal.value}"
            self._refuse(Refusal(502, State.FAILED, Reason.UPSTREAM_ABORTED, text))

    def _over(self, keep: bool, whole: bool = False) -> None:
        """Give everything back; the record is closed when what was written has left, or later."""
        if self._answer_over:
            return
        self._answer_over = True
        if self.exchange.ended is None:
            self.exchange.ended = time.monotonic()
        if self._timer is not None:
            self._timer.cancel()
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None  # it knows this call: a cycle
        self._whole = whole
        self._on_end(self)
        self._parts.live.finish(self.exchange, self._close)
        linger = not (self._uploading and self._told_not_to_send)
        if self._upstream is not None:
            self._parts.pool.give_back(self._upstream)
        elif self._connecting is not None:
            self._connecting.cancel()
        self._client.over(keep, linger)

    @property
    def _told_not_to_send(self) -> bool:
        """Whether the client asked before it sent its body, and was answered: then it does not."""
        upstream = self._upstream
        waits = self._head.has(b"expect") and not self.exchange.request_bytes
        return waits and upstream is not None and not upstream.interims

    def _close(self) -> None:
        """Close the record: the last thing that is done for a call."""
        try:
            self._tap.close(self._whole)
            if self._whole:
                self._end_of_answer()
        finally:
            self.exchange.end(State.FAILED, Reason.INTERNAL_ERROR, FAULT)
        if self.exchange.runs_model or (self.exchange.status_code or 0) >= 400:
            self._keep_headers()

    def _keep_headers(self) -> None:
        """Of other calls nobody asks: there are thousands a second of them."""
        privacy, answer = self._tap.privacy, self._tap.answered
        asked = kept(self._head.raw, privacy)
        if asked is not None:
            told = None if answer is None else kept(answer.raw, privacy)
            self.exchange.headers = {"request": asked, "response": told}

    def _end_of_answer(self) -> None:
        """The answer came whole: what does it say of the call?"""
        exchange, seen = self.exchange, self.exchange.observation
        if exchange.status_code is not None and exchange.status_code >= 400:
            exchange.end(State.FAILED, seen.cause or Reason.HTTP_STATUS)
        elif seen.error_in_stream:
            exchange.end(State.FAILED, seen.cause or Reason.ERROR_IN_STREAM)
        elif seen.incomplete:
            exchange.end(State.FAILED, Reason.INCOMPLETE)
        else:
            exchange.end(State.COMPLETED)

    # -- other ends -------------------------------------------------------------------------

    @property
    def client(self) -> Downstream:
        return self._client

    def cancel(self) -> None:
        """An operator wants the call to end."""
        self._cut_short(Refusal(503, State.CANCELLED, Reason.OPERATOR, BY_HAND))

    def refresh(self) -> None:
        """Bring the record up to what has passed so far."""
        self._tap.digest()

    def client_left(self) -> None:
        self.stop(State.CANCELLED, Reason.CLIENT_DISCONNECTED, self._left_when())

    def stop(self, state: State, reason: Reason, error: str | None = None) -> None:
        """End the call from this side; the client sees its answer break off."""
        if self._answer_over or not self.exchange.end(state, reason, error):
            return
        if self._upstream is not None:
            self._upstream.stop()
        else:
            self._over(False)

    def _cut_short(self, refusal: Refusal) -> None:
        """End the call from this side: with an answer, or the break of one that has begun."""
        if self._upstream is not None and self._upstream.head is not None:
            self.stop(refusal.state, refusal.reason, refusal.message)
        else:
            self._refuse(refusal)

    def _left_when(self) -> str:
        if self._upstream is None or self._upstream.head is None:
            when = "during its upload" if self._uploading else "before the answer began"
            return f"the client left {when}"
        return "the client left while the answer was on its way"

    def _refuse(self, refusal: Refusal) -> None:
        """Answer ourselves, in the client's dialect, unless an answer has already begun."""
        if self._answer_over:
            return
        message, head, exchange = refusal.message, self._head, self.exchange
        exchange.end(refusal.state, refusal.reason, message)
        keep = False
        if self._upstream is None or self._upstream.head is None:
            exchange.status_code = refusal.status
            keep = head.keep_alive and not self._uploading
            body = error_body(dialect_of(head.path), message, refusal.status) if message else b""
            answer = refusal_answer(refusal, body, keep_alive=keep, head_only=head.method == "HEAD")
            self._client.write(answer)
        elif self._upstream.head.ends_with_connection:
            self._client.reset()
        self._over(keep)

    def _noticed(self, reachable: bool) -> None:
        """A connection to the upstream was made, or could not be."""
        if self._parts.health().up is not reachable:
            self._parts.on_surprise()

    @property
    def _where(self) -> str:
        return self._parts.target.authority.decode("ascii", "replace")

    def _time_out(self, reason: Reason, limit: float) -> None:
        name = reason.value.removesuffix("_timeout")
        text = f"the limit timeouts.{name} of this proxy, {limit:g} s, passed"
        self._cut_short(Refusal(504, State.TIMEOUT, reason, text))


def _cause(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS as expected; is it http rather than https?"
    return f"{error.strerror or error or type(error).__name__}. Is it running?"
