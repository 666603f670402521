"""From one call to the next, through those that the filters ask for, in memory and in the store."""

from __future__ import annotations

from ollama_proxy.records import Filter
from ollama_proxy.storage.errors import TooLong
from tests.admin.support import Stored, World, got, served
from tests.storage.calls import NOON, make_call


class Hurried(Stored):
    """A store that never has the time to look for the next call."""

    async def oldest(self, wanted: Filter) -> str | None:
        raise TooLong


async def test_the_next_ones_of_those_that_are_asked_for() -> None:
    world = World()
    first, second, other, third = (
        make_call(at=NOON + second, client=client, state=state)
        for second, (client, state) in enumerate(
            [("a", "failed"), ("b", "failed"), ("a", "completed"), ("a", "failed")]
        )
    )
    world.stored.rows = [first, second, other, third]
    late = world.ended(model="m")
    running = world.begin(model="m").id
    async with served(world) as client:

        async def beside(id: str, query: str = "") -> list[str | None]:
            found = await got(client, f"/api/requests/{id}/neighbours{query}")
            assert list(found) == ["newer", "newer_unsought", "older", "same_client"]
            assert found.pop("newer_unsought") is False
            return list(found.values())

        assert await beside(first.id) == [second.id, None, None]
        assert await beside(other.id) == [third.id, second.id, first.id]
        assert await beside(other.id, "?state=failed") == [third.id, second.id, first.id]
        assert await beside(third.id, "?state=failed&client=a") == [None, first.id, other.id]
        assert await beside(third.id) == [late, other.id, other.id]
        assert await beside(late) == [running, third.id, None]
        assert await beside(running, "?state=running") == [None, None, late]
        # One that is not itself asked for has neighbours, too.
        assert await beside(second.id, "?client=a") == [other.id, first.id, None]


async def test_where_there_was_no_time_to_look_no_later_call_is_named() -> None:
    world = World(stored=Hurried())
    first = make_call(at=NOON)
    world.stored.rows = [first]
    world.ended(model="m")
    async with served(world) as client:
        found = await got(client, f"/api/requests/{first.id}/neighbours")
    assert (found["newer"], found["newer_unsought"]) == (None, True)


async def test_what_cannot_be_told() -> None:
    world = World()
    call = make_call()
    world.stored.rows = [call]
    path = f"/api/requests/{call.id}/neighbours"
    async with served(world) as client:
        for unknown in (make_call().id, "nope"):
            await got(client, f"/api/requests/{unknown}/neighbours", 404)
        assert "before: no such parameter" in (await got(client, f"{path}?before=x", 400))["error"]
        world.stored.broken = True
        await got(client, path, 503)
