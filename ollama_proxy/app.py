"""Builds the whole program, starts it in order and stops it in the other: knows every part.

Start: store, writer, statistics warmed from the store, model sensor, admin, the proxy's port last.
Stop: the port first, running calls drained, then the rest. Not here: any part's own work.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import resource
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from ollama_proxy import __version__
from ollama_proxy.admin.api import Api, Facts
from ollama_proxy.admin.pages import Pages
from ollama_proxy.admin.security import secure
from ollama_proxy.call import Parts, Target
from ollama_proxy.config import Config
from ollama_proxy.exchange import Call, Reason
from ollama_proxy.forwarder import Forwarder
from ollama_proxy.front import make_front
from ollama_proxy.limits import Limits
from ollama_proxy.live import Live, Sink
from ollama_proxy.observers.privacy import Privacy
from ollama_proxy.pool import Pool
from ollama_proxy.records import Filter, UpstreamHealth
from ollama_proxy.sensors.models import ModelSensor
from ollama_proxy.settings import Address
from ollama_proxy.stats import Statistics
from ollama_proxy.storage.sqlite import SqliteStore
from ollama_proxy.storage.writer import Writer

log = logging.getLogger(__name__)

DATABASE = "calls.sqlite3"
BACKLOG = 4096
READERS = 2
WRITE_SECONDS = 10.0
"""How long a stop waits for the last batch to be written."""


class StartError(Exception):
    """The program cannot start; the text is one line with the cause and the remedy."""


@dataclass
class Recorder(Sink):
    """Hands each call to the store's writer and, once it has ended, to the statistics."""

    writer: Writer
    statistics: Statistics

    def started(self, call: Call) -> None:
        self.writer.put(call)

    def finished(self, call: Call) -> None:
        self.writer.put(call)
        self.statistics.add(call)


@dataclass
class ModelChanges(Sink):
    """Has a fresh look taken at the models when a call has ended that may have changed them."""

    look: Callable[[], None]
    paths = frozenset({"/api/create", "/api/copy", "/api/delete", "/api/pull"})

    def finished(self, call: Call) -> None:
        if call.path in self.paths:
            self.look()


@dataclass
class StoreReader:
    """The store's reads, off the event loop, and away from the threads that look up host names."""

    store: SqliteStore
    threads: ThreadPoolExecutor

    async def calls(self, wanted: Filter) -> list[Call]:
        return await asyncio.get_running_loop().run_in_executor(
            self.threads, self.store.calls, wanted
        )

    async def call(self, id: str) -> Call | None:
        return await asyncio.get_running_loop().run_in_executor(self.threads, self.store.call, id)


@dataclass
class StorageStatus:
    """How the writing goes; the file's size is read at most each ten seconds."""

    writer: Writer
    path: Path
    _size: int | None = None
    _read_at: float = float("-inf")

    @property
    def dropped(self) -> int:
        return self.writer.dropped

    @property
    def error(self) -> str | None:
        return self.writer.error

    @property
    def error_since(self) -> str | None:
        return self.writer.error_since

    @property
    def size_bytes(self) -> int | None:
        now = time.monotonic()
        if now - self._read_at > 10:
            self._read_at = now
            try:
                self._size = self.path.stat().st_size
            except OSError:
                self._size = None
        return self._size


class App:
    """The program: `start`, and later `stop`, both once, on one event loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.port = 0
        self.admin_address: Address | None = None
        self._servers: list[asyncio.Server] = []
        self._runners: list[web.AppRunner] = []

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
        config = self.config
        listener = _bind(config.listen, "--listen")
        try:
            self.port = listener.getsockname()[1]
            admin_listener = self._bind_admin()
            self._start_recording()
            self._start_watching()
            admin = await self._start_admin(admin_listener)
            await self._start_forwarding(listener, admin)
        except BaseException:
            listener.close()
            raise

    def _bind_admin(self) -> socket.socket | None:
        """The admin's own port; where the default one is taken, the page is on the proxy's."""
        wanted = self.config.admin_listen
        if wanted is None:
            return None
        try:
            listener = _bind(wanted, "--admin-listen")
        except StartError as error:
            if self.config.admin_listen_given:
                raise
            log.warning("%s", error)
            return None
        self.admin_address = Address(wanted.host, listener.getsockname()[1])
        return listener

    def _start_recording(self) -> None:
        retention = self.config.retention
        self._store = SqliteStore(self.config.data_dir / DATABASE)
        self._store.open()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._statistics = self._store.statistics()
        self._writer = Writer(
            self._store,
            max_age_days=retention.days or None,
            max_bytes=retention.megabytes * 1_000_000 or None,
        )
        self._writer.start()
        self._live = Live(
            recent=retention.recent,
            sinks=[
                Recorder(self._writer, self._statistics),
                ModelChanges(lambda: self._sensor.poke()),
            ],
        )

    def _start_watching(self) -> None:
        self._instance = secrets.token_hex(8)
        self._sensor = ModelSensor(
            str(self.config.upstream),
            instance=self._instance,
            interval=self.config.models_interval,
            interval_down=min(2.0, self.config.models_interval),
        )
        self._sensor.start()

    async def _start_admin(self, listener: socket.socket | None) -> web.Server:
        """The admin below its path, for the proxy's port, and at the root of its own."""
        config = self.config
        self._api = api = Api(
            live=self._live,
            statistics=self._statistics,
            reader=StoreReader(self._store, self._readers),
            health=lambda: self._sensor.health,
            storage=StorageStatus(self._writer, self._store.path),
            facts=Facts(
                listen=str(Address(config.listen.host, self.port)),
                upstream=str(config.upstream),
                version=__version__,
            ),
        )
        pages = Pages(api)
        mounted = web.Application()
        mounted.add_subapp(config.admin_path, _admin_app(api, pages))
        behind = await self._runner(mounted)
        if listener is not None:
            runner = await self._runner(_admin_app(api, pages))
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
        assert behind.server is not None
        return behind.server

    async def _runner(self, app: web.Application) -> web.AppRunner:
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        self._runners.append(runner)
        return runner

    async def _start_forwarding(self, listener: socket.socket, admin: web.Server) -> None:
        config = self.config
        upstream, times = config.upstream, config.timeouts
        tls = ssl.create_default_context() if upstream.scheme == "https" else None
        here = is_loopback(config.listen.host)
        pass_host = here and is_loopback(upstream.host)
        default_port = 443 if tls else 80
        authority = (
            str(Address(upstream.host, upstream.port))
            if upstream.port != default_port
            else str(Address(upstream.host, 0)).removesuffix(":0")
        )
        self._pool = Pool(upstream.host, upstream.port, tls=tls, idle_limit=times.pool_idle)
        self._forwarder = Forwarder(
            Parts(
                target=Target(
                    path=upstream.path.encode(),
                    authority=authority.encode(),
                    pass_host=pass_host,
                    check_host=here and not pass_host,
                ),
                pool=self._pool,
                live=self._live,
                limits=Limits(
                    connect=times.connect,
                    first_byte=times.first_byte,
                    idle=times.idle,
                    total=times.total,
                    upload=times.upload,
                ),
                privacy=Privacy.build(
                    config.privacy.mode, config.privacy.characters, config.privacy.redact
                ),
                instance=self._instance,
                health=lambda: self._sensor.health,
                on_surprise=self._sensor.poke,
            )
        )
        self._front = make_front(self._forwarder.handle, admin, config.admin_path)
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(self._front, sock=listener, backlog=BACKLOG))

    # -- stop -------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Let running calls end, within `timeouts.drain`, then end everything and write it down."""
        for server in self._servers:
            server.close()
        self._front.pre_shutdown()
        if not await self._forwarder.drained(self.config.timeouts.drain):
            await self.interrupt()
        self._api.events.close()
        await self._front.shutdown(0.1)
        await self._sensor.stop()
        for runner in self._runners:
            await runner.cleanup()
        self._pool.close()
        await asyncio.to_thread(self._end_recording)

    async def interrupt(self) -> None:
        """End running calls now; they are recorded as interrupted."""
        count = self._forwarder.interrupt(Reason.SHUTDOWN)
        if count:
            log.warning("ended %d running calls: the stop's time limit passed", count)
        await self._forwarder.drained(2.0)

    @property
    def running(self) -> int:
        """Calls on their way now."""
        return self._forwarder.running

    def _end_recording(self) -> None:
        if not self._writer.stop(WRITE_SECONDS):
            log.error("not all calls could be stored: %s", self._writer.error or "time ran out")
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._store.close()


def _admin_app(api: Api, pages: Pages) -> web.Application:
    app = web.Application()
    secure(app)
    api.add_routes(app)
    pages.add_routes(app)
    return app


def _bind(address: Address, flag: str) -> socket.socket:
    """A bound socket that does not listen yet. Raises StartError."""
    try:
        family, kind, protocol, _, name = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise StartError(f"{flag} {address}: the host is not known ({error.strerror})") from None
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(name)
        # Taken only while something listens there: with SO_REUSEADDR a bind alone may succeed.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(_bind_failure(address, flag, error)) from None
    return listener


def _bind_failure(address: Address, flag: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {address.port} on {address.host} is in use: stop what listens there "
            f"(ss -ltnp 'sport = :{address.port}' names it) or choose another with {flag}"
        )
    if error.errno == errno.EACCES:
        return f"port {address.port} needs root: choose one above 1023 with {flag}"
    return f"{flag} {address}: cannot listen there ({error.strerror})"


def is_loopback(host: str) -> bool:
    """Whether an address or name to listen on, or to connect to, is this machine's loopback."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one: each stream takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
