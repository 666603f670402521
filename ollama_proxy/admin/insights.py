"""What was found of calls, in words and in numbers: the answers about findings.

Not here: what counts as a finding (`insights/`), where they are kept (`storage/findings.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from ollama_proxy.admin.answers import json_answer, told
from ollama_proxy.admin.history import History
from ollama_proxy.admin.query import parse_filter, single
from ollama_proxy.admin.words import Said, Text, Words, visible
from ollama_proxy.records import Finding

PARAMETERS = ("since", "until", "client", "model", "limit")
_STEP = 1024


class Insights:
    """`GET insights` and `GET insights/{id}`. `words`: by language."""

    def __init__(
        self, history: History, words: Mapping[str, Words], now: Callable[[], float]
    ) -> None:
        self._history = history
        self._words = words
        self._now = now

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/api/insights", self._all)
        app.router.add_get("/api/insights/{id}", self._one)

    async def _all(self, request: web.Request) -> web.Response:
        wanted = parse_filter(single(request.query.items(), PARAMETERS), self._now())
        found = await told(self._history.findings(wanted))
        return json_answer([self._view(one) for one in found])

    async def _one(self, request: web.Request) -> web.Response:
        single(request.query.items(), ())
        found = await told(self._history.finding(request.match_info["id"]))
        if found is None:
            raise web.HTTPNotFound(text="no such finding: it never was, or its calls were deleted")
        return json_answer(self._view(found))

    def _view(self, found: Finding) -> dict[str, Any]:
        text = {language: sentence(found, words) for language, words in self._words.items()}
        return {**msgspec.structs.asdict(found), "text": text}


def sentence(found: Finding, words: Words) -> str:
    """What, who, how often, what it cost, and what to change."""
    needed = found.needed
    remedy = words.t("finding.remedy.context.unknown")
    if needed is not None:
        enough = str(-(-needed // _STEP) * _STEP)
        remedy = words.t("finding.remedy.context", needed=enough)
    tokens = words.number(found.tokens or 0)
    lost = words.t("finding.prompt_cut.lost", tokens=tokens) if found.tokens else ""
    key = f"finding.{found.kind}"
    if found.other is not None and found.other == found.client and f"{key}.own" in words.catalogue:
        key += ".own"
    said = words.t(
        key,
        n=words.number(found.count),
        of=words.number(found.of),
        client=visible(found.client or words.t("finding.client.unknown")),
        other=visible(found.other or words.t("finding.client.unknown")),
        detail=visible(found.detail or ""),
        seconds=full(words.seconds(found.seconds)),
        model=visible(found.model or ""),
        tokens=tokens,
        lost=lost,
        remedy=remedy,
    )
    return f"{said} {words.t('finding.estimated')}" if found.estimated and found.tokens else said


def full(text: Text) -> str:
    """A text as it is read out."""
    return text.full if isinstance(text, Said) else text
