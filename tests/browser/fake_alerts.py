"""Alerts for the made-up admin: real rules and answers over flips that a test makes up."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from aiohttp import web

from ollama_proxy.admin.alert_page import AlertPage, StatusState
from ollama_proxy.admin.alert_words import told
from ollama_proxy.admin.alerts import Alerts
from ollama_proxy.admin.answers import json_errors
from ollama_proxy.admin.history import Unreadable
from ollama_proxy.admin.site import Site
from ollama_proxy.alerts.config import Command, Log, rules, with_shipped
from ollama_proxy.alerts.delivering import Delivery
from ollama_proxy.alerts.facts import Facts, Window
from ollama_proxy.alerts.notifiers import notifier
from ollama_proxy.alerts.rules import Reading
from ollama_proxy.alerts.watching import Standing, Watching
from ollama_proxy.ids import iso, new_id
from ollama_proxy.records import Filter, Flip

RULES: Mapping[str, Any] = {
    "ollama_down": {},
    "model_on_cpu": {"above": 10},
    "slow_backtest": {"when": "mean_duration", "client": "backtest.py", "notify": ["broken"]},
}


def flip(rule: str, kind: str, new: str = "firing", *, ago: float = 60.0, **values: Any) -> Flip:
    at = time.time() - ago
    told: dict[str, Any] = {"subject": "", "value": 1.0} | values
    old = "ok" if new == "firing" else "firing"
    return Flip(id=new_id(at), at=iso(at), rule=rule, kind=kind, old=old, new=new, **told)


class FakeAlerts:
    """`past` is None where the history cannot be read; `kept` are rules whose silence was kept."""

    def __init__(self) -> None:
        self.past: list[Flip] | None = []
        self.kept: list[str] = []
        broken = Command(run=["/nowhere/alarm"])
        self.site = Site()
        self.watching = Watching(
            rules=with_shipped(rules(RULES)),
            every=10.0,
            deliveries=[
                Delivery("log", "log", notifier(Log())),
                Delivery("broken", "command", notifier(broken)),
            ],
            gather=self._facts,
            kept=self,
            say=partial(told, words=self.site.words["en"]),
            standing=Standing(),
        )

    def fire(self, rule: str, subject: str = "", value: float = 1.0, detail: str = "") -> None:
        """As if a rule had been looked at, and it was so."""
        told = self.watching.rules[rule]
        reading = {subject: Reading(value, detail or None)}
        for moment in (0.0, told.for_):
            self.watching.flips.step(told, reading, moment, time.time())

    def add_routes(self, app: web.Application, state: StatusState) -> None:
        alerts = Alerts(self.watching, self, self.site.words, time.time)
        app.middlewares.append(json_errors)
        alerts.add_routes(app)
        AlertPage(alerts, state, self.site).add_routes(app)

    async def flips(self, wanted: Filter) -> list[Flip]:
        if self.past is None:
            raise Unreadable
        return self.past[: wanted.limit]

    def flip(self, flips: Sequence[Flip]) -> None: ...

    def silence(self, rule: str, until: float) -> None:
        self.kept.append(rule)

    async def _facts(self, kinds: Collection[str]) -> Facts:
        return Facts(moment=0.0, window=Window(1.0))
