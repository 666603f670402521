"""Watching for calls that go round the proxy: looks in their order, with made-up connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ollama_proxy.around import Around
from ollama_proxy.bypass import Ends
from ollama_proxy.records import ModelInfo, UpstreamHealth
from tests.storage.calls import make_call

OLLAMA = ("127.0.0.1", 11434)
UP = UpstreamHealth(up=True)


@dataclass
class Found:
    name: str | None
    own: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        return {}


@dataclass
class Looked:
    caller: Found | None
    over: bool = True


@dataclass
class World:
    seen: list[Ends] | None = field(default_factory=list)
    ours: set[tuple[str, int]] = field(default_factory=set)
    running: list[str] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    own: set[int] = field(default_factory=set)

    def around(self) -> Around:
        return Around(
            connections=lambda: self.seen,
            ours=lambda: self.ours,
            running=lambda: self.running,
            look=lambda client, server: Looked(
                Found(self.names.get(client[1]), client[1] in self.own)
            ),
            now=lambda: 0.0,
            delay=0,
        )


async def looked(around: Around, before: UpstreamHealth = UP, after: UpstreamHealth = UP) -> None:
    around.looked(before, after)
    assert around._listing is not None
    await around._listing


def health(expires: str) -> UpstreamHealth:
    return UpstreamHealth(up=True, models=[ModelInfo(name="m:1", loaded=True, expires_at=expires)])


async def test_a_program_is_named_at_the_look_after() -> None:
    world = World(seen=[(("127.0.0.1", 5), OLLAMA), (("127.0.0.1", 6), OLLAMA)], names={5: "curl"})
    world.ours = {("127.0.0.1", 6)}
    around = world.around()
    await looked(around)
    await looked(around)
    view = around.view()
    assert view["connections_seen"] is True
    assert [(one["name"], one["count"]) for one in view["programs"]] == [("curl", 1)]


async def test_commands_of_this_program_are_nobody_who_goes_past_it() -> None:
    world = World(seen=[(("127.0.0.1", 5), OLLAMA), (("127.0.0.1", 6), OLLAMA)], own={6})
    world.names = {5: "ollama_proxy", 6: "ollama_proxy"}  # another one that has that name
    around = world.around()
    await looked(around)
    await looked(around)
    assert [(one["name"], one["count"]) for one in around.view()["programs"]] == [
        ("ollama_proxy", 1)
    ]


async def test_where_connections_are_not_to_be_seen_that_is_said() -> None:
    around = World(seen=None).around()
    assert around.view()["connections_seen"] is None
    await looked(around)
    assert around.view()["connections_seen"] is False


async def test_a_model_used_by_no_call_here_is_counted() -> None:
    around = World().around()
    await looked(around, health("1"), health("2"))
    assert [one["name"] for one in around.view()["models"]] == ["m:1"]


async def test_models_of_running_and_just_ended_calls_are_explained() -> None:
    world = World(running=["m:1"])
    around = world.around()
    await looked(around, health("1"), health("2"))
    world.running = []
    # It ended between the two looks, and its end came after the first.
    await looked(around, health("2"), health("3"))
    around.finished(make_call(model="M:1"))
    await looked(around, health("3"), health("4"))
    await looked(around, health("4"), health("5"))
    assert around.view()["models"] == []
    await looked(around, health("5"), health("6"))
    assert [one["count"] for one in around.view()["models"]] == [1]


async def test_what_was_loaded_before_the_first_look_is_nobodys() -> None:
    around = World().around()
    await looked(around, UpstreamHealth(), health("1"))
    assert around.view()["models"] == []


async def test_a_connection_of_ours_that_closes_while_they_are_listed_is_not_anothers() -> None:
    world = World(ours={("127.0.0.1", 50_000)})
    around = world.around()

    def listed() -> list[Ends]:
        world.ours = set()
        return [(("127.0.0.1", 50_000), OLLAMA)]

    around._connections = listed
    await looked(around)
    await looked(around)
    assert around.view()["programs"] == []
