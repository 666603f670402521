"""The client for programs that wait: by the standard library.

Not here: what is asked and how answers are read (`asking.py`), plain dicts (`guide.py`).
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar, Unpack

from ollama_proxy import rest
from ollama_proxy.client import asking, errors
from ollama_proxy.client.answers import (
    Client,
    Event,
    Finding,
    FindingFilters,
    Health,
    Model,
    RequestFilters,
    Series,
    SeriesFilters,
    Stats,
    Status,
)
from ollama_proxy.client.asking import Ask
from ollama_proxy.client.calls import Call, OneCall, RunningCall
from ollama_proxy.client.place import Place, place
from ollama_proxy.sse import Sent

log = logging.getLogger(__name__)
T = TypeVar("T")


class Line:
    """Asks one monitor, which is looked for at the first question, and again once it was down."""

    def __init__(self, url: str | None, token: str | None, seconds: float) -> None:
        self._named, self.seconds = (url, token), seconds
        self._place: Place | None = None

    def place(self) -> Place:
        """Raises MonitorError."""
        if self._place is None:
            self._place = place(*self._named, self.seconds)
        return self._place

    def answer(self, ask: Ask[T]) -> tuple[T, bytes, rest.Header]:
        """The answer, its bytes and its headers. Raises MonitorError."""
        there = self.place()
        data = b"{}" if ask.post else None
        try:
            url = f"{there.admin}/{ask.path}"
            body, header = rest.got(url, there.token, data, self.seconds)
        except (rest.Refused, OSError, ValueError) as error:
            raise self.failed(there, error) from error
        return asking.read(ask, there.admin, body), body, header

    def pages(self, ask: Ask[list[T]]) -> Iterator[tuple[list[T], bytes]]:
        """Each page with its bytes. Raises MonitorError."""
        following: Ask[list[T]] | None = ask
        while following is not None:
            rows, body, header = self.answer(following)
            if (why := asking.lacking(following, header)) is not None:
                warnings.warn(why, errors.MonitorWarning, stacklevel=3)
            yield rows, body
            following = asking.following(following, rows, header)

    def failed(self, there: Place, error: Exception) -> errors.MonitorError:
        told = errors.failed(there.admin, error)
        if isinstance(told, errors.MonitorDown):
            self._place = None  # started again, it may be elsewhere
        return told


class MonitorClient:
    """A proxy's monitor. Each method asks it anew and raises a MonitorError where it does not tell.

    `url`: a proxy's address or its pages'; if not given, this machine's is looked for. `token`: if
    not given, the setting admin.token. An answer may take `seconds`."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        seconds: float = rest.ASK_SECONDS,
    ) -> None:
        self._line = Line(url, token, seconds)

    def status(self) -> Status:
        """How the proxy and Ollama are, and the totals."""
        return self._line.answer(asking.STATUS)[0]

    def health(self) -> Health:
        """Whether the proxy runs; needs no token."""
        return self._line.answer(asking.HEALTH)[0]

    def active(self) -> list[RunningCall]:
        """The running calls, the oldest first."""
        return self._line.answer(asking.ACTIVE)[0]

    def stats(self) -> Stats:
        """Totals and percentiles, in all, by model and by client."""
        return self._line.answer(asking.STATS)[0]

    def series(self, **filters: Unpack[SeriesFilters]) -> Series:
        """The same over a span of time, in columns; the last hour if it is not given."""
        return self._line.answer(asking.series(filters))[0]

    def models(self) -> list[Model]:
        """The models that Ollama has, then those that calls only named."""
        return self._line.answer(asking.MODELS)[0]

    def clients(self) -> list[Client]:
        """Who has called, by name."""
        return self._line.answer(asking.CLIENTS)[0]

    def requests(
        self, limit: int | None = None, **filters: Unpack[RequestFilters]
    ) -> Iterator[Call]:
        """Calls, the newest first or sorted: at most `limit`, or all. Asks page by page, as far as
        one reads."""
        return self._rows(asking.requests(limit, filters), limit)

    def request(self, id: str) -> OneCall:
        """One call."""
        return self._line.answer(asking.request(id))[0]

    def cancel(self, id: str) -> OneCall:
        """Stop a running call: its client gets an error, Ollama stops working for it."""
        return self._line.answer(asking.cancel(id))[0]

    def insights(
        self, limit: int | None = None, **filters: Unpack[FindingFilters]
    ) -> Iterator[Finding]:
        """What was found of calls, the costliest first; as `requests` does."""
        return self._rows(asking.insights(limit, filters), limit)

    def finding(self, id: str) -> Finding:
        """One of these."""
        return self._line.answer(asking.finding(id))[0]

    def events(self) -> Iterator[Event]:
        """What happens, as it happens, without an end: first a snapshot, and another one whenever
        the stream broke and was taken up again. Raises MonitorError only where it never began, or
        the monitor will not have it."""
        listening = asking.Listening()
        while True:
            try:
                there = self._line.place()
                for sent in self._sent(there, listening.last_id):
                    if (event := listening.heard(there.admin, sent)) is not None:
                        yield event
                lost = errors.MonitorError("the monitor ended its stream")
            except errors.MonitorError as error:
                lost = error
            pause = listening.lost(lost)
            log.info("%s; asked anew in %s s", lost, pause)
            time.sleep(pause)

    def _sent(self, there: Place, last_id: str | None) -> Iterator[Sent]:
        try:
            yield from rest.events(there.admin, there.token, last_id, self._line.seconds)
        except (rest.Refused, OSError, ValueError) as error:
            raise self._line.failed(there, error) from error

    def _rows(self, ask: Ask[list[T]], limit: int | None) -> Iterator[T]:
        rows = (row for page, _ in self._line.pages(ask) for row in page)
        return islice(rows, limit)
