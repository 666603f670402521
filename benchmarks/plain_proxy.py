"""The floor to compare with: the shortest aiohttp proxy that streams. It records nothing.

python benchmarks/plain_proxy.py PORT UPSTREAM_URL
"""

from __future__ import annotations

import sys

import uvloop
from aiohttp import ClientSession, ClientTimeout, web

PORT, UPSTREAM = int(sys.argv[1]), sys.argv[2]


async def forward(request: web.Request) -> web.StreamResponse:
    session: ClientSession = request.app["session"]
    async with session.request(
        request.method,
        UPSTREAM + request.raw_path,
        headers=request.headers,
        data=await request.read(),
        auto_decompress=False,
    ) as upstream:
        headers = {k: v for k, v in upstream.headers.items() if k != "Transfer-Encoding"}
        answer = web.StreamResponse(status=upstream.status, headers=headers)
        await answer.prepare(request)
        async for chunk in upstream.content.iter_any():
            await answer.write(chunk)
        await answer.write_eof()
        return answer


async def session(app: web.Application):  # type: ignore[no-untyped-def]
    async with ClientSession(timeout=ClientTimeout(total=None)) as app["session"]:
        yield


app = web.Application()
app.cleanup_ctx.append(session)
app.router.add_route("*", "/{path:.*}", forward)
uvloop.install()
web.run_app(app, host="127.0.0.1", port=PORT, access_log=None, print=None)
