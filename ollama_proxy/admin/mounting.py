"""The admin on the clients' port, below its path, each connection closed behind its answer.

Whoever asks there next may be asking for a call, which is not the admin's to answer. Not here: how
a connection comes here (`forwarder.py`), the admin on a port of its own.
"""

from __future__ import annotations

from aiohttp import web


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
