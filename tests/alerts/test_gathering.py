"""What is gathered of running calls and of what goes round the proxy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ollama_proxy.alerts.facts import Window
from ollama_proxy.alerts.gathering import Ending, Gathering
from ollama_proxy.bypass import Bypass
from ollama_proxy.gaps import Gaps
from ollama_proxy.ids import iso
from ollama_proxy.records import ModelInfo, UpstreamHealth
from tests.admin.support import NOW, World
from tests.storage.calls import make_call


def gathering(world: World, bypass: Bypass | None = None, **more: Any) -> Gathering:
    return Gathering(
        Window(300.0),
        world.live,
        bypass or Bypass(),
        Path("/nowhere/at/all"),
        health=lambda: world.health,
        dropped=lambda: world.storage.dropped,
        now=lambda: NOW,
        **more,
    )


async def test_a_call_is_silent_since_its_last_piece() -> None:
    world = World()
    exchange = world.begin(model="m")
    began = exchange.started = time.monotonic() - 100.0
    one = gathering(world)
    (silent,) = (await one.gather(["call_silent"])).running
    exchange.first_byte = began + 40.0
    (begun,) = (await one.gather(["call_silent"])).running
    exchange.gaps = Gaps(began + 50.0)
    exchange.gaps.add([began + 60.0, began + 90.0])
    (heard,) = (await one.gather(["call_silent"])).running
    found = [round(running.silent, -1) for running in (silent, begun, heard)]
    assert (found, round(heard.seconds, -1)) == ([100.0, 60.0, 10.0], 100.0)
    assert (await one.gather(["ollama_down"])).running == ()


async def test_who_goes_round_is_told_by_name_or_by_traces() -> None:
    bypass = Bypass()
    one = gathering(World(), bypass)
    assert (await one.gather(["bypass"])).around == []
    loaded = ModelInfo(name="m", loaded=True)
    bypass.looked([], [loaded], [], iso(NOW - 20))
    assert (await one.gather(["bypass"])).around == [("", 20.0)]
    bypass.connected("curl", iso(NOW - 5))
    assert (await one.gather(["bypass"])).around == [("curl", 5.0)]


async def test_a_disk_that_does_not_answer_is_not_known() -> None:
    assert (await gathering(World()).gather(["disk_full"])).disk_percent is None


async def test_what_ollama_has_is_known_only_while_it_says_so() -> None:
    world = World()
    one = gathering(world)
    for health, known in (
        (UpstreamHealth(), False),
        (UpstreamHealth(up=True), True),
        (UpstreamHealth(up=True, error="odd"), False),
        (UpstreamHealth(up=False), False),
    ):
        world.health = health
        assert ((await one.gather([])).models is not None) is known


def test_the_window_is_told_of_each_call_that_ended() -> None:
    window = Window(300.0)
    Ending(window, lambda: 5.0).finished(make_call(state="failed"))
    ((_, ended),) = window.over(300.0, 5.0)
    assert ended.summary.failed == 1
