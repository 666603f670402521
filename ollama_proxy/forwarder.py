"""One call, straight through: from the client's request to its end, in one place.

The client's bytes go first, the record second: nothing here waits for a recorder. Not here: how
answers are relayed (`upstream.py`), what is edited in a head (`headers.py`), what aiohttp must be
told for all this to hold (`front.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

from aiohttp import StreamReader, web

from ollama_proxy.exchange import Exchange, Reason, State
from ollama_proxy.headers import HeadError, client_name, host_allowed, own_answer, request_head
from ollama_proxy.live import Live
from ollama_proxy.observers import dialect_of, error_body, observer_for
from ollama_proxy.observers.privacy import Privacy
from ollama_proxy.observers.tap import Tap
from ollama_proxy.records import PROBE_HEADER, UpstreamHealth
from ollama_proxy.upstream import Pool, Signal, Upstream, reset_on_close

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """Where calls go. `path` is put before each request's own; `pass_host`: see `Forwarder`."""

    path: bytes
    authority: bytes
    pass_host: bool


@dataclass(frozen=True)
class Limits:
    """Seconds; 0 is no limit."""

    connect: float = 10.0
    first_byte: float = 0.0
    idle: float = 0.0
    total: float = 0.0
    upload: float = 300.0


class Answered(web.StreamResponse):
    """Tells aiohttp that the answer is already on the wire."""

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._stays_open = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._stays_open

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class Refusal(Exception):
    """The proxy answers itself: status, what to record, and the sentence for the client."""

    def __init__(self, status: int, state: State, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.status, self.state, self.reason, self.message = status, state, reason, message


class Forwarder:
    """Forwards every request it is handed.

    Host: where both this listener and the upstream are on loopback, Ollama applies its own table
    and Host passes unchanged (`target.pass_host`). Otherwise the upstream gets its own authority,
    and a loopback listener applies the table first (`check_host`).

    `on_surprise` is called when a connection contradicts what `health` last said of the upstream.
    A request that carries `instance` in PROBE_HEADER is this proxy's own, come back: a loop.
    """

    def __init__(
        self,
        target: Target,
        pool: Pool,
        live: Live,
        *,
        limits: Limits,
        privacy: Privacy,
        check_host: bool,
        instance: str,
        health: Callable[[], UpstreamHealth],
        on_surprise: Callable[[], None],
    ) -> None:
        self._target, self._pool, self._live = target, pool, live
        self._limits, self._privacy = limits, privacy
        self._check_host = check_host
        self._instance = instance
        self._health = health
        self._on_surprise = on_surprise
        self._running: set[CallInProgress] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Forward one request and record it. Cancelled by the server when the client leaves."""
        call = CallInProgress(self, request)
        self._running.add(call)
        self._idle.clear()
        try:
            return await call.run()
        finally:
            call.finish()
            self._running.discard(call)
            if not self._running:
                self._idle.set()

    async def drained(self, seconds: float) -> bool:
        """Wait until nothing runs; False if that takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def interrupt(self, reason: Reason) -> int:
        """End every running call as interrupted; returns how many."""
        for call in self._running:
            call.stop(State.INTERRUPTED, reason)
        return len(self._running)

    @property
    def running(self) -> int:
        return len(self._running)

    def noticed(self, reachable: bool) -> None:
        """A connection to the upstream was made, or could not be."""
        if self._health().up is not reachable:
            self._on_surprise()


class CallInProgress:
    """One call on its way: its request, its connection, its record."""

    def __init__(self, forwarder: Forwarder, request: web.BaseRequest) -> None:
        self._forwarder = forwarder
        self._request = request
        self._method = request.method
        self._target = request.raw_path.encode("utf-8", "surrogateescape")
        self._http_10 = request.version < (1, 1)
        self._upstream: Upstream | None = None
        self._pump: asyncio.Task[None] | None = None
        self._connecting: asyncio.Task[Upstream] | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._sending_since = 0.0
        path = request.raw_path.partition("?")[0]
        self.exchange = Exchange.begin(
            self._method,
            "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in path)[:2048],
            client_name(request.headers.get("User-Agent", ""), request.remote or ""),
        )
        self._dialect = dialect_of(path)
        observer = observer_for(self._method, path, self.exchange.observation, forwarder._privacy)
        self._tap = Tap(self.exchange, observer)
        self._registered = False

    # -- the straight way -------------------------------------------------------------------

    async def run(self) -> web.StreamResponse:
        try:
            head = self._checked_head()
            upstream = await self._connected()
            self._send(upstream, head)
            return await self._relayed(upstream)
        except Refusal as refusal:
            self.exchange.end(refusal.state, refusal.reason, refusal.message)
            return self._answer(refusal)
        except asyncio.CancelledError:
            self.exchange.end(State.CANCELLED, Reason.CLIENT_DISCONNECTED, self._left_when())
            raise

    def _checked_head(self) -> bytes:
        """The head to send upstream. Raises Refusal for what must not be sent."""
        request, forwarder = self._request, self._forwarder
        if request.version not in ((1, 0), (1, 1)):
            raise Refusal(
                505, State.FAILED, Reason.REFUSED, "only HTTP/1.0 and HTTP/1.1 are served"
            )
        if self._method == "CONNECT":
            raise Refusal(501, State.FAILED, Reason.REFUSED, "CONNECT is not served: no open proxy")
        if forwarder._health().loop or self._came_from_here():
            raise Refusal(
                508,
                State.FAILED,
                Reason.LOOP,
                "the upstream leads back to this proxy: set --upstream to Ollama's own address",
            )
        if forwarder._check_host and not host_allowed(request.headers.get("Host", "")):
            raise Refusal(403, State.FAILED, Reason.REFUSED, "")
        try:
            return request_head(
                self._method,
                forwarder._target.path + self._target,
                request.raw_headers,
                http_10=self._http_10,
                authority=None if forwarder._target.pass_host else forwarder._target.authority,
            )
        except HeadError as error:
            raise Refusal(501, State.FAILED, Reason.REFUSED, str(error)) from None

    def _came_from_here(self) -> bool:
        """Whether this request is one that this proxy sent upstream.

        Both ends of the connection are compared: a port of another program may equal one of ours.
        """
        if self._request.headers.get(PROBE_HEADER) == self._forwarder._instance:
            return True
        transport = self._request.transport
        return (
            transport is not None
            and (
                transport.get_extra_info("peername"),
                transport.get_extra_info("sockname"),
            )
            in self._forwarder._pool.ends
        )

    async def _connected(self) -> Upstream:
        """An idle connection at once, or a new one. Raises Refusal where there is none."""
        upstream = self._forwarder._pool.take_idle()
        if upstream is not None:
            self._upstream = upstream
            return upstream
        self._connecting = asyncio.ensure_future(self._forwarder._pool.connect())
        self._register()
        limit = self._forwarder._limits.connect
        try:
            async with asyncio.timeout(limit or None):
                self._upstream = await self._connecting
        except TimeoutError:
            self._forwarder.noticed(False)
            raise Refusal(
                504,
                State.TIMEOUT,
                Reason.CONNECT_TIMEOUT,
                f"Ollama at {self._where} did not accept a connection within {limit:g} s",
            ) from None
        except OSError as error:
            self._forwarder.noticed(False)
            raise Refusal(
                502,
                State.FAILED,
                Reason.UPSTREAM_UNREACHABLE,
                f"Ollama at {self._where} cannot be reached: {_cause(error)}. Is it running?",
            ) from None
        self._forwarder.noticed(True)
        return self._upstream

    def _send(self, upstream: Upstream, head: bytes) -> None:
        """Write the request, or its beginning, then read it ourselves."""
        request = self._request
        client = request.transport
        if client is None:
            raise asyncio.CancelledError
        upstream.begin(
            method=self._method,
            http_10=self._http_10,
            client=client,
            keep_alive=request.keep_alive and not self._http_10,
            tap=self._tap,
        )
        self._sending_since = upstream.last_piece = asyncio.get_running_loop().time()
        content = request.content
        whole = content.is_eof()
        body = content.read_nowait() if whole else b""
        chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
        if whole and chunked:
            upstream.transport.write(head + _chunk(body) + b"0\r\n\r\n")
        else:
            upstream.transport.write(head + body if body else head)
        if whole:
            self._tap.request_piece(body)
            self._understood()
        else:
            upstream.uploading = True
            self._pump = asyncio.ensure_future(self._pumped(upstream, content, chunked))
        self._register()
        self._watch()

    async def _relayed(self, upstream: Upstream) -> web.StreamResponse:
        """Wait for the answer's end; the bytes pass meanwhile without this task."""
        request = self._request
        while (signal := await upstream.next_signal()) is Signal.DRAIN:
            # Nothing else may answer on this connection now that it carries an answer.
            await request.writer.drain()
            upstream.resume()
        request.writer.output_size += upstream.sent
        if signal is Signal.DONE:
            self._tap.close(True)
            self._end_of_answer(upstream)
            if upstream.uploading:
                self._stop_upload(upstream)
            return Answered(upstream.client_kept)
        return self._broken(upstream, signal)

    def _end_of_answer(self, upstream: Upstream) -> None:
        """The answer came whole: what does it say of the call?"""
        status = self.exchange.status_code or 0
        seen = self.exchange.observation
        if status >= 400:
            self.exchange.end(State.FAILED, Reason.HTTP_STATUS)
        elif seen.error_in_stream:
            self.exchange.end(State.FAILED, Reason.ERROR_IN_STREAM)
        elif seen.incomplete:
            self.exchange.end(State.FAILED, Reason.INCOMPLETE)
        else:
            self.exchange.end(State.COMPLETED)

    def _broken(self, upstream: Upstream, signal: Signal) -> web.StreamResponse:
        """The answer will not become whole. Before its head: say so; after it: break off too."""
        self._stop_upload(upstream)
        if signal is not Signal.STOPPED:
            self.exchange.end(State.FAILED, Reason.UPSTREAM_ABORTED, f"{signal.value}")
        exchange = self.exchange
        if upstream.head is None:
            return self._broken_before_head()
        self._tap.close(False)
        client = self._request.transport
        scanner = upstream.head.scanner
        if client is not None and scanner is not None and scanner.ends_with_connection:
            reset_on_close(client)
        log.debug("call %s broken off: %s", exchange.id, exchange.reason)
        return Answered(False)

    def _broken_before_head(self) -> web.StreamResponse:
        exchange = self.exchange
        if exchange.state is State.TIMEOUT:
            raise Refusal(
                504, State.TIMEOUT, exchange.reason or Reason.TOTAL_TIMEOUT, exchange.error or ""
            )
        if exchange.state is State.FAILED:
            raise Refusal(
                502,
                State.FAILED,
                Reason.UPSTREAM_ABORTED,
                f"Ollama at {self._where} closed the connection without an answer",
            )
        # Cancelled or interrupted here: nothing that could be said would be Ollama's answer.
        return Answered(False)

    # -- the request's body -----------------------------------------------------------------

    async def _pumped(self, upstream: Upstream, content: StreamReader, chunked: bool) -> None:
        """Pass the request's body on as it comes, no faster than the upstream takes it."""
        limit = self._forwarder._limits.upload or None
        while True:
            try:
                async with asyncio.timeout(limit):
                    data = await content.readany()
            except TimeoutError:
                self._time_out(Reason.UPLOAD_TIMEOUT, limit or 0.0)
                return
            except (web.RequestPayloadError, OSError):
                # The client broke its own upload; aiohttp ends the connection.
                self.stop(State.CANCELLED, Reason.CLIENT_DISCONNECTED, self._left_when())
                return
            if not data:
                break
            upstream.transport.write(_chunk(data) if chunked else data)
            if self._tap.request_piece(data):
                self._understood()
            await upstream.writable()
        if chunked:
            upstream.transport.write(b"0\r\n\r\n")
        upstream.uploading = False
        self._understood()

    def _understood(self) -> None:
        """The request is here, or all of it that is looked at: its record can say more."""
        self._tap.request_end()
        if self._registered:
            self._forwarder._live.describe(self.exchange)

    # -- ends -------------------------------------------------------------------------------

    def stop(self, state: State, reason: Reason, error: str | None = None) -> None:
        """End the call from this side; the client sees its answer break off."""
        if not self.exchange.end(state, reason, error):
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
            self._forwarder._live.finish(self.exchange)

    def _give_back(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._pump is not None:
            self._pump.cancel()
        if self._connecting is not None and self._upstream is None:
            self._connecting.add_done_callback(_abandon)
            self._connecting.cancel()
        if self._upstream is not None:
            if self._pump is not None and not self._pump.done():
                self._upstream.abort()
            self._forwarder._pool.give_back(self._upstream)

    def _register(self) -> None:
        if not self._registered:
            self._registered = True
            self._forwarder._live.start(
                self.exchange,
                lambda: self.stop(State.CANCELLED, Reason.OPERATOR),
                self._tap.digest,
            )

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
            return (
                "the client left during its upload"
                if uploading
                else ("the client left before the answer began")
            )
        return "the client left while the answer was on its way"

    def _answer(self, refusal: Refusal) -> web.StreamResponse:
        """Write an answer of the proxy's own, in the client's dialect."""
        request = self._request
        client = request.transport
        if client is None:
            return Answered(False)
        keep_alive = request.keep_alive and request.content.is_eof() and not self._http_10
        body = (
            error_body(self._dialect, refusal.message, refusal.status) if refusal.message else b""
        )
        answer = own_answer(
            refusal.status,
            refusal.reason.value if refusal.message else None,
            body,
            keep_alive=keep_alive,
            head_only=self._method == "HEAD",
            date=formatdate(usegmt=True),
        )
        client.write(answer)
        request.writer.output_size += len(answer)
        self.exchange.status_code = refusal.status
        return Answered(keep_alive)

    @property
    def _where(self) -> str:
        return self._forwarder._target.authority.decode("ascii", "replace")

    # -- limits -----------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look at the configured limits, and again when the next of them could pass."""
        loop = asyncio.get_running_loop()
        due = self._due()
        if not due or self._upstream is None:
            return
        moment, reason, limit = min(due)
        if loop.time() >= moment:
            self._time_out(reason, limit)
        else:
            self._watchdog = loop.call_at(moment, self._watch)

    def _due(self) -> list[tuple[float, Reason, float]]:
        limits, upstream = self._forwarder._limits, self._upstream
        assert upstream is not None
        due = []
        if limits.total:
            due.append((self._sending_since + limits.total, Reason.TOTAL_TIMEOUT, limits.total))
        if upstream.head is None and limits.first_byte:
            due.append(
                (
                    self._sending_since + limits.first_byte,
                    Reason.FIRST_BYTE_TIMEOUT,
                    limits.first_byte,
                )
            )
        if limits.idle:
            # Before the head too, so that the timer goes on once the answer has begun.
            waiting = upstream.head is not None and not upstream.paused
            since = upstream.last_piece if waiting else asyncio.get_running_loop().time()
            due.append((since + limits.idle, Reason.IDLE_TIMEOUT, limits.idle))
        return due

    def _time_out(self, reason: Reason, limit: float) -> None:
        name = reason.value.removesuffix("_timeout")
        self.stop(
            State.TIMEOUT, reason, f"the limit timeouts.{name} of this proxy, {limit:g} s, passed"
        )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _cause(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _abandon(connecting: asyncio.Task[Upstream]) -> None:
    """A connection that came after its call had ended is closed."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().abort()
