"""The admin's answers in JSON: what runs, what ran, how it went, what the model server has.

Read only. A call is told from where it is known best: the running ones and the recent ring first,
then the store, without which all this still answers. Not here: who may ask (`security.py`), single
calls, and how one is ended (`calls.py`), how events flow (`events.py`), pages.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec
from aiohttp import web

from ollama_proxy.admin.answers import (
    answering,
    answering_later,
    answering_list,
    json_answer,
    json_errors,
)
from ollama_proxy.admin.calls import Calls
from ollama_proxy.admin.events import Events, Snapshot
from ollama_proxy.admin.export import Export
from ollama_proxy.admin.gate import without_token
from ollama_proxy.admin.history import History, Reader
from ollama_proxy.admin.query import single
from ollama_proxy.bus import unspoken
from ollama_proxy.derived import view
from ollama_proxy.exchange import Call, model_key
from ollama_proxy.ids import iso
from ollama_proxy.insights.estimate import Estimate
from ollama_proxy.live import Live
from ollama_proxy.records import Filter, Finding, ModelInfo, UpstreamHealth
from ollama_proxy.stats import OTHER, Statistics, Summary
from ollama_proxy.storage.base import Found
from ollama_proxy.waiting import LONG_SECONDS, long_waits

IDLE_SECONDS = 60.0
SNAPSHOT_RECENT = 20

_MEANT = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


class Storage(Protocol):
    """How the writing goes. Asked each second: it must not wait or raise."""

    @property
    def dropped(self) -> int: ...

    @property
    def error(self) -> str | None: ...

    @property
    def error_since(self) -> str | None: ...

    @property
    def size_bytes(self) -> int | None: ...


class Facts(msgspec.Struct, kw_only=True, frozen=True):
    """What stays as it is while the proxy runs. `upstream` is a URL that holds no secret."""

    listen: str
    upstream: str
    version: str

    @property
    def own_url(self) -> str:
        """Where programs of this machine reach the proxy."""
        host, _, port = self.listen.rpartition(":")
        return f"http://{_MEANT.get(host, host)}:{port}"


async def _nothing() -> None:
    """What is known where nobody looks."""


class Api:
    """The JSON answers as methods, for the pages too, and their routes."""

    def __init__(
        self,
        *,
        live: Live,
        statistics: Statistics,
        reader: Reader,
        health: Callable[[], UpstreamHealth],
        storage: Storage,
        facts: Facts,
        around: Callable[[], dict[str, Any]] = dict,
        machine: Callable[[], Awaitable[Any]] = _nothing,
        privacy: Callable[[], Awaitable[Any]] = _nothing,
        changed: Callable[[], Mapping[str, str]] = dict,
        hidden: tuple[str, ...] = (),
        expect: Callable[[Call], Estimate | None] = lambda call: None,
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        status_interval: float = 1.0,
    ) -> None:
        self._live, self._totals = live, statistics
        self._health, self._storage, self._facts = health, storage, facts
        self._around, self._machine, self._privacy = around, machine, privacy
        self._changed, self._stopping = changed, stopping
        self._clock, self._now = clock, now
        self._began = clock()
        self._started_at = iso(now())
        self.history = History(live, reader, now, hidden)  # for the other answers, too
        self._calls = Calls(self.history, facts.own_url, now, live.cancel, expect)
        self.exports = Export(self.history.search_all, now)
        self.events = Events(
            live,
            prepare=self._prepare,
            status=self.status,
            numbers=lambda: {"all": self._statistics.all.view(), "models": self.models()},
            interval=status_interval,
        )

    def add_routes(self, app: web.Application) -> None:
        """All answers, below the root of `app`; errors of all its routes become JSON."""
        app.middlewares.append(json_errors)
        app.router.add_get("/healthz", self._healthz)
        for name, answer in (
            ("status", self.status),
            ("around", self.around),
            ("active", self.active_rows),
        ):
            app.router.add_get(f"/api/{name}", answering(answer))
        app.router.add_get("/api/models", answering_list(self.models))
        app.router.add_get("/api/clients", answering_list(self.clients))
        app.router.add_get("/api/stats", answering_list(self.stats, but="uptime"))
        app.router.add_get("/api/machine", answering_later(self._machine))
        app.router.add_get("/api/privacy", answering_later(self._privacy))
        self.exports.add_routes(app)
        self._calls.add_routes(app)
        app.router.add_get("/api/events", self._events)

    # -- what is told -----------------------------------------------------------------------

    def around(self) -> dict[str, Any]:
        """Who goes past the proxy; nothing where nobody looks."""
        return self._around()

    def status(self) -> dict[str, Any]:
        health, storage, totals = self._health(), self._storage, self._statistics.all
        unsaved = storage.error
        known = bool(health.models) or (health.up is True and health.error is None)
        return {
            "status": self._word(health),
            "uptime": self._clock() - self._began,
            "active_requests": self._live.running,
            "waiting": self._waiting(),
            "total_requests": totals.requests + self._live.running,
            "completed_requests": totals.completed,
            "failed_requests": totals.failed,
            "timeout_requests": totals.timeout,
            "cancelled_requests": totals.cancelled,
            "interrupted_requests": totals.interrupted,
            "success_rate": totals.success_rate,
            "avg_response_time": self._statistics.avg_response_time,
            "total_tokens": totals.input_tokens + totals.output_tokens,
            "input_tokens": totals.input_tokens,
            "output_tokens": totals.output_tokens,
            "models_available": len(health.models) if known else None,
            "upstream": self._facts.upstream,
            "upstream_up": health.up,
            "upstream_version": health.version,
            "upstream_error": health.error,
            "upstream_latency": health.latency,
            "upstream_since": health.since,
            "version": self._facts.version,
            "listen": self._facts.listen,
            "started_at": self._started_at,
            "first_call_at": totals.first_used,
            "last_call_at": self._last_call_at(),
            "records_dropped": storage.dropped,
            "sink_errors": self._live.sink_errors,
            "storage_error": unsaved or self.history.error,
            "storage_error_since": storage.error_since if unsaved else self.history.error_since,
            "database_bytes": storage.size_bytes,
        }

    def models(self) -> list[dict[str, Any]]:
        """Those Ollama has, in its order; then those that calls only named."""
        names = [call.model for call in self.active() if call.model]
        named = {model_key(name): name for name in names}
        running = Counter(map(model_key, names))
        summaries = self._summaries()
        summaries.pop(OTHER, None)
        changed = self._changed()
        rows = []
        for info in self._health().models:
            key = model_key(info.name)
            summary = summaries.pop(key)[1] if key in summaries else None
            rows.append(_model_row(info, True, running[key], summary, changed.get(info.name)))
            named.pop(key, None)
        named.update((key, name) for key, (name, _) in summaries.items())
        for key, name in sorted(named.items()):
            summary = summaries[key][1] if key in summaries else None
            rows.append(_model_row(ModelInfo(name=name), False, running[key], summary, None))
        return rows

    def clients(self) -> list[dict[str, Any]]:
        """Who has called, by name; `active` are their running calls."""
        running = Counter(call.client for call in self.active() if call.client)
        summaries = self._statistics.clients
        names = sorted(summaries.keys() | running.keys())
        return [
            {
                "name": name,
                "active": running[name],
                **summaries.get(name, Summary()).view(),
            }
            for name in names
        ]

    def stats(self) -> dict[str, Any]:
        return {
            "uptime": self._clock() - self._began,
            "started_at": self._started_at,
            "active_requests": self._live.running,
            "all": self._statistics.all.view(),
            "models": {name: summary.view() for name, summary in self._summaries().values()},
            "clients": {name: one.view() for name, one in self._statistics.clients.items()},
        }

    def active(self) -> list[Call]:
        """Running calls, oldest first."""
        return self._live.active()

    def active_rows(self) -> list[dict[str, Any]]:
        """The same as REST has them: with the phase that each is in."""
        return self._with_phases(map(view, self.active()))

    def phases(self) -> dict[str, dict[str, Any]]:
        """The phase of each running call by its id."""
        return self._live.phases()

    def _with_phases(self, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        phases = self.phases()
        return [row | phases.get(row["id"], {}) for row in rows]

    async def recent(self, limit: int) -> list[Call]:
        """Calls that ended, newest first."""
        return await self.history.recent(limit)

    async def search(self, wanted: Filter) -> Found:
        """A page of calls, running and ended, newest first. Raises Unreadable."""
        return await self.history.search(wanted)

    async def findings(self, wanted: Filter) -> list[Finding]:
        """What was found of calls, what cost most first. Raises Unreadable."""
        return await self.history.findings(wanted)

    async def finding(self, id: str) -> Finding | None:
        """Raises Unreadable."""
        return await self.history.finding(id)

    # -- where it comes from ----------------------------------------------------------------

    @property
    def _statistics(self) -> Statistics:
        """The totals, of all calls that have ended by now."""
        self._live.settle()
        return self._totals

    def _waiting(self) -> dict[str, Any] | None:
        live, running = self._live, self._live.exchanges
        if all(one.first_byte is not None or one.duration < LONG_SECONDS for one in running):
            return None  # the phases of thousands take long
        found = long_waits(running, live.phases(look=False), live.runner)
        return None if found is None else msgspec.structs.asdict(found)

    def _word(self, health: UpstreamHealth) -> str:
        if self._stopping():
            return "stopping"
        if health.up is False:
            return "down"
        ended, failed = self._live.endings.totals()
        if failed >= 3 and failed > ended * 0.2:
            return "failing"
        busy = self._live.last_busy
        quiet = busy is None or self._clock() - busy >= IDLE_SECONDS
        return "idle" if quiet and not self._live.running else "working"

    def _last_call_at(self) -> str | None:
        started = self._live.last_started
        return self._statistics.all.last_used if started is None else iso(started)

    def _summaries(self) -> dict[str, tuple[str, Summary]]:
        """Each model's totals by its key, with its name: `llama3` and `llama3:latest` are one."""
        found: dict[str, tuple[str, Summary]] = {}
        for name, summary in self._statistics.models.items():
            key = name if name == OTHER else model_key(name)
            if key in found:
                both = Summary()
                both.merge(found[key][1])
                both.merge(summary)
                found[key] = (key, both)
            else:
                found[key] = (name, summary)
        return found

    async def _prepare(self) -> Snapshot:
        history = self.history
        stored = await history.stored_recent(SNAPSHOT_RECENT)
        return lambda: {
            "status": self.status(),
            "active": self._with_phases(map(unspoken, self.active())),
            "recent": [unspoken(call) for call in history.recent_of(SNAPSHOT_RECENT, stored)],
        }

    # -- how it is asked for ----------------------------------------------------------------

    @without_token
    async def _healthz(self, request: web.Request) -> web.Response:
        return json_answer({"status": "ok", "upstream_up": self._health().up})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        single(request.query.items(), ())
        return await self.events.stream(request)


def _model_row(
    info: ModelInfo,
    available: bool,
    active: int,
    summary: Summary | None,
    changed_at: str | None,
) -> dict[str, Any]:
    row = msgspec.structs.asdict(info)
    return {
        "name": row.pop("name"),
        "size": row.pop("size"),
        "family": row.pop("family"),
        "parameter_size": row.pop("parameter_size"),
        "quantization": row.pop("quantization"),
        "digest": row.pop("digest"),
        "weights": row.pop("weights"),
        "changed_at": changed_at,
        "capabilities": row.pop("capabilities"),
        "trained_context": row.pop("trained_context"),
        "available": available,
        **row,
        "active": active,
        "stats": None if summary is None else summary.view(),
    }
