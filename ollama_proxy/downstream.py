"""A client's connection: cuts what comes into requests, one call at a time, and sees it leave.

A request's head is read whole; its body is handed to the call as it comes, framing included. What
comes behind a request waits until its call is over. Not here: what a call does (`call.py`), which
calls there are (`forwarder.py`), what a head says (`request_head.py`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import Protocol, cast

from ollama_proxy.exchange import Look
from ollama_proxy.framing import FramingError, Scanner
from ollama_proxy.logs import where
from ollama_proxy.request_head import RequestError, RequestHead, broken_beginning

log = logging.getLogger(__name__)

HIGH_WATER = 256 * 1024
"""Bytes waiting for a slow client above which the upstream is no longer read."""
HEAD_LIMIT = 1024 * 1024
"""Ollama's Go server takes 1 MiB of request head."""
WAITING = 64 * 1024
"""Bytes behind a running call's request from which on no more is read."""
LINGER = 0.5
"""Seconds in which a client that still sends may read an answer that came early, once it has left.

Closing at once would reset the connection and throw that answer away (RFC 9112 section 9.6). Go's
server, and so Ollama's, waits as long (net/http, rstAvoidanceDelay).
"""

LEAVE_SECONDS = 0.01
"""How often is looked whether an answer's end has left."""

End = tuple[str, int]
"""Host and port, of an IPv6 address with two numbers more."""


class Piece:
    """What came of a request's body: `raw` as on the wire, `payload` without its framing."""

    __slots__ = ("payload", "raw", "whole")

    def __init__(self, raw: bytes, payload: list[bytes], whole: bool) -> None:
        self.raw, self.payload, self.whole = raw, payload, whole


NOTHING = Piece(b"", [], True)


class Call(Protocol):
    """What a connection tells its running call."""

    def begin(self, piece: Piece) -> None: ...

    def more(self, piece: Piece) -> None:
        """More of the request's body."""

    def malformed(self, error: FramingError) -> None:
        """The request's body broke its framing."""

    def client_left(self) -> None: ...

    def client_slow(self, slow: bool) -> None:
        """More than `HIGH_WATER` waits for the client, or no longer."""

    def failed(self) -> None:
        """A fault of the proxy's own."""


class Server(Protocol):
    """What a connection asks of the server that it belongs to."""

    closing: bool

    @property
    def leaving(self) -> bool:
        """Whether connections go on in another process."""

    def opened(self, client: Downstream) -> None: ...

    def closed(self, client: Downstream) -> None: ...

    def read_head(self, raw: bytes) -> RequestHead:
        """Raises RequestError."""

    def takes(self, client: Downstream, head: RequestHead, data: bytes) -> bool:
        """Whether another server took this request, all of `data`, and the connection with it."""

    def call(self, client: Downstream, head: RequestHead) -> Call: ...

    def refuse(self, client: Downstream, error: RequestError) -> None:
        """Answer a request that is none."""

    def hand_on(self, client: Downstream, waiting: bytes) -> None:
        """Give this connection to another process, with what was read of its next request."""


class Downstream(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_body",
        "_call",
        "_ending",
        "_held",
        "_linger",
        "_loop",
        "_reading",
        "_searched",
        "_server",
        "_waiting",
        "greeted",
        "idle_since",
        "local",
        "look",
        "peer",
        "slow",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self, loop: asyncio.AbstractEventLoop, server: Server, waiting: bytes = b""
    ) -> None:
        """`waiting`: what another process read from it."""
        self._loop = loop
        self._server = server
        self._call: Call | None = None
        self._body: Scanner | None = None  # of the running call's request, while it is not whole
        self._waiting = bytearray(
            waiting
        )  # an unfinished head, or what came behind the running call's
        self._searched = 0
        self._held = False
        self._reading = True
        self._ending = False
        self._linger: asyncio.TimerHandle | None = None
        self.idle_since = loop.time()
        self.slow = False
        self.peer: End | None = None
        self.local: End | None = None
        self.greeted = False
        self.look: Look | None = None

    # -- from the client --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(HIGH_WATER)
        self.peer = transport.get_extra_info("peername")
        self.local = transport.get_extra_info("sockname")
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        try:
            if self._body is not None:
                self._more(self._body, data)
            elif self._call is None and not self._waiting and not self.slow:
                self._begin(data)
            elif not self._ending:
                self._waiting += data
                self._next()
                self._read_as_wanted()
        except Exception as error:  # noqa: BLE001 - guard: a fault of ours ends this call only
            log.error("a call failed in the proxy itself: %s", where(error))
            if self._call is not None:
                self._call.failed()
            else:
                self.close()

    def _begin(self, data: bytes) -> None:
        """Begin the call that `data` asks for, once its head is whole."""
        if self._ending:
            return
        if data[:1] in (b"\r", b"\n"):
            data = data.lstrip(b"\r\n")  # RFC 9112 section 2.2
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            self._waiting += data
            self._check_beginning()
            return
        try:
            head = self._server.read_head(data[:end])
        except RequestError as error:
            self._refuse(error)
            return
        if self._server.takes(self, head, data):
            return
        self._call = call = self._server.call(self, head)
        scanner = head.scanner()
        if scanner is not None:
            piece = self._cut(scanner, data[end:])
        else:
            piece = NOTHING
            self._waiting += data[end:]
        if piece is not None:
            call.begin(piece)
        if self._waiting:
            self._read_as_wanted()

    def _more(self, scanner: Scanner, data: bytes) -> None:
        piece = self._cut(scanner, data)
        if piece is not None and self._call is not None:
            self._call.more(piece)

    def _cut(self, scanner: Scanner, data: bytes) -> Piece | None:
        """What `data` has of the running request's body; None if that is malformed."""
        payload: list[bytes] = []
        try:
            size = scanner.feed(data, payload)
        except FramingError as error:
            self._body = scanner  # whatever comes is of this request, and of no other
            if self._call is not None:
                self._call.malformed(error)
            return None
        if size < 0:
            self._body = scanner
            return Piece(data, payload, False)
        self._body = None
        if size == len(data):
            return Piece(data, payload, True)
        self._waiting += data[size:]
        return Piece(data[:size], payload, True)

    def _check_beginning(self) -> None:
        """Refuse what can never become a head, or not one within the limit."""
        waiting = self._waiting
        why = broken_beginning(waiting, self._searched) if waiting else None
        self._searched = len(waiting)
        if why is not None:
            self._refuse(RequestError(400, why))
        elif len(waiting) > HEAD_LIMIT:
            self._refuse(RequestError(431, "the request's head is longer than 1 MiB"))

    def _refuse(self, error: RequestError) -> None:
        self._body = None
        self._server.refuse(self, error)
        self._end(lingering=True)

    def _next(self) -> None:
        """Begin the next call, if one waits and its head is whole, and the client takes answers."""
        if self._call is not None or self._ending or self.slow or not self._waiting:
            return
        if self._held:
            return  # for another process
        waiting = self._waiting
        if waiting.find(b"\r\n\r\n", max(0, self._searched - 3)) < 0 and waiting[0] > 32:
            self._check_beginning()
            self._read_as_wanted()
            return
        data = bytes(waiting)
        waiting.clear()
        self._searched = 0
        self._read_as_wanted()
        self._begin(data)

    def eof_received(self) -> None:
        """A client that sends no more has left; what it has not yet taken still goes out."""
        self._ending = True
        if self._call is not None:
            self._call.client_left()
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ending = True
        if self._linger is not None:
            self._linger.cancel()
        self._server.closed(self)
        if self._call is not None:
            self._call.client_left()

    def pause_writing(self) -> None:
        self._is_slow(True)

    def resume_writing(self) -> None:
        self._is_slow(False)

    def _is_slow(self, slow: bool) -> None:
        """No call begins for a slow client: answers that nobody reads would pile up here."""
        self.slow = slow
        if self._call is not None:
            self._call.client_slow(slow)
        elif not self._ending:
            self._read_as_wanted()
            if not slow and self._waiting:
                self._loop.call_soon(self._next)

    # -- from the call ----------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self._call is not None

    def write(self, data: bytes) -> None:
        """Send an answer of the proxy's own, if the client is still there."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def hold(self, held: bool) -> None:
        """Take no more of the request's body for now, or go on."""
        self._held = held
        self._read_as_wanted()

    def over(self, keep: bool, linger: bool = True) -> None:
        """The call has ended. `keep`: the connection stays open for the next one.

        `linger` False: what is missing of the request will not come.
        """
        self._call = None
        self.idle_since = self._loop.time()
        unfinished, self._body = self._body is not None, None
        if not keep or unfinished or self._server.closing:
            unread = bool(self._waiting) or not self._reading
            self._held = False
            self._end(lingering=(unfinished or unread) and linger)
            return
        self._held = False
        if self._server.leaving:
            self.leave()
            return
        if self._waiting:
            self._loop.call_soon(self._next)
        self._read_as_wanted()

    def leave(self) -> None:
        """Go on in another process, unless a call runs: then after it. What was written goes out
        first."""
        if self._call is not None or self._ending or self.transport.is_closing():
            return
        if not self._server.leaving:  # that process has ended meanwhile
            self.hold(False)
            self._next()
            return
        self.hold(True)
        if self.transport.get_write_buffer_size():
            self._loop.call_later(LEAVE_SECONDS, self.leave)
            return
        self._ending = True
        self._server.hand_on(self, bytes(self._waiting))
        self.transport.abort()  # this copy of it: no sign of that reaches the client

    def go_on(self) -> None:
        """Begin with what another process read."""
        self._next()

    def reset(self) -> None:
        """Close so that the client sees a reset: the only sign of a break in a body that ends by
        closing. `abort()` alone sends an ordinary FIN, which would read as a clean end."""
        connection: socket.socket | None = self.transport.get_extra_info("socket")
        if connection is not None and not self.transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close now, whatever is still on its way."""
        self._ending = True
        self.transport.abort()

    def finish(self) -> None:
        """Take no more requests; close once what was written has left."""
        self._end(lingering=False)

    def _end(self, lingering: bool) -> None:
        """`lingering`: the client may still send, and is to read its answer first."""
        if self._ending:
            return
        self._ending = True
        self._waiting.clear()
        if self.transport.is_closing():
            return
        if not lingering:
            self.transport.close()
            return
        self._read_as_wanted()
        try:
            self.transport.write_eof()
        except OSError:  # asyncio's, where the client has reset the connection
            self.transport.abort()
        else:
            self._linger = self._loop.call_later(LINGER, self._linger_on)

    def _linger_on(self) -> None:
        if self.transport.get_write_buffer_size():
            self._linger = self._loop.call_later(LINGER, self._linger_on)
        else:
            self.transport.close()

    def _read_as_wanted(self) -> None:
        room = HEAD_LIMIT if self._call is None and not self.slow else WAITING
        wanted = not self._held and len(self._waiting) <= room
        if wanted is self._reading or self.transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    @property
    def deaf_socket(self) -> int:
        """The socket's descriptor while nothing is read, so that nobody sees the client leave; -1
        otherwise."""
        if self._reading or self.transport.is_closing():
            return -1
        found = self.transport.get_extra_info("socket")
        return -1 if found is None else int(found.fileno())
