"""The page "Alerts": rules with their states, what flipped, notifiers; buttons to test and silence.

It is made once each time somebody asks. Not here: what alerts are (`alerts.py`, `alerts/`).
"""

from __future__ import annotations

import logging
import time
from typing import Any, Protocol

from aiohttp import web

from ollama_proxy.admin.alert_words import measured, sentence
from ollama_proxy.admin.choices import choosing
from ollama_proxy.admin.findings import full
from ollama_proxy.admin.history import Unreadable
from ollama_proxy.admin.site import Site, script_data
from ollama_proxy.admin.words import Words, name, visible
from ollama_proxy.alerts.kinds import KINDS
from ollama_proxy.ids import epoch
from ollama_proxy.records import Filter, Flip

log = logging.getLogger(__name__)

SHOWN = 100
"""Flips in the history."""
ICONS = {"firing": "failing", "pending": "timeout", "ok": "completed", "off": "idle"}
"""The states' signs, in the order in which rules are listed."""


class AlertState(Protocol):
    """What the page shows; `admin.alerts.Alerts` knows it."""

    def view(self) -> dict[str, Any]: ...
    async def past(self, wanted: Filter) -> list[Flip]: ...


class StatusState(Protocol):
    """What every page shows."""

    def status(self) -> dict[str, Any]: ...


class AlertPage:
    """`GET /alerts`."""

    def __init__(self, alerts: AlertState, state: StatusState, site: Site) -> None:
        self._alerts, self._state, self._site = alerts, state, site

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/alerts", self._page)

    async def _page(self, request: web.Request) -> web.Response:
        if (answer := choosing(request)) is not None:
            return answer
        status, now, view = self._state.status(), time.time(), self._alerts.view()
        try:
            past: list[Flip] | None = await self._alerts.past(Filter(limit=SHOWN))
        except Unreadable:
            past = None

        def values(w: Words) -> dict[str, Any]:
            rules = sorted(view["rules"], key=lambda rule: [*ICONS].index(rule["state"]))
            rows = [_rule(w, rule, now) for rule in rules]
            return {
                **self._site.frame(w, "alerts", "alerts.js", status, request.host, now),
                "data": script_data(w, "alerts", status, now),
                "on": [row for row in rows if row["state"] != "off"],
                "off": [row for row in rows if row["state"] == "off"],
                "notifiers": [_notifier(w, one, now) for one in view["notifiers"]],
                "past": None if past is None else [_flip(w, flip, now) for flip in past],
            }

        return await self._site.answer(request, "alerts.html", values)


def _rule(w: Words, rule: dict[str, Any], now: float) -> dict[str, Any]:
    unit, _ = KINDS[rule["kind"]]
    about = [full(name(rule[key], 40)) for key in ("model", "client") if rule[key]]
    limit = "" if unit == "yes" else measured(rule["above"], unit, w)
    if not limit and rule["within"]:
        limit = w.t("alerts.so")
    until = rule["silenced_until"]
    return {
        "name": rule["name"],
        "kind": w.t(f"alert.kind.{rule['kind']}"),
        "about": ", ".join(about),
        "state": rule["state"],
        "icon": ICONS[rule["state"]],
        "word": w.t(f"alert.state.{rule['state']}"),
        "since": w.since(epoch(rule["since"]), now) if rule["since"] else "",
        "limit": limit,
        "within": full(w.seconds(rule["within"])) if rule["within"] else "",
        "notify": ", ".join(rule["notify"]),
        "silenced": "" if until is None else w.t("alerts.silenced", at=w.moment(epoch(until), now)),
        "reasons": [one["text"][w.language] for one in rule["subjects"]],
    }


def _notifier(w: Words, one: dict[str, Any], now: float) -> dict[str, Any]:
    last, failed = one["last_sent_at"], one["last_error_at"]
    return {
        "name": one["name"],
        "kind": one["kind"],
        "sent": w.number(one["sent"]),
        "last": w.ago(epoch(last), now) if last else "",
        "failed": w.number(one["failed"] + one["dropped"]),
        "waiting": w.number(one["waiting"]),
        "error": visible(one["last_error"] or ""),
        "error_at": w.ago(epoch(failed), now) if failed else "",
    }


def _flip(w: Words, flip: Flip, now: float) -> dict[str, str]:
    return {
        "at": w.moment(epoch(flip.at), now),
        "rule": flip.rule,
        "state": flip.new,
        "icon": ICONS.get(flip.new, "idle"),
        "word": w.t(f"alert.state.{flip.new}"),
        "before": w.t(f"alert.state.{flip.old}"),
        "text": sentence(flip, w),
    }
