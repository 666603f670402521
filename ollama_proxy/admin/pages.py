"""The overview: HTML with the first numbers in it.

What a row says is decided twice: in `rows.py` for the first paint and for readers without script,
and in the page's own modules while it lives; a browser test holds the two together. Not here: what
all pages share (`site.py`), JSON and events (`api.py`), who may see them (`security.py`).
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from ollama_proxy.admin.choices import choosing
from ollama_proxy.admin.columns import USUAL
from ollama_proxy.admin.findings import finding_row, opened, pairs, wait_row
from ollama_proxy.admin.folded import folded
from ollama_proxy.admin.passing_by import line
from ollama_proxy.admin.rows import (
    call_row,
    counted_since,
    facts,
    model_kind,
    model_row,
    numbers,
    running_row,
    spent,
    summary_row,
)
from ollama_proxy.admin.site import (
    Site,
    last_call_ago,
    script_data,
)
from ollama_proxy.admin.words import Text, Words, name
from ollama_proxy.bus import unspoken
from ollama_proxy.exchange import Call, model_key
from ollama_proxy.ids import epoch, first_id
from ollama_proxy.logs import where
from ollama_proxy.records import Filter, Finding

log = logging.getLogger(__name__)

SPANS, USUAL_SPAN = {"1h": 3600.0, "1d": 86400.0, "7d": 7 * 86400.0}, "1d"
"""Of which findings can be asked for, as `GET insights` takes it, in seconds."""
FINDINGS = 50
"""How many are asked for."""
WAITED, WAITS = 200, 10
"""Findings that tell who waited for whom; of their pairs those that are told, the longest."""
ROWS = 50  # recent calls in the first page; the live page keeps 200
LANES = 12


class PageState(Protocol):
    """What the page shows, in the shapes that the REST answers have."""

    def status(self) -> dict[str, Any]: ...
    def stats(self) -> dict[str, Any]: ...
    def models(self) -> list[dict[str, Any]]: ...
    def active(self) -> list[Call]: ...
    def around(self) -> dict[str, Any]: ...
    def phases(self) -> dict[str, dict[str, Any]]: ...
    async def recent(self, limit: int) -> list[Call]: ...
    async def findings(self, wanted: Filter) -> list[Finding]: ...


@dataclass(frozen=True)
class Seen:
    """What one page shows, as it was `now`."""

    now: float
    status: dict[str, Any]
    stats: dict[str, Any]
    models: list[dict[str, Any]]
    active: list[Call]
    around: dict[str, Any]
    phases: dict[str, dict[str, Any]]
    recent: list[Call]  # finished, the last first
    span: str  # one of `SPANS`: that of the findings and of the waits
    findings: list[Finding] | None  # the worst first; None: cannot be read
    waits: list[Finding]  # those among them that tell who waited for whom
    unread: bool  # the store could not be read


Rows = dict[str, dict[str, Text]]  # each model's row by its name


class Pages:
    """The overview, under whatever prefix the application is mounted."""

    def __init__(self, state: PageState, site: Site | None = None) -> None:
        self.state = state
        self.site = Site() if site is None else site
        self.words = self.site.words

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/", self.page)

    async def page(self, request: web.Request) -> web.Response:
        if (answer := choosing(request)) is not None:
            return answer
        span = request.query.get("since", USUAL_SPAN)
        seen = await self._read(span if span in SPANS else USUAL_SPAN)
        return await self.site.answer(
            request, "overview.html", lambda w: self._values(w, request.host, seen)
        )

    async def _read(self, span: str) -> Seen:
        state, unread = self.state, False
        status, stats, models, active = (
            state.status(),
            state.stats(),
            state.models(),
            state.active(),
        )
        try:
            ended = [call for call in await state.recent(ROWS) if call.state != "running"]
        except Exception as error:  # noqa: BLE001 - guard: admin handler
            # Without the error's own text, which may quote a prompt.
            log.warning("recent calls could not be read: %s", where(error))
            ended, unread = [], True
        findings, waits = await self._findings(first_id(time.time() - SPANS[span]))
        ended.sort(key=lambda call: epoch(call.started_at) + (call.duration or 0), reverse=True)
        return Seen(
            time.time(),
            status,
            stats,
            models,
            active,
            state.around(),
            state.phases(),
            ended,
            span,
            findings,
            waits,
            unread,
        )

    async def _findings(self, since: str) -> tuple[list[Finding] | None, list[Finding]]:
        try:
            found = await self.state.findings(Filter(since=since, limit=FINDINGS))
            if len(found) < FINDINGS:
                return found, found
            # Waits may be among those that did not come.
            waited = Filter(since=since, limit=WAITED, kind="waited")
            return found, await self.state.findings(waited)
        except Exception as error:  # noqa: BLE001 - guard: admin handler
            log.warning("findings could not be read: %s", where(error))
            return None, []

    def _values(self, w: Words, host: str, seen: Seen) -> dict[str, Any]:
        status, now = seen.status, seen.now
        up = bool(status["upstream_up"])
        rows = {model["name"]: model_row(w, model, now, up) for model in seen.models}
        return {
            **self.site.frame(w, "", "app.js", status, host, now, seen.recent),
            "first": not (status["total_requests"] or seen.active or seen.recent or seen.unread),
            "numbers": numbers(w, status, seen.models, now),
            "since": counted_since(w, status, now),
            "summary": summary_row(w, seen.stats["all"]),
            "folded": folded(w, seen.models, seen.stats["all"]),
            "totals": seen.stats["all"],
            "spent": spent(seen.stats["all"]),
            "ago": last_call_ago(w, status, now),
            "data": _data(w, seen),
            **_now(w, seen, rows),
            **_models(seen, rows),
            "recent": [(call, call_row(w, call, now)) for call in seen.recent],
            "columns": USUAL,
            **_findings(w, seen),
            "around": line(w, seen.around, now),
            "unread": seen.unread,
        }


def _now(w: Words, seen: Seen, rows: Rows) -> dict[str, Any]:
    """What runs, by model."""
    known = {model_key(model): row for model, row in rows.items()}
    groups: dict[str, list[Call]] = {}
    for call in seen.active[:LANES]:
        groups.setdefault(model_key(call.model) if call.model else "", []).append(call)
    return {
        "groups": [
            {
                "model": model,
                "label": name(calls[0].model or w.t("now.no_model")),
                "facts": facts(w, known.get(model)),
                "rows": [
                    (call.id, running_row(w, call, seen.phases.get(call.id, {}))) for call in calls
                ],
            }
            for model, calls in groups.items()
        ],
        "more": len(seen.active) - LANES,
    }


def _findings(w: Words, seen: Seen) -> dict[str, Any]:
    found = seen.findings or []
    first, rest = ([finding_row(w, one, seen.now) for one in part] for part in opened(found))
    waits = [one for one in seen.waits if one.kind == "waited"]
    return {
        "span": seen.span,
        "spans": SPANS,
        "findings": first,
        "more_findings": rest,
        "findings_unread": seen.findings is None,
        "many_findings": len(found) == FINDINGS,
        "waits": [wait_row(w, one) for one in pairs(waits)[:WAITS]],
    }


def _models(seen: Seen, rows: Rows) -> dict[str, Any]:
    return {
        "models": [(m, model_kind(m), rows[m["name"]]) for m in seen.models if _shown(m)],
        "on_disk": [name(m["name"]) for m in seen.models if not _shown(m)],
    }


def _data(w: Words, seen: Seen) -> dict[str, Any]:
    return script_data(
        w,
        "",
        seen.status,
        seen.now,
        stats=seen.stats,
        models=seen.models,
        active=[unspoken(call) | seen.phases.get(call.id, {}) for call in seen.active],
        recent=[unspoken(call) for call in seen.recent],
    )


def _shown(model: dict[str, Any]) -> bool:
    """Whether a model gets a row; those on disk that were never used are only named."""
    return bool(model["loaded"] or model["stats"] or model["active"])
