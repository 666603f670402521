"""The proxy's server: who is connected, which calls run, and the admin behind one path.

Each request becomes a call; a stop waits for them or ends them. A connection that asks for the
admin's path is handed over to aiohttp, which closes it behind its answer, so that whatever the
client asks next arrives here again. Not here: the way of a call (`call.py`).
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Callable
from typing import Any

from aiohttp import web

from ollama_proxy.answers import Refusal, refusal_answer
from ollama_proxy.asking import AskingCall, may_ask
from ollama_proxy.call import ForwardedCall
from ollama_proxy.downstream import Downstream
from ollama_proxy.exchange import Look, Reason, State
from ollama_proxy.headers import DEADLINE
from ollama_proxy.observers import error_body
from ollama_proxy.parts import Parts
from ollama_proxy.request_head import Heads, RequestError, RequestHead
from ollama_proxy.ticker import Ticker

DEPARTED_SECONDS = 0.5
"""How often clients are looked for that left unnoticed."""
IDLE_SECONDS = 3600.0
"""How long a client's connection stays open without a call."""

HandOn = Callable[[socket.socket, bytes], None]
Greet = Callable[[Any, Any], Look | None]


def nobody(client: object, server: object) -> None:
    """Greets nobody."""


class Forwarder:
    """Makes a protocol of each client's connection.

    `greet` is told both ends of a connection at its first call, the client's first. Requests below
    `admin_path` go to `admin`.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        admin: web.Server | None = None,
        admin_path: str = "/admin",
        greet: Greet = nobody,
    ) -> None:
        self.use(parts)
        self._admin = admin
        self._admin_path = admin_path.encode()
        self._greet = greet
        self._loop = asyncio.get_running_loop()
        self._connections: set[Downstream] = set()
        self._running: set[ForwardedCall] = set()
        self._drained = asyncio.Event()
        self.closing = False
        self._hand_on: HandOn | None = None
        self._departed = Ticker(DEPARTED_SECONDS, self._end_departed)
        self._old = Ticker(IDLE_SECONDS / 60, self._close_old)

    def __call__(self) -> Downstream:
        return Downstream(self._loop, self)

    def use(self, parts: Parts) -> None:
        """For calls that begin from now on."""
        self._parts = parts
        self._heads = Heads(parts.target, parts.policy.cut | {DEADLINE})
        self.read_head = self._heads.read

    @property
    def parts(self) -> Parts:
        return self._parts

    @property
    def running(self) -> int:
        return len(self._running)

    # -- connections ------------------------------------------------------------------------

    def opened(self, client: Downstream) -> None:
        self._connections.add(client)
        self._old.wake()
        if self.closing:
            client.finish()
        elif self.leaving:
            self._drained.clear()
            client.leave()  # before anything is read: no call may begin here any more

    def closed(self, client: Downstream) -> None:
        self._connections.discard(client)
        self._look_if_drained()

    def takes(self, client: Downstream, head: RequestHead, data: bytes) -> bool:
        """Hand the connection over, for good, if this request is the admin's."""
        target = head.target
        if self._admin is None or head.app is not None or not target.startswith(self._admin_path):
            return False
        if target[len(self._admin_path) :][:1] not in (b"/", b"?", b""):
            return False
        self._connections.discard(client)
        handler = self._admin()
        client.transport.set_protocol(handler)
        handler.connection_made(client.transport)
        handler.data_received(data)
        return True

    def call(self, client: Downstream, head: RequestHead) -> ForwardedCall:
        if not client.greeted:
            # Not before: whoever asks for the admin's pages is of no interest.
            client.greeted = True
            client.look = self._greet(client.peer, client.local)
        asks = self._parts.inject_usage and may_ask(head)
        call = (AskingCall if asks else ForwardedCall)(
            self._parts, client, head, look=client.look, loop=self._loop, on_end=self._ended
        )
        self._running.add(call)
        self._parts.live.start(call)
        self._departed.wake()
        return call

    def refuse(self, client: Downstream, error: RequestError) -> None:
        refusal = Refusal(error.status, State.FAILED, Reason.REFUSED, str(error))
        body = error_body("ollama", str(error), error.status)
        client.write(refusal_answer(refusal, body, keep_alive=False, head_only=False))

    def _ended(self, call: ForwardedCall) -> None:
        self._running.discard(call)
        self._look_if_drained()

    def _look_if_drained(self) -> None:
        if (self.closing or self.leaving) and not self._running and not self._connections:
            self._drained.set()

    # -- a stop -----------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more requests: idle connections end now, the others after their answer."""
        self.closing = True
        self._old.stop()
        for client in list(self._connections):
            if not client.busy:
                client.finish()
        self._look_if_drained()

    # -- from one process to the next -------------------------------------------------------

    @property
    def leaving(self) -> bool:
        return self._hand_on is not None

    def leave(self, hand_on: HandOn) -> None:
        """Hand on each connection on which no call runs, now or later; each may be new, too."""
        self._hand_on = hand_on
        for client in list(self._connections):
            client.leave()
        self._look_if_drained()

    def stay(self, admin: web.Server) -> None:
        """The process that took over has ended: connections go on here again, with this admin."""
        self._hand_on, self._admin = None, admin
        self._drained.clear()

    def hand_on(self, client: Downstream, waiting: bytes) -> None:
        connection: socket.socket | None = client.transport.get_extra_info("socket")
        if connection is not None and self._hand_on is not None:
            self._hand_on(socket.socket(fileno=os.dup(connection.fileno())), waiting)

    async def welcome(self, connection: socket.socket, waiting: bytes) -> None:
        """A client's connection that another process had, and what was read from it there."""
        connection.setblocking(False)
        _, client = await self._loop.connect_accepted_socket(
            lambda: Downstream(self._loop, self, waiting), connection
        )
        client.go_on()

    # -- a stop, again ----------------------------------------------------------------------

    async def drained(self, seconds: float) -> bool:
        """Wait until nothing runs and all answers have left; False if that takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._drained.wait()
        except TimeoutError:
            return False
        return True

    def interrupt(self, reason: Reason) -> int:
        """End every running call as interrupted, and every connection; returns how many calls."""
        running = list(self._running)
        for call in running:
            call.stop(State.INTERRUPTED, reason)
        for client in list(self._connections):
            client.close()
        return len(running)

    # -- now and then -----------------------------------------------------------------------

    def _end_departed(self) -> bool:
        """End calls whose client has left while nothing was read from it, so that nobody noticed.

        That is so while an upload waits for a slow upstream, or many requests wait behind a call.
        """
        if hasattr(select, "POLLRDHUP"):
            deaf = {call.client.deaf_socket: call for call in self._running}
            deaf.pop(-1, None)
            poll = select.poll()
            for descriptor in deaf:
                poll.register(descriptor, select.POLLRDHUP)
            for descriptor, _ in poll.poll(0) if deaf else ():
                deaf[descriptor].client.close()
        return bool(self._running)

    def _close_old(self) -> bool:
        long_ago = self._loop.time() - IDLE_SECONDS
        for client in list(self._connections):
            if not client.busy and client.idle_since < long_ago:
                client.close()
        return bool(self._connections)
