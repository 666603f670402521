"""Stored calls as a download of any size: read a page at a time, sent as fast as it is taken.

Not here: what a line looks like (`ollama_proxy/export.py`), what is asked for (`query.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from ollama_proxy.admin.history import Unreadable
from ollama_proxy.admin.query import FILTERS, NO_LIMIT, parse_filter, single
from ollama_proxy.export import FORMATS, Format, portions
from ollama_proxy.ids import iso
from ollama_proxy.records import Filter
from ollama_proxy.storage.base import Found, following

log = logging.getLogger(__name__)

PAGE_ROWS = 500
AT_ONCE = 4
STUCK_SECONDS = 60.0


class Export:
    """The downloads. `search` gives one page, or raises Unreadable."""

    def __init__(
        self, search: Callable[[Filter], Awaitable[Found]], now: Callable[[], float]
    ) -> None:
        self._search = search
        self._now = now
        self._open: list[web.Request] = []
        self._closed = False

    @property
    def running(self) -> int:
        return len(self._open)

    def add_routes(self, app: web.Application) -> None:
        for kind in FORMATS:
            app.router.add_get(f"/api/requests.{kind}", self._stream)

    def close(self) -> None:
        """Break off what is still being sent; it is not taken for whole."""
        self._closed = True
        for request in self._open:
            _abort(request)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        kind = request.path.rpartition(".")[2]
        asked = single(request.query.items(), FILTERS)
        wanted = parse_filter(asked, self._now(), limit=NO_LIMIT, most=NO_LIMIT)
        response = web.StreamResponse(headers=self._headers(kind))
        if request.method == "HEAD":
            return response
        if self._closed:
            raise web.HTTPServiceUnavailable(text="the proxy is stopping")
        if self.running >= AT_ONCE:
            raise web.HTTPServiceUnavailable(text=f"{AT_ONCE} downloads run already: try later")
        self._open.append(request)
        try:
            await self._send(request, response, wanted, FORMATS[kind])
        finally:
            self._open.remove(request)
        return response

    def _headers(self, kind: str) -> dict[str, str]:
        day = iso(self._now())[:10]
        return {
            "Content-Type": FORMATS[kind].content_type,
            "Content-Disposition": f'attachment; filename="ollama-calls-{day}.{kind}"',
            "Cache-Control": "no-store",
        }

    async def _send(
        self, request: web.Request, response: web.StreamResponse, wanted: Filter, format: Format
    ) -> None:
        """Raises HTTPServiceUnavailable as long as nothing is sent; later the answer breaks off."""
        try:
            found = await self._page(wanted)
        except Unreadable:
            raise web.HTTPServiceUnavailable(text="the store cannot be read now") from None
        whole = False
        try:
            await response.prepare(request)
            await _write(response, format.head)
            await self._send_pages(response, wanted, found, format)
            whole = True
        except (ConnectionError, TimeoutError, Unreadable) as error:
            log.info("a download of calls was broken off (%s)", type(error).__name__)
        finally:
            if not whole:
                _abort(request)  # so that the end is not taken for a clean one

    async def _send_pages(
        self, response: web.StreamResponse, wanted: Filter, found: Found, format: Format
    ) -> None:
        while True:
            for portion in portions(found.calls):
                await _write(response, format.lines(portion))
            rest = following(wanted, found)
            if rest is None:
                return
            wanted, found = rest, await self._page(rest)

    async def _page(self, wanted: Filter) -> Found:
        limit = min(wanted.limit, PAGE_ROWS)
        return await self._search(msgspec.structs.replace(wanted, limit=limit))


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Wait for a reader that is slow; and let others go on, where it is quick."""
    async with asyncio.timeout(STUCK_SECONDS):
        await response.write(data)
    await asyncio.sleep(0)


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
