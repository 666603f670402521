"""The simulator as an HTTP server: the table of routes, and starting and stopping it.

A request that was recorded gets the recorded answer (`playing.py`), whatever its Host and Origin.
Not here: what a route does. Nothing is read from or written to disk.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from . import guard, wire
from .calls import Body, Refused
from .catalogue import Catalogue
from .dialects.anthropic import Messages
from .dialects.base import Dialect
from .dialects.native import Chat, Generate
from .dialects.openai import ChatCompletion, Completion, error_object
from .dialects.responses import Responses
from .dialects.transcription import Transcription
from .embeddings import Embeddings
from .inference import Inference
from .models import Models
from .options import SimulatorOptions
from .playing import Player
from .scheduler import Scheduler
from .transfers import Transfers

Handler = Callable[[web.Request, str], Awaitable[web.StreamResponse]]
Methods = dict[str, Handler]

_CORS = web.RequestKey("cors", list[tuple[str, str]])
_HEADER_LIMIT = 1 << 20  # of Go's server


class Found(NamedTuple):
    """The handlers of a path by method, and what the open part of the path is."""

    methods: Methods
    rest: str


class Simulator:
    """An Ollama without a model. What it answers is made up, how it answers is Ollama's."""

    def __init__(
        self, options: SimulatorOptions | None = None, player: Player | None = None
    ) -> None:
        self.options = options or SimulatorOptions()
        self.catalogue = Catalogue(self.options.models)
        self.scheduler = Scheduler(self.options)
        self.inference = Inference(self.options, self.catalogue, self.scheduler)
        self.player = Player() if player is None else player
        self.requests = 0
        self._routes = self._table()
        self._on_loopback = True
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen and return the base URL; port 0 takes a free one."""
        app = web.Application(client_max_size=0)  # Ollama has no limit on a body
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(_finish_headers)
        self._runner = web.AppRunner(
            app,
            handler_cancellation=True,  # a client that leaves frees its slot at once
            access_log=None,
            auto_decompress=False,
            max_line_size=_HEADER_LIMIT,
            max_field_size=_HEADER_LIMIT,
            max_headers=10_000,
            shutdown_timeout=0.1,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=4096).start()
        address, bound = self._runner.addresses[0][:2]
        self._on_loopback = ipaddress.ip_address(address).is_loopback
        return f"http://[{address}]:{bound}" if ":" in address else f"http://{address}:{bound}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self.scheduler.close()

    def find(self, path: str) -> Found:
        """Empty handlers for an unknown path. As in gin an open part has no slash."""
        if path in self._routes:
            return Found(self._routes[path], "")
        head, _, rest = path.rpartition("/")
        return Found(self._routes.get(head + "/*", {}) if rest else {}, rest)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        try:
            played = await self.player.answer(request)
            return await self._made_up(request) if played is None else played
        except ConnectionError:  # a write found it first; aiohttp would log it as our mistake
            raise asyncio.CancelledError from None

    async def _made_up(self, request: web.Request) -> web.StreamResponse:
        found, origin = self.find(request.path), request.headers.get("Origin", "")
        verdict = guard.judge(request.method, request.host, origin, self._on_loopback)
        request[_CORS] = verdict.headers
        handler = found.methods.get(request.method)
        if verdict.status or handler is None:
            return wire.frame(request, _not_handled(verdict.status, found.methods, handler))
        try:
            return wire.frame(request, await handler(request, found.rest))
        except Refused as refused:
            return wire.frame(request, wire.error(refused.status, refused.message))

    def _table(self) -> dict[str, Methods]:
        """All of Ollama's routes; methods in the order of its Allow header."""
        models = Models(self.options, self.catalogue, self.scheduler)
        transfers = Transfers(self.options, self.catalogue, self.scheduler)
        return self._about(models) | self._changing(transfers) | self._inference(models)

    def _about(self, models: Models) -> dict[str, Methods]:
        return {
            "/": {"HEAD": models.root, "GET": models.root},
            "/api/version": {"HEAD": models.version, "GET": models.version},
            "/api/status": {"GET": models.status},
            "/api/tags": {"HEAD": models.tags, "GET": models.tags},
            "/api/ps": {"GET": models.ps},
            "/api/show": {"POST": models.show},
            "/api/me": {"POST": models.me},
            "/api/signout": {"POST": models.signout},
            "/api/user/keys/*": {"DELETE": models.signout},
            "/api/experimental/web_search": {"POST": models.web_search},
            "/api/experimental/web_fetch": {"POST": models.web_fetch},
            "/api/experimental/model-recommendations": {"GET": models.recommendations},
        }

    def _changing(self, transfers: Transfers) -> dict[str, Methods]:
        return {
            "/api/pull": {"POST": transfers.pull},
            "/api/push": {"POST": transfers.push},
            "/api/create": {"POST": transfers.create},
            "/api/copy": {"POST": transfers.copy},
            "/api/delete": {"DELETE": transfers.delete},
            "/api/blobs/*": {"HEAD": transfers.head_blob, "POST": transfers.post_blob},
        }

    def _inference(self, models: Models) -> dict[str, Methods]:
        embeddings = Embeddings(self.inference)
        return {
            "/api/generate": {"POST": self._speaking(Generate)},
            "/api/chat": {"POST": self._speaking(Chat)},
            "/api/embed": {"POST": embeddings.embed},
            "/api/embeddings": {"POST": embeddings.embeddings},
            "/v1/chat/completions": {"POST": self._speaking(ChatCompletion)},
            "/v1/completions": {"POST": self._speaking(Completion)},
            "/v1/embeddings": {"POST": embeddings.v1},
            "/v1/models": {"GET": models.v1_models},
            "/v1/models/*": {"GET": _v1_model(models)},
            "/v1/responses": {"POST": self._speaking(Responses)},
            "/v1/audio/transcriptions": {"POST": self._transcribe},
            "/v1/messages": {"POST": self._speaking(Messages)},
        }

    def _speaking(self, dialect: type[Dialect]) -> Handler:
        async def handler(request: web.Request, _: str) -> web.StreamResponse:
            return await self.inference.serve(request, dialect)

        return handler

    async def _transcribe(self, request: web.Request, _: str) -> web.StreamResponse:
        form = await request.post()
        body = Body({key: value for key, value in form.items() if isinstance(value, str)})
        try:
            call = Transcription.read(body)
            if "file" not in form:
                raise Refused(400, "file is required: http: no such file")
        except Refused as refused:
            raw = error_object(refused.status, refused.message)
            return wire.reply(raw, refused.status, wire.JSON)
        return await self.inference.answer(request, Transcription(call, body))


def _v1_model(models: Models) -> Handler:
    async def handler(request: web.Request, name: str) -> web.StreamResponse:
        try:
            return wire.reply(models.find_v1(name), 200, wire.JSON)
        except Refused as refused:
            raw = error_object(refused.status, refused.message)
            return wire.reply(raw, refused.status, wire.JSON)

    return handler


def _not_handled(status: int, methods: Methods, handler: Handler | None) -> web.Response:
    """What gin's router or the guard says; another method's routes are named even then."""
    allow = {"Allow": ", ".join(methods)} if methods and handler is None else {}
    if status:
        return wire.nothing(status, allow)
    if methods:
        return wire.text(405, "405 method not allowed", allow)
    return wire.text(404, "404 page not found")


async def _finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.extend(request.get(_CORS, []))
    await wire.order_headers(request, response)
