"""The answers about findings: numbers, and a sentence in each language.

Not here: the sentences (`findings.py`), what counts as a finding (`insights/`), where they are kept
(`storage/findings.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from aiohttp import web

from ollama_proxy.admin.answers import json_answer, listed, next_page, told
from ollama_proxy.admin.findings import sentence
from ollama_proxy.admin.query import ParameterError, parse_filter, single
from ollama_proxy.admin.words import Words
from ollama_proxy.records import FINDINGS, Filter, Finding

PARAMETERS = ("since", "until", "client", "model", "limit", "kind", "after")


class Findings(Protocol):
    """Where they are; `admin.history.History` is such a place."""

    async def findings(self, wanted: Filter) -> list[Finding]: ...

    async def finding(self, id: str) -> Finding | None: ...


class Insights:
    """`GET insights` and `GET insights/{id}`. `words`: by language."""

    def __init__(
        self, history: Findings, words: Mapping[str, Words], now: Callable[[], float]
    ) -> None:
        self._history = history
        self._words = words
        self._now = now

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/api/insights", self._all)
        app.router.add_get("/api/insights/{id}", self._one)

    async def _all(self, request: web.Request) -> web.Response:
        said = single(request.query.items(), PARAMETERS)
        after = said.pop("after", None)
        wanted = parse_filter(said, self._now())
        if (kind := said.get("kind")) is not None:
            if kind not in FINDINGS:
                raise ParameterError(f"kind={kind[:100]}: must be one of {', '.join(FINDINGS)}")
            wanted = msgspec.structs.replace(wanted, kind=kind)
        if after is not None:
            if await told(self._history.finding(after)) is None:
                raise ParameterError(f"after={after[:100]}: must be the id of a finding")
            wanted = msgspec.structs.replace(wanted, after=after)
        found = await told(self._history.findings(wanted))
        more = len(found) == wanted.limit
        headers = next_page(request, "after", found[-1].id) if more else None
        return listed(request, [self._view(one) for one in found], headers)

    async def _one(self, request: web.Request) -> web.Response:
        single(request.query.items(), ())
        found = await told(self._history.finding(request.match_info["id"]))
        if found is None:
            raise web.HTTPNotFound(text="no such finding: it never was, or its calls were deleted")
        return json_answer(self._view(found))

    def _view(self, found: Finding) -> dict[str, Any]:
        now = self._now()
        text = {language: sentence(found, words, now) for language, words in self._words.items()}
        return {**msgspec.structs.asdict(found), "text": text}
