"""How the admin answers in JSON, and how it says that it cannot.

Not here: what is told (`api.py`, `calls.py`), who may ask (`security.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

from ollama_proxy.admin.history import Unreadable
from ollama_proxy.admin.query import ParameterError, single
from ollama_proxy.admin.security import ELSEWHERE
from ollama_proxy.bus import encode
from ollama_proxy.logs import where

log = logging.getLogger(__name__)

T = TypeVar("T")


async def told(reading: Awaitable[T]) -> T:
    """Raises HTTPServiceUnavailable if the store does not say."""
    try:
        return await reading
    except Unreadable:
        raise web.HTTPServiceUnavailable(text="the store cannot be read now") from None


def answering_later(answer: Callable[[], Awaitable[Any]]) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        single(request.query.items(), ())
        return json_answer(await answer())

    return handler


def answering(answer: Callable[[], Any]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        single(request.query.items(), ())
        return json_answer(answer())

    return handler


def json_answer(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=encode(value),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


@web.middleware
async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Each error is one object, `{"error": text}`, and none gets past the admin."""
    try:
        return await handler(request)
    except ParameterError as error:
        return json_answer({"error": str(error)}, 400)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        text = error.text or ""
        if text == f"{error.status}: {error.reason}":  # aiohttp's own
            text = f"{error.reason}: {request.method} {request.path[:200]}; {ELSEWHERE}"
        answer = json_answer({"error": text}, error.status)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except Exception as error:  # noqa: BLE001 - guard: admin handler
        log.error("%s %r failed: %s", request.method, request.path[:200], where(error))
        return json_answer({"error": "the proxy's admin failed here: its log says where"}, 500)
