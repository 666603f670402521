"""One call, straight through: from the client's request to its end.

The client's bytes go first, the record second: nothing here waits for a recorder. Not here: how
answers are relayed (`upstream.py`), what is edited in a head (`headers.py`), what aiohttp must be
told for all this to hold (`front.py`).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestHandler

from ollama_proxy.admission import admitted_head
from ollama_proxy.answers import CLOSED, KEPT, Answered, Refusal, write_refusal
from ollama_proxy.exchange import Exchange, Look, Reason, State
from ollama_proxy.headers import client_name, recorded_path
from ollama_proxy.limits import Watchdog
from ollama_proxy.logs import where
from ollama_proxy.names import split_app
from ollama_proxy.observers import dialect_of, error_body
from ollama_proxy.parts import Parts
from ollama_proxy.tapping import make_tap
from ollama_proxy.upstream import Signal, Upstream, reset_on_close

log = logging.getLogger(__name__)


class ForwardedCall:
    """One call on its way: its request, its connection, its record."""

    def __init__(self, parts: Parts, request: web.BaseRequest, look: Look | None = None) -> None:
        self._parts = parts
        self._request = request
        self._method = request.method
        self._http_10 = request.version < (1, 1)
        self._upstream: Upstream | None = None
        self._pump: asyncio.Task[None] | None = None
        self._connecting: asyncio.Task[Upstream] | None = None
        self._watchdog: Watchdog | None = None
        app, self._target = split_app(request.raw_path)
        named = app or parts.naming.name_of(request.headers)
        agent = request.headers.get("User-Agent", "")
        self.exchange = Exchange.begin(
            self._method,
            recorded_path(self._target.partition("?")[0]),
            named or client_name(agent, request.remote or ""),
            named=named is not None,
        )
        self.exchange.look = look
        self._tap = make_tap(parts, self.exchange, request.headers, request.raw_headers)
        self._registered = False

    # -- the straight way -------------------------------------------------------------------

    async def run(self) -> Answered:
        try:
            head = admitted_head(self._request, self._target, self._parts)
            upstream = self._upstream = self._parts.pool.take_idle() or await self._connected()
            self._send(upstream, head)
            return self._answered(upstream, await self._relayed(upstream))
        except Refusal as refusal:
            return self._refused(refusal)
        except asyncio.CancelledError:
            if self._delivered:
                # It had its answer and left before this task could say so.
                self._tap.close(True)
                self._end_of_answer()
            self.exchange.end(State.CANCELLED, Reason.CLIENT_DISCONNECTED, self._left_when())
            raise
        except Exception as error:  # noqa: BLE001 - guard: a fault of ours is still an answer
            log.error("a call failed in the proxy itself: %s", where(error))
            return self._refused(
                Refusal(500, State.FAILED, Reason.INTERNAL_ERROR, "the proxy failed: see its log")
            )

    async def _connected(self) -> Upstream:
        """A new connection. Raises Refusal where there is none."""
        began = time.monotonic()
        self._connecting = asyncio.ensure_future(self._parts.pool.connect())
        self._register()
        limit = self._parts.limits.connect
        try:
            async with asyncio.timeout(limit or None) as timer:
                upstream = await self._connecting
        except OSError as error:
            self._noticed(False)
            # TimeoutError is an OSError, and the kernel's own: only ours has expired.
            if timer.expired():
                text = f"Ollama at {self._where} did not accept a connection within {limit:g} s"
                raise Refusal(504, State.TIMEOUT, Reason.CONNECT_TIMEOUT, text) from None
            text = f"Ollama at {self._where} cannot be reached: {_cause(error)}"
            raise Refusal(502, State.FAILED, Reason.UPSTREAM_UNREACHABLE, text) from None
        self._noticed(True)
        self.exchange.connect = time.monotonic() - began
        return upstream

    def _send(self, upstream: Upstream, head: bytes) -> None:
        """Write the request, or its beginning, then read it ourselves."""
        request = self._request
        client = request.transport
        if client is None:
            raise asyncio.CancelledError
        if not upstream.usable:
            text = f"Ollama at {self._where} closed a new connection at once"
            raise Refusal(502, State.FAILED, Reason.UPSTREAM_ABORTED, text)
        chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
        upstream.begin(
            method=self._method,
            http_10=self._http_10,
            client=client,
            # aiohttp takes a chunked body's trailers for headers of the connection's next request.
            keep_alive=request.keep_alive and not self._http_10 and not chunked,
            tap=self._tap,
        )
        content = request.content
        whole = content.is_eof()
        body = content.read_nowait() if whole else b""
        if whole and chunked:
            upstream.transport.write(head + _chunk(body) + b"0\r\n\r\n")
        else:
            upstream.transport.write(head + body if body else head)
        upstream.sent_at = asyncio.get_running_loop().time()
        if whole:
            self._tap.request_piece(body)
            self._understood()
        else:
            upstream.uploading = True
            self._pump = asyncio.ensure_future(self._pumped(upstream, content, chunked))
        self._register()
        if self._parts.limits.any_after_sending:
            self._watchdog = Watchdog(self._parts.limits, upstream, self._time_out)

    async def _relayed(self, upstream: Upstream) -> Signal:
        """Wait for the answer's end; the bytes pass meanwhile without this task."""
        writer = self._request.writer
        try:
            while (signal := await upstream.next_signal()) is Signal.DRAIN:
                await upstream.client_caught_up(writer.drain())
        finally:
            # From here on aiohttp may not put an answer of its own behind ours.
            writer.output_size += upstream.sent
        return signal

    def _answered(self, upstream: Upstream, signal: Signal) -> Answered:
        """The answer is over: what became of it?"""
        if signal is not Signal.DONE:
            return self._broken(upstream, signal)
        self._tap.close(True)
        self._end_of_answer()
        if upstream.uploading:
            self._stop_upload(upstream)
        return KEPT if upstream.client_kept else CLOSED

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

    def _broken(self, upstream: Upstream, signal: Signal) -> Answered:
        """The answer will not become whole. Before its head: say so; after it: break off too."""
        self._stop_upload(upstream)
        if upstream.head is None:
            return self._broken_before_head(signal)
        self.exchange.end(State.FAILED, Reason.UPSTREAM_ABORTED, signal.value)
        self._tap.close(False)
        client = self._request.transport
        if client is not None and upstream.head.ends_with_connection:
            reset_on_close(client)
        return CLOSED

    def _broken_before_head(self, signal: Signal) -> Answered:
        exchange = self.exchange
        if exchange.state is State.TIMEOUT and exchange.reason and exchange.error:
            raise Refusal(504, exchange.state, exchange.reason, exchange.error)
        if signal is not Signal.STOPPED:
            text = f"Ollama at {self._where} gave no answer: {signal.value}"
            raise Refusal(502, State.FAILED, Reason.UPSTREAM_ABORTED, text)
        # Cancelled or interrupted: whatever could be said would not be Ollama's answer.
        return CLOSED

    # -- the request's body -----------------------------------------------------------------

    async def _pumped(self, upstream: Upstream, content: StreamReader, chunked: bool) -> None:
        """Pass the request's body on as it comes, no faster than the upstream takes it."""
        limit = self._parts.limits.upload or None
        while True:
            try:
                async with asyncio.timeout(limit):
                    await upstream.writable()
                    data = await content.readany()
            except TimeoutError:
                self._time_out(Reason.UPLOAD_TIMEOUT, limit or 0.0)
                return
            except (web.RequestPayloadError, OSError):
                # The client broke its own upload; aiohttp ends the connection.
                self.client_left()
                return
            if not data:
                break
            if upstream.lost:
                return
            upstream.transport.write(_chunk(data) if chunked else data)
            if self._tap.request_piece(data):
                self._understood()
        if chunked and not upstream.lost:
            upstream.transport.write(b"0\r\n\r\n")
        upstream.uploading = False
        upstream.sent_at = asyncio.get_running_loop().time()
        self._understood()

    def _understood(self) -> None:
        """The request is here, or all of it that is looked at: its record can say more."""
        self._tap.request_end()
        if self._registered:
            self._parts.live.describe(self)

    # -- ends -------------------------------------------------------------------------------

    @property
    def _delivered(self) -> bool:
        return self._upstream is not None and self._upstream.delivered

    @property
    def connection(self) -> RequestHandler:
        """The client's connection, as aiohttp's server knows it."""
        return self._request.protocol

    @property
    def socket(self) -> int:
        """The client's socket as a file descriptor, -1 if it is closed."""
        transport = self._request.transport
        found = transport.get_extra_info("socket") if transport is not None else None
        descriptor: int = found.fileno() if found is not None else -1
        return descriptor

    def cancel(self) -> None:
        """An operator wants the call to end."""
        self.stop(State.CANCELLED, Reason.OPERATOR)

    def refresh(self) -> None:
        """Bring the record up to what has passed so far."""
        self._tap.digest()

    def client_left(self) -> None:
        """The client was seen to be gone where aiohttp, which reads no more, does not see it."""
        self.stop(State.CANCELLED, Reason.CLIENT_DISCONNECTED, self._left_when())

    def stop(self, state: State, reason: Reason, error: str | None = None) -> None:
        """End the call from this side; the client sees its answer break off."""
        if self._delivered or not self.exchange.end(state, reason, error):
            return
        if self._upstream is not None:
            self._upstream.stop()
        elif self._connecting is not None:
            self._connecting.cancel()

    def finish(self) -> None:
        """Give everything back and close the record. Never awaits: it must not be cancelled."""
        try:
            self._give_back()
        finally:
            self.exchange.end(State.FAILED, Reason.INTERNAL_ERROR, "the proxy failed: see its log")
            self._tap.close(False)
            self._register()
            self._parts.live.finish(self.exchange)

    def _give_back(self) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._pump is not None:
            self._pump.cancel()
        if self._connecting is not None and self._upstream is None:
            self._connecting.add_done_callback(_abandon)
            self._connecting.cancel()
        if self._upstream is not None:
            if self._pump is not None and not self._pump.done():
                self._upstream.abort()
            self._parts.pool.give_back(self._upstream)

    def _register(self) -> None:
        if not self._registered:
            self._registered = True
            self._parts.live.start(self)

    def _stop_upload(self, upstream: Upstream) -> None:
        """What is left of the upload is not wanted; aiohttp lingers for it and then closes."""
        if self._pump is not None:
            self._pump.cancel()
        client = self._request.transport
        if client is not None and "Expect" in self._request.headers and not upstream.interims:
            # Told not to send, the client sends nothing: there is nothing to linger for.
            client.close()

    def _left_when(self) -> str:
        if self._upstream is None or self._upstream.head is None:
            uploading = self._pump is not None and not self._pump.done()
            when = "during its upload" if uploading else "before the answer began"
            return f"the client left {when}"
        return "the client left while the answer was on its way"

    def _refused(self, refusal: Refusal) -> Answered:
        """Answer ourselves, in the client's dialect, unless an answer has already begun."""
        message = refusal.message
        self.exchange.end(refusal.state, refusal.reason, message)
        if self._request.writer.output_size:
            return CLOSED
        self.exchange.status_code = refusal.status
        self._read_request()
        body = (
            error_body(dialect_of(self.exchange.path), message, refusal.status) if message else b""
        )
        return write_refusal(self._request, refusal, body)

    def _read_request(self) -> None:
        """What a call wanted is worth knowing, too, when it never reached the upstream."""
        content = self._request.content
        if self._pump is None and self._upstream is None and content.is_eof():
            self._tap.request_piece(content.read_nowait())
            self._tap.request_end()

    def _noticed(self, reachable: bool) -> None:
        """A connection to the upstream was made, or could not be."""
        if self._parts.health().up is not reachable:
            self._parts.on_surprise()

    @property
    def _where(self) -> str:
        return self._parts.target.authority.decode("ascii", "replace")

    def _time_out(self, reason: Reason, limit: float) -> None:
        name = reason.value.removesuffix("_timeout")
        self.stop(
            State.TIMEOUT, reason, f"the limit timeouts.{name} of this proxy, {limit:g} s, passed"
        )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _cause(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS as expected; is it http rather than https?"
    return f"{error.strerror or error or type(error).__name__}. Is it running?"


def _abandon(connecting: asyncio.Task[Upstream]) -> None:
    """A connection that came after its call had ended is closed."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().abort()
