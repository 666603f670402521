"""What a call will take, asked of those that run and those that ran: brings both together.

Not here: the estimating (`insights/estimate.py`), REST (`admin/estimates.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ollama_proxy.exchange import Call, Exchange
from ollama_proxy.insights.estimate import FEW_RUNS, RUNS, Estimate
from ollama_proxy.insights.judging import Judging
from ollama_proxy.insights.serving import Running
from ollama_proxy.live import Live
from ollama_proxy.phases import Loaded

MANY = 200
"""Running calls beyond which none is estimated of itself: 2,000 took 10 ms."""


class Asked(NamedTuple):
    """A call that somebody thinks of sending: its prompt's bytes, the most tokens of its answer.
    None is not said."""

    model: str
    size: int | None = None
    most: int | None = None
    client: str | None = None


class Foretelling:
    """`loaded` are the models that a look found in memory."""

    def __init__(self, judging: Judging, live: Live, loaded: Callable[[], Loaded]) -> None:
        self._judging, self._live, self._loaded = judging, live, loaded

    def now(self, asked: Asked) -> Estimate | None:
        """What a call takes that is sent now; None where too little is known."""
        self._live.settle()
        self._live.refresh()
        return self._told(asked, None)

    def of(self, call: Call) -> Estimate | None:
        """What a call takes from now on that runs already."""
        if self._live.running > MANY or call.model is None:
            return None
        exchange = next((one for one in self._live.exchanges if one.id == call.id), None)
        if exchange is None:
            return None
        sketch, options = exchange.observation.sketch, exchange.observation.asked or {}
        most = options.get("num_predict")
        size = None if sketch is None else sketch.size or None
        limit = most if type(most) is int and most >= 0 else None
        return self._told(Asked(call.model, size, limit, call.client), exchange)

    def _told(self, asked: Asked, itself: Exchange | None) -> Estimate | None:
        return self._judging.estimate(
            asked.model,
            size=asked.size,
            most=asked.most,
            client=asked.client,
            loaded=lambda model: self._loaded().holds(model),
            before=None if itself is None else itself.started,
            runs=RUNS if itself is None else FEW_RUNS,
            options=None if itself is None else itself.observation.asked,
            silent=itself is not None and itself.observation.streamed is False,
        )


def in_service(live: Live) -> Iterator[Running]:
    """The calls that run a model, as far as it is known; also those that have just ended, of which
    nobody was told yet. One by one: of thousands mostly the first few are looked at."""
    for one in _unfinished(live):
        seen = one.observation
        if one.runs_model and seen.model:
            yield Running(seen.model, seen.asked, one.started, one.client_name, seen.output_chunks)


def _unfinished(live: Live) -> Iterator[Exchange]:
    yield from live.exchanges
    yield from live.unrecorded
