"""The answers about alerts: rules and notifiers as they are, what flipped; silence, and a test.

Nothing of a notifier's settings is told but its name and kind. Not here: the rules (`alerts/`),
the sentences (`alert_words.py`), the page (`alert_page.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from aiohttp import web

from ollama_proxy.admin.alert_words import sentence
from ollama_proxy.admin.answers import json_answer, listed, next_page, told
from ollama_proxy.admin.query import ParameterError, parse_filter, single, whole_number
from ollama_proxy.admin.words import Words
from ollama_proxy.alerts.config import Rule
from ollama_proxy.alerts.flips import State
from ollama_proxy.alerts.watching import Watching
from ollama_proxy.ids import iso
from ollama_proxy.logs import where
from ollama_proxy.records import Filter, Flip

log = logging.getLogger(__name__)

HISTORY = ("since", "limit", "until", "before")
SILENCE, TEST = ("seconds",), ("name",)
HOUR, LONGEST_SILENCE = 3600, 30 * 86400


class FlipHistory(Protocol):
    """Where flips are read; `admin.history.History` is such a place."""

    async def flips(self, wanted: Filter) -> list[Flip]: ...


class Alerts:
    """`GET alerts`, `GET alerts/history`, `POST alerts/{name}/silence`, `POST alerts/test`."""

    def __init__(
        self,
        watching: Watching,
        history: FlipHistory,
        words: Mapping[str, Words],
        now: Callable[[], float],
    ) -> None:
        self._watching, self._history, self._words, self._now = watching, history, words, now

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/api/alerts", self._all)
        app.router.add_get("/api/alerts/history", self._past)
        app.router.add_post("/api/alerts/test", self._test)
        app.router.add_post("/api/alerts/{name}/silence", self._silence)

    def view(self) -> dict[str, Any]:
        """All rules, those that are on first, and all notifiers."""
        rules = sorted(self._watching.rules.values(), key=lambda rule: not rule.on)
        notifiers = [
            {
                "name": one.name,
                "kind": one.kind,
                "waiting": one.waiting,
                **msgspec.structs.asdict(one.how),
            }
            for one in self._watching.deliveries.values()
        ]
        return {"rules": [self.rule(rule) for rule in rules], "notifiers": notifiers}

    def rule(self, rule: Rule) -> dict[str, Any]:
        states = self._watching.flips.states.get(rule.name, {})
        names = {state.name for state in states.values()} if rule.on else {"off"}
        firing = [state.flip.at for state in states.values() if state.flip is not None]
        until = self._watching.silenced_until(rule.name)
        checked = self._watching.checked.get(rule.name)
        return {
            "name": rule.name,
            "kind": rule.when,
            "on": rule.on,
            "state": next((one for one in ("off", "firing", "pending") if one in names), "ok"),
            "since": min(firing, default=None),
            "checked_at": None if checked is None else iso(checked),
            "silenced_until": None if until is None else iso(until),
            "above": rule.above,
            "clear": rule.clear,
            "within": rule.within,
            "calls": rule.calls,
            "for": rule.for_,
            "every": rule.every or self._watching.every,
            "cooldown": rule.cooldown,
            "each": rule.each,
            "model": rule.model,
            "client": rule.client,
            "notify": self._watching.notified(rule),
            "subjects": [
                self._subject(rule, subject, state)
                for subject, state in states.items()
                if state.name != "ok"
            ],
        }

    def _subject(self, rule: Rule, subject: str, state: State) -> dict[str, Any]:
        """As it is measured now, which may be worse than when it flipped."""
        now = Flip(
            id="",
            at="",
            rule=rule.name,
            kind=rule.when,
            subject=subject,
            old="ok",
            new="firing",
            value=state.reading.value,
            limit=rule.above,
            within=rule.within,
            detail=state.reading.detail,
        )
        return {
            "subject": subject,
            "state": state.name,
            "since": None if state.flip is None else state.flip.at,
            "value": state.reading.value,
            **self._telling(rule, state),
            "text": self._text(now),
        }

    def _telling(self, rule: Rule, state: State) -> dict[str, Any]:
        """Told: by one notifier, or by one before a restart."""
        if state.flip is None or not state.told:
            return {"told": False, "given_up": []}
        deliveries = self._watching.deliveries
        ends = {name: deliveries[name].outcome(state.flip.id) for name in deliveries}
        ends = {name: ends[name] for name in self._watching.notified(rule) if ends[name]}
        given_up = [name for name, end in ends.items() if end == "given up"]
        return {"told": not ends or "sent" in ends.values(), "given_up": given_up}

    def flip(self, flip: Flip) -> dict[str, Any]:
        return {**msgspec.structs.asdict(flip), "text": self._text(flip)}

    def _text(self, flip: Flip) -> dict[str, str]:
        return {language: sentence(flip, words) for language, words in self._words.items()}

    async def past(self, wanted: Filter) -> list[Flip]:
        """Flips, the newest first. Raises Unreadable."""
        return await self._history.flips(wanted)

    async def _all(self, request: web.Request) -> web.Response:
        single(request.query.items(), ())
        return json_answer(self.view())

    async def _past(self, request: web.Request) -> web.Response:
        wanted = parse_filter(single(request.query.items(), HISTORY), self._now())
        found = await told(self.past(wanted))
        more = len(found) == wanted.limit
        headers = next_page(request, "before", found[-1].id) if more else None
        return listed(request, [self.flip(one) for one in found], headers)

    async def _silence(self, request: web.Request) -> web.Response:
        said = single(request.query.items(), SILENCE)
        seconds = whole_number("seconds", said.get("seconds", str(HOUR))) or 0
        if seconds > LONGEST_SILENCE:
            raise ParameterError(f"seconds={seconds}: must be at most {LONGEST_SILENCE}, 30 days")
        rule = self._watching.rules.get(request.match_info["name"])
        if rule is None:
            raise web.HTTPNotFound(text="no such rule: GET alerts names those there are")
        self._watching.silence(rule.name, seconds)
        try:
            await self._watching.keep_silence(rule.name)
        except Exception as error:  # noqa: BLE001 - guard: it holds until the next start
            log.warning("a silence could not be stored: %s", where(error))
        return json_answer(self.rule(rule))

    async def _test(self, request: web.Request) -> web.Response:
        name = single(request.query.items(), TEST).get("name")
        rule = None if name is None else self._watching.rules.get(name)
        if name is None:
            to = list(self._watching.deliveries)
        elif rule is not None:
            to = self._watching.notified(rule)
        elif name in self._watching.deliveries:
            to = [name]
        else:
            raise web.HTTPNotFound(
                text="no such rule or notifier: GET alerts names those there are"
            )
        errors = await self._watching.test(to, rule)
        return json_answer(
            [
                {"notifier": name, "sent": error is None, "error": error}
                for name, error in errors.items()
            ]
        )
