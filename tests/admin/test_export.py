"""Downloads: all that was asked for, each call once; broken off, not ended, where they fail."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import pytest
from aiohttp import ClientPayloadError

from ollama_proxy.admin.export import AT_ONCE, PAGE_ROWS
from ollama_proxy.derived import KEYS
from ollama_proxy.records import Filter
from ollama_proxy.storage.base import Found
from tests.admin.support import Client, Stored, World, got, served, until
from tests.storage.calls import make_call

MANY = 2 * PAGE_ROWS + 7


async def lines(client: Client, query: str = "") -> list[str]:
    """The ids of a download as JSON lines."""
    async with client.get(f"/api/requests.jsonl{query}") as answer:
        assert answer.status == 200, await answer.text()
        return [json.loads(line)["id"] for line in (await answer.text()).splitlines()]


async def test_all_calls_are_there_newest_first_and_once() -> None:
    world = World()
    world.stored.rows = [make_call() for _ in range(MANY)]
    stored = [call.id for call in world.stored.rows]
    running, recent = world.begin(), world.ended()
    # The ring and the store overlap.
    world.stored.rows.append(make_call(id=recent))
    async with served(world) as client:
        assert await lines(client) == sorted([*stored, running.id, recent], reverse=True)
    assert {wanted.limit for wanted in world.stored.asked} == {PAGE_ROWS}


async def test_csv_says_the_same_as_rest() -> None:
    world = World()
    world.stored.rows = [make_call(prompt='a "b",\r\nc', output_tokens=3), make_call()]
    async with served(world) as client:
        rows = await got(client, "/api/requests")
        async with client.get("/api/requests.csv") as answer:
            found = list(csv.reader(io.StringIO(await answer.text(), newline=""), strict=True))
            assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
            assert answer.headers["Cache-Control"] == "no-store"
            disposition = answer.headers["Content-Disposition"]
    assert disposition == 'attachment; filename="ollama-calls-2026-09-21.csv"'
    assert found[0] == list(KEYS)
    expected = [["" if value is None else str(value) for value in row.values()] for row in rows]
    assert found[1:] == expected


async def test_json_lines_are_the_rows_of_rest() -> None:
    world = World()
    world.stored.rows = [make_call(options={"a": [1]}), make_call(streamed=True)]
    async with served(world) as client:
        rows = await got(client, "/api/requests")
        async with client.get("/api/requests.jsonl") as answer:
            assert [json.loads(line) for line in (await answer.text()).splitlines()] == rows
            assert answer.content_type == "application/x-ndjson"


async def test_filters_and_a_limit_beyond_a_page() -> None:
    world = World()
    world.stored.rows = [make_call(client="me" if n % 2 else "you") for n in range(2 * MANY)]
    mine = [call.id for call in world.stored.rows[::-1] if call.client == "me"]
    async with served(world) as client:
        assert await lines(client, "?client=me") == mine
        assert await lines(client, f"?client=me&limit={PAGE_ROWS + 3}") == mine[: PAGE_ROWS + 3]
        assert await lines(client, "?client=nobody") == []
        wrong = await got(client, "/api/requests.csv?state=done", 400)
        assert wrong["error"].startswith("state=done: must be one of running")


async def test_a_search_that_ends_early_is_gone_on_with() -> None:
    world = World()
    world.stored.rows = [make_call(prompt="needle") for _ in range(5)]
    world.stored.scanned_to = world.stored.rows[3].id
    expected = [call.id for call in world.stored.rows[::-1]]
    async with served(world) as client:
        assert await lines(client, "?text=needle") == expected


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
async def test_head_tells_the_headers_and_reads_nothing(kind: str) -> None:
    world = World()
    async with served(world) as client, client.head(f"/api/requests.{kind}") as answer:
        assert answer.status == 200
        assert f'.{kind}"' in answer.headers["Content-Disposition"]
        assert await answer.read() == b""
    assert world.stored.asked == []


# -- what goes wrong ------------------------------------------------------------------------


class FailsLater(Stored):
    """The first page is read, the next one is not."""

    async def search(self, wanted: Filter) -> Found:
        self.broken = bool(self.asked)
        return await super().search(wanted)


class Waits(Stored):
    """No page but the first is read before it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def search(self, wanted: Filter) -> Found:
        found = await super().search(wanted)
        if wanted.before is not None:
            await self.go_on.wait()
        return found


async def test_a_store_that_cannot_be_read_is_an_error_not_an_empty_file() -> None:
    world = World()
    world.stored.broken = True
    world.ended()
    async with served(world) as client:
        for kind in ("csv", "jsonl"):
            answer = await got(client, f"/api/requests.{kind}", 503)
            assert answer == {"error": "the store cannot be read now"}


async def test_a_store_that_fails_on_the_way_breaks_the_answer_off() -> None:
    world = World(stored=FailsLater())
    world.stored.rows = [make_call() for _ in range(MANY)]
    async with served(world) as client, client.get("/api/requests.jsonl") as answer:
        assert answer.status == 200
        with pytest.raises(ClientPayloadError):
            await answer.read()


async def test_a_reader_that_leaves_stops_the_reading() -> None:
    world = World()
    world.stored.rows = [make_call(prompt="x" * 500_000) for _ in range(200)]
    async with served(world) as client:
        answer = await client.get("/api/requests.jsonl")
        answer.close()
        await until(lambda: not world.api.exports.running)
    assert len(world.stored.asked) < 10


async def test_only_so_many_run_at_once() -> None:
    waiting = Waits()
    world = World(stored=waiting)
    world.stored.rows = [make_call() for _ in range(MANY)]
    async with served(world) as client:
        answers = [await client.get("/api/requests.jsonl") for _ in range(AT_ONCE)]
        busy = await got(client, "/api/requests.csv", 503)
        assert busy == {"error": f"{AT_ONCE} downloads run already: try later"}
        waiting.go_on.set()
        for answer in answers:
            assert len((await answer.text()).splitlines()) == MANY
        assert len(await lines(client)) == MANY


async def test_a_stop_breaks_off_what_still_runs() -> None:
    world = World()
    world.stored.rows = [make_call(prompt="x" * 500_000) for _ in range(200)]
    async with served(world) as client, client.get("/api/requests.jsonl") as answer:
        assert world.api.exports.running == 1
        world.api.exports.close()
        await until(lambda: not world.api.exports.running)
        with pytest.raises(ClientPayloadError):
            await answer.read()
        await got(client, "/api/requests.jsonl", 503)


async def test_a_download_is_the_newest_first_and_takes_no_other_order() -> None:
    async with served(World()) as client, client.get("/api/requests.csv?sort=queue") as answer:
        assert answer.status == 400
        assert (await answer.json())["error"].startswith("sort: no such parameter here")
