"""Our own relay with nothing that records: to tell what recording costs. Not a part of the product.

The same forwarder and the same server; no observers, no store, no statistics, no page, no sensor.

    python -m benchmarks.bare PORT UPSTREAM_PORT
"""

from __future__ import annotations

import asyncio
import gc
import sys

import uvloop

from ollama_proxy.forwarder import Forwarder
from ollama_proxy.limits import Limits
from ollama_proxy.listening import BACKLOG
from ollama_proxy.live import Live
from ollama_proxy.observers import Observer, Privacy
from ollama_proxy.observers.policy import Policy
from ollama_proxy.parts import Parts
from ollama_proxy.pool import Pool
from ollama_proxy.records import UpstreamHealth
from ollama_proxy.settings import Upstream
from ollama_proxy.target import Target


def nobody(method: str, path: str) -> type[Observer]:
    """Looks at refusals only."""
    return Observer


async def serve(port: int, upstream: int) -> None:
    health = UpstreamHealth()
    parts = Parts(
        target=Target.of(Upstream("http", "127.0.0.1", upstream), True, True),
        pool=Pool("127.0.0.1", upstream),
        live=Live(recent=0),
        limits=Limits(),
        policy=Policy(Privacy()),
        instance="bare",
        health=lambda: health,
        on_surprise=lambda: None,
        observe=nobody,
    )
    server = await asyncio.get_running_loop().create_server(
        Forwarder(parts), "127.0.0.1", port, backlog=BACKLOG
    )
    gc.collect()
    gc.freeze()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
