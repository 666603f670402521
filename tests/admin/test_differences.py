"""What is different about a model's calls, over REST."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ollama_proxy.admin.answers import json_errors
from ollama_proxy.admin.differences import WhatIsDifferent
from ollama_proxy.exchange import Call
from ollama_proxy.ids import first_id, iso
from ollama_proxy.records import Mark
from tests.admin.support import NOW, WORDS, Client, Stored, World, got
from tests.storage.calls import make_call

HOUR = 3600.0


def at(moment: float, **fields: Any) -> Call:
    facts: dict[str, Any] = {"model": "m", "client": "a.py", "input_tokens": 100, "queue": 0.0}
    id = first_id(moment)
    return make_call(**facts | {"id": id, "started_at": iso(moment)} | fields)


def asking(world: World) -> Client:
    app = web.Application()
    app.middlewares.append(json_errors)
    WhatIsDifferent(world.api.history, WORDS, lambda: NOW).add_routes(app)
    return TestClient(TestServer(app))


def slower(count: int = 30) -> list[Call]:
    """Calls of two days, and of the last hour, in which each token took three times as long."""
    old = [at(NOW - 2 * HOUR - 60 * n, time_per_output_token=0.02 + n / 1e7) for n in range(100)]
    new = [at(NOW - 60 - 60 * n, time_per_output_token=0.06 + n / 1e7) for n in range(count)]
    return [*old, *new]


async def test_what_is_slower_since_when_is_told_in_numbers_and_words() -> None:
    world = World(stored=Stored(rows=slower()))
    world.stored.changes = [
        Mark(
            id=first_id(NOW - HOUR),
            at=iso(NOW - HOUR),
            kind=kind,
            subject=subject,
            old=old,
            new="b",
        )
        for kind, subject, old in (
            ("version", "ollama", "a"),
            ("digest", "m:latest", "a"),
            ("digest", "other", "a"),
            ("digest", "m", None),
        )
    ]
    async with asking(world) as client:
        told = await got(client, "/api/differences?model=m&since=1h")
    assert (told["calls"], told["usual_calls"], told["enough"]) == (30, 100, True)
    [one] = told["differences"]
    assert (one["what"], round(one["times"], 1)) == ("time_per_output_token", 3.0)
    assert [mark["subject"] for mark in told["changes"]] == ["ollama", "m:latest"]
    then = WORDS["en"].at(NOW - HOUR, NOW)
    assert told["text"]["en"] == [
        "Each token out: 60\xa0ms instead of 20\xa0ms, 3.0 times as much (30 calls, 100 before).",
        f"Ollama went from a to b {then}, or shortly before.",
        f"m:latest was made or pulled anew {then}, or shortly before: its digest is another one.",
    ]


async def test_few_calls_tell_nothing_and_say_so() -> None:
    async with asking(World(stored=Stored(rows=slower(count=9)))) as client:
        told = await got(client, "/api/differences?model=m&since=1h")
    assert told["differences"] == []
    assert told["text"]["en"] == ["Too few calls to tell: 9, and 100 before. It takes 20 of each."]


async def test_what_the_calls_were_is_said() -> None:
    rows = [at(NOW - 60 * n, options={"num_ctx": 8192 if n <= 30 else 4096}) for n in range(1, 130)]
    async with asking(World(stored=Stored(rows=rows))) as client:
        told = await got(client, "/api/differences?model=m&since=30m")
    assert (
        "The option num_ctx is 8192 in 100\xa0% of the calls, 0\xa0% before." in told["text"]["en"]
    )


async def test_a_page_that_ends_early_is_not_all() -> None:
    rows = slower(count=40)
    # The store's first page ends among the new calls, for lack of time.
    stored = Stored(rows=rows, scanned_to=sorted(row.id for row in rows)[-10])
    async with asking(World(stored=stored)) as client:
        told = await got(client, "/api/differences?model=m&since=1h")
    assert (told["calls"], told["usual_calls"]) == (40, 100)


async def test_what_memory_knows_is_not_all() -> None:
    world = World(stored=Stored(broken=True))
    world.ended(model="m")
    async with asking(world) as client:
        assert "store" in (await got(client, "/api/differences?model=m&since=0", 503))["error"]


async def test_it_asks_for_what_it_needs() -> None:
    async with asking(World()) as client:
        for wrong, name in (("", "model"), ("?model=m", "since"), ("?model=m&since=x", "since")):
            assert name in (await got(client, f"/api/differences{wrong}", 400))["error"]
