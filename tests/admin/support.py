"""What tests of the admin share: a real server with made-up parts behind it, and event reading."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from ollama_proxy.admin.api import Api, Facts
from ollama_proxy.admin.insights import Insights
from ollama_proxy.admin.neighbours import Neighbours
from ollama_proxy.admin.security import secure
from ollama_proxy.admin.series import Series
from ollama_proxy.admin.site import DASHBOARD
from ollama_proxy.admin.words import LANGUAGES, Words
from ollama_proxy.bus import EventBus
from ollama_proxy.charts import Asked, columns
from ollama_proxy.exchange import Call, Exchange, State
from ollama_proxy.filters import matches, place
from ollama_proxy.insights.estimate import Estimate
from ollama_proxy.listeners import Sink
from ollama_proxy.live import Live
from ollama_proxy.phases import Loaded
from ollama_proxy.records import Filter, Finding, Flip, Mark, Occurrence, UpstreamHealth
from ollama_proxy.replay import Capture
from ollama_proxy.stats import Statistics
from ollama_proxy.storage.base import Found, page
from ollama_proxy.storage.errors import StoreError

PATIENCE = 5.0
NEVER = 3600.0
NOW = 1_790_000_000.0
Client = TestClient[web.Request, web.Application]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Stored:
    """A store's reader over a list; `broken` and `refusal` raise, `hung` never answers."""

    rows: list[Call] = field(default_factory=list)
    captures: dict[str, Capture] = field(default_factory=dict)
    changes: list[Mark] = field(default_factory=list)
    found: list[Finding] = field(default_factory=list)
    waited: list[Occurrence] = field(default_factory=list)
    named: dict[str, list[str]] = field(default_factory=dict)  # calls by finding, or its kind
    scanned_to: str | None = None  # where a first page ends for lack of time
    asked: list[Filter] = field(default_factory=list)
    broken: bool = False
    hung: bool = False
    refusal: str | None = None
    interrupted: int = 0

    async def search(self, wanted: Filter) -> Found:
        self.asked.append(wanted)
        await self._answer()
        end = self.scanned_to if self.scanned_to and not wanted.before else None
        rows = [row for row in self.rows if row.id >= (end or "")]
        if (by := wanted.finding or wanted.insight) is not None:
            rows = [row for row in rows if row.id in self.named.get(by, ())]
            wanted = msgspec.structs.replace(wanted, finding=None, insight=None)
        rows = [row for row in rows if matches(row, wanted)]
        in_order = sorted(rows, key=lambda row: place(row, wanted.sort), reverse=True)
        return Found(page(in_order, wanted.limit), end)

    async def oldest(self, wanted: Filter) -> str | None:
        await self._answer()
        return min((row.id for row in self.rows if matches(row, wanted)), default=None)

    async def capture(self, id: str) -> Capture | None:
        await self._answer()
        return self.captures.get(id)

    async def call(self, id: str) -> Call | None:
        await self._answer()
        return next((row for row in self.rows if row.id == id), None)

    async def marks(self, wanted: Filter) -> list[Mark]:
        self.asked.append(wanted)
        await self._answer()
        changes = [one for one in self.changes if one.id < (wanted.before or "~")]
        return changes[: wanted.limit]

    async def flips(self, wanted: Filter) -> list[Flip]:
        await self._answer()
        return []

    async def findings(self, wanted: Filter) -> list[Finding]:
        self.asked.append(wanted)
        await self._answer()
        ids = [one.id for one in self.found]
        start = ids.index(wanted.after) + 1 if wanted.after else 0
        return self.found[start : start + wanted.limit]

    async def waits(self, call: str) -> list[Occurrence]:
        await self._answer()
        return self.waited

    async def finding(self, id: str) -> Finding | None:
        await self._answer()
        return next((one for one in self.found if one.id == id), None)

    async def series(self, asked: Asked) -> dict[str, Any]:
        await self._answer()
        return columns(asked, {})

    def interrupt(self) -> None:
        self.interrupted += 1

    async def _answer(self) -> None:
        if self.broken:
            raise OSError("disk gone, key=hunter2")
        if self.refusal is not None:
            raise StoreError(self.refusal)
        if self.hung:
            await asyncio.Event().wait()


@dataclass
class Storage:
    dropped: int = 0
    error: str | None = None
    error_since: str | None = None
    size_bytes: int | None = 4096


@dataclass
class Counting(Sink):
    statistics: Statistics

    def finished(self, call: Call) -> None:
        self.statistics.add(call)


@dataclass
class Arrived:
    """A running call, as the forwarder has them."""

    exchange: Exchange

    def cancel(self) -> None: ...

    def understand(self) -> None: ...

    def refresh(self) -> None: ...


class World:
    """An `Api` and all that it is made of, each part at hand."""

    def __init__(
        self,
        *,
        stored: Stored | None = None,
        status_interval: float = NEVER,
        progress_interval: float = NEVER,
        hidden: tuple[str, ...] = (),
        **bus: int,
    ) -> None:
        self.clock = Clock()
        self.statistics = Statistics()
        self.stored = Stored() if stored is None else stored
        self.storage = Storage()
        self.health = UpstreamHealth()
        self.changed: dict[str, str] = {}
        self.expected: Estimate | None = None
        self.loaded = Loaded()
        self.stopping = False
        self.live = Live(
            sinks=[Counting(self.statistics)],
            clock=self.clock,
            bus=EventBus(**bus),
            progress_interval=progress_interval,
            loaded=lambda: self.loaded,
        )
        self.api = Api(
            live=self.live,
            statistics=self.statistics,
            reader=self.stored,
            health=lambda: self.health,
            storage=self.storage,
            changed=lambda: self.changed,
            expect=lambda call: self.expected,
            stopping=lambda: self.stopping,
            hidden=hidden,
            facts=Facts(
                listen="127.0.0.1:11435", upstream="http://127.0.0.1:11434", version="1.2.3"
            ),
            clock=self.clock,
            now=lambda: NOW,
            status_interval=status_interval,
        )

    def begin(self, path: str = "/api/chat", client: str = "pytest", **observed: Any) -> Exchange:
        exchange = Exchange.begin("POST", path, client)
        for name, value in observed.items():
            setattr(exchange.observation, name, value)
        self.live.start(Arrived(exchange))
        return exchange

    def end(self, exchange: Exchange, state: State = State.COMPLETED) -> None:
        exchange.end(state)
        self.live.finish(exchange)

    def ended(self, state: State = State.COMPLETED, **observed: Any) -> str:
        exchange = self.begin(**observed)
        self.end(exchange, state)
        return exchange.id


@asynccontextmanager
async def served(world: World, *, prefix: str = "") -> AsyncIterator[Client]:
    """The admin on a real socket, at the root or below `prefix`."""
    app = web.Application()
    secure(app)
    world.api.add_routes(app)
    Insights(world.api.history, WORDS, lambda: NOW).add_routes(app)
    Neighbours(world.api.history, lambda: NOW).add_routes(app)
    Series(world.api.history, list, lambda: NOW).add_routes(app)
    if prefix:
        outer = web.Application()
        outer.add_subapp(prefix, app)
        app = outer
    async with TestClient(TestServer(app)) as client:
        yield client
        world.api.events.close()


async def got(client: Client, path: str, status: int = 200) -> Any:
    """The JSON of an answer, which has the status and is never shown from a cache unasked."""
    async with client.get(path) as response:
        assert response.status == status, await response.text()
        assert response.headers["Content-Type"] == "application/json"
        kept = "no-cache, private" if "ETag" in response.headers else "no-store"
        assert response.headers["Cache-Control"] == kept
        return await response.json()


WORDS = {
    language: Words(language, json.loads((DASHBOARD / "i18n" / f"{language}.json").read_text()))
    for language in LANGUAGES
}


@dataclass
class Event:
    kind: str
    data: Any
    id: int


class EventReader:
    """Reads a stream of events. It has no comments in it."""

    def __init__(self, response: ClientResponse) -> None:
        self._response = response

    async def next(self) -> Event:
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            while True:
                line = (await self._response.content.readuntil(b"\n")).decode().rstrip("\n")
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    return Event(fields["event"], json.loads(fields["data"]), int(fields["id"]))

    async def until(self, kind: str) -> Event:
        while (event := await self.next()).kind != kind:
            pass
        return event


@asynccontextmanager
async def listening(client: Client, path: str = "/api/events") -> AsyncIterator[EventReader]:
    async with client.get(path) as response:
        assert response.status == 200
        yield EventReader(response)


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)
