"""The floor to compare with: the shortest aiohttp proxy that streams. It records nothing.

Not a part of the product, and not a good proxy: no timeouts, no care for hop-by-hop headers.

    python -m benchmarks.plain_aiohttp PORT UPSTREAM_URL
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

SESSION = web.AppKey("session", ClientSession)


async def forward(request: web.Request) -> web.StreamResponse:
    async with request.app[SESSION].request(
        request.method,
        sys.argv[2] + request.raw_path,
        headers=request.headers,
        data=request.content if request.can_read_body else None,
        auto_decompress=False,
    ) as upstream:
        headers = {k: v for k, v in upstream.headers.items() if k != "Transfer-Encoding"}
        answer = web.StreamResponse(status=upstream.status, headers=headers)
        await answer.prepare(request)
        async for chunk in upstream.content.iter_any():
            await answer.write(chunk)
        await answer.write_eof()
        return answer


async def session(app: web.Application) -> AsyncIterator[None]:
    everything = TCPConnector(limit=0)
    async with ClientSession(timeout=ClientTimeout(total=None), connector=everything) as one:
        app[SESSION] = one
        yield


def main() -> None:
    app = web.Application(client_max_size=0)
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    loop = uvloop.new_event_loop()
    port = int(sys.argv[1])
    web.run_app(
        app, host="127.0.0.1", port=port, access_log=None, print=None, backlog=4096, loop=loop
    )


if __name__ == "__main__":
    main()
