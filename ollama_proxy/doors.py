"""The admin's doors: which answers there are, below a path of the clients' port, and at a port.

Alerts are watched as long as they are open. Not here: any answer (`admin/`), how aiohttp serves
them (`admin/serving.py`), what they tell of (`core.py`).
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
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
from ollama_proxy.admin.history import History
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
from ollama_proxy.alerts.built import use, watching
from ollama_proxy.alerts.gathering import Gathering
from ollama_proxy.alerts.watching import Watching
from ollama_proxy.config import Config, effective
from ollama_proxy.core import Core
from ollama_proxy.disclosing import by_running
from ollama_proxy.listening import BACKLOG
from ollama_proxy.sensors.rendering import rendered
from ollama_proxy.settings import Address
from ollama_proxy.storage.reader import StorageStatus, StoreReader


class Doors:
    """`open`, once; `close` ends what is open, and may come again. `config` and `stopping` tell how
    it is now."""

    def __init__(
        self, core: Core, config: Callable[[], Config], stopping: Callable[[], bool], port: int
    ) -> None:
        """`port`: the clients'."""
        self._core, self._config = core, config
        self._open = AsyncExitStack()
        self._watched: Watching | None = None
        first = config()
        self._api = Api(
            live=core.live,
            statistics=core.statistics,
            reader=StoreReader(core.store, core.writer, core.reader),
            health=lambda: core.sensor.health,
            storage=StorageStatus(core.writer, core.store),
            around=core.around.view,
            machine=self._machine,
            privacy=self._privacy,
            changed=lambda: core.marking.changed,
            hidden=first.insights.hidden,
            expect=lambda call: core.foretelling.of(call),
            stopping=stopping,
            facts=Facts(
                listen=str(Address(first.listen.host, port)),
                upstream=str(first.upstream),
                version=__version__,
            ),
        )

    @property
    def history(self) -> History:
        return self._api.history

    async def open(self, listener: socket.socket | None) -> web.Server:
        """Serve at the root of the listener, and give what serves below `admin_path`. Raises
        StoreError."""
        api, core, config = self._api, self._core, self._config()
        site = Site(guarded=config.admin.token is not None)
        pages = Pages(api, site)
        self._watched = watched = self._start_alerts(site)
        alerts = Alerts(watched, api.history, site.words, time.time)
        parts: list[Part] = [
            api,
            site,
            pages,
            Requests(api, site),
            Views(api, site, lambda: effective(self._config()), config.clients.processes),
            Insights(api.history, pages.words, time.time),
            alerts,
            AlertPage(alerts, api, site),
            Series(api.history, lambda: core.gauging.unsaved, time.time),
            WhatIsDifferent(api.history, pages.words, time.time),
            Estimates(core.foretelling.now, core.predictions.view),
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

    def use(self, before: Config) -> None:
        """Alerts by the settings that hold now, instead of those of before; none while closed."""
        alerts = self._config().alerts
        if self._watched is not None and alerts != before.alerts:
            use(self._watched, self._core.window, alerts, before.alerts)

    async def close(self, for_good: bool = True) -> None:
        """`for_good`: no events come any more, for other doors either."""
        if for_good:
            self._api.events.close()
        self._api.exports.close()
        self._watched = None
        await self._open.aclose()

    def _start_alerts(self, site: Site) -> Watching:
        core, config = self._core, self._config()
        gathering = Gathering(
            *(core.window, core.live, core.around.bypass, config.data_dir),
            health=lambda: core.sensor.health,
            dropped=lambda: core.writer.dropped,
        )
        say = partial(told, words=site.words["en"])
        watched = watching(config.alerts, gathering.gather, core.store, say)
        watched.start()
        self._open.push_async_callback(watched.stop)
        return watched

    async def _runner(self, app: web.Application) -> web.AppRunner:
        runner = runner_for(app)
        await runner.setup()
        self._open.push_async_callback(runner.cleanup)
        return runner

    async def _machine(self) -> dict[str, Any] | None:
        """What Ollama, the machine and the proxy itself use now; None before a first look."""
        reading = await self._core.sampler.look()
        if reading is None:
            return None
        facts: dict[str, Any] = msgspec.to_builtins(reading)
        facts["ollama_memory_bytes"] = reading.sample.held.memory_bytes
        facts["callers"] = msgspec.to_builtins(self._core.callers.status)
        del facts["sample"]
        return facts

    async def _privacy(self) -> dict[str, Any]:
        """What is stored, where, by which rule, and what is open."""
        core = self._core
        return await asyncio.get_running_loop().run_in_executor(
            core.reader, by_running, self._config(), core.store
        )

    async def _rendered(self, path: str, body: dict[str, Any]) -> str:
        """Raises RenderingError."""
        return await rendered(str(self._config().upstream), path, body, self._core.instance)
