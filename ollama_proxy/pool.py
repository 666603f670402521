"""The connections to one upstream: open ones, idle ones, and which of them may carry a call.

Not here: what goes over them (`upstream.py`).
"""

from __future__ import annotations

import asyncio
import ssl
import time

from ollama_proxy.upstream import Upstream

IDLE_CONNECTIONS = 64


class Pool:
    """Connections to one upstream; idle ones last in, first out, for `idle_limit` seconds."""

    def __init__(
        self, host: str, port: int, *, tls: ssl.SSLContext | None = None, idle_limit: float = 30.0
    ) -> None:
        self._host, self._port, self._tls = host, port, tls
        self.idle_limit = idle_limit
        self._idle: list[Upstream] = []
        self._open: set[Upstream] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._by_end: dict[object, Upstream] = {}

    def __len__(self) -> int:
        """Connections open now, idle ones included."""
        return len(self._open)

    @property
    def ends(self) -> set[tuple[str, int]]:
        """Our ends of the open connections: host and port."""
        return {(end[0], end[1]) for end in self._by_end if isinstance(end, tuple)}

    def is_other_end(self, peer: object, local: object) -> bool:
        """Whether an accepted connection, of these ends, is one of ours, come back here.

        Both ends are compared: a port of another program may equal one of ours.
        """
        upstream = self._by_end.get(peer)
        return upstream is not None and upstream.ends[1] == local

    def take_idle(self) -> Upstream | None:
        """An idle connection that can carry a call, or None."""
        now = time.monotonic()
        while self._idle:
            upstream = self._idle.pop()
            if upstream.is_fresh(now, self.idle_limit):
                return upstream
            upstream.abort()
        return None

    async def connect(self) -> Upstream:
        """A new connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(
            lambda: Upstream(loop, self._lost),
            self._host,
            self._port,
            ssl=self._tls,
            server_hostname=self._host if self._tls else None,
        )
        if not upstream.lost:
            self._open.add(upstream)
            self._by_end[upstream.ends[0]] = upstream
        return upstream

    def give_back(self, upstream: Upstream) -> None:
        """A call is over: keep the connection if it can carry another one, else close it."""
        if not upstream.release() or len(self._idle) >= IDLE_CONNECTIONS or self.idle_limit <= 0:
            upstream.abort()
            return
        upstream.idle_since = time.monotonic()
        self._idle.append(upstream)
        if self._sweep is None:
            self._later()

    def close(self) -> None:
        """Close every connection. Calls are over by then: none is told."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for upstream in list(self._open):
            upstream.abort()
        self._idle.clear()

    def _later(self) -> None:
        delay = max(self.idle_limit / 2, 0.05)
        self._sweep = asyncio.get_running_loop().call_later(delay, self._close_old)

    def _close_old(self) -> None:
        now = time.monotonic()
        old = [one for one in self._idle if now - one.idle_since > self.idle_limit or one.lost]
        self._idle = [one for one in self._idle if one not in old]
        for upstream in old:
            upstream.abort()
        self._sweep = None
        if self._idle:
            self._later()

    def _lost(self, upstream: Upstream) -> None:
        self._open.discard(upstream)
        if self._by_end.get(upstream.ends[0]) is upstream:
            del self._by_end[upstream.ends[0]]
        if upstream in self._idle:
            self._idle.remove(upstream)
