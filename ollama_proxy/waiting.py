"""Whether running calls wait so long that the status should name it: how many, behind whom. Pure.

Not here: which phase a call is in, and since when (`phases.py`); who waited, once that is over
(`insights/waits.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from ollama_proxy.exchange import Exchange, model_key

_WAITS = ("queued", "waiting_to_load")
LONG_SECONDS = 10.0
"""A wait below that is what a burst of calls makes each time, and gone before somebody has read
of it."""


class Waiting(msgspec.Struct, frozen=True):
    """How many `calls` wait, the longest of them for so many `seconds`, `behind` calls of that
    client; None: its name is not known."""

    calls: int
    seconds: float
    behind: str | None


def long_waits(
    running: Iterable[Exchange],
    phases: Mapping[str, Mapping[str, Any]],
    runner: Callable[[str], str] = model_key,
) -> Waiting | None:
    """None unless the call that waits longest does so for `LONG_SECONDS`.

    Those wait that are in the phase `queued` (as many calls that came before have not ended as
    their model was seen to serve at once) or `waiting_to_load` (a model in use has to be loaded
    anew for it, or to make room). So what is told is as sure as these phases, an estimate. Behind
    whom: the client with the most calls in service at the model of the call that waits longest, or
    where nobody is, at others; of several the one that came first. `phases` as `Live.phases` has
    them; `running` in the order in which they began; `runner` is one name for all models that run
    as one.
    """
    running = list(running)
    since = {
        one.id: float(phases[one.id]["phase_seconds"])
        for one in running
        if phases.get(one.id, {}).get("phase") in _WAITS
    }
    longest = max(since, key=lambda id: since[id], default=None)
    if longest is None or since[longest] < LONG_SECONDS:
        return None
    model = next(_model(one, runner) for one in running if one.id == longest)
    served = [one for one in running if one.id not in since and one.runs_model]
    there = [one for one in served if _model(one, runner) == model] or served
    behind = Counter(one.client_name for one in there).most_common(1)
    return Waiting(len(since), since[longest], behind[0][0] if behind else None)


def _model(exchange: Exchange, runner: Callable[[str], str]) -> str:
    return runner(exchange.observation.model or "")
