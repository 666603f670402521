"""Recorded calls, one or many; how to make one again, how to end one; what changed beside them.

Not here: where they are found (`history.py`), a download of any size (`export.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from ollama_proxy.admin.answers import Made, given, json_answer, listed, made, next_page, told
from ollama_proxy.admin.history import History, Unreadable
from ollama_proxy.admin.query import FILTERS, ORDER, ParameterError, parse_filter, single
from ollama_proxy.admin.sharing import Shared, age_of
from ollama_proxy.derived import view
from ollama_proxy.exchange import Call, State
from ollama_proxy.headers import INCOMPLETE, SCANNED_TO
from ollama_proxy.insights.estimate import Estimate
from ollama_proxy.records import Occurrence
from ollama_proxy.replay import FORMS, ReplayError, forms_of
from ollama_proxy.storage.base import onward

WHICH_FORMS = "forms"
MARKS = ("since", "limit", "until", "before")
"""The parameters of what changed beside calls."""


class Calls:
    """The answers about calls. `own_url`: where programs of this machine reach the proxy; `cancel`
    ends a running call, or says that there is none; `expect` is what a running call still takes,
    before its first token."""

    def __init__(
        self,
        history: History,
        own_url: str,
        now: Callable[[], float],
        cancel: Callable[[str], bool],
        expect: Callable[[Call], Estimate | None] = lambda call: None,
    ) -> None:
        self._history = history
        self._own_url = own_url
        self._now = now
        self._cancel_running = cancel
        self._expect = expect
        self._lists: Shared[Made] = Shared()

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/api/requests", self._requests)
        app.router.add_get("/api/requests/{id}", self._request)
        app.router.add_get("/api/requests/{id}/replay", self._replay)
        app.router.add_post("/api/requests/{id}/cancel", self._cancel)
        app.router.add_get("/api/marks", self._marks)

    async def _requests(self, request: web.Request) -> web.Response:
        asked = single(request.query.items(), FILTERS | ORDER)
        question = frozenset(asked.items())
        found = self._lists.get(question, age_of(request), lambda: self._list(request, asked))
        return given(request, await found)

    async def _list(self, request: web.Request, asked: dict[str, str]) -> Made:
        wanted = parse_filter(asked, self._now())
        found = await told(self._history.search(wanted))
        next_ = onward(wanted, found)
        headers = next_page(request, *next_) if next_ is not None else {}
        if found.scanned_to is not None:
            headers[SCANNED_TO] = found.scanned_to
        if found.incomplete:
            headers[INCOMPLETE] = "the store cannot be read now"
        return made([view(call) for call in found.calls], headers)

    async def _request(self, request: web.Request) -> web.Response:
        single(request.query.items(), ())
        call = await self._known(request.match_info["id"])
        more = {"expected": self._expected(call), "waited_for": await self._waited_for(call)}
        return json_answer(view(call) | more)

    async def _waited_for(self, call: Call) -> list[dict[str, Any]]:
        """Nothing while it runs, or where the store does not say now: the call itself is told."""
        if call.state == State.RUNNING:
            return []
        with suppress(Unreadable):
            return [
                {"client": one.other, "kind": _waited_as(one), "seconds": one.seconds}
                for one in await self._history.waits(call.id)
            ]
        return []

    def _expected(self, call: Call) -> dict[str, Any] | None:
        if call.state != State.RUNNING or call.time_to_first_byte is not None:
            return None
        found = self._expect(call)
        return None if found is None else msgspec.to_builtins(found) | {"estimated": True}

    async def _known(self, id: str) -> Call:
        call = await told(self._history.call(id))
        if call is None:
            raise web.HTTPNotFound(text="no such call: it never was, or was deleted since")
        return call

    async def _replay(self, request: web.Request) -> web.Response:
        form = single(request.query.items(), ("as",)).get("as", "curl")
        if form not in (*FORMS, WHICH_FORMS):
            known = ", ".join((*FORMS, WHICH_FORMS))
            raise ParameterError(f"as={form[:100]}: must be one of {known}")
        capture = await told(self._history.capture(request.match_info["id"]))
        if form == WHICH_FORMS:
            return json_answer(forms_of(capture, self._own_url) if capture else [])
        if capture is None:
            await self._known(request.match_info["id"])
            raise web.HTTPNotFound(
                text="what this call sent was not kept: only the privacy mode full keeps it, of a "
                "call that runs a model, with at most 256 KiB, no image and nothing to be redacted"
            )
        content_type, make = FORMS[form]
        try:
            text = make(capture, self._own_url)
        except ReplayError as error:
            raise web.HTTPConflict(text=str(error)) from None
        headers = {"Cache-Control": "no-store"}
        return web.Response(text=text, content_type=content_type, headers=headers)

    async def _cancel(self, request: web.Request) -> web.Response:
        single(request.query.items(), ())
        id = request.match_info["id"]
        cancelled = self._cancel_running(id)
        call = await self._known(id)
        if not cancelled:
            raise web.HTTPConflict(text=f"this call has ended ({call.state}): nothing is to cancel")
        return json_answer(view(call) | {"expected": None, "waited_for": []})

    async def _marks(self, request: web.Request) -> web.Response:
        wanted = parse_filter(single(request.query.items(), MARKS), self._now())
        found = await told(self._history.marks(wanted))
        more = len(found) == wanted.limit
        return listed(request, found, next_page(request, "before", found[-1].id) if more else None)


def _waited_as(one: Occurrence) -> str:
    """How it waited; with which options a model had to be loaded is told by the call's insights."""
    return (one.detail or one.kind).partition(" ")[0]
