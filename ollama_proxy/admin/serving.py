"""How aiohttp serves the admin: on a port of its own, or on the clients' port below a path.

There each connection is closed behind its answer: whoever asks next may be asking for a call, which
is not the admin's to answer. Not here: how a connection comes here (`forwarder.py`), what is asked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware

from ollama_proxy.admin.attempts import Attempts
from ollama_proxy.admin.gate import Gate
from ollama_proxy.admin.login import Login
from ollama_proxy.admin.security import secure
from ollama_proxy.admin.sessions import Sessions
from ollama_proxy.admin.site import Site
from ollama_proxy.logs import where

LINE_LIMIT = 64 * 1024
"""Bytes of a header's line: a browser sends the cookies of all of this machine's ports."""

log = logging.getLogger(__name__)


class _QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """aiohttp prints a traceback for each malformed request, which is the client's affair.

    Only an error of our own is logged, in one line, without its text: it may quote a prompt.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        error = kwargs.get("exc_info")
        if isinstance(error, Exception) and not isinstance(error, HttpProcessingError):
            super().log(logging.ERROR, "the admin failed: %s", where(error))


class Part(Protocol):
    """Some of the admin's answers."""

    def add_routes(self, app: web.Application) -> None: ...


def admin_app(parts: Iterable[Part], asked: Middleware | None = None) -> web.Application:
    """All parts behind the same checks; `asked` is what asks for a token."""
    app = web.Application()
    secure(app, asked)
    for part in parts:
        part.add_routes(app)
    return app


def doors(parts: Iterable[Part], site: Site, token: str | None) -> Callable[[str], web.Application]:
    """What makes the admin that is reached by a path, with a login where there is a token."""
    parts = list(parts)
    if token is None:
        return lambda path: admin_app(parts)
    sessions, attempts = Sessions(token), Attempts(time.monotonic)

    def guarded(path: str) -> web.Application:
        gate = Gate(sessions, attempts, path, time.time)
        return admin_app([*parts, Login(gate, site)], gate.asked)

    return guarded


def runner_for(app: web.Application) -> web.AppRunner:
    """Serves `app` once it is set up; stops without waiting for whoever is half-way."""
    return web.AppRunner(
        app,
        access_log=None,
        logger=_QuietLogger(log),
        handle_signals=False,
        shutdown_timeout=0.1,
        lingering_time=0.5,
        max_line_size=LINE_LIMIT,
        max_field_size=LINE_LIMIT,
    )


def closed(why: str) -> web.Server:
    """In place of an admin that cannot be: each request is answered with 503 and this."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.json_response({"error": why}, status=503)
        response.force_close()
        return response

    return web.Server(answer, access_log=None, logger=_QuietLogger(log))


def mounted_at(path: str, admin: web.Application) -> web.Application:
    """`admin` below `path`; the path without its slash leads there."""
    mounted = web.Application()
    mounted.router.add_get(path, _moved)
    mounted.add_subapp(path, admin)
    mounted.on_response_prepare.append(_close_behind)
    return mounted


async def _moved(request: web.Request) -> web.StreamResponse:
    return web.Response(status=308, headers={"Location": request.path + "/"})


async def _close_behind(request: web.Request, response: web.StreamResponse) -> None:
    response.force_close()
    response.headers["Connection"] = "close"  # aiohttp has written this header before
