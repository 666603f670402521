"""When the machine is looked at: while calls run and after they end, never in a call's way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ollama_proxy.sensors.resources import Reading
from ollama_proxy.sensors.sampler import Sampler
from ollama_proxy.shares import Held, Sample, Used
from tests.harness import PATIENCE

NEVER = 1000.0
GB = 1 << 30


class MadeUp:
    """A sensor by which a CPU second is used between any two looks."""

    def __init__(self) -> None:
        self.here = True
        self.looks = 0
        self.threads: set[int] = set()
        self.blocked = threading.Event()
        self.blocked.set()
        self.fails = False

    def read(self, at: float) -> Reading:
        self.threads.add(threading.get_ident())
        self.blocked.wait(PATIENCE)
        self.looks += 1
        if self.fails:
            raise RuntimeError("with a prompt in it")
        used = Used(1.0 if self.looks > 1 else None)
        return Reading(
            sample=Sample(at, used, Held(GB)),
            here=self.here,
            status="",
            processes=1,
            host_cpu_percent=None,
            host_memory_used=1,
            host_memory_total=2,
            proxy_cpu_seconds=0.0,
            proxy_memory_bytes=1,
            gpu=None,
            gpu_status="",
        )


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A sampler on a made-up sensor, with a clock that stands still."""

    def __init__(self, steady: float = NEVER, shortest: float = 0.2) -> None:
        self.sensor, self.clock = MadeUp(), Clock()
        self.told: list[Reading | None] = []
        self.sampler = Sampler(
            self.sensor, clock=self.clock, steady=steady, shortest=shortest, tell=self.told.append
        )

    async def until(self, looks: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.sensor.looks < looks or self.sampler._looking is not None:
                await asyncio.sleep(0)


@asynccontextmanager
async def bench(steady: float = NEVER, shortest: float = 0.2) -> AsyncIterator[Bench]:
    made = Bench(steady, shortest)
    made.sampler.start()
    await made.until(1)
    try:
        yield made
    finally:
        made.sensor.blocked.set()
        made.sampler.stop()


async def test_a_call_is_measured_from_its_start_to_its_end() -> None:
    async with bench() as on:
        on.clock.now = 100.0
        on.sampler.began("call")
        await on.until(2)  # what was used in the pause is not the call's
        on.clock.now = 102.0
        on.sampler.ended("call")
        await on.until(3)
        assert on.sampler.take("call") == {
            "cpu_seconds": 1.0,
            "memory_peak_bytes": GB,
            "gpu_seconds": None,
            "gpu_memory_peak_bytes": None,
            "gpu_watt_seconds": None,
            "shared_with": 0,
            "estimated": False,
            "others_cpu_seconds": None,
        }


async def test_looks_are_not_on_the_event_loop() -> None:
    async with bench() as on:
        on.clock.now = 1.0
        on.sampler.began("call")
        await on.until(2)
        assert len(on.sensor.threads) == 1
        assert threading.get_ident() not in on.sensor.threads


async def test_nothing_waits_for_a_look_that_hangs() -> None:
    async with bench() as on:
        on.sensor.blocked.clear()
        on.clock.now = 1.0
        for number in range(100):
            on.sampler.began(f"call {number}")
            on.clock.now += 1.0
            on.sampler.ended(f"call {number}")
            on.sampler.take(f"call {number}")
        assert on.sensor.looks == 1
        assert len(on.sampler._meter._open) < 10


async def test_an_end_during_a_look_is_looked_at_after_it() -> None:
    async with bench(shortest=0.001) as on:
        on.clock.now = 1.0
        on.sensor.blocked.clear()
        on.sampler.began("call")
        on.clock.now = 1.5
        on.sampler.ended("call")
        for _ in range(10):
            await asyncio.sleep(0.001)
        on.sensor.blocked.set()
        await on.until(3)
        cost = on.sampler.take("call")
        assert cost is not None
        assert not cost["estimated"]


async def test_many_short_calls_are_looked_at_together() -> None:
    async with bench(shortest=0.001) as on:
        on.clock.now = 1.0
        for number in range(50):
            on.sampler.began(str(number))
            on.clock.now += 0.00001
            on.sampler.ended(str(number))
        await on.until(3)  # at the first one's start, and a moment after the last one's end
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert on.sensor.looks == 3
        costs = [on.sampler.take(str(number)) for number in range(50)]
        assert sum(cost["cpu_seconds"] for cost in costs if cost) == pytest.approx(1.0)


async def test_it_looks_again_and_again_only_while_calls_run() -> None:
    async with bench(steady=0.001, shortest=0.0) as on:
        on.sampler.began("call")
        await on.until(6)
        on.sampler.ended("call")
        await on.until(on.sensor.looks)
        await settled(on)
        looks = on.sensor.looks
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert on.sensor.looks == looks


async def settled(on: Bench) -> None:
    """Until the look that the end asked for is done."""
    async with asyncio.timeout(PATIENCE):
        while on.sampler._looking is not None or on.sampler._soon._timer is not None:
            await asyncio.sleep(0.001)


async def test_where_ollama_is_elsewhere_calls_cost_no_look() -> None:
    async with bench(steady=0.001, shortest=0.0) as on:
        on.sensor.here = False
        on.clock.now = 10.0
        assert await on.sampler.look() is not None
        looks = on.sensor.looks
        on.sampler.began("call")
        on.sampler.ended("call")
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert on.sensor.looks == looks
        assert on.sampler.take("call") is None


async def test_whoever_asks_gets_a_look_at_most_a_second_old() -> None:
    async with bench() as on:
        first = await on.sampler.look()
        assert await on.sampler.look() is first
        on.clock.now = 1.0
        assert await on.sampler.look() is not first
        assert on.sensor.looks == 2


async def test_each_look_is_told_of_and_who_asks_gets_no_more_than_one_a_second() -> None:
    async with bench() as on:
        for moment in (0.5, 0.9, 1.0, 1.5):
            on.clock.now = moment
            on.sampler.poke()
            await on.until(on.sensor.looks)
        assert on.sensor.looks == len(on.told) == 2
        assert on.told[-1] is on.sampler.last


async def test_where_ollama_is_elsewhere_it_is_told_that_there_is_nothing_to_see() -> None:
    async with bench() as on:
        on.sensor.here = False
        on.clock.now = 10.0
        await on.sampler.look()
        on.clock.now = 20.0
        on.sampler.poke()
        assert on.sensor.looks == 2
        assert on.told[1:] == [None, None]


async def test_a_look_that_fails_is_told_once_and_the_next_one_is_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench() as on:
        on.sensor.fails = True
        on.clock.now = 1.0
        on.sampler.began("call")
        await on.until(2)
        for looks in (3, 4):
            on.clock.now += 1.0
            await on.sampler.look()
            await on.until(looks)
        (record,) = [one for one in caplog.records if one.name.endswith("sampler")]
        assert "RuntimeError" in record.getMessage()
        assert "prompt" not in record.getMessage()
        on.sensor.fails = False
        on.clock.now += 1.0
        on.sampler.ended("call")
        await on.until(5)
        assert on.sampler.last is not None


async def test_after_a_stop_calls_still_end_and_nothing_is_looked_at() -> None:
    on = Bench(steady=0.001, shortest=0.0)
    on.sampler.start()
    await on.until(1)
    on.sensor.blocked.clear()
    on.sampler.began("call")
    on.sampler.stop()  # while a look is under way
    on.sensor.blocked.set()
    await on.until(on.sensor.looks)
    looks = on.sensor.looks
    on.clock.now = 2.0
    on.sampler.ended("call")
    on.sampler.began("late")
    on.sampler.take("call")
    assert await on.sampler.look() is on.sampler.last
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert on.sensor.looks == looks
