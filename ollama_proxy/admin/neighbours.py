"""`GET requests/{id}/neighbours`: the calls before and after one, of those that filters ask for.

Only their ids. Not here: how calls are found (`history.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from msgspec.structs import replace

from ollama_proxy.admin.answers import json_answer, told
from ollama_proxy.admin.history import History
from ollama_proxy.admin.query import FILTERS, is_id, parse_filter, single
from ollama_proxy.records import Filter
from ollama_proxy.storage.errors import TooLong

TAKES = tuple(name for name in FILTERS if name not in ("limit", "before"))


class Neighbours:
    """`now`: seconds since 1970."""

    def __init__(self, history: History, now: Callable[[], float]) -> None:
        self._history, self._now = history, now

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/api/requests/{id}/neighbours", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        wanted = parse_filter(single(request.query.items(), TAKES), self._now())
        id = request.match_info["id"]
        call = await told(self._history.call(id)) if is_id(id) else None
        if call is None:
            raise web.HTTPNotFound(text="no such call: it never was, or was deleted since")
        own = None if call.client is None else Filter(client=call.client)
        newer, unsought = None, False
        try:
            newer = await told(self._history.newer(id, wanted))
        except TooLong:
            unsought = True
        return json_answer(
            {
                "newer": newer,
                "newer_unsought": unsought,
                "older": await self._older(id, wanted),
                "same_client": None if own is None else await self._older(id, own),
            }
        )

    async def _older(self, id: str, wanted: Filter) -> str | None:
        found = await told(self._history.search(replace(wanted, before=id, limit=1)))
        return found.calls[0].id if found.calls else None
