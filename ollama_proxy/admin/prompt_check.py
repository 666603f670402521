"""`POST requests/{id}/prompt_cut`: whether Ollama cut a call's prompt, by having it made again.

Only of calls that were kept whole, and only when somebody asks: it loads the model, if need be,
with the call's own options. Not here: what follows from the prompts (`insights/rendered.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from ollama_proxy.admin.answers import json_answer, told
from ollama_proxy.admin.history import History
from ollama_proxy.admin.query import single
from ollama_proxy.exchange import Call
from ollama_proxy.insights.contexts import asked_context
from ollama_proxy.insights.prompt_cut import KEEP
from ollama_proxy.insights.rendered import by_rendering
from ollama_proxy.sensors.rendering import RenderingError

PATHS = ("/api/chat", "/api/generate")

Render = Callable[[str, dict[str, Any]], Awaitable[str]]
"""Path and body of a request to its prompt. Raises RenderingError."""


class PromptCheck:
    """`render` asks Ollama."""

    def __init__(self, history: History, render: Render) -> None:
        self._history, self._render = history, render
        self._runs = asyncio.Lock()

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/api/requests/{id}/prompt_cut", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        single(request.query.items(), ())
        id = request.match_info["id"]
        call = await told(self._history.call(id))
        if call is None:
            raise web.HTTPNotFound(text="no such call: it never was, or was deleted since")
        if call.path not in PATHS or not call.input_tokens:
            raise web.HTTPConflict(
                text="this can be told only of calls to /api/chat and /api/generate that have been"
                " answered, with the tokens of their prompt"
            )
        body = await self._sent(id)
        if self._runs.locked():
            raise web.HTTPServiceUnavailable(text="another prompt is being checked: try again soon")
        async with self._runs:
            try:
                as_sent = await self._render(call.path, body)
                whole = await self._render(call.path, {**body, "truncate": False})
            except RenderingError as error:
                raise web.HTTPBadGateway(text=str(error)) from None
        options = body.get("options")
        keep = (options if isinstance(options, dict) else {}).get("num_keep")
        found = by_rendering(
            as_sent,
            whole,
            tokens=call.input_tokens,
            context=_context(call, options),
            keep=keep if type(keep) is int else KEEP,
        )
        return json_answer(
            {
                "cut": found.cut,
                "tokens_lost": found.lost,
                "estimated": found.estimated,
                "rule": found.rule,
            }
        )

    async def _sent(self, id: str) -> dict[str, Any]:
        capture = await told(self._history.capture(id))
        if capture is None or capture.body is None:
            raise web.HTTPConflict(
                text="what this call sent was not kept: only the privacy mode full keeps it"
            )
        body: Any = None
        with suppress(msgspec.DecodeError, RecursionError):
            body = msgspec.json.decode(capture.body)
        if not isinstance(body, dict):
            raise web.HTTPConflict(
                text="what was kept of this call's request is no JSON object: nothing can be asked"
            )
        # How long the model stays loaded is not for a check to say.
        return {name: value for name, value in body.items() if name != "keep_alive"}


def _context(call: Call, options: Any) -> int | None:
    """What it ran with, as it was known when it ended; else what it asked for."""
    known = ((call.insights or {}).get("prompt_cut") or {}).get("context")
    return known or asked_context(options if isinstance(options, dict) else None)
