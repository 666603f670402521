"""The pages that are made once each time somebody asks: charts, models, clients, settings.

Their status line lives, their tables stand as they were. Not here: the overview (`pages.py`), the
page of calls (`lists.py`), what a row says (`rows.py`).
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from ollama_proxy.admin import passing_by
from ollama_proxy.admin.choices import choosing
from ollama_proxy.admin.ordered import median, moment, number, of, ordered, text, total
from ollama_proxy.admin.rows import client_row, model_kind, model_more, model_row
from ollama_proxy.admin.site import Site, script_data
from ollama_proxy.admin.state import down_since
from ollama_proxy.admin.unseen import unseen
from ollama_proxy.admin.words import Words, visible
from ollama_proxy.config import Effective
from ollama_proxy.exchange import Call
from ollama_proxy.ids import first_id
from ollama_proxy.logs import where
from ollama_proxy.records import Filter, Finding

log = logging.getLogger(__name__)

SPANS = ("15m", "1h", "6h", "1d", "7d", "30d")
MOST = 500
"""Rows of a table."""
DAY = 86400.0
RECENT = 200
"""Calls that are looked at for how their clients were found."""

CLIENTS = {
    "client": text("name"),
    "calls": number("requests"),
    "success": number("success_rate"),
    "tokens": total("input_tokens", "output_tokens"),
    "first": median("time_to_first_token"),
    "total": median("duration"),
    "waited": number("waited"),
    "made_wait": number("made_wait"),
    "last": moment("last_used"),
}
MODELS = {
    "model": text("name"),
    "memory": number("size_loaded"),
    "context": number("context_length"),
    "disk": number("size"),
    "calls": lambda row: (row["stats"] or {}).get("requests", 0) + row["active"],
    **{
        column: of("stats", value)
        for column, value in {
            "success": number("success_rate"),
            "first": median("time_to_first_token"),
            "decode": median("tokens_per_second"),
            "total": median("duration"),
            "tokens": total("input_tokens", "output_tokens"),
            "loads": number("cold_starts"),
            "last": moment("last_used"),
        }.items()
    },
}
"""By which columns each table is sorted, and by which of their values."""


class ViewState(Protocol):
    """What the pages show, in the shapes that the REST answers have."""

    def status(self) -> dict[str, Any]: ...
    def models(self) -> list[dict[str, Any]]: ...
    def clients(self) -> list[dict[str, Any]]: ...
    def around(self) -> dict[str, Any]: ...
    async def recent(self, limit: int) -> list[Call]: ...
    async def findings(self, wanted: Filter) -> list[Finding]: ...


class Views:
    """`settings` tells those in force, in their order; `processes`: whether it is looked which
    process each call comes from."""

    def __init__(
        self,
        state: ViewState,
        site: Site,
        settings: Callable[[], Sequence[Effective]] = tuple,
        processes: bool = True,
    ) -> None:
        self._state, self._site, self._settings = state, site, settings
        self._processes = processes

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/charts", self._charts)
        app.router.add_get("/models", self._models)
        app.router.add_get("/clients", self._clients)
        app.router.add_get("/settings", self._effective)

    async def _charts(self, request: web.Request) -> web.Response:
        names = [model["name"] for model in self._state.models()[:MOST]]
        asked = {name: request.query.get(name, "") for name in ("since", "until", "model")}
        if asked["model"] and asked["model"] not in names:
            names.append(asked["model"])

        def values(w: Words) -> dict[str, Any]:
            return {
                "spans": SPANS,
                "asked": asked,
                "offered": [(name, visible(name)) for name in names],
            }

        return await self._answer(request, "charts", values)

    async def _models(self, request: web.Request) -> web.Response:
        models, status, now = self._state.models(), self._state.status(), time.time()
        models.sort(key=lambda model: model["name"])
        table = ordered(models, MODELS, request.query.get("sort", ""), "calls")
        up = bool(status["upstream_up"])

        def values(w: Words) -> dict[str, Any]:
            rows = [
                (model, model_kind(model), model_row(w, model, now, up) | model_more(w, model, now))
                for model in table.rows[:MOST]
            ]
            seen = w.t("models.never_seen")
            if status["models_available"] is not None:
                seen = w.t("models.last_seen", since=w.since(down_since(status), now))
            return {
                "models": rows,
                "order": table,
                "seen": "" if up else seen,
                "more": max(0, len(models) - MOST),
            }

        return await self._answer(request, "models", values)

    async def _clients(self, request: web.Request) -> web.Response:
        clients, now = self._state.clients(), time.time()
        waited, unread = await self._waits(now)
        waits, made = _by_client(waited)
        for one in clients:
            one |= {"waited": waits[one["name"]], "made_wait": made[one["name"]]}
        table = ordered(clients, CLIENTS, request.query.get("sort", ""), "last")
        names = await self._unseen([one["name"] for one in clients])
        around = self._state.around()

        def values(w: Words) -> dict[str, Any]:
            return {
                "clients": [
                    (one["name"], _known_by(w, names, one["name"]), client_row(w, one, now))
                    for one in table.rows[:MOST]
                ],
                "order": table,
                "lost": sum(one is None for one in names.values()),
                "unread": unread,
                "around": passing_by.rows(w, around, now),
                "more": max(0, len(clients) - MOST),
            }

        return await self._answer(request, "clients", values)

    async def _unseen(self, names: list[str]) -> dict[str, str | None]:
        """Nothing, where no process is looked for."""
        return unseen(names, await self._state.recent(RECENT)) if self._processes else {}

    async def _waits(self, now: float) -> tuple[list[Finding], bool]:
        """Who waited for whom in the last day; and whether that cannot be read."""
        wanted = Filter(since=first_id(now - DAY), kind="waited", limit=1000)
        try:
            return await self._state.findings(wanted), False
        except Exception as error:  # noqa: BLE001 - guard: admin handler
            log.warning("waits could not be read: %s", where(error))
            return [], True

    async def _effective(self, request: web.Request) -> web.Response:
        def values(w: Words) -> dict[str, Any]:
            rows = [(one, _value(w, one), _source(w, one.source)) for one in self._settings()]
            return {"settings": rows}

        return await self._answer(request, "settings", values)

    async def _answer(
        self, request: web.Request, view: str, more: Callable[[Words], Mapping[str, Any]]
    ) -> web.Response:
        if (answer := choosing(request)) is not None:
            return answer
        status, now = self._state.status(), time.time()
        script = "charts.js" if view == "charts" else "still.js"

        def values(w: Words) -> dict[str, Any]:
            return {
                **self._site.frame(w, view, script, status, request.host, now),
                "data": script_data(w, view, status, now),
                **more(w),
            }

        return await self._site.answer(request, f"{view}.html", values)


def _by_client(waited: list[Finding]) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """The seconds that each client waited, and made others wait."""
    waits, made = defaultdict[str, float](float), defaultdict[str, float](float)
    for one in waited:
        waits[one.client or ""] += one.seconds or 0.0
        if one.other != one.client:
            made[one.other or ""] += one.seconds or 0.0
    return waits, made


def _known_by(w: Words, unseen: Mapping[str, str | None], name: str) -> str:
    """Why a client stands by no program's name; nothing of any other."""
    if name not in unseen:
        return ""
    user = unseen[name]
    return w.t("clients.missed") if user is None else w.t("clients.hidden", user=visible(user))


def _value(w: Words, one: Effective) -> str:
    """As a person would write it, with its unit. A number keeps its point: it is written so in the
    config file, whatever the language."""
    if one.unit:
        number = one.value.removesuffix(".0")
        form = "one" if number == "1" else "other"
        return w.t(f"settings.unit.{one.unit}.{form}", n=number)
    if one.value in ("", "[]", "{}"):
        return w.t("settings.none")
    if one.value in ("true", "false"):
        return w.t("settings.yes" if one.value == "true" else "settings.no")
    return visible(one.value)


def _source(w: Words, source: str) -> str:
    """Where a setting came from: `default`, or `file PATH`, `environment NAME`, `flag NAME`."""
    kind, _, name = source.partition(" ")
    return w.t(f"setting.{kind}", name=visible(name))
