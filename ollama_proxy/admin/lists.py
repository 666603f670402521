"""The page of calls: those that the address asks for, as a table that works without script, too.

Not here: which calls a filter describes (`query.py`, `filters.py`), what a row says (`rows.py`).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import urlencode

from aiohttp import web

from ollama_proxy.admin.choices import choosing, columns
from ollama_proxy.admin.columns import COLUMNS, MARKS, SORTED_BY, USUAL
from ollama_proxy.admin.findings import short
from ollama_proxy.admin.history import Unreadable
from ollama_proxy.admin.query import (
    FILTERS,
    NEWEST,
    ORDER,
    PAGE,
    ParameterError,
    is_id,
    parse_filter,
    single,
)
from ollama_proxy.admin.rows import call_row
from ollama_proxy.admin.site import Site, script_data
from ollama_proxy.admin.words import Words, visible
from ollama_proxy.bus import unspoken
from ollama_proxy.exchange import State
from ollama_proxy.ids import moment_of
from ollama_proxy.records import SORTS, Filter, Finding
from ollama_proxy.storage.base import Found, onward

SPANS = ("1h", "1d", "7d", "30d")
FIELDS = ("text", "state", "model", "client", "since", "slower_than", "insight", *ORDER)
"""Parameters that have a field of their own, or tell of the order; the others come with links."""
MOST_NAMES = 200
"""Of models and of clients that are offered."""

Options = list[tuple[str, str]]
"""Values and what they are called."""


class ListState(Protocol):
    """What the page shows, in the shapes that the REST answers have."""

    def status(self) -> dict[str, Any]: ...
    def models(self) -> list[dict[str, Any]]: ...
    def clients(self) -> list[dict[str, Any]]: ...
    async def search(self, wanted: Filter) -> Found: ...
    async def finding(self, id: str) -> Finding | None: ...


class Requests:
    """`GET requests` below the pages: HTML, where `GET api/requests` is JSON."""

    def __init__(self, state: ListState, site: Site) -> None:
        self._state, self._site = state, site

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/requests", self._page)

    async def _page(self, request: web.Request) -> web.Response:
        if (answer := choosing(request)) is not None:
            return answer
        now = time.time()
        asked, wrong = _asked(request)
        found, unread = Found([]), False
        wanted = Filter(limit=PAGE)
        if wrong is None:
            try:
                wanted = parse_filter(asked, now)
                found = await self._state.search(wanted)
            except ParameterError as error:
                wrong = str(error)
            except Unreadable:
                unread = True
        unread = unread or found.incomplete
        named = await self._named(asked.get("finding"))
        chosen = columns(request)
        place = "before" if wanted.sort is None else "after"  # where a page begins
        sorted_ = next((one for one, field in SORTED_BY.items() if field == wanted.sort), None)
        shown = [one for one in COLUMNS if one in chosen or one == sorted_]
        status, models, clients = self._state.status(), self._state.models(), self._state.clients()

        def values(w: Words) -> dict[str, Any]:
            return {
                **self._site.frame(w, "requests", "requests.js", status, request.host, now),
                "asked": asked,
                "offered": {
                    "state": [(str(one), w.t(f"state.{one}")) for one in State],
                    "model": _names(models, asked.get("model")),
                    "client": _names(clients, asked.get("client")),
                    "insight": _with(
                        [(one, w.t(f"mark.{one}")) for one in MARKS], asked.get("insight")
                    ),
                    "sort": [
                        ("" if one == NEWEST else one, w.t(f"filter.sort.{one}"))
                        for one in (NEWEST, *SORTS)
                    ],
                    "since": _with(
                        [(one, w.t(f"filter.since.{one}")) for one in SPANS],
                        asked.get("since"),
                        w.since(moment_of(wanted.since), now) if wanted.since else "",
                    ),
                },
                "during": _during(w, wanted, now),
                "chips": [
                    _chip(w, name, asked, wanted, now, named)
                    for name in asked
                    if name not in FIELDS
                ],
                "wrong": None if wrong is None else visible(wrong),
                "calls": [(call, call_row(w, call, now)) for call in found.calls],
                "unread": unread,
                "cut": found.scanned_to is not None,
                "older": _older(asked, wanted, found),
                "export": _query(asked, (*ORDER, place)).removeprefix("?"),
                "first": place not in asked,
                "again": "requests" + _query(asked, (place,)),
                **_order(w, asked, wanted, found, now),
                "columns": shown,
                "all_columns": COLUMNS,
                "usual": chosen == USUAL,
                "sorted": sorted_ or "started",
                "data": script_data(
                    w, "requests", status, now, calls=[unspoken(call) for call in found.calls]
                ),
            }

        return await self._site.answer(request, "requests.html", values)

    async def _named(self, finding: str | None) -> Finding | None:
        """The finding of this id; None where there is none, or the store does not say now."""
        with suppress(Unreadable):
            return await self._state.finding(finding) if finding else None
        return None


def _asked(request: web.Request) -> tuple[dict[str, str], str | None]:
    """The filters that are given, and what is wrong with them; an empty field asks for nothing."""
    given = [(name, value) for name, value in request.query.items() if value and name != "call"]
    try:
        return single(given, FILTERS | ORDER), None
    except ParameterError as error:
        return {name: value for name, value in given if name in FILTERS | ORDER}, str(error)


def _names(rows: list[dict[str, Any]], asked: str | None) -> Options:
    return _with([(row["name"], visible(row["name"])) for row in rows[:MOST_NAMES]], asked)


def _with(offered: Options, asked: str | None, said: str = "") -> Options:
    """What is asked for is among what is offered, or the form would lose it."""
    if asked is None or any(asked == value for value, _ in offered):
        return offered
    return [*offered, (asked, said or visible(asked))]


def _chip(
    w: Words,
    name: str,
    asked: Mapping[str, str],
    wanted: Filter,
    now: float,
    named: Finding | None,
) -> dict[str, str]:
    label = w.t(f"filter.name.{name}") if f"filter.name.{name}" in w.catalogue else name
    value = short(named, w) if named and name == "finding" else ""
    value = value or _meant(w, name, asked[name], wanted, now)
    return {
        "name": name,
        "value": asked[name],
        "text": w.t("filter.chip", name=label, value=value),
        "remove": w.t("filter.remove", name=label),
        "without": "requests" + _query(asked, (name,)),
    }


def _meant(w: Words, name: str, value: str, wanted: Filter, now: float) -> str:
    """A value as a person would say it: ids and seconds as the time that they tell."""
    if name == "reason" and f"reason.{value}" in w.catalogue:
        return w.t(f"reason.{value}")
    first = value.partition(".")[0]  # a finding has the id of its first call
    if name == "ended_after" and wanted.ended_after is not None:
        return w.moment(wanted.ended_after, now)
    id = {"until": wanted.until, "before": wanted.before, "finding": first}.get(name)
    return w.moment(moment_of(id), now) if id and is_id(id) else visible(value)


def _during(w: Words, wanted: Filter, now: float) -> str:
    """What the list is of, where it is of what ran within a span."""
    if wanted.ended_after is None:
        return ""
    if wanted.until is None:
        return w.t("requests.during_now", since=w.since(wanted.ended_after, now))
    since, until = (w.moment(one, now) for one in (wanted.ended_after, moment_of(wanted.until)))
    return w.t("requests.during", since=since, until=until)


def _query(asked: Mapping[str, str], without: Collection[str], **more: str) -> str:
    """What is asked for, as an address has it, but for some, and with some more."""
    kept = {name: value for name, value in asked.items() if name not in without}
    query = urlencode(kept | more)
    return f"?{query}" if query else ""


def _order(
    w: Words, asked: Mapping[str, str], wanted: Filter, found: Found, now: float
) -> dict[str, Any]:
    """How the list is sorted, how else it can be, and since when, if not all of it was."""
    plain = "requests" + _query(asked, (*ORDER, "before"))
    by = {
        column: "requests" + _query(asked, (*ORDER, "before"), sort=field)
        for column, field in SORTED_BY.items()
        if field != wanted.sort
    }
    told = {"sort": wanted.sort, "sorts": by, "sorted_since": "", "rest": ""}
    if wanted.sort is not None:
        by["started"] = plain
        if (last := found.scanned_to) is not None:
            told["sorted_since"] = w.since(moment_of(last), now)
            told["rest"] = "requests" + _query(asked, ("after",), before=last)
    return told


def _older(asked: Mapping[str, str], wanted: Filter, found: Found) -> str | None:
    """The address of what follows this page; None if nothing does."""
    full = len(found.calls) >= wanted.limit
    next_ = onward(wanted, found)
    if next_ is None or not (full or (found.scanned_to and wanted.sort is None)):
        return None
    return "requests" + _query(asked, (), **{next_[0]: next_[1]})
