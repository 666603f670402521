"""`GET series`: how calls went over time, and the machine, in columns for charts.

Not here: which step fits a span, and the columns (`charts.py`), where they are kept (`storage/`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from aiohttp import web

from ollama_proxy.admin.answers import json_answer, told
from ollama_proxy.admin.query import ParameterError, parse_filter, single
from ollama_proxy.charts import STEPS, Asked, TooFine, spelt
from ollama_proxy.gauging import Minutes
from ollama_proxy.ids import moment_of
from ollama_proxy.series import HOUR, series_key

PARAMETERS = ("since", "until", "step", "model")


class Told(Protocol):
    """Where the columns come from; `admin.history.History` is such a place."""

    async def series(self, asked: Asked) -> dict[str, Any]: ...


class Series:
    """`unsaved` are gauges that are not stored yet."""

    def __init__(
        self, history: Told, unsaved: Callable[[], Minutes], now: Callable[[], float]
    ) -> None:
        self._history, self._unsaved, self._now = history, unsaved, now

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/api/series", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        asked = self._asked(single(request.query.items(), PARAMETERS))
        return json_answer(await told(self._history.series(asked)))

    def _asked(self, said: dict[str, str]) -> Asked:
        now = self._now()
        wanted = parse_filter(said, now)  # of its times, the ids that calls would have
        until = now if wanted.until is None else min(now, moment_of(wanted.until))
        since = until - HOUR if wanted.since is None else moment_of(wanted.since)
        if since >= until:
            raise ParameterError("since: must be before until, and before now")
        try:
            asked = Asked.spanning(since, until, now, _step(said.get("step")))
        except TooFine as error:
            raise ParameterError(f"step={said['step']}: {error}") from None
        model = None if wanted.model is None else series_key(wanted.model)
        return msgspec.structs.replace(asked, model=model, unsaved=self._unsaved())


def _step(text: str | None) -> int | None:
    if text is None:
        return None
    for step in STEPS:
        if text in (spelt(step), str(step)):
            return step
    raise ParameterError(f"step={text[:100]}: must be one of {', '.join(map(spelt, STEPS))}")
