"""How the admin answers in JSON, and how it says that it cannot.

Not here: what is told (`api.py`, `calls.py`), who may ask (`security.py`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

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


class Made(NamedTuple):
    """A list as JSON, ready to be given to any who ask for it, and its ETag without the quotes."""

    body: bytes
    headers: dict[str, str]
    tag: str


def made(value: Any, headers: Mapping[str, str] | None = None, *, but: str | None = None) -> Made:
    """The tag is of body and `headers`, so that no kept answer misses what they tell.

    `but`: a number that grows by itself and says nothing new; the tag is of the rest, and so a weak
    one (RFC 9110 section 8.8.1). A browser asks each time before it shows a copy that it kept.
    """
    body, seen = encode(value), value
    if but is not None:
        seen = {name: one for name, one in value.items() if name != but}
    mark = hashlib.blake2b(body if but is None else encode(seen), digest_size=12)
    mark.update(encode(sorted((headers or {}).items())))
    tag = mark.hexdigest()
    told = {
        **(headers or {}),
        "Cache-Control": "no-cache, private",
        "ETag": f'"{tag}"' if but is None else f'W/"{tag}"',
    }
    return Made(body, told, tag)


def given(request: web.Request, made: Made) -> web.Response:
    """A list, or 304 to who has just this one."""
    if any(one.value in (made.tag, "*") for one in request.if_none_match or ()):
        return web.Response(status=304, headers=made.headers)
    return web.Response(body=made.body, content_type="application/json", headers=made.headers)


def listed(
    request: web.Request,
    value: Any,
    headers: Mapping[str, str] | None = None,
    *,
    but: str | None = None,
) -> web.Response:
    """A list as JSON with its ETag, or 304; `but` as `made` has it."""
    return given(request, made(value, headers, but=but))


def answering_list(answer: Callable[[], Any], *, but: str | None = None) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        single(request.query.items(), ())
        return listed(request, answer(), but=but)

    return handler


def next_page(request: web.Request, parameter: str, last: str) -> dict[str, str]:
    """The header that names the page behind `last` (RFC 8288), with the same other parameters."""
    query = urlencode({**request.query, parameter: last})
    return {"Link": f'<?{query}>; rel="next"'}


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
