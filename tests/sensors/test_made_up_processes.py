"""Processes that end, come back and may not be read: nothing is lost, and nothing counts twice.

Not here: real ones (`test_resources.py`).
"""

from __future__ import annotations

import os

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.sensors.machine import Process, Unknown
from ollama_proxy.sensors.resources import SEARCH_SECONDS, Reading, ResourceSensor, Spent
from tests.sensors.test_resources import MEGABYTE, no_gpus


class MadeUp:
    """A machine of which everything is decided here. Process 1 is the proxy, 10 listens."""

    def __init__(self) -> None:
        self.here = True
        self.searches = 0
        self.processes: dict[int, Process] = {}
        self.below: dict[int, list[int]] = {}
        self.denied: set[int] = set()
        self.busy, self.all_cores = 1.0, 2.0
        self.put(os.getpid(), 0.0)
        self.put(10, 100.0)

    def put(self, pid: int, cpu: float, *, reaped: float = 0.0, born: int = 0) -> None:
        self.processes[pid] = Process((pid, born), pid, cpu, reaped, 7 * MEGABYTE)

    def is_here(self, host: str) -> bool:
        self.searches += 1
        return self.here

    def listener(self, port: int, name: str) -> int:
        if 10 not in self.processes:
            raise Unknown("nothing is there")
        return 10

    def process(self, pid: int) -> Process:
        if pid in self.denied:
            raise psutil.AccessDenied(pid)
        if pid not in self.processes:
            raise psutil.NoSuchProcess(pid)
        return self.processes[pid]

    def children(self, pid: int) -> list[int]:
        return self.below.get(pid, [])

    def cpu_times(self) -> tuple[float, float]:
        return self.busy, self.all_cores

    def memory(self) -> tuple[int, int]:
        return 1, 2


class Watch:
    """A sensor on a made-up machine; each look is a second after the one before."""

    def __init__(self) -> None:
        self.machine = MadeUp()
        self.now = 0.0
        self.sensor = ResourceSensor(
            "127.0.0.1", 1, machine=self.machine, gpus=no_gpus(), clock=lambda: self.now
        )

    def look(self) -> Reading:
        self.now += 1.0
        return self.sensor.read(self.now)

    def cpu(self) -> float | None:
        return self.look().sample.used.cpu_seconds


def test_a_runner_whose_end_nobody_waits_for_counts_as_far_as_it_was_seen() -> None:
    watch = Watch()
    machine = watch.machine
    machine.below[10] = [11]
    machine.put(11, 5.0)
    watch.look()
    machine.put(11, 8.0)
    assert watch.cpu() == 3.0
    del machine.processes[11]
    assert watch.cpu() == 0.0


def test_other_programs_used_what_was_neither_ollamas_nor_the_proxys() -> None:
    watch = Watch()
    machine = watch.machine
    assert watch.look().sample.others_cpu_seconds is None
    machine.busy, machine.all_cores = 6.0, 10.0
    machine.put(10, 102.0)
    assert watch.look().sample.others_cpu_seconds == pytest.approx(3.0, abs=0.5)
    machine.busy, machine.all_cores = 6.5, 18.0
    machine.put(10, 103.0)  # counted in hundredths, and at other moments: never less than nothing
    assert watch.look().sample.others_cpu_seconds == 0.0


def test_ollamas_part_of_all_cores_is_told_in_percent() -> None:
    watch = Watch()
    assert watch.look().ollama_cpu_percent is None
    watch.machine.busy, watch.machine.all_cores = 6.0, 10.0
    watch.machine.put(10, 102.0)
    reading = watch.look()
    assert (reading.ollama_cpu_percent, reading.host_cpu_percent) == (25.0, 62.5)


def test_without_a_server_others_are_not_known() -> None:
    watch = Watch()
    watch.machine.here = False
    watch.look()
    watch.machine.busy, watch.machine.all_cores = 6.0, 10.0
    assert watch.look().sample.others_cpu_seconds is None


def test_a_runner_that_is_waited_for_late_counts_once() -> None:
    watch = Watch()
    machine = watch.machine
    machine.below[10] = [11]
    machine.put(11, 5.0)
    watch.look()
    del machine.processes[11]
    assert watch.cpu() == 0.0
    machine.put(10, 100.0, reaped=5.5)  # half a second more than was seen
    assert watch.cpu() == 0.5
    machine.put(10, 100.0, reaped=7.5)  # another one, that nobody saw
    assert watch.cpu() == 2.0


def test_a_runner_that_is_never_waited_for_hides_no_later_one() -> None:
    watch = Watch()
    machine = watch.machine
    machine.below[10] = [11]
    machine.put(11, 5.0)
    watch.look()
    del machine.processes[11]
    assert (watch.cpu(), watch.cpu()) == (0.0, 0.0)
    machine.put(10, 100.0, reaped=2.0)
    assert watch.cpu() == 2.0


def test_a_number_that_is_used_again_is_another_process() -> None:
    watch = Watch()
    machine = watch.machine
    machine.below[10] = [11]
    machine.put(11, 50.0)
    watch.look()
    machine.put(11, 0.25, born=1)
    assert watch.cpu() == 0.25
    machine.below[10] = []
    machine.put(11, 99.0, born=2)  # no child of Ollama's any more
    reading = watch.look()
    assert (reading.sample.used.cpu_seconds, reading.processes) == (0.0, 1)


def test_the_servers_number_used_again_is_not_ollama() -> None:
    watch = Watch()
    watch.look()
    watch.machine.put(10, 3.0, born=1)
    reading = watch.look()
    assert (reading.sample.used.cpu_seconds, reading.sample.held.memory_bytes) == (None, None)
    assert reading.status == "process 10, which was Ollama, is gone"


def test_a_child_that_is_left_out_of_the_list_once_does_not_count_anew() -> None:
    watch = Watch()
    machine = watch.machine
    machine.below[10] = [11]
    machine.put(11, 50.0)
    watch.look()
    machine.below[10] = []
    assert watch.cpu() == 0.0
    machine.below[10] = [11]
    assert watch.cpu() == 0.0


def test_counters_that_go_backwards_are_no_use() -> None:
    watch = Watch()
    watch.look()
    watch.machine.put(10, 90.0)
    assert watch.cpu() == 0.0
    watch.machine.put(10, 90.5)
    assert watch.cpu() == 0.5


def test_what_may_not_be_read_is_unknown_and_said_to_be() -> None:
    watch = Watch()
    watch.machine.denied = {10}
    reading = watch.look()
    assert (reading.sample.used.cpu_seconds, reading.sample.held.memory_bytes) == (None, None)
    assert reading.processes is None
    assert reading.status == "what Ollama uses may not be read: it runs as another user"


@pytest.mark.parametrize("still_listed", [[11], []])
def test_one_runner_that_may_not_be_read_makes_the_sum_unknown(still_listed: list[int]) -> None:
    watch = Watch()
    machine = watch.machine
    machine.below[10] = [11]
    machine.put(11, 1.0)
    watch.look()
    machine.denied = {11}
    machine.below[10] = still_listed
    reading = watch.look()
    assert (reading.sample.used.cpu_seconds, reading.sample.held.memory_bytes) == (None, None)
    assert reading.status == "what Ollama uses may not be read: it runs as another user"


def test_a_server_that_is_not_there_is_not_searched_for_at_each_look() -> None:
    watch = Watch()
    machine = watch.machine
    server = machine.processes.pop(10)
    looks = [watch.look() for _ in range(int(SEARCH_SECONDS))]
    assert machine.searches == 1
    assert {look.status for look in looks} == {"nothing is there"}
    machine.processes[10] = server
    assert watch.look().status == "Ollama is process 10"
    assert watch.cpu() == 0.0


def test_a_new_server_counts_from_the_first_look_at_it() -> None:
    """What it used while it was not seen is nobody's; it is never a call's."""
    watch = Watch()
    watch.look()
    del watch.machine.processes[10]
    watch.now += SEARCH_SECONDS
    assert watch.cpu() is None
    watch.machine.put(10, 40.0, born=1)
    watch.now += SEARCH_SECONDS
    assert watch.cpu() is None
    watch.machine.put(10, 41.0, born=1)
    assert watch.cpu() == 1.0


def test_a_runner_that_outlives_its_server_is_not_the_new_ones() -> None:
    watch = Watch()
    machine = watch.machine
    machine.below[10] = [11]
    machine.put(11, 5.0)
    watch.look()
    machine.below[10] = []
    machine.put(10, 0.0, born=1)
    watch.now += SEARCH_SECONDS
    assert watch.look().processes == 1


class Family:
    """A server and its runners, each used, ended and waited for as it may happen."""

    def __init__(self) -> None:
        self.own = 0
        self.reaped = 0
        self.runners: dict[int, int] = {}
        self.total = 0
        self.born = 0

    def use(self, amount: int) -> None:
        self.total += amount
        if self.runners:
            newest = max(self.runners)
            self.runners[newest] += amount
        else:
            self.own += amount

    def start(self) -> None:
        self.born += 1
        self.runners[self.born] = 0

    def end(self) -> None:
        if self.runners:
            self.reaped += self.runners.pop(min(self.runners))

    def look(self) -> list[Process]:
        server = Process("server", 1, self.own, self.reaped, 0)
        return [server, *(Process(n, n + 1, cpu, 0, 0) for n, cpu in self.runners.items())]


@given(st.lists(st.one_of(st.integers(1, 9), st.sampled_from(["start", "end", "look"]))))
def test_whatever_runners_do_nothing_is_lost_and_nothing_counts_twice(
    steps: list[int | str],
) -> None:
    family, spent = Family(), Spent()
    assert spent.since_last(family.look()) is None
    counted = 0.0
    for step in steps:
        if isinstance(step, int):
            family.use(step)
        elif step == "look":
            counted += spent.since_last(family.look()) or 0.0
            assert counted == family.total
        else:
            getattr(family, step)()
    counted += spent.since_last(family.look()) or 0.0
    assert counted == family.total
