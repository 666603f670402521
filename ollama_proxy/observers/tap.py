"""Between the relay and an observer: notes what passes, and hands it on later, in blocks.

`piece` runs once for each piece of an answer, on the relay's way, so it only notes its moment: the
relay's own scanner has put the body's bytes into `pending`, framing removed. Request and answer are
observed when a block is full, when somebody looks, or when the record is made: together, for what a
short call needs costs three times as much a piece at a time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from ollama_proxy.exchange import Exchange
from ollama_proxy.gaps import Gaps
from ollama_proxy.headers import ResponseHead
from ollama_proxy.observers.base import REQUEST_LIMIT, Observer
from ollama_proxy.observers.privacy import Privacy
from ollama_proxy.observers.ruled import Ruled

BLOCK = 16 * 1024
"""Bytes that are observed at once, at most: for less the cost a line rises. Each call has its own
share of it, from a half up: 500 streams that had begun together were looked at together, and held
each other up for 14 ms each second."""
LONG_LOOK = 0.005
"""Seconds. A look at a block takes less than 1 ms, but for an answer made to take long."""


class PlainTap:
    """The tap of a call that is of no interest unless it is refused: no observer until then."""

    __slots__ = ("_clock", "_closed", "_exchange", "_make", "_observer", "answered", "pending")

    awaits_request = False

    def __init__(
        self,
        exchange: Exchange,
        make: Callable[[], Observer],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchange = exchange
        self._make = make
        self._clock = clock
        self._observer: Observer | None = None
        self._closed = False
        self.answered: ResponseHead | None = None
        self.pending: list[bytes] = []

    @property
    def privacy(self) -> Privacy:
        """The rules for what is kept of this call."""
        return (self._observer or self._make()).privacy

    def request_piece(self, data: bytes) -> bool:
        """Nothing of the request's body is looked at: never enough of it is here."""
        self._exchange.request_bytes += len(data)
        return False

    def request_end(self) -> None:
        """There is nothing to read."""

    understand = request_end

    def head(self, head: ResponseHead) -> None:
        self.answered = head
        self._exchange.status_code = head.status
        self._exchange.first_byte = self._clock()
        if head.status >= 400:
            self._observer = self._make()
            self._observer.response(
                head.status, head.header(b"content-type"), head.header(b"content-encoding")
            )

    def piece(self, size: int) -> bool:
        self.digest()
        return False

    def digest(self) -> None:
        """Count what is pending, and show it to the observer, if there is one."""
        for data in self.pending:
            self._exchange.response_bytes += len(data)
            if self._observer is not None:
                self._observer.feed(data)
        self.pending.clear()

    def close(self, complete: bool) -> None:
        if not self._closed:
            self._closed = True
            self.digest()
            if self._observer is not None:
                self._observer.close(complete)


class Tap:
    """One call's tap: fills `exchange` with what its observer makes of the bytes."""

    __slots__ = (
        "_answer_head",
        "_block",
        "_clock",
        "_closed",
        "_exchange",
        "_gaps",
        "_here",
        "_looks_for_text",
        "_marks",
        "_moments",
        "_observer",
        "_reads",
        "_request",
        "_ruled",
        "_size",
        "_timed",
        "answered",
        "pending",
    )

    def __init__(
        self,
        exchange: Exchange,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
        ruled: Ruled | None = None,
    ) -> None:
        self._clock = clock
        self._exchange = exchange
        self._observer = observer
        self._ruled = ruled
        self._reads = observer.reads_all
        self._gaps: Gaps | None = None
        self._request: list[bytes] | None = [] if self._reads else None
        self._here = False
        self._answer_head: ResponseHead | None = None
        self.answered: ResponseHead | None = None
        self.pending: list[bytes] = []
        self._looks_for_text = self._timed = observer.waits_for_text
        self._moments: list[float] = []  # of the pieces in `pending`, where they are timed
        self._marks: list[int] = []  # where each of them ends in it, until the text has begun
        self._block = BLOCK * (1 + random.random()) / 2
        self._size = 0
        self._closed = False

    @property
    def privacy(self) -> Privacy:
        """The rules for what is kept of this call, as far as they are known by now."""
        return self._observer.privacy

    def request_piece(self, data: bytes) -> bool:
        """Keep a piece of the request's body. True when as much is here as is ever looked at."""
        before = self._exchange.request_bytes
        self._exchange.request_bytes = before + len(data)
        if self._request is None:
            return False
        self._request.append(data[: max(0, REQUEST_LIMIT - before)])
        return before + len(data) >= REQUEST_LIMIT

    @property
    def awaits_request(self) -> bool:
        """Whether more of the request's body is yet to come and be read."""
        return self._request is not None and not self._here

    def request_end(self) -> None:
        """The request is here, or all of it that is looked at."""
        self._here = True

    def understand(self) -> None:
        """Read the request once it is here, if that was not done before."""
        if self._request is None or not self._here:
            return
        body = b"".join(self._request)
        self._request = None
        told = self._observer if self._ruled is None else self._ruled
        told.request(body, self._exchange.request_bytes == len(body))

    def head(self, head: ResponseHead) -> None:
        self.answered = head
        self._exchange.status_code = head.status
        self._exchange.first_byte = self._clock()
        self._reads = self._reads or head.status >= 400
        self._ask_rules()
        self._answer_head = head

    def piece(self, size: int) -> bool:
        """`size` bytes have passed, and what they hold of the body is in `pending`.

        True: looking at them took long; let the loop do something else before the next piece.
        """
        self._size += size
        if self._timed:
            self._moments.append(self._clock())
            if self._looks_for_text:
                self._marks.append(len(self.pending))
        if self._size >= self._block:
            began = self._clock()
            self.digest()
            return self._clock() - began > LONG_LOOK
        return False

    def digest(self) -> None:
        """Observe what is pending; brings `exchange.observation` up to date."""
        self.understand()
        self._tell_head()
        pending = self.pending
        if not pending:
            return
        self._exchange.response_bytes += sum(map(len, pending))
        if self._looks_for_text:
            self._look_for_text()
        else:
            self._feed(pending)
            if self._gaps is not None:
                self._gaps.add(self._moments)
        pending.clear()
        self._moments.clear()
        self._marks.clear()
        self._size = 0
        self._ask_rules()

    def _tell_head(self) -> None:
        """Not before the request, which says what is to be expected, if that was here first."""
        head, self._answer_head = self._answer_head, None
        if head is not None and self._reads:
            self._observer.response(
                head.status, head.header(b"content-type"), head.header(b"content-encoding")
            )

    def _feed(self, pieces: list[bytes]) -> None:
        if self._reads and pieces:
            self._observer.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _look_for_text(self) -> None:
        """Observe piece by piece, to know in which the model began to write, and then to answer."""
        pending, marks, moments = self.pending, self._marks, self._moments
        begun = counted = 0
        for index, end in enumerate(marks):
            if index + 1 < len(marks) and self._only_thinks(pending[end - 1] if end else b""):
                continue  # it is observed with the next one
            self._feed(pending[begun:end])
            begun = end
            if self._observer.text_seen:
                if self._gaps is None:
                    counted = index + 1
                self._text_came(moments[index])
                if not self._looks_for_text:
                    break
        self._feed(pending[begun:])
        if self._gaps is not None:
            self._gaps.add(moments[counted:])

    def _only_thinks(self, piece: bytes) -> bool:
        """Whether the last line of this piece, and so all before, is one of a model that thinks."""
        found = piece.rfind(self._observer.thinking_mark) if self._observer.text_seen else -1
        return found >= 0 and found > piece.rstrip(b"\r\n").rfind(b"\n")

    def _text_came(self, moment: float) -> None:
        """Note when the model began to write, and when thinking became an answer."""
        observer, exchange = self._observer, self._exchange
        self._looks_for_text = bool(observer.thinking_mark) and not observer.answer_seen
        if not exchange.observation.streamed:
            self._timed = False
            return
        if self._gaps is None:
            self._gaps = exchange.gaps = Gaps(moment)
            exchange.first_token = moment
        if observer.answer_seen:
            exchange.first_answer = moment

    def _ask_rules(self) -> None:
        if self._ruled is not None:
            self._ruled.look_again()

    def close(self, complete: bool) -> None:
        """The answer is over, whole or broken off; what is said of it first holds."""
        if self._closed:
            return
        self._closed = True
        self.request_end()
        self.digest()
        self._ask_rules()
        if self._reads:
            self._observer.close(complete)
