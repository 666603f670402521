"""How aiohttp is told to serve: the settings the relay rests on, and the admin behind one path.

Every assumption about aiohttp's server is in this module and in the raw-socket tests of
`tests/guarantees/`; the pin in pyproject.toml goes with them. Not here: what is done with a call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from aiohttp.web_protocol import RequestHandler

from ollama_proxy.exchange import Look
from ollama_proxy.logs import where

Greet = Callable[[Any, Any], Look | None]
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)

LINE_LIMIT = 1024 * 1024
"""Ollama's Go server takes 1 MiB of request head."""

SETTINGS: dict[str, Any] = {
    "auto_decompress": False,
    "max_line_size": LINE_LIMIT,
    "max_field_size": LINE_LIMIT,
    "max_headers": 1000,
    "read_bufsize": 256 * 1024,
    "lingering_time": 5.0,
    "keepalive_timeout": 3600.0,
    "tcp_keepalive": True,
    "access_log": None,
}


class FrontError(RuntimeError):
    """This aiohttp does not do what the relay needs."""


class _QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """aiohttp prints a traceback for each malformed request, which is the client's affair.

    Only an error of our own is logged, in one line, without its text: it may quote a prompt.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        error = kwargs.get("exc_info")
        if isinstance(error, Exception) and not isinstance(error, HttpProcessingError):
            super().log(logging.ERROR, "a call failed in the proxy itself: %s", where(error))


class Front(web.Server):
    """The proxy's server. `greet` is told both ends of each new connection, the client's first."""

    def __init__(self, handler: Handler, greet: Greet, **settings: Any) -> None:
        super().__init__(handler, **settings)
        self._greet = greet
        self._looks: dict[RequestHandler, Look] = {}

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        ends = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if (look := self._greet(*ends)) is not None:
            self._looks[handler] = look

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._looks.pop(handler, None)

    def look_of(self, connection: RequestHandler) -> Look | None:
        """What `greet` returned for a connection that is open."""
        return self._looks.get(connection)


def nobody(client: object, server: object) -> None:
    """Greets nobody."""


def make_front(
    forward: Handler, admin: web.Server | None, admin_path: str, greet: Greet = nobody
) -> Front:
    """The server of the proxy's port: `admin_path` goes to the admin, all else is forwarded.

    Raises FrontError if aiohttp did not take the settings: it drops all of them, silently, when it
    does not know one.
    """
    below = admin_path + "/"

    def handle(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        path = request.raw_path
        if not path.startswith(admin_path) or admin is None:
            return forward(request)
        if path == admin_path or path.startswith(admin_path + "?"):
            return _moved(below)
        if path.startswith(below):
            # Cancelled at disconnect like a forwarded call, an admin answer would break mid-write.
            return asyncio.shield(_answer(admin, request))
        return forward(request)

    front = Front(
        handle,
        greet,
        request_factory=None if admin is None else admin.request_factory,
        handler_cancellation=True,
        logger=_QuietLogger(log),
        **SETTINGS,
    )
    _check(front())
    return front


async def _answer(admin: web.Server, request: web.BaseRequest) -> web.StreamResponse:
    return await admin.request_handler(request)


async def _moved(location: str) -> web.StreamResponse:
    return web.Response(status=308, headers={"Location": location})


def _check(handler: RequestHandler) -> None:
    kept = {
        "max_line_size": handler.max_line_size,
        "max_field_size": handler.max_field_size,
        "max_headers": handler.max_headers,
        "keepalive_timeout": handler.keepalive_timeout,
    }
    wrong = {name: value for name, value in kept.items() if SETTINGS[name] != value}
    if wrong:
        raise FrontError(f"aiohttp did not take the server's settings: {wrong}")
    if HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise FrontError(
            "aiohttp runs without its C parser: reinstall it from a wheel "
            "(pip install --force-reinstall --only-binary=:all: aiohttp)"
        )
