"""Whom the live picture of calls talks to: who is told, who measures, who judges, what a call is.

Not here: the picture itself (`live.py`).
"""

from __future__ import annotations

from typing import Any, Protocol

from ollama_proxy.exchange import Call, Exchange
from ollama_proxy.phases import Memory


class Sink(Protocol):
    """Told of calls, on the event loop: it must only note, never wait.

    What it raises is counted and logged, and never reaches the call. A sink that inherits this
    class and leaves `started` out costs nothing at the start.
    """

    def started(self, call: Call) -> None:
        """A call that runs a while already, and again when more is known of it."""
        return

    def finished(self, call: Call) -> None:
        """Each call, once, at its end."""


class Meter(Protocol):
    """Measures what calls cost the machine. `began` and `ended` are on a call's path: they note."""

    def began(self, id: str) -> None: ...

    def ended(self, id: str) -> None: ...

    def take(self, id: str) -> dict[str, Any] | None:
        """What an ended call cost, once, as far as it is known."""


class Judge(Memory, Protocol):
    """Says what calls' figures mean; `exchange` is what a record is made of."""

    def __call__(self, call: Call, exchange: Exchange) -> Call:
        """An ended call, with what was found."""


class Running(Protocol):
    """A call on its way. `refresh` brings `exchange.observation` up to what has passed,
    `understand` up to what its request says."""

    exchange: Exchange

    def cancel(self) -> None: ...

    def understand(self) -> None: ...

    def refresh(self) -> None: ...
