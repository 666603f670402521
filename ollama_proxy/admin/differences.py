"""`GET differences`: what is different about a model's calls since some moment, and before it.

Not here: how that is told (`insights/differences.py`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping

import msgspec
from aiohttp import web

from ollama_proxy.admin.answers import json_answer, told
from ollama_proxy.admin.findings import full
from ollama_proxy.admin.history import History
from ollama_proxy.admin.query import ParameterError, parse_filter, single
from ollama_proxy.admin.words import Text, Words, visible
from ollama_proxy.exchange import Call, State, model_key
from ollama_proxy.ids import epoch
from ollama_proxy.insights.differences import LEAST, Difference, Differences, differences
from ollama_proxy.records import Filter, Mark
from ollama_proxy.storage.base import MAX_LIMIT, following

PARAMETERS = ("model", "since", "until", "client")


class WhatIsDifferent:
    """Compares the last calls of a span with the last before it, at most `MAX_LIMIT` of either.

    `words`: by language.
    """

    def __init__(
        self, history: History, words: Mapping[str, Words], now: Callable[[], float]
    ) -> None:
        self._history, self._words, self._now = history, words, now

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/api/differences", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        said = single(request.query.items(), PARAMETERS)
        for name, example in (("model", "llama3.2"), ("since", "2h")):
            if not said.get(name):
                raise ParameterError(f"{name}: must be given, as in {name}={example}")
        span = parse_filter(said, self._now(), limit=MAX_LIMIT)
        before = msgspec.structs.replace(span, since=None, until=span.since)
        calls, usual = await self._ended(span), await self._ended(before)
        found = await asyncio.to_thread(differences, calls, usual)
        changes, now = await self._changes(span, usual), self._now()
        return json_answer(
            {
                "model": said["model"],
                **msgspec.to_builtins(found),
                "changes": [msgspec.to_builtins(mark) for mark in changes],
                "text": {
                    language: [*_text(found, w), *(_change(mark, w, now) for mark in changes)]
                    for language, w in self._words.items()
                },
            }
        )

    async def _ended(self, wanted: Filter) -> list[Call]:
        """The last ones, page by page: each may be shorter than was asked for."""
        calls: list[Call] = []
        page: Filter | None = wanted
        while page is not None and len(calls) < MAX_LIMIT:
            found = await told(self._history.search_all(page))
            calls += (
                msgspec.structs.replace(call, prompt=None, response=None, error=None)
                for call in found.calls
                if call.state != State.RUNNING
            )
            page = following(page, found)
        return calls[:MAX_LIMIT]

    async def _changes(self, span: Filter, usual: list[Call]) -> list[Mark]:
        """Of Ollama, and of this model, from the first of all those calls on."""
        since = usual[-1].id if usual else span.since
        wanted = Filter(since=since, until=span.until, limit=MAX_LIMIT)
        key = model_key(span.model or "")
        return [
            mark
            for mark in await told(self._history.marks(wanted))
            if mark.old is not None and (mark.kind == "version" or model_key(mark.subject) == key)
        ]


def _text(found: Differences, w: Words) -> list[str]:
    counts = {"n": w.number(found.calls), "m": w.number(found.usual_calls)}
    if not found.enough:
        return [w.t("difference.few", least=str(LEAST), **counts)]
    return list(_sentences(found, w)) or [w.t("difference.none", **counts)]


def _sentences(found: Differences, w: Words) -> Iterable[str]:
    for one in found.differences:
        yield w.t(
            "difference.from_none" if one.times is None else "difference.from",
            what=w.t(f"difference.{one.what}"),
            now=_value(one, one.now, w),
            usual=_value(one, one.usual, w),
            times=_times(one.times or 0.0, w),
            n=w.number(one.calls),
            m=w.number(one.usual_calls),
        )
    for trait in found.traits:
        yield w.t(
            "difference.trait",
            name=_named(trait.name, w),
            value=visible(json.dumps(trait.value, ensure_ascii=False)),
            now=w.percent(100 * trait.now),
            usual=w.percent(100 * trait.usual),
        )


def _change(mark: Mark, w: Words, now: float) -> str:
    return w.t(
        f"difference.change.{mark.kind}",
        subject=visible(mark.subject),
        old=visible(mark.old or ""),
        new=visible(mark.new),
        at=w.at(epoch(mark.at), now),
    )


def _times(times: float, w: Words) -> str:
    """With two digits that tell, or so."""
    return w.number(times, 1 if times >= 1 else 2 if times >= 0.1 else 4)


def _named(trait: str, w: Words) -> str:
    kind, dot, option = trait.partition(".")
    if dot:
        return w.t("difference.trait.option", name=visible(option))
    return w.t(f"difference.trait.{kind}")


def _value(one: Difference, value: float, w: Words) -> str:
    texts: dict[str, Callable[[], Text]] = {
        "seconds": lambda: w.seconds(value),
        "tokens": lambda: w.number(value),
        "cores": lambda: w.number(value, 1),
    }
    return full(texts[one.unit]())
