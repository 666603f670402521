"""A stand-in for the proxy's admin: the real page over made-up state that a test changes at will.

It serves `Pages`, the JSON answers and one event stream, in the shapes that the REST answers have.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from aiohttp import web

from ollama_proxy.admin.attempts import Attempts
from ollama_proxy.admin.gate import Gate
from ollama_proxy.admin.history import Unreadable
from ollama_proxy.admin.insights import Insights
from ollama_proxy.admin.lists import Requests
from ollama_proxy.admin.login import Login
from ollama_proxy.admin.pages import Pages
from ollama_proxy.admin.query import parse_filter
from ollama_proxy.admin.reference import Reference
from ollama_proxy.admin.security import secure
from ollama_proxy.admin.sessions import Sessions
from ollama_proxy.admin.site import Site
from ollama_proxy.admin.views import Views
from ollama_proxy.bus import unspoken
from ollama_proxy.charts import Asked, columns
from ollama_proxy.config import effective, load
from ollama_proxy.derived import view
from ollama_proxy.exchange import Call
from ollama_proxy.filters import kinds_of, matches, place
from ollama_proxy.ids import epoch, iso, moment_of, new_id
from ollama_proxy.insights.occurring import kinds
from ollama_proxy.records import Filter, Finding
from ollama_proxy.series import HOUR, MINUTE, Gauges, Levels, Tally
from ollama_proxy.stats import Statistics, Summary
from ollama_proxy.storage.base import Found
from tests.browser.fake_alerts import FakeAlerts

Json = dict[str, Any]
EMPTY = {"count": 0, "mean": None, "p50": None, "p90": None, "p95": None, "p99": None, "max": None}


def spread(count: int, p50: float, p90: float, p95: float, p99: float) -> Json:
    return {
        "count": count,
        "mean": p50 * 1.2,
        "p50": p50,
        "p90": p90,
        "p95": p95,
        "p99": p99,
        "max": p99 * 1.3,
    }


def summary(**values: Any) -> Json:
    """A SUMMARY of no calls, with `values` over it."""
    counts = ("requests", "completed", "failed", "timeout", "cancelled", "interrupted")
    times = ("queue_seconds", "load_seconds", "prefill_seconds", "decode_seconds")
    zero: Json = dict.fromkeys((*counts, "input_tokens", "output_tokens", "total_tokens"), 0)
    zero |= dict.fromkeys(times, 0.0)
    zero |= {"success_rate": None, "first_used": None, "last_used": None}
    zero |= dict.fromkeys(("duration", "time_to_first_token", "tokens_per_second"), EMPTY)
    return zero | values


def model(name: str, **values: Any) -> Json:
    base: Json = {"name": name, "size": 9_276_198_565, "family": "qwen3", "available": True}
    base |= {"parameter_size": "14.8B", "quantization": "Q4_K_M", "loaded": False}
    keys = ("size_loaded", "size_vram", "context_length", "expires_at", "stats", "changed_at")
    return base | dict.fromkeys(keys) | {"active": 0} | values


def call(state: str = "completed", *, ago: float = 0.0, **values: Any) -> Call:
    """A call that began `ago` seconds before now."""
    began = time.time() - ago
    given = {"id": new_id(began), "method": "POST", "path": "/api/chat", "model": "qwen3:14b"}
    given |= {"state": state, "started_at": iso(began), "client": "signals.py"}
    return msgspec.convert(given | {"duration": ago} | values, Call)


def in_phase(name: str, place: int | None = None) -> Json:
    """What is told of a running call's phase."""
    certain = name in ("thinking", "answering")
    return {
        "phase": name,
        "phase_seconds": 1.0,
        "phase_estimated": not certain,
        "queue_position": place,
    }


def finding(kind: str, *, ago: float = 300.0, **values: Any) -> Finding:
    """A finding whose latest call began `ago` seconds before now."""
    last = time.time() - ago
    given: Json = {"id": f"{new_id(last)}.0", "kind": kind, "model": "qwen3:14b", "other": None}
    given |= {"client": "signals.py", "detail": None, "opened_at": iso(last - 7200), "count": 7}
    given |= {"last_at": iso(last), "over": False, "of": 40, "tokens": None, "seconds": None}
    given |= {"needed": None, "estimated": False, "calls": [new_id(last)]}
    return Finding(**given | values)


class Fake:
    """The state of a made-up proxy; a `PageState`."""

    def __init__(self) -> None:
        self.url = ""
        self.began = time.time()
        self.running: dict[str, Call] = {}
        self.told: dict[str, Json] = {}  # phases of running calls
        self.ended: list[Call] = []
        self.listed: list[Json] = []
        self.found: list[Finding] | None = []
        self.waited: list[Json] = []
        self.scanned_to: str | None = None  # where searches end for lack of time
        self.verdict: Json | None = None  # on a prompt that is asked about
        self.unstoppable: tuple[int, str] | None = None  # how a wish to stop a call is refused
        self.forms: dict[str, list[str]] = {}  # of calls that can be made again
        self.all = summary()
        self.alerts = FakeAlerts()
        self.apart = 1  # of so many steps of a chart one is known
        self.bypassed: list[Json] = []  # programs
        self.changes: Json = {}
        self.streams: set[web.StreamResponse] = set()
        self.refused = False
        self.opened = 0
        self.later = 0.0  # seconds that the clock of sessions is ahead
        self._events = 0
        self._changed = asyncio.Condition()

    # -- a PageState ----------------------------------------------------------------------------

    def status(self) -> Json:
        states = [call.state for call in self.ended]
        counts = {
            f"{state}_requests": states.count(state)
            for state in ("completed", "failed", "timeout", "cancelled", "interrupted")
        }
        tokens_in = sum(call.input_tokens or 0 for call in self.ended)
        tokens_out = sum(call.output_tokens or 0 for call in self.ended)
        calls = [*self.ended, *self.running.values()]
        done = counts["completed_requests"]
        judged = done + counts["failed_requests"] + counts["timeout_requests"]
        rate = done / judged * 100 if judged else None
        return {
            "status": "working",
            "uptime": time.time() - self.began,
            "active_requests": len(self.running),
            "waiting": None,
            "total_requests": len(calls),
            **counts,
            "success_rate": rate,
            "avg_response_time": 0.0,
            "total_tokens": tokens_in + tokens_out,
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "models_available": len(self.listed),
            "upstream": "http://127.0.0.1:11434",
            "upstream_up": True,
            "upstream_version": "0.33.1",
            "upstream_error": None,
            "upstream_latency": 0.003,
            "upstream_since": iso(self.began),
            "version": "0.1.0",
            "listen": "127.0.0.1:11435",
            "started_at": iso(self.began),
            "first_call_at": min((call.started_at for call in self.ended), default=None),
            "last_call_at": max((call.started_at for call in calls), default=None),
            "records_dropped": 0,
            "storage_error": None,
            "storage_error_since": None,
            "database_bytes": 48_210_000,
        } | self.changes

    def stats(self) -> Json:
        return {
            "uptime": time.time() - self.began,
            "started_at": iso(self.began),
            "active_requests": len(self.running),
            "all": self.all,
            "models": {row["name"]: row["stats"] for row in self.listed if row["stats"]},
        }

    def models(self) -> list[Json]:
        return self.listed

    def active(self) -> list[Call]:
        return list(self.running.values())

    def around(self) -> Json:
        return {"connections_seen": True, "programs": self.bypassed, "models": []}

    def phases(self) -> dict[str, Json]:
        return self.told

    async def recent(self, limit: int) -> list[Call]:
        return sorted(self.ended, key=lambda call: call.id, reverse=True)[:limit]

    async def search(self, wanted: Filter) -> Found:
        calls = [*self.running.values(), *self.ended]
        if wanted.finding is not None:
            ids = [id for one in self.found or () if one.id == wanted.finding for id in one.calls]
            calls = [call for call in calls if call.id in ids]
        if wanted.insight is not None:
            named = set(kinds_of(wanted.insight))
            calls = [call for call in calls if named & {*(kinds(call) or ())}]
        wanted = msgspec.structs.replace(wanted, finding=None, insight=None)
        found = [call for call in calls if matches(call, wanted)]
        found.sort(key=lambda call: place(call, wanted.sort), reverse=True)
        return Found(found[: wanted.limit], self.scanned_to)

    def clients(self) -> list[Json]:
        told = Statistics()
        for call in self.ended:
            told.add(call)
        names = {call.client for call in (*self.running.values(), *self.ended) if call.client}
        known = told.clients
        return [
            {"name": name, "active": 0, **known.get(name, Summary()).view()}
            for name in sorted(names)
        ]

    async def findings(self, wanted: Filter) -> list[Finding]:
        kind, since = wanted.kind, moment_of(wanted.since) if wanted.since else 0.0
        if self.found is None:
            raise Unreadable
        found = [one for one in self.found if epoch(one.last_at) >= since]
        return [one for one in found if kind in (None, one.kind)][: wanted.limit]

    async def finding(self, id: str) -> Finding | None:
        return next((one for one in self.found or () if one.id == id), None)

    # -- what a test does to it -------------------------------------------------------------------

    async def start(self, begun: Call) -> Call:
        self.running[begun.id] = begun
        await self.send("started", unspoken(begun))
        await self.send("numbers", {"all": self.all, "models": self.listed})
        return begun

    async def progress(self, running: Call, phase: str = "waiting", **values: Any) -> Call:
        moved = msgspec.structs.replace(running, **values)
        self.running[moved.id] = moved
        self.told[moved.id] = in_phase(phase)
        keys = ("id", "model", "duration", "output_chunks", "response_bytes", "time_to_first_token")
        told = {key: getattr(moved, key) for key in keys}
        await self.send("progress", [told | self.told[moved.id]])
        return moved

    async def finish(self, running: Call, **values: Any) -> Call:
        ended = msgspec.structs.replace(running, **({"state": "completed"} | values))
        self.running.pop(ended.id, None)
        self.ended.append(ended)
        await self.send("finished", unspoken(ended))
        await self.send("numbers", {"all": self.all, "models": self.listed})
        return ended

    async def change(self, **values: Any) -> None:
        """Changes what the status says."""
        self.changes |= values
        await self.send("status", self.status())

    async def send(self, kind: str, value: Any) -> None:
        for stream in list(self.streams):
            try:
                await self._write(stream, kind, value)
            except ConnectionError:
                self.streams.discard(stream)

    async def break_off(self) -> None:
        """Ends all streams and refuses new ones until `refused` is False again."""
        self.refused = True
        for stream in list(self.streams):
            assert stream._req is not None
            assert stream._req.transport is not None
            stream._req.transport.abort()
        self.streams.clear()

    async def connected(self, opened: int = 1) -> None:
        """Waits until so many streams have been opened in all."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: self.opened >= opened)

    # -- its routes -------------------------------------------------------------------------------

    def app(self, gate: Gate | None = None) -> web.Application:
        app = web.Application()
        secure(app, None if gate is None else gate.asked)
        pages = Pages(self, Site(guarded=gate is not None))
        views = Views(self, pages.site, lambda: effective(load({}, {})))
        reference = Reference(pages.site)
        for part in (pages.site, pages, Requests(self, pages.site), views, reference):
            part.add_routes(app)
        self.alerts.add_routes(app, self)
        if gate is not None:
            Login(gate, pages.site).add_routes(app)
        Insights(self, pages.words, time.time).add_routes(app)
        app.router.add_get("/api/{what:status|stats|models|active|around}", self._answer)
        app.router.add_get("/api/requests", self._requests)
        app.router.add_get("/api/series", self._series)
        app.router.add_get("/api/machine", self._machine)
        app.router.add_get("/api/requests/{id}", self._request)
        app.router.add_get("/api/requests/{id}/neighbours", self._neighbours)
        app.router.add_get("/api/requests/{id}/replay", self._replay)
        app.router.add_post("/api/requests/{id}/prompt_cut", self._prompt_cut)
        app.router.add_post("/api/requests/{id}/cancel", self._cancel)
        app.router.add_get("/api/events", self._stream)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        value = getattr(self, request.match_info["what"])()
        return web.json_response(msgspec.to_builtins(value))

    async def _requests(self, request: web.Request) -> web.Response:
        found = await self.search(parse_filter(request.query, time.time()))
        return web.json_response([unspoken(call) for call in found.calls])

    async def _series(self, request: web.Request) -> web.Response:
        """An hour of minutes, or six, the first half of which the proxy did not run."""
        said = request.query
        wanted = parse_filter({**said} | {"since": "1h"}, time.time())
        if said.get("since") == "1d":
            return web.json_response({"error": "the store cannot be read now"}, status=503)
        until = int(time.time()) // MINUTE * MINUTE + MINUTE
        span, step = 6 * HOUR if said.get("since") == "6h" else HOUR, int(said.get("step", MINUTE))
        if "until" in said:
            until, span = int(said["until"]), int(said["until"]) - int(said["since"])
        since = (until - span) // step * step
        asked = Asked(since=since, until=until, step=step, now=time.time(), model=wanted.model)
        tallies = {}
        for at in range(until - span // 2 // step * step, until, step):
            if at // step % self.apart:
                continue
            gauges = Gauges()
            gauges.hold(Levels(2, 1, 40.0, 8 * 10**9), 60)
            tallies[at] = Tally(gauges=gauges)
            for one in self.ended:
                tallies[at].add(one)
        return web.json_response(columns(asked, tallies))

    async def _machine(self, request: web.Request) -> web.Response:
        why = {"status": "Ollama is not on this machine", "gpu_status": "no driver is installed"}
        return web.json_response({**why, "ollama_cpu_percent": None, "gpu": None})

    async def _request(self, request: web.Request) -> web.Response:
        for known in (*self.running.values(), *self.ended):
            if known.id == request.match_info["id"]:
                return web.json_response(view(known) | {"waited_for": self.waited})
        return web.json_response({"error": "no such call"}, status=404)

    async def _neighbours(self, request: web.Request) -> web.Response:
        id, calls = request.match_info["id"], [*self.running.values(), *self.ended]
        this = next(call for call in calls if call.id == id)
        wanted = parse_filter({**request.query}, time.time())
        found = sorted(call.id for call in calls if matches(call, wanted))
        same = [call.id for call in calls if call.client == this.client and call.id < id]
        newer = [one for one in found if one > id]
        older = [one for one in found if one < id]
        return web.json_response(
            {
                "newer": newer[0] if newer else None,
                "older": older[-1] if older else None,
                "same_client": max(same, default=None),
            }
        )

    async def _replay(self, request: web.Request) -> web.Response:
        form = request.query["as"]
        if form == "forms":
            return web.json_response(self.forms.get(request.match_info["id"], []))
        return web.Response(text=f"the call as {form}")

    async def _prompt_cut(self, request: web.Request) -> web.Response:
        if self.verdict is None:
            return web.json_response({"error": "no answer"}, status=502)
        return web.json_response(self.verdict)

    async def _cancel(self, request: web.Request) -> web.Response:
        if self.unstoppable is not None:
            status, error = self.unstoppable
            return web.json_response({"error": error}, status=status)
        running = self.running[request.match_info["id"]]
        ended = await self.finish(running, state="cancelled", reason="operator")
        return web.json_response(view(ended))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self.refused:
            return web.json_response({"error": "refused"}, status=503)
        stream = web.StreamResponse(headers={"Cache-Control": "no-store"})
        stream.content_type = "text/event-stream"
        await stream.prepare(request)
        snapshot = {
            "status": self.status(),
            "active": [unspoken(call) | self.told.get(call.id, {}) for call in self.active()],
            "recent": [unspoken(call) for call in await self.recent(20)],
        }
        await self._write(stream, "snapshot", snapshot)
        self.streams.add(stream)
        async with self._changed:
            self.opened += 1
            self._changed.notify_all()
        try:
            while stream in self.streams:
                await asyncio.sleep(1)
                await self._write(stream, "status", self.status())
        except ConnectionError:
            pass
        finally:
            self.streams.discard(stream)
        return stream

    async def _write(self, stream: web.StreamResponse, kind: str, value: Any) -> None:
        self._events += 1
        data = msgspec.json.encode(value).decode()
        await stream.write(f"id: {self._events}\nevent: {kind}\ndata: {data}\n\n".encode())


async def serve(fake: Fake, prefix: str = "/admin", token: str = "") -> tuple[web.AppRunner, str]:
    """Starts it on a free port below `prefix`, behind a `token` if there is one; returns what to
    clean up and the page's address."""
    gate = None
    if token:
        attempts = Attempts(time.monotonic)
        gate = Gate(Sessions(token), attempts, prefix, lambda: time.time() + fake.later)
    app = web.Application()
    app.add_subapp(prefix, fake.app(gate))
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}{prefix}/"
