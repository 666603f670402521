"""The whole program: starts it in order and stops it in the other, knows every part.

Start: the ports are bound, then store, writer, statistics warmed from the store, model sensor
(`core.py`), admin (`doors.py`); the proxy's port is served last. Stop: that port first, running
calls drained, then the rest in the other order. Not here: any part's own work.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack

from aiohttp import web

from ollama_proxy.admin.serving import closed
from ollama_proxy.config import Config, ConfigError, effective
from ollama_proxy.core import Core
from ollama_proxy.doors import Doors
from ollama_proxy.exchange import Reason
from ollama_proxy.forwarder import Forwarder
from ollama_proxy.handover.link import Refused, Reloaded
from ollama_proxy.handover.taking import Taking
from ollama_proxy.limits import Limits
from ollama_proxy.listening import BACKLOG, StartError, is_loopback
from ollama_proxy.logs import log_to
from ollama_proxy.names import Naming
from ollama_proxy.observers.policy import Policy
from ollama_proxy.parts import Parts
from ollama_proxy.pool import Pool
from ollama_proxy.records import UpstreamHealth
from ollama_proxy.reload import changes
from ollama_proxy.settings import Address
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.succession import Succession
from ollama_proxy.target import Target
from ollama_proxy.works import Works

CLOSED = "the proxy's pages stay closed until a restart"

log = logging.getLogger(__name__)


class App:
    """The program: `start`, and later `stop`, both once, on one event loop."""

    def __init__(
        self,
        config: Config,
        before: Taking | None = None,
        read_settings: Callable[[], Config] | None = None,
    ) -> None:
        """`before`: the process to take over from. `read_settings` may raise ConfigError."""
        self.config = config
        self._read_settings = read_settings or (lambda: self.config)
        self._succession = Succession(
            config.data_dir, before, self.reload, lambda: effective(self.config)
        )
        self.port = 0
        self.admin_address: Address | None = None
        self.on_loopback = True
        self.stopping = False
        self._started = AsyncExitStack()
        self.core = Core(config, self._started)

    @property
    def health(self) -> UpstreamHealth:
        """What the last look at Ollama said."""
        return self.core.sensor.health

    async def first_look(self) -> UpstreamHealth:
        """What Ollama is like now; waits for the look that a start begins with."""
        sensor = self.core.sensor
        return sensor.health if sensor.health.up else await sensor.look()

    # -- start ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Raises StartError or StoreError, each with one line for the user."""
        try:
            await self._start()
        except BaseException:
            await self._started.aclose()
            raise

    async def _start(self) -> None:
        self._started.callback(self._succession.close)
        listener = self._succession.bind("listen", self.config.listen, "--listen")
        self._started.callback(listener.close)
        self.port = listener.getsockname()[1]
        # By what was bound: a name may stand for any address.
        self.on_loopback = is_loopback(listener.getsockname()[0])
        admin_listener = self._bind_admin()
        running = await self._succession.before()
        self.core.start(running, self._succession.unstored_ids)
        self.doors = self._doors()
        self._started.push_async_callback(self._close_doors)
        self._start_forwarding(await self.doors.open(admin_listener))
        await self._listen(listener)
        self._succession.works = self._works = self._works_now()

    def _bind_admin(self) -> socket.socket | None:
        """The admin's own port; where the default one is taken, the page is on the proxy's."""
        wanted = self.config.admin_listen
        if wanted is None:
            return None
        try:
            listener = self._succession.bind("admin_listen", wanted, "--admin-listen")
        except StartError as error:
            if self.config.admin_listen_given:
                raise
            log.warning("%s", error)
            return None
        self._started.callback(listener.close)
        self.admin_address = Address(wanted.host, listener.getsockname()[1])
        return listener

    def _doors(self) -> Doors:
        return Doors(self.core, lambda: self.config, lambda: self.stopping, self.port)

    def _start_forwarding(self, admin: web.Server) -> None:
        config, core, upstream = self.config, self.core, self.config.upstream
        self._forwarder = Forwarder(
            Parts(
                target=Target.of(upstream, self.on_loopback, is_loopback(upstream.host)),
                pool=core.pool,
                live=core.live,
                limits=Limits.of(config.timeouts),
                policy=Policy.of(config.privacy),
                naming=Naming(header=config.clients.header, keys=config.clients.keys),
                captures=core.captures,
                inject_usage=config.inject_usage,
                instance=core.instance,
                health=lambda: core.sensor.health,
                on_surprise=core.sensor.poke,
            ),
            admin=admin,
            admin_path=config.admin_path,
            greet=core.callers.look,
        )

    async def _listen(self, listener: socket.socket) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            self._forwarder, sock=listener, backlog=BACKLOG
        )

    def _works_now(self) -> Works:
        core = self.core
        return Works(
            captures=core.captures,
            custody=core.custody,
            forwarder=self._forwarder,
            gauging=core.gauging,
            history=self.doors.history,
            live=core.live,
            marking=core.marking,
            pool=core.pool,
            sensor=core.sensor,
            server=self._server,
            usual=core.usual,
            writer=core.writer,
        )

    async def take_over(self) -> None:
        """From the process before, if there is one; and let the next one take over."""
        await self._succession.take_over()

    # -- settings ---------------------------------------------------------------------------

    def reload(self) -> Reloaded | Refused:
        """Read the settings again, and use those that can change while this runs."""
        try:
            found = changes(self.config, self._read_settings())
            logs = found.config.log
            log_to(logs.file, logs.format, logs.level)
        except (ConfigError, OSError) as error:
            log.error("the settings stay as they were: %s", error)
            return Refused(str(error))
        before, self.config = self.config, found.config
        self._works.use(found.config)
        if not self.left.is_set():
            self.doors.use(before)
        log.info("settings read again: %s", found.told)
        return Reloaded(found.now, found.later)

    # -- another process has taken over -------------------------------------------------------

    async def outlive(self, told_to_stop: asyncio.Event) -> bool:
        """Let calls end here, within `timeouts.drain`. True: the process that took over has ended
        before, killed, and this one serves again. False: it is time to stop."""
        await self._succession.stop()
        await self.doors.close(for_good=False)
        if count := self.running:
            calls = "call" if count == 1 else "calls"
            log.info("another process has taken over: %d %s may end here first", count, calls)
        ends = [
            asyncio.create_task(one)
            for one in (
                self._succession.drained(self.config.timeouts.drain),
                told_to_stop.wait(),
                self._succession.alone.wait(),
            )
        ]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        alone = self._succession.alone.is_set() and not told_to_stop.is_set()
        again = alone and await self._succession.outlive()
        if alone and not again:
            await asyncio.wait(ends[:2], return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        if again:
            await self._serve_again()
        return again

    async def _serve_again(self) -> None:
        self._forwarder.stay(await self._open_again())
        listener = self._succession.copy("listen")
        if listener is not None and not self._server.is_serving():
            await self._listen(listener)
        self._succession.works = self._works = self._works_now()
        await self._succession.go_on()

    async def _open_again(self) -> web.Server:
        """New doors; where they cannot be opened calls are served all the same."""
        try:
            await self.core.recount()
            self.doors = self._doors()
            return await self.doors.open(self._succession.copy("admin_listen"))
        except (StoreError, OSError) as error:
            log.error("%s: %s", CLOSED, error)
            await self.doors.close(for_good=False)
            return closed(CLOSED)

    # -- stop -------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Let running calls end, within `timeouts.drain`, then end everything and write it down."""
        self.stopping = True
        await self._succession.stop()
        self._succession.close()
        drain = 0.0  # where another has taken over, that was given before
        if not self.left.is_set():
            self._server.close()
            self._forwarder.close()
            drain = self.config.timeouts.drain
        if not await self._succession.drained(drain):
            await self.interrupt("the time to end by themselves was over")
        self._server.close()
        await self._close_doors()
        await self._started.aclose()
        await self._succession.end()

    async def _close_doors(self) -> None:
        await self.doors.close()

    async def interrupt(self, why: str) -> None:
        """End running calls now; they are recorded as interrupted."""
        count = self._forwarder.interrupt(Reason.SHUTDOWN)
        if count:
            log.warning("ended %d running %s: %s", count, "call" if count == 1 else "calls", why)
        self._succession.hurry()
        await self._succession.drained(2.0)

    @property
    def left(self) -> asyncio.Event:
        """Set when another process has taken over: then it is time to stop."""
        return self._succession.left

    @property
    def pool(self) -> Pool:
        """The connections to Ollama."""
        return self.core.pool

    @property
    def running(self) -> int:
        """Calls on their way now."""
        return self._forwarder.running
