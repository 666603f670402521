"""When Ollama could not be reached, and which calls that failed: each outage once. Pure.

It begins with the first call that found nobody there, and is over when something was answered
after its last one, for `BRIEF` seconds before the next: what comes and goes within that is one.
Not here: what a look says of Ollama now (`sensors/models.py`), calls that broke off midway.
"""

from __future__ import annotations

import msgspec

from ollama_proxy.exchange import UNREACHED, Call, Exchange

BRIEF = 60.0
"""Seconds."""


class Outages:
    """Told of calls as they end, and of signs of life; moments are seconds of one clock."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._last = float("-inf")
        self._answered: float | None = None

    def ended(self, call: Call, exchange: Exchange) -> Call:
        """The call, with what is to be told of it."""
        if exchange.first_byte is not None:
            self.answered(exchange.first_byte)
        if call.reason not in UNREACHED:
            return call
        ended = exchange.ended or exchange.started
        since = self.missed(call.started_at, exchange.started, ended)
        told = {**(call.insights or {}), "outage": {"since": since}}
        return msgspec.structs.replace(call, insights=told)

    def missed(self, name: str, began: float, ended: float) -> str:
        """A call between these moments found nobody there. Of which outage it is: the name that
        the first call of it gave."""
        over = self._answered is not None and began - self._answered > BRIEF
        if self._name is None or over:
            self._name = name
        self._last, self._answered = max(self._last, ended), None
        return self._name

    def answered(self, at: float) -> None:
        """Ollama was there at that moment."""
        if self._answered is None and at > self._last:
            self._answered = at
