"""What records and watches behind the ports: store, live picture, looks at Ollama and the machine.

Built and started in order by `start`, each part's end noted in the stack that it is given. Not
here: any part's own work, the ports and the calls (`app.py`), the pages (`doors.py`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

from ollama_proxy.alerts.built import window
from ollama_proxy.alerts.gathering import Ending
from ollama_proxy.around import Around
from ollama_proxy.callers import Callers, finder_for
from ollama_proxy.config import Config
from ollama_proxy.foretelling import Foretelling, in_service
from ollama_proxy.gauging import Gauging
from ollama_proxy.handover.custody import Custody
from ollama_proxy.insights.judging import Judging
from ollama_proxy.insights.predictions import Predictions
from ollama_proxy.insights.slow import Usual
from ollama_proxy.listening import is_loopback
from ollama_proxy.live import SETTLE_AT, Live
from ollama_proxy.marking import Marking
from ollama_proxy.marks import Marks
from ollama_proxy.observers.capturing import Captures
from ollama_proxy.pool import Pool
from ollama_proxy.records import Filter, UpstreamHealth
from ollama_proxy.sensors.connections import to_port
from ollama_proxy.sensors.models import ModelSensor
from ollama_proxy.sensors.resources import ResourceSensor
from ollama_proxy.sensors.sampler import Sampler
from ollama_proxy.sinks import ModelChanges, Recorder
from ollama_proxy.storage.base import MAX_LIMIT
from ollama_proxy.storage.folder import DATABASE
from ollama_proxy.storage.sqlite import SqliteStore
from ollama_proxy.storage.writer import Writer
from ollama_proxy.works import DOWN_SECONDS, kept

log = logging.getLogger(__name__)

WRITE_SECONDS = 10.0
"""How long a stop waits for the last batch to be written."""
CALLERS_SECONDS = 1.0


class Core:
    """`start`, once; then all of it runs until `started` is closed."""

    def __init__(self, config: Config, started: AsyncExitStack) -> None:
        self._config, self._started = config, started

    def start(self, running: Collection[str], unstored: Callable[[], Collection[str]]) -> None:
        """`running`: ids of calls that another process still has; `unstored`: of all that are not
        stored as ended. Raises StoreError."""
        self._start_looking()
        self._start_recording(running, unstored)
        self._start_watching()

    def _start_looking(self) -> None:
        upstream = self._config.upstream
        self.callers = Callers(finder_for() if self._config.clients.processes else None)
        self.callers.start()
        self._started.callback(self.callers.stop, CALLERS_SECONDS)
        self.sampler = Sampler(
            ResourceSensor(upstream.host, upstream.port),
            tell=lambda reading: self.gauging.sampled(reading),
        )
        self.sampler.start()
        self._started.callback(self.sampler.stop)
        self.around = Around(
            connections=lambda: to_port(upstream.port) if is_loopback(upstream.host) else None,
            ours=lambda: self.pool.ends,
            running=self._running_models,
            look=self.callers.look,
        )
        self._started.callback(self.around.stop)

    def _running_models(self) -> set[str]:
        live = self.live
        if len(live.unrecorded) <= SETTLE_AT:  # else it takes long, and these models are known
            live.settle()
        return live.models

    def _start_recording(
        self, running: Collection[str], unstored: Callable[[], Collection[str]]
    ) -> None:
        config = self._config
        self.store = SqliteStore(config.data_dir / DATABASE)
        self.store.open(running)
        self._started.callback(self.store.close)
        # One thread: reads share a connection, and must not wait with the look-ups of host names.
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._started.callback(self.reader.shutdown, wait=False, cancel_futures=True)
        self.statistics = self.store.statistics()
        past = self.store.marks(Filter(limit=MAX_LIMIT))
        self.custody = Custody(self.store, unstored)
        self.marking = Marking(Marks(self.store.known(), past), self.custody.mark)
        self._started.push_async_callback(self.marking.stop)
        self.writer = Writer(self.custody, *kept(config.retention))
        self.writer.start()
        self.captures = Captures()
        self.usual = Usual(config.insights.slow_times, config.insights.slow_seconds)
        self.judging = Judging(
            running=lambda: in_service(self.live),
            note=self.writer.note,
            look=lambda: self.sensor.poke(),
            slots=lambda model: self.live.slots(model),
            usual=self.usual,
        )
        self._started.push_async_callback(asyncio.to_thread, self._end_writing)
        self.window = window(config.alerts)
        self.predictions = Predictions(lambda call: self.foretelling.of(call))
        self.live = Live(
            recent=config.retention.recent,
            sinks=[
                self.predictions,
                Recorder(self.writer, self.statistics, self.captures),
                ModelChanges(lambda: self.sensor.poke(), lambda: self.sensor.loaded),
                self.around,
                Ending(self.window),
            ],
            loaded=lambda: self.sensor.loaded,
            meter=self.sampler,
            judge=self.judging,
        )
        self._started.callback(self.live.settle)
        self.gauging = Gauging(
            running=lambda: self.live.running,
            queued=lambda: self.live.queued,
            write=self.custody.gauge,
        )
        self._started.push_async_callback(self.gauging.stop)
        self.foretelling = Foretelling(self.judging, self.live, lambda: self.sensor.loaded)

    def _start_watching(self) -> None:
        config, upstream = self._config, self._config.upstream
        tls = ssl.create_default_context() if upstream.scheme == "https" else None
        self.pool = Pool(
            upstream.host, upstream.port, tls=tls, idle_limit=config.timeouts.pool_idle
        )
        self._started.callback(self.pool.close)
        self.instance = secrets.token_hex(8)
        self.sensor = ModelSensor(
            str(upstream),
            instance=self.instance,
            interval=config.models_interval,
            interval_down=min(DOWN_SECONDS, config.models_interval),
            on_look=self._looked,
            busy=lambda: self.live.moving_models,
        )
        self.sensor.start()
        self._started.push_async_callback(self.sensor.stop)

    def _looked(self, before: UpstreamHealth, after: UpstreamHealth) -> None:
        self.around.looked(before, after)
        if before.up is False and after.up:
            self.judging.restarted()
            self.live.endings.forget()
        if after.up and after.error is None:  # else what is loaded is not known
            self.judging.looked(after.models, self.sensor.loaded.at)
        self.marking.looked(after)
        self.sampler.poke()

    async def recount(self) -> None:
        """The statistics as they are stored now, whoever counted, and what is not stored yet.
        Raises StoreError."""
        loop = asyncio.get_running_loop()
        # Else what is written between the two looks is counted twice or not at all.
        await loop.run_in_executor(self.reader, self.writer.hold)
        try:
            counted = await loop.run_in_executor(self.reader, self.store.statistics)
            for call in self.writer.unwritten:
                counted.add(call)
        finally:
            self.writer.release()
        ours = self.statistics
        ours.all, ours.models, ours.clients = counted.all, counted.models, counted.clients

    def _end_writing(self) -> None:
        if not self.writer.stop(WRITE_SECONDS):
            log.error("not all calls could be stored: %s", self.writer.error or "time ran out")
