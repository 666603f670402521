"""Watches for calls that go round the proxy, once after each look at Ollama.

The kernel's table of connections is read in a thread, and who holds one is asked of `Callers`; what
that found is counted at the next look. Not here: what counts (`bypass.py`), how to look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from ollama_proxy.bypass import Bypass, Ends
from ollama_proxy.exchange import Call, Look, model_key
from ollama_proxy.ids import iso
from ollama_proxy.listeners import Sink
from ollama_proxy.records import UpstreamHealth


class Around(Sink):
    """`looked` after each look, on the event loop; a sink too, to know which models calls named.

    `connections` lists those to Ollama's port, None where that cannot be known; `ours` are the
    client's ends of the proxy's own; `running` the models of running calls.
    """

    def __init__(
        self,
        *,
        connections: Callable[[], list[Ends] | None],
        ours: Callable[[], Collection[tuple[str, int]]],
        running: Callable[[], Collection[str]],
        look: Callable[[Any, Any], Look | None],
        now: Callable[[], float] = time.time,
        delay: float = 0.25,
    ) -> None:
        self.bypass = Bypass()
        self.available: bool | None = None
        self._connections, self._ours, self._running = connections, ours, running
        self._look, self._now, self._delay = look, now, delay
        self._used: set[str] = set()
        self._used_before: set[str] = set()
        self._looks: list[Look | None] = []
        self._listing: asyncio.Task[None] | None = None

    def finished(self, call: Call) -> None:
        if call.model is not None:
            self._used.add(model_key(call.model))

    def looked(self, before: UpstreamHealth, after: UpstreamHealth) -> None:
        """Two looks at Ollama, one after the other."""
        running = {model_key(model) for model in self._running()}
        used = self._used | self._used_before | running
        self._used, self._used_before = set(), self._used | running
        # Of what was loaded before the first look it is not known by whom.
        if before.up and after.up:
            self.bypass.looked(before.models, after.models, used, iso(self._now()))
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(self._list(), name="connections")

    def stop(self) -> None:
        if self._listing is not None:
            self._listing.cancel()

    async def _list(self) -> None:
        for look in self._looks:
            caller = None if look is None else look.caller
            if caller is not None and caller.own:
                continue  # a command such as `ollama-proxy test`, which asks Ollama itself
            self.bypass.connected(None if caller is None else caller.name, iso(self._now()))
        self._looks = []
        # The look's own connections are closed by then, and the next look's not open yet.
        await asyncio.sleep(self._delay)
        ours = set(self._ours())
        seen = await asyncio.to_thread(self._connections)
        self.available = seen is not None
        # Before and after: some are opened meanwhile, and some closed.
        for client, server in self.bypass.new(seen or (), ours | set(self._ours())):
            self._looks.append(self._look(client, server))

    def view(self) -> dict[str, Any]:
        """The REST object. `connections_seen` False: Ollama's are not to be seen from here."""
        return {"connections_seen": self.available, **self.bypass.view()}
