"""Lists by filter: what is in memory and what is stored, and a search that ended early."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from aiohttp import ClientResponse
from yarl import URL

from ollama_proxy.exchange import Call, State
from ollama_proxy.headers import SCANNED_TO
from ollama_proxy.ids import first_id, new_id
from ollama_proxy.replay import Capture
from tests.admin.support import NOW, Client, World, got, served
from tests.storage.calls import NOON, make_call


def ids(calls: list[dict[str, Any]]) -> list[str]:
    return [call["id"] for call in calls]


async def listed(client: Client, query: str) -> tuple[list[str], str | None]:
    async with client.get(f"/api/requests?{query}") as answer:
        assert answer.status == 200, await answer.text()
        return ids(await answer.json()), answer.headers.get(SCANNED_TO)


@pytest.mark.parametrize(
    "query",
    ["client=pytest", "route=/api/pull", "text=PERCHÉ", "slower_than=59", "since=2001-01-01"],
)
async def test_memory_and_store_are_filtered_alike(query: str) -> None:
    world = World()
    stored = make_call(at=NOW, client="pytest", path="/api/pull", prompt="perché", duration=60.0)
    other = make_call(id=first_id(900_000_000.0), client="other", duration=1.0)
    world.stored.rows = [stored, other]
    running = world.begin("/api/pull", prompt="Perché no?")
    running.started -= 60
    ended = world.begin("/api/pull", prompt="Perché no?")
    ended.started -= 60
    world.end(ended)
    async with served(world) as client:
        found, scanned_to = await listed(client, query)
    assert found == sorted([stored.id, running.id, ended.id], reverse=True)
    assert scanned_to is None


async def test_what_ran_within_a_span_began_before_it_too() -> None:
    world = World()
    day = 86_400

    def began(moment: float, **fields: Any) -> Call:
        return make_call(at=moment, id=first_id(moment), **fields)

    holder = began(NOON - 600, duration=630.0)
    world.stored.rows = [
        began(NOON - day - 60, duration=2.0 * day),  # too long ago to be looked at
        began(NOON - 601, duration=600.0),
        holder,
        began(NOON - 1, duration=None, state="interrupted"),
        here := began(NOON, duration=10.0),
        inside := began(NOON + 9, duration=None, state="interrupted"),
        began(NOON + 11, duration=1.0),
    ]
    async with served(world) as client:
        query = f"ended_after={NOON}&until={NOON + 10}"
        assert (await listed(client, query))[0] == [inside.id, here.id, holder.id]
        found, _ = await listed(client, f"{query}&sort=duration")
        assert found == [holder.id, here.id, inside.id]


async def test_what_runs_has_not_ended_before_any_moment() -> None:
    world = World()
    running = world.begin("/api/pull")
    async with served(world) as client:
        assert (await listed(client, f"ended_after={time.time() + 60}"))[0] == [running.id]


async def test_memory_and_store_are_sorted_together() -> None:
    world = World()
    rows = [make_call(at=NOON + n, id=first_id(NOON + n), duration=n) for n in (5.0, 30.0, 90.0)]
    world.stored.rows = rows
    ended = world.begin()
    ended.started -= 60
    world.end(ended)
    running = world.begin()
    running.started -= 10
    async with served(world) as client:
        found, _ = await listed(client, "sort=duration")
        assert found == [rows[2].id, ended.id, rows[1].id, running.id, rows[0].id]
        pages: list[list[str]] = []
        where: Any = "/api/requests?sort=duration&limit=2"
        for _ in range(3):
            async with client.get(where) as answer:
                pages.append(ids(await answer.json()))
                where = URL(answer.links["next"]["url"]).relative()
    assert [id for page in pages for id in page] == found


async def test_of_which_calls_a_finding_is_only_the_store_knows() -> None:
    """Of a wait memory knows nothing; how the call is, it knows better."""
    world = World()
    ended = world.ended(State.FAILED)
    world.stored.rows = [make_call(id=ended, state="completed")]
    world.stored.named = {"waited": [ended]}
    async with served(world) as client:
        assert [call["state"] for call in await got(client, "/api/requests?insight=waited")] == [
            "failed"
        ]
        assert await listed(client, "insight=left") == ([], None)


async def test_what_the_store_has_of_a_call_in_memory_does_not_count() -> None:
    world = World()
    ended = world.ended(State.FAILED)
    world.stored.rows = [make_call(id=ended, client="as it was", state="completed")]
    async with served(world) as client:
        assert await listed(client, "client=as+it+was") == ([], None)
        assert await listed(client, "state=completed") == ([], None)
        assert await listed(client, "state=failed") == ([ended], None)


async def test_a_search_that_ended_early_says_where_and_goes_on_there() -> None:
    world = World()
    old, older = make_call(at=NOON, prompt="needle"), make_call(at=NOON - 10, prompt="needle")
    recent = world.ended(prompt="needle")
    stop = make_call(at=NOON - 5)
    world.stored.rows = [old, older, stop]
    world.stored.scanned_to = stop.id
    everything = sorted([old.id, older.id, recent], reverse=True)
    async with served(world) as client:
        first, scanned_to = await listed(client, "text=needle")
        assert scanned_to == stop.id
        assert first == [id for id in everything if id > stop.id]
        second, scanned_to = await listed(client, f"text=needle&before={scanned_to}")
        assert (first + second, scanned_to) == (everything, None)


async def test_a_full_page_ended_early_nowhere() -> None:
    world = World()
    world.stored.rows = [make_call(prompt="needle") for _ in range(3)]
    world.stored.scanned_to = world.stored.rows[0].id
    world.ended(prompt="needle")
    async with served(world) as client:
        found, scanned_to = await listed(client, "text=needle&limit=2")
    assert (len(found), scanned_to) == (2, None)


async def test_pages_go_from_memory_into_the_store_without_a_gap() -> None:
    world = World()
    world.stored.rows = [make_call() for _ in range(5)]
    made = [row.id for row in world.stored.rows]
    made += [world.ended(), world.begin().id, world.ended()]
    found: list[str] = []
    async with served(world) as client:
        before = ""
        while page := (await listed(client, f"limit=1{before}"))[0]:
            found += page
            before = f"&before={page[-1]}"
    assert found == sorted(made, reverse=True)


# -- replay ---------------------------------------------------------------------------------


def captured(world: World, **fields: Any) -> str:
    call = make_call()
    world.stored.rows.append(call)
    known: dict[str, Any] = {
        "id": call.id,
        "method": "POST",
        "target": "/api/chat",
        "headers": [("Content-Type", "application/json")],
        "body": b"{}",
    }
    world.stored.captures[call.id] = Capture(**known | fields)
    return call.id


async def replayed(client: Client, id: str, query: str, status: int = 200) -> ClientResponse:
    async with client.get(f"/api/requests/{id}/replay{query}") as answer:
        assert answer.status == status, await answer.text()
        await answer.read()
        return answer


async def test_a_captured_call_is_told_in_each_form() -> None:
    world = World()
    id = captured(world, status=200, pieces=[(0.5, b"hi")])
    async with served(world) as client:
        curl = await (await replayed(client, id, "?as=curl")).text()
        python = await (await replayed(client, id, "?as=python")).text()
        recording = await replayed(client, id, "?as=recording")
        assert await (await replayed(client, id, "")).text() == curl
    assert curl.startswith("curl ") and "http://127.0.0.1:11435/api/chat" in curl
    assert "urllib.request.Request(\n    'http://127.0.0.1:11435/api/chat'" in python
    assert recording.content_type == "application/json"
    assert json.loads(await recording.text())["response"]["chunks"] == [[500.0, "hi"]]


async def test_which_forms_there_are() -> None:
    world = World()
    whole = captured(world, status=200, pieces=[(0.5, b"hi")])
    unanswered, nothing = captured(world), captured(world, body=None)
    async with served(world) as client:
        for id, forms in (
            (whole, ["curl", "python", "recording"]),
            (unanswered, ["curl", "python"]),
            (nothing, []),
            (make_call().id, []),
        ):
            assert await got(client, f"/api/requests/{id}/replay?as=forms") == forms


async def test_what_cannot_be_told_says_why() -> None:
    world = World()
    id = captured(world, body=None)
    async with served(world) as client:
        wrong = await got(client, f"/api/requests/{id}/replay?as=wget", 400)
        assert wrong == {"error": "as=wget: must be one of curl, python, recording, forms"}
        longer = await got(client, f"/api/requests/{id}/replay", 409)
        assert longer == {"error": "the request is longer than what is kept of one"}
        world.stored.rows = [make_call()]
        none = await got(client, f"/api/requests/{world.stored.rows[0].id}/replay", 404)
        assert "only the privacy mode full" in none["error"]
        for unknown in (make_call().id, new_id(NOON), "nope"):
            none = await got(client, f"/api/requests/{unknown}/replay", 404)
            assert none["error"].startswith("no such call")
        world.stored.broken = True
        await got(client, f"/api/requests/{id}/replay", 503)
