"""What is sampled becomes minutes: weighted by time, null where unknown, absent while asleep."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from ollama_proxy.gauging import LONGEST, Gauging, Minutes
from ollama_proxy.sensors.gpu import GpuReading
from ollama_proxy.sensors.resources import Reading
from ollama_proxy.series import Gauges, Levels
from ollama_proxy.shares import Held, Sample

START = 1_790_000_040.0  # a minute begins
PLACE = Levels._fields.index


def reading(cpu: float | None = None, gpu: GpuReading | None = None) -> Reading:
    return Reading(
        sample=Sample(0.0, held=Held(5000)),
        here=True,
        status="",
        processes=1,
        host_cpu_percent=cpu,
        host_memory_used=7000,
        host_memory_total=9000,
        proxy_cpu_seconds=0.0,
        proxy_memory_bytes=1,
        gpu=gpu,
        gpu_status="",
        ollama_cpu_percent=cpu and cpu / 2,
    )


class Bench:
    """A `Gauging` at a made-up time, and what it stored."""

    def __init__(self) -> None:
        self.now, self.running, self.queued = START, 0, 0
        self.kept: dict[int, Gauges] = {}
        self.full = False
        self.gauging = Gauging(
            lambda: self.running, lambda: self.queued, self.write, lambda: self.now
        )

    def write(self, minutes: Sequence[tuple[int, Gauges]]) -> None:
        if self.full:
            raise OSError("disk full")
        for minute, gauges in minutes:
            self.kept.setdefault(minute, Gauges()).merge(gauges)

    def at(
        self, seconds: float, running: int, queued: int = 0, look: Reading | None = None
    ) -> None:
        self.now, self.running, self.queued = START + seconds, running, queued
        self.gauging.sampled(look)

    async def means(self, minute: int, *names: str) -> list[float | None]:
        await self.gauging.stop()
        return [self.kept[int(START) + 60 * minute].mean(PLACE(name)) for name in names]


async def test_what_runs_holds_until_the_next_sample_and_what_was_used_since_the_last() -> None:
    on = Bench()
    on.at(0, running=0, look=reading())
    on.at(30, running=3, queued=2, look=reading(cpu=10.0))
    on.at(45, running=1, look=reading(cpu=90.0))
    on.at(60, running=0, look=reading(cpu=10.0))
    assert await on.means(0, "running", "queued", "host_cpu_percent", "ollama_cpu_percent") == [
        (3 * 15 + 1 * 15) / 60,
        2 * 15 / 60,
        (10 * 30 + 90 * 15 + 10 * 15) / 60,
        (5 * 30 + 45 * 15 + 5 * 15) / 60,
    ]
    assert on.kept[int(START)].most == [3, 2]
    assert await on.means(0, "ollama_memory_bytes", "host_memory_bytes") == [5000, 7000]


async def test_time_over_a_minutes_end_is_in_both() -> None:
    on = Bench()
    on.at(50, running=2)
    on.at(135, running=0)
    await on.gauging.stop()
    assert {minute - START: one.known[0] / 1000 for minute, one in on.kept.items()} == {
        0: 10,
        60: 60,
        120: 15,
    }


async def test_unknown_is_null_and_never_zero() -> None:
    on = Bench()
    on.at(0, running=1)
    on.at(20, running=1)
    on.at(40, running=1, look=reading(gpu=None))
    names = [name for name in Levels._fields if name not in ("running", "queued")]
    known = dict(zip(names, await on.means(0, *names), strict=True))
    assert known.pop("ollama_memory_bytes") == 5000
    assert known.pop("host_memory_bytes") == 7000
    assert set(known.values()) == {None}


async def test_gpus_are_told_where_they_can_be_read() -> None:
    gpu = GpuReading(
        seconds=1.0,
        watt_seconds=2.0,
        percent=80.0,
        watts=None,
        memory_bytes=6000,
        ollama_bytes=5000,
    )
    on = Bench()
    on.at(0, running=1)
    on.at(10, running=1, look=reading(gpu=gpu))
    found = await on.means(0, "gpu_percent", "gpu_memory_bytes", "gpu_watts")
    assert found == [80.0, 6000, None]


async def test_a_machine_that_slept_knows_nothing_of_it() -> None:
    on = Bench()
    on.at(0, running=1)
    on.at(LONGEST + 1, running=1)
    on.at(LONGEST - 100, running=1)  # the clock was set back
    await on.gauging.stop()
    assert on.kept == {}


async def test_a_minute_is_stored_when_it_is_over_and_what_is_under_way_is_told() -> None:
    on = Bench()
    on.at(0, running=1)
    on.at(30, running=1)
    assert on.kept == {}
    on.now = START + 45
    assert seconds_of(on.gauging.unsaved) == 45
    on.at(61, running=1)
    assert on.gauging._writing is not None
    await on.gauging._writing
    assert [one.known[0] / 1000 for one in on.kept.values()] == [60]
    assert seconds_of(on.gauging.unsaved) == 1


def seconds_of(minutes: Minutes) -> float:
    return sum(gauges.known[0] for _, gauges in minutes) / 1000


async def test_what_the_store_does_not_take_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    on = Bench()
    on.full = True
    with caplog.at_level(logging.WARNING):
        for seconds in range(0, 200, 20):
            on.at(seconds, running=2)
            if on.gauging._writing is not None:
                await on.gauging._writing
    assert (on.kept, len(caplog.records)) == ({}, 1)
    assert seconds_of(on.gauging.unsaved) == 180
    on.full = False
    await on.gauging.stop()
    assert [one.known[0] / 1000 for _, one in sorted(on.kept.items())] == [60, 60, 60]
