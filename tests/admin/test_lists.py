"""Lists as programs read them: on to the next page, and not again what has not changed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from ollama_proxy.exchange import State
from ollama_proxy.records import Filter, Mark, Noted, Occurrence
from ollama_proxy.storage.sqlite import SqliteStore
from tests.admin.support import Client, Stored, World, served
from tests.admin.test_insights import finding
from tests.storage.calls import make_call

LISTS = ["requests", "models", "clients", "marks", "insights", "stats"]
FRESH = ["status", "active", "requests/{id}"]


def marks(count: int) -> list[Mark]:
    told = {"kind": "version", "subject": "ollama", "old": "0.1", "new": "0.2"}
    return [
        Mark(id=f"{number:026}", at="2026-11-28T10:00:00.000Z", **told)
        for number in range(count, 0, -1)
    ]


async def pages(client: Client, path: str) -> list[list[str]]:
    """The ids on each page, by following the links."""
    found = []
    where: Any = path
    while where is not None:
        async with client.get(where) as answer:
            assert answer.status == 200, await answer.text()
            found.append([row["id"] for row in await answer.json()])
            link = answer.links.get("next")
            where = None if link is None else URL(link["url"]).relative()
    return found


@pytest.mark.parametrize("prefix", ["", "/admin"])
async def test_each_list_that_pages_leads_to_its_next_page(prefix: str) -> None:
    world = World(stored=Stored(changes=marks(5), found=[finding(id=f"{n}.0") for n in "12345"]))
    calls = [world.ended() for _ in range(5)]
    async with served(world, prefix=prefix) as client:
        asked = await pages(client, f"{prefix}/api/requests?limit=2&route=/api/chat")
        assert asked == [calls[:2:-1], calls[2:0:-1], calls[:1], []]
        assert [len(page) for page in await pages(client, f"{prefix}/api/marks?limit=2")] == [
            2,
            2,
            1,
        ]
        found = await pages(client, f"{prefix}/api/insights?limit=2&since=7d")
        assert found == [["1.0", "2.0"], ["3.0", "4.0"], ["5.0"]]
        assert world.stored.asked[-1].since is not None


async def test_a_page_that_ended_for_lack_of_time_leads_on_from_there() -> None:
    world = World(stored=Stored(scanned_to="0" * 25 + "7"))
    async with served(world) as client, client.get("/api/requests?text=x") as answer:
        assert await answer.json() == []
        assert answer.headers["X-Ollama-Proxy-Scanned-To"] == "0" * 25 + "7"
        assert URL(answer.links["next"]["url"]).query == {"text": "x", "before": "0" * 25 + "7"}


async def test_no_such_finding_to_go_on_after() -> None:
    async with served(World()) as client, client.get("/api/insights?after=x") as answer:
        assert answer.status == 400
        assert await answer.json() == {"error": "after=x: must be the id of a finding"}


def test_findings_go_on_in_the_order_of_what_they_cost(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "calls.sqlite3")
    store.open()
    for number in range(1, 6):
        one = make_call(model=f"m{number}")
        seconds = 1.0 if number < 4 else 9.0
        store.write(
            [one],
            noted=[
                Noted(one.id, one.model, one.client, [Occurrence(kind="waited", seconds=seconds)])
            ],
        )
    all_of_them = [one.id for one in store.findings(Filter())]
    first = [one.id for one in store.findings(Filter(limit=2))]
    rest = [one.id for one in store.findings(Filter(after=first[-1]))]
    store.close()
    assert len(all_of_them) == 5
    assert first + rest == all_of_them


@pytest.mark.parametrize("name", LISTS)
async def test_what_has_not_changed_is_not_sent_again(name: str) -> None:
    world = World(stored=Stored(changes=marks(2), found=[finding()]))
    world.ended(model="m")
    async with served(world) as client:
        async with client.get(f"/api/{name}") as answer:
            tag, body = answer.headers["ETag"], await answer.read()
            assert body
        world.clock.now += 10
        for said in (tag, f'"other", {tag}', "*"):
            async with client.get(f"/api/{name}", headers={"If-None-Match": said}) as answer:
                assert (answer.status, await answer.read()) == (304, b"")
                assert answer.headers["ETag"] == tag
                assert answer.headers["Cache-Control"] == "no-cache, private"
        async with client.get(f"/api/{name}", headers={"If-None-Match": '"other"'}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("name", ["requests", "models", "clients", "stats"])
async def test_what_has_changed_is(name: str) -> None:
    """A running call's too, though nothing of it is stored yet."""
    world = World()
    tags = set()
    async with served(world) as client:

        async def tag(seen: str = '""') -> str:
            async with client.get(f"/api/{name}", headers={"If-None-Match": seen}) as answer:
                assert answer.status == 200
                return answer.headers["ETag"]

        tags.add(before := await tag())
        exchange = world.begin(model="m")
        tags.add(running := await tag(before))
        world.end(exchange, State.FAILED)
        tags.add(await tag(running))
    assert len(tags) == 3


async def test_who_takes_an_answer_of_a_moment_ago_shares_it_with_others() -> None:
    """Hundreds of pages that ask the same cost one search; who does not say so has his own."""
    world = World()
    old = {"Cache-Control": "max-age=1"}
    async with served(world) as client:

        async def ask(query: str, headers: dict[str, str]) -> list[str]:
            async with client.get(f"/api/requests?{query}", headers=headers) as answer:
                assert answer.status == 200
                return [call["id"] for call in await answer.json()]

        assert await asyncio.gather(*(ask("text=x", old) for _ in range(50))) == [[]] * 50
        assert len(world.stored.asked) <= 2  # one, or the machine took a second
        before = len(world.stored.asked)
        await ask("text=y", old)
        assert len(world.stored.asked) == before + 1
        ended = world.ended(prompt="x")
        for headers in ({}, {"Cache-Control": "max-age=0"}, {"Cache-Control": "no-cache"}):
            assert await ask("text=x", headers) == [ended]


async def test_an_answer_that_failed_is_not_shared_with_who_comes_later() -> None:
    world = World()
    world.stored.broken = True
    old = {"Cache-Control": "max-age=1"}
    async with served(world) as client:
        async with client.get("/api/requests", headers=old) as answer:
            assert answer.status == 503
        world.stored.broken = False
        async with client.get("/api/requests", headers=old) as answer:
            assert answer.status == 200
        async with client.get("/api/requests?since=never", headers=old) as answer:
            assert answer.status == 400


async def test_an_incomplete_list_is_another_one() -> None:
    """The same calls, but it is not known that there are no others."""
    world = World()
    world.ended()
    async with served(world) as client:
        async with client.get("/api/requests") as answer:
            whole = answer.headers["ETag"]
        world.stored.broken = True
        async with client.get("/api/requests", headers={"If-None-Match": whole}) as answer:
            assert answer.status == 200
            assert "X-Ollama-Proxy-Incomplete" in answer.headers


@pytest.mark.parametrize("name", FRESH)
async def test_what_is_of_this_moment_or_a_whole_call_is_kept_by_nobody(name: str) -> None:
    world = World()
    path = name.format(id=world.ended())
    asked = {"If-None-Match": "*"}
    async with served(world) as client, client.get(f"/api/{path}", headers=asked) as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert "ETag" not in answer.headers
