"""Builds the whole program, starts it in order and stops it in the other: knows every part.

Start: the ports are bound, then store, writer, statistics warmed from the store, model sensor,
admin; the proxy's port is served last. Stop: that port first, running calls drained, then the rest
in the other order. Not here: any part's own work.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from ollama_proxy import __version__
from ollama_proxy.admin.alert_page import AlertPage
from ollama_proxy.admin.alert_words import told
from ollama_proxy.admin.alerts import Alerts
from ollama_proxy.admin.api import Api, Facts
from ollama_proxy.admin.differences import WhatIsDifferent
from ollama_proxy.admin.estimates import Estimates
from ollama_proxy.admin.insights import Insights
from ollama_proxy.admin.lists import Requests
from ollama_proxy.admin.neighbours import Neighbours
from ollama_proxy.admin.pages import Pages
from ollama_proxy.admin.prompt_check import PromptCheck
from ollama_proxy.admin.reference import Reference
from ollama_proxy.admin.series import Series
from ollama_proxy.admin.serving import Part, doors, mounted_at, runner_for
from ollama_proxy.admin.site import Site
from ollama_proxy.admin.views import Views
from ollama_proxy.alerts.built import watching, window
from ollama_proxy.alerts.gathering import Ending, Gathering
from ollama_proxy.alerts.watching import Watching
from ollama_proxy.around import Around
from ollama_proxy.callers import Callers, finder_for
from ollama_proxy.config import Config, ConfigError, effective
from ollama_proxy.disclosing import by_running
from ollama_proxy.exchange import Reason
from ollama_proxy.foretelling import Foretelling, in_service
from ollama_proxy.forwarder import Forwarder
from ollama_proxy.gauging import Gauging
from ollama_proxy.handover.custody import Custody
from ollama_proxy.handover.link import Refused, Reloaded
from ollama_proxy.handover.taking import Taking
from ollama_proxy.insights.judging import Judging
from ollama_proxy.insights.predictions import Predictions
from ollama_proxy.insights.slow import Usual
from ollama_proxy.limits import Limits
from ollama_proxy.listening import BACKLOG, StartError, is_loopback
from ollama_proxy.live import SETTLE_AT, Live
from ollama_proxy.logs import log_to
from ollama_proxy.marking import Marking
from ollama_proxy.marks import Marks
from ollama_proxy.names import Naming
from ollama_proxy.observers.capturing import Captures
from ollama_proxy.observers.policy import Policy
from ollama_proxy.parts import Parts
from ollama_proxy.pool import Pool
from ollama_proxy.records import Filter, UpstreamHealth
from ollama_proxy.reload import changes
from ollama_proxy.sensors.connections import to_port
from ollama_proxy.sensors.models import ModelSensor
from ollama_proxy.sensors.rendering import rendered
from ollama_proxy.sensors.resources import ResourceSensor
from ollama_proxy.sensors.sampler import Sampler
from ollama_proxy.settings import Address
from ollama_proxy.sinks import ModelChanges, Recorder
from ollama_proxy.storage.base import MAX_LIMIT
from ollama_proxy.storage.folder import DATABASE
from ollama_proxy.storage.reader import StorageStatus, StoreReader
from ollama_proxy.storage.sqlite import SqliteStore
from ollama_proxy.storage.writer import Writer
from ollama_proxy.succession import Succession
from ollama_proxy.target import Target
from ollama_proxy.works import DOWN_SECONDS, Works, kept

log = logging.getLogger(__name__)

WRITE_SECONDS = 10.0
"""How long a stop waits for the last batch to be written."""
CALLERS_SECONDS = 1.0


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
        self._succession = Succession(config.data_dir, before, self.reload)
        self.port = 0
        self.admin_address: Address | None = None
        self.on_loopback = True
        self.stopping = False
        self._started = AsyncExitStack()
        self._doors = AsyncExitStack()  # the admin's

    @property
    def health(self) -> UpstreamHealth:
        """What the last look at Ollama said."""
        return self._sensor.health

    async def first_look(self) -> UpstreamHealth:
        """What Ollama is like now; waits for the look that a start begins with."""
        return self._sensor.health if self._sensor.health.up else await self._sensor.look()

    # -- start ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Raises StartError or StoreError, each with one line for the user."""
        try:
            await self._start()
        except BaseException:
            await self._started.aclose()
            raise

    async def _start(self) -> None:
        listener = self._succession.bind("listen", self.config.listen, "--listen")
        self._started.callback(listener.close)
        self.port = listener.getsockname()[1]
        # By what was bound: a name may stand for any address.
        self.on_loopback = is_loopback(listener.getsockname()[0])
        admin_listener = self._bind_admin()
        running = await self._succession.before()
        self._start_looking()
        self._start_recording(running)
        self._start_watching()
        admin = await self._start_admin(admin_listener)
        await self._start_forwarding(listener, admin)

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

    def _start_looking(self) -> None:
        upstream = self.config.upstream
        self._callers = Callers(finder_for() if self.config.clients.processes else None)
        self._callers.start()
        self._started.callback(self._callers.stop, CALLERS_SECONDS)
        self._sampler = Sampler(
            ResourceSensor(upstream.host, upstream.port),
            tell=lambda reading: self._gauging.sampled(reading),
        )
        self._sampler.start()
        self._started.callback(self._sampler.stop)
        self._around = Around(
            connections=lambda: to_port(upstream.port) if is_loopback(upstream.host) else None,
            ours=lambda: self._pool.ends,
            running=self._running_models,
            look=self._callers.look,
        )
        self._started.callback(self._around.stop)

    async def _machine(self) -> dict[str, Any] | None:
        """What Ollama, the machine and the proxy itself use now; None before a first look."""
        reading = await self._sampler.look()
        if reading is None:
            return None
        facts: dict[str, Any] = msgspec.to_builtins(reading)
        facts["ollama_memory_bytes"] = reading.sample.held.memory_bytes
        facts["callers"] = msgspec.to_builtins(self._callers.status)
        del facts["sample"]
        return facts

    async def _privacy(self) -> dict[str, Any]:
        """What is stored, where, by which rule, and what is open."""
        return await asyncio.get_running_loop().run_in_executor(
            self._reader, by_running, self.config, self._store
        )

    def _running_models(self) -> set[str]:
        live = self._live
        if len(live.unrecorded) <= SETTLE_AT:  # else it takes long, and these models are known
            live.settle()
        return live.models

    def _start_recording(self, running: Collection[str]) -> None:
        self._store = SqliteStore(self.config.data_dir / DATABASE)
        self._store.open(running)
        self._started.callback(self._store.close)
        # One thread: reads share a connection, and must not wait with the look-ups of host names.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._started.callback(self._reader.shutdown, wait=False, cancel_futures=True)
        self._statistics = self._store.statistics()
        past = self._store.marks(Filter(limit=MAX_LIMIT))
        self._custody = Custody(self._store, self._succession.unstored_ids)
        self._marking = Marking(Marks(self._store.known(), past), self._custody.mark)
        self._started.push_async_callback(self._marking.stop)
        self._writer = Writer(self._custody, *kept(self.config.retention))
        self._writer.start()
        self._captures = Captures()
        insights = self.config.insights
        self._usual = Usual(insights.slow_times, insights.slow_seconds)
        self._judging = Judging(
            running=lambda: in_service(self._live),
            note=self._writer.note,
            look=lambda: self._sensor.poke(),
            slots=lambda model: self._live.slots(model),
            usual=self._usual,
        )
        self._started.push_async_callback(asyncio.to_thread, self._end_writing)
        self._window = window(self.config.alerts)
        self._predictions = Predictions(lambda call: self._foretelling.of(call))
        self._live = Live(
            recent=self.config.retention.recent,
            sinks=[
                self._predictions,
                Recorder(self._writer, self._statistics, self._captures),
                ModelChanges(lambda: self._sensor.poke(), lambda: self._sensor.loaded),
                self._around,
                *([Ending(self._window)] if self._window.seconds else ()),
            ],
            loaded=lambda: self._sensor.loaded,
            meter=self._sampler,
            judge=self._judging,
        )
        self._started.callback(self._live.settle)
        self._gauging = Gauging(
            running=lambda: self._live.running,
            queued=lambda: self._live.queued,
            write=self._custody.gauge,
        )
        self._started.push_async_callback(self._gauging.stop)
        self._foretelling = Foretelling(self._judging, self._live, lambda: self._sensor.loaded)

    def _start_watching(self) -> None:
        upstream = self.config.upstream
        tls = ssl.create_default_context() if upstream.scheme == "https" else None
        self._pool = Pool(
            upstream.host, upstream.port, tls=tls, idle_limit=self.config.timeouts.pool_idle
        )
        self._started.callback(self._pool.close)
        self._instance = secrets.token_hex(8)
        self._sensor = ModelSensor(
            str(self.config.upstream),
            instance=self._instance,
            interval=self.config.models_interval,
            interval_down=min(DOWN_SECONDS, self.config.models_interval),
            on_look=self._looked,
            busy=lambda: self._live.moving_models,
        )
        self._sensor.start()
        self._started.push_async_callback(self._sensor.stop)

    def _looked(self, before: UpstreamHealth, after: UpstreamHealth) -> None:
        self._around.looked(before, after)
        if before.up is False and after.up:
            self._judging.restarted()
            self._live.endings.forget()
        if after.up and after.error is None:  # else what is loaded is not known
            self._judging.looked(after.models, self._sensor.loaded.at)
        self._marking.looked(after)
        self._sampler.poke()

    async def _start_admin(self, listener: socket.socket | None) -> web.Server:
        """The admin below its path, for the proxy's port, and at the root of its own."""
        config = self.config
        self._started.push_async_callback(self._doors.aclose)
        self._api = api = Api(
            live=self._live,
            statistics=self._statistics,
            reader=StoreReader(self._store, self._writer, self._reader),
            health=lambda: self._sensor.health,
            storage=StorageStatus(self._writer, self._store),
            around=self._around.view,
            machine=self._machine,
            privacy=self._privacy,
            changed=lambda: self._marking.changed,
            hidden=config.insights.hidden,
            expect=lambda call: self._foretelling.of(call),
            stopping=lambda: self.stopping,
            facts=Facts(
                listen=str(Address(config.listen.host, self.port)),
                upstream=str(config.upstream),
                version=__version__,
            ),
        )
        site = Site(guarded=config.admin.token is not None)
        pages = Pages(api, site)
        alerts = Alerts(self._start_alerts(site), api.history, site.words, time.time)
        parts: list[Part] = [
            api,
            site,
            pages,
            Requests(api, site),
            Views(api, site, lambda: effective(self.config)),
            Insights(api.history, pages.words, time.time),
            alerts,
            AlertPage(alerts, api, site),
            Series(api.history, lambda: self._gauging.unsaved, time.time),
            WhatIsDifferent(api.history, pages.words, time.time),
            Estimates(self._foretelling.now, self._predictions.view),
            Neighbours(api.history, time.time),
            PromptCheck(api.history, self._rendered),
            Reference(site),
        ]
        at = doors(parts, site, config.admin.token)
        self.admin = at(config.admin_path)
        behind = await self._runner(mounted_at(config.admin_path, self.admin))
        if listener is not None:
            runner = await self._runner(at(""))
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
        assert behind.server is not None
        return behind.server

    def _start_alerts(self, site: Site) -> Watching:
        gathering = Gathering(
            *(self._window, self._live, self._around.bypass, self.config.data_dir),
            health=lambda: self._sensor.health,
            dropped=lambda: self._writer.dropped,
        )
        say = partial(told, words=site.words["en"])
        watched = watching(self.config.alerts, gathering.gather, self._store, say)
        watched.start()
        self._doors.push_async_callback(watched.stop)
        return watched

    async def _rendered(self, path: str, body: dict[str, Any]) -> str:
        """Raises RenderingError."""
        return await rendered(str(self.config.upstream), path, body, self._instance)

    async def _runner(self, app: web.Application) -> web.AppRunner:
        runner = runner_for(app)
        await runner.setup()
        self._doors.push_async_callback(runner.cleanup)
        return runner

    async def _start_forwarding(self, listener: socket.socket, admin: web.Server) -> None:
        config, upstream = self.config, self.config.upstream
        self._forwarder = Forwarder(
            Parts(
                target=Target.of(upstream, self.on_loopback, is_loopback(upstream.host)),
                pool=self._pool,
                live=self._live,
                limits=Limits.of(config.timeouts),
                policy=Policy.of(config.privacy),
                naming=Naming(header=config.clients.header, keys=config.clients.keys),
                captures=self._captures,
                inject_usage=config.inject_usage,
                instance=self._instance,
                health=lambda: self._sensor.health,
                on_surprise=self._sensor.poke,
            ),
            admin=admin,
            admin_path=config.admin_path,
            greet=self._callers.look,
        )
        self._server = await asyncio.get_running_loop().create_server(
            self._forwarder, sock=listener, backlog=BACKLOG
        )
        self._works = Works(
            captures=self._captures,
            custody=self._custody,
            forwarder=self._forwarder,
            gauging=self._gauging,
            history=self._api.history,
            live=self._live,
            marking=self._marking,
            pool=self._pool,
            sensor=self._sensor,
            server=self._server,
            usual=self._usual,
            writer=self._writer,
        )
        self._succession.works = self._works

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
        self.config = found.config
        self._works.use(found.config)
        log.info("settings read again: %s", found.told)
        return Reloaded(found.now, found.later)

    # -- stop -------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Let running calls end, within `timeouts.drain`, then end everything and write it down."""
        self.stopping = True
        await self._succession.stop()
        if self.left.is_set():
            await self._close_doors()
        else:
            self._server.close()
            self._forwarder.close()
        if not await self._succession.drained(self.config.timeouts.drain):
            await self.interrupt("the time to end by themselves was over")
        self._server.close()
        await self._close_doors()
        await self._started.aclose()
        await self._succession.end()

    async def _close_doors(self) -> None:
        self._api.events.close()
        self._api.exports.close()
        await self._doors.aclose()

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
        return self._pool

    @property
    def running(self) -> int:
        """Calls on their way now."""
        return self._forwarder.running

    def _end_writing(self) -> None:
        if not self._writer.stop(WRITE_SECONDS):
            log.error("not all calls could be stored: %s", self._writer.error or "time ran out")
