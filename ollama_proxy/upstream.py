"""A connection to the upstream: a protocol that hands an answer's bytes on as they came.

The answer's head is read once; from then on each piece received is written to the client's
transport in the same call, framing included, and shown to the tap after that. Not here: what is
sent to whom and why (`call.py`), which connection (`pool.py`), what bytes mean (`observers/`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
from collections.abc import Callable
from enum import Enum
from typing import Protocol, cast

from ollama_proxy.framing import FramingError, Scanner
from ollama_proxy.headers import HeadError, ResponseHead, may_become_head, response_head
from ollama_proxy.logs import where

log = logging.getLogger(__name__)

HIGH_WATER = 256 * 1024
"""Bytes of a request waiting for a slow upstream above which the client is no longer read."""
HEAD_LIMIT = 1024 * 1024
INTERIM_LIMIT = 64
"""1xx answers passed on before the real one; more is a broken upstream."""


class Signal(Enum):
    """How an answer ends."""

    DONE = "the answer is whole"
    ABORTED = "Ollama broke off"
    MALFORMED = "Ollama sent what is not HTTP"
    STOPPED = "this side ended the call"


class Tap(Protocol):
    """Sees an answer's bytes. `pending` takes the body's own, framing removed; once they have been
    written to the client, `piece` says how many bytes passed; True asks for a pause.
    """

    pending: list[bytes]

    def head(self, head: ResponseHead) -> None: ...

    def piece(self, size: int) -> bool: ...


class Blind:
    """A tap that looks at nothing."""

    def __init__(self) -> None:
        self.pending: list[bytes] = []

    def head(self, head: ResponseHead) -> None: ...

    def piece(self, size: int) -> bool:
        self.pending.clear()
        return False


class Client(Protocol):
    """Where an answer goes."""

    def is_closing(self) -> bool: ...

    def write(self, data: bytes) -> None: ...


class Editor(Client, Protocol):
    """Writes an answer's body, framing included, to the client as it is to be there."""

    def end(self) -> None:
        """The answer is over: write what was held back."""


Edit = Callable[[ResponseHead, Client], Editor | None]


class Call(Protocol):
    """What a connection tells the call that it serves."""

    def answered(self, signal: Signal) -> None:
        """The answer is over; told once. The connection may be given back at once."""

    def upstream_slow(self, slow: bool) -> None:
        """The upstream takes no more of the request for now, or takes it again."""


class Upstream(asyncio.Protocol):
    """One connection to the upstream; it serves one call at a time."""

    __slots__ = (
        "_buffer",
        "_call",
        "_client",
        "_editor",
        "_http_10",
        "_keep_alive",
        "_loop",
        "_method",
        "_on_lost",
        "_readable",
        "_scanner",
        "_signal",
        "_surplus",
        "_tap",
        "client_kept",
        "edit",
        "ends",
        "head",
        "idle_since",
        "interims",
        "last_piece",
        "lost",
        "paused",
        "sent_at",
        "transport",
        "uploading",
    )

    transport: asyncio.Transport

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[Upstream], None]
    ) -> None:
        self._loop = loop
        self._on_lost = on_lost
        self.lost = False
        self.idle_since = 0.0
        self.ends: tuple[object, object] = (None, None)
        self._readable: select.poll | None = None
        self._reset()

    def _reset(self) -> None:
        self._call: Call | None = None
        self._client: Client | None = None
        self._editor: Editor | None = None
        self.edit: Edit | None = None
        self._tap: Tap | None = None
        self._method = ""
        self._keep_alive = False
        self._http_10 = False
        self.interims = 0
        self._buffer = b""
        self._scanner: Scanner | None = None
        self._signal: Signal | None = None
        self.head: ResponseHead | None = None
        self.last_piece = 0.0
        self.sent_at = 0.0
        self._surplus = False
        self.client_kept = False
        self.uploading = False
        self.paused = False

    # -- one call ---------------------------------------------------------------------------

    def begin(
        self,
        call: Call,
        *,
        method: str,
        http_10: bool,
        client: Client,
        keep_alive: bool,
        tap: Tap,
    ) -> None:
        """Take up a call: its answer goes to `client`, kept alive afterwards if that can be."""
        self._call = call
        self._method = method
        self._http_10 = http_10
        self._client = client
        self._keep_alive = keep_alive
        self._tap = tap

    def stop(self) -> None:
        """End the call from this side."""
        self._end(Signal.STOPPED)

    @property
    def usable(self) -> bool:
        """Whether a call can be sent: a new connection may be closed before its first."""
        return not self.lost and not self.transport.is_closing()

    def pause(self) -> None:
        """The client is slow: read no more of the answer for now."""
        self.paused = True
        if self.usable:
            self.transport.pause_reading()

    def resume(self) -> None:
        self.paused = False
        self.last_piece = self._loop.time()
        if self.usable:
            self.transport.resume_reading()

    def release(self) -> bool:
        """Give up the call. True if the connection can carry another one."""
        reusable = (
            self._signal is Signal.DONE
            and self.head is not None
            and self.head.reusable
            and not self._surplus
            # What is missing of this request would be taken from the next one.
            and not self.uploading
            and not self.transport.get_write_buffer_size()
            and self.usable
        )
        paused = self.paused
        self._reset()
        if reusable and paused:
            self.transport.resume_reading()
        return reusable

    def abort(self) -> None:
        """Close now, whatever is still on its way."""
        self._call = self._client = self._tap = None
        if not self.lost:
            self.transport.abort()

    def _end(self, signal: Signal) -> None:
        """Say so to the call, once."""
        if self._call is not None and self._signal is None:
            self._signal = signal
            if self._editor is not None:
                self._editor.end()
            self._call.answered(signal)

    # -- bytes ------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._client is None or self._signal is not None:
            # Nobody asked for these bytes: they must never be taken for another call's answer.
            self._surplus = True
            self.transport.abort()
            return
        self.last_piece = self._loop.time()
        if self.head is None:
            self._head_received(data)
        else:
            self._body_received(data, b"")

    def _head_received(self, data: bytes) -> None:
        """Collect the head, pass interim answers on, then start the body."""
        data = self._buffer + data if self._buffer else data
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                if len(data) > HEAD_LIMIT or not may_become_head(data):
                    self._end(Signal.MALFORMED)
                return
            try:
                head = response_head(data[: end + 4], self._method)
            except HeadError:
                self._end(Signal.MALFORMED)
                return
            data = data[end + 4 :]
            if head.status >= 200:
                break
            if not self._interim(head):
                return
        self._buffer = b""
        self._final_head(head, data)

    def _interim(self, head: ResponseHead) -> bool:
        """Pass a 1xx answer on; False if there can be none here."""
        self.interims += 1
        if head.status == 101 or self.interims > INTERIM_LIMIT or self._client is None:
            self._end(Signal.MALFORMED)
            return False
        if not self._http_10 and not self._client.is_closing():
            self._client.write(head.raw)
        return True

    def _final_head(self, head: ResponseHead, rest: bytes) -> None:
        assert self._client is not None and self._tap is not None
        scanner = head.scanner()
        if self._http_10 and head.header(b"transfer-encoding"):
            # An HTTP/1.0 client cannot read chunks, and the bytes are not to be re-made.
            self._end(Signal.MALFORMED)
            return
        self.head = head
        self._scanner = scanner
        # Answered before its body was taken, a client may or may not still send that body: what
        # comes next on its connection could be either, so the connection ends with this answer.
        self.client_kept = self._keep_alive and not self.uploading and not head.ends_with_connection
        try:
            self._tap.head(head)
        except Exception as error:  # noqa: BLE001 - guard: what records never breaks a call
            self._go_blind(error)
        first = head.for_client(self.client_kept)
        if self.edit is not None and (editor := self.edit(head, self._client)) is not None:
            self._write(first)
            first = b""
            self._client = self._editor = editor
        if scanner is None:
            self._write(first)
            self._finish(rest)
        elif rest:
            self._body_received(rest, first)
        else:
            self._write(first)

    def _body_received(self, data: bytes, before: bytes) -> None:
        """Pass body bytes on, behind `before`, which goes out in the same write."""
        assert self._scanner is not None and self._tap is not None and self._client is not None
        pending = self._tap.pending
        count = len(pending)
        try:
            end = self._scanner.feed(data, pending)
        except FramingError:
            # The client must see the break, not a clean end; what it does not get is not recorded.
            del pending[count:]
            self._write(before)
            self._end(Signal.MALFORMED)
            return
        if end < 0:
            self._write(before + data if before else data)
            if self._looked(len(data)):
                self._let_others_run()
            return
        body = data if end == len(data) else data[:end]
        self._write(before + body if before else body)
        self._looked(end)
        self._finish(data[end:])

    def _looked(self, size: int) -> bool:
        """Show the tap what has passed. True: that took long."""
        assert self._tap is not None
        try:
            return self._tap.piece(size)
        except Exception as error:  # noqa: BLE001 - guard: what records never breaks a call
            self._go_blind(error)
            return False

    def _go_blind(self, error: Exception) -> None:
        log.error("a call is no longer looked at: %s", where(error))
        self._tap = Blind()

    def _let_others_run(self) -> None:
        """Read on in the loop's next turn: a fast upstream would otherwise be read on and on."""
        self.transport.pause_reading()
        self._loop.call_soon(self._read_on, self._client)

    def _read_on(self, client: Client | None) -> None:
        if self._client is client and not self.paused and self.usable:
            self.transport.resume_reading()

    def _write(self, data: bytes) -> None:
        assert self._client is not None
        # A client that has just left is told of in the loop's next turn.
        if data and not self._client.is_closing():
            self._client.write(data)

    def _finish(self, surplus: bytes) -> None:
        self._surplus = bool(surplus)
        self._end(Signal.DONE)

    # -- the connection's own events --------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(HIGH_WATER)
        self.ends = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        connection = transport.get_extra_info("socket")
        if connection is not None and hasattr(select, "poll"):
            self._readable = select.poll()
            self._readable.register(connection.fileno(), select.POLLIN)

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if isinstance(exc, OSError) and self._client is not None and self._signal is None:
            self._read_rest()
        clean = exc is None and self._scanner is not None and self._scanner.ends_with_connection
        self._on_lost(self)
        self._end(Signal.DONE if clean else Signal.ABORTED)

    def _read_rest(self) -> None:
        """A failed write closes at once and would throw an answer away that is already here.

        An upstream that answers 413 and closes while the body still comes is the usual case.
        """
        connection = self.transport.get_extra_info("socket")
        if connection is None or self.transport.get_extra_info("sslcontext") is not None:
            return
        try:
            while self._call is not None and (data := os.read(connection.fileno(), 65536)):
                self.data_received(data)
        except OSError:
            return

    def pause_writing(self) -> None:
        if self._call is not None:
            self._call.upstream_slow(True)

    def resume_writing(self) -> None:
        if self._call is not None:
            self._call.upstream_slow(False)

    def is_fresh(self, now: float, idle_limit: float) -> bool:
        """Whether a call may be sent on this idle connection.

        A call is never sent twice, so a connection that the upstream may be closing is not used:
        neither one with something to read (its end, or what nobody asked for) nor an old one.
        """
        if not self.usable or now - self.idle_since > idle_limit:
            return False
        return self._readable is None or not self._readable.poll(0)
