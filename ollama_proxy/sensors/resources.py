"""What Ollama and its runners use of this machine, and what the proxy itself does.

Ollama's server is the process that listens on the upstream's port, if that is on this machine; its
runners are its descendants. What cannot be seen is None, and `status` says why. Memory is what is
resident (RSS): a model file that two runners map counts twice. Not here: when it is looked
(`sampler.py`), whose use it was (`shares.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Sequence

import msgspec
import psutil

from ollama_proxy.sensors.gpu import GpuReading, Gpus
from ollama_proxy.sensors.machine import Machine, Process, ThisMachine, Unknown
from ollama_proxy.shares import Held, Sample, Used

SERVER = "ollama"
"""What Ollama's server is called: another program's port, such as a tunnel's, is not Ollama."""

SEARCH_SECONDS = 10.0
"""Seconds between two searches for Ollama's server, at the least."""


class Reading(msgspec.Struct, kw_only=True, frozen=True):
    """One look at the machine: Ollama's part as a sample, and the rest as it stands.

    `host_cpu_percent` and `ollama_cpu_percent` are those of all cores since the look before.
    `host_memory_used` is what no program could get. `proxy_cpu_seconds` counts from the proxy's
    start, `ollama_cpu_seconds` from that of each of the processes that now run. `here` is False
    where Ollama is on another machine: then nothing more will be known of it.
    """

    sample: Sample
    here: bool
    status: str
    processes: int | None
    host_cpu_percent: float | None
    host_memory_used: int
    host_memory_total: int
    proxy_cpu_seconds: float
    proxy_memory_bytes: int
    gpu: GpuReading | None
    gpu_status: str
    ollama_cpu_seconds: float | None = None
    ollama_cpu_percent: float | None = None


class Spent:
    """CPU seconds that a changing set of processes has used since they were last looked at.

    A process counts from its start. One that has ended counts as far as it was seen, and to its
    end where its parent's waiting tells; none counts twice.
    """

    def __init__(self) -> None:
        self._before: dict[Hashable, Process] | None = None
        self._owed = 0.0

    def forget(self) -> None:
        """The next look starts anew."""
        self._before = None
        self._owed = 0.0

    def since_last(self, processes: Sequence[Process]) -> float | None:
        """None at the first look."""
        now = {process.key: process for process in processes}
        before, self._before = self._before, now
        if before is None:
            return None
        used = reaped = 0.0
        for key, process in now.items():
            was = before.get(key)
            used += _risen(process.cpu, was.cpu if was else 0.0)
            reaped += _risen(process.reaped, was.reaped if was else 0.0)
        return used + self._unseen(reaped, [before[key] for key in before.keys() - now.keys()])

    def _unseen(self, reaped: float, gone: list[Process]) -> float:
        """What ended processes used after they were last seen, or without ever being seen.

        A process may be gone one look before its parent has it; later ones are not waited for.
        """
        known = sum(process.cpu + process.reaped for process in gone)
        owed, self._owed = self._owed + known, 0.0
        if reaped >= owed:
            return reaped - owed
        self._owed = min(known, owed - reaped)
        return 0.0


def _risen(now: float, before: float) -> float:
    """By how much a counter has risen; one that went back tells nothing."""
    return max(0.0, now - before)


class ResourceSensor:
    """Looks at the processes behind `host` and `port`. One `read` at a time, in a thread."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        machine: Machine | None = None,
        gpus: Gpus | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host, self._port = host, port
        self._machine: Machine = ThisMachine() if machine is None else machine
        self._gpus = Gpus() if gpus is None else gpus
        self._clock = clock
        self._here, self._status = True, ""
        self._searched = float("-inf")
        self._server: Process | None = None
        self._known: dict[int, Process] = {}
        self._spent = Spent()
        self._host_cpu: tuple[float, float] | None = None
        self._proxy_cpu = time.process_time()

    def read(self, at: float) -> Reading:
        """Look now. `at` is when this look was asked for: it counts as taken then."""
        processes = self._processes()
        gpu = None
        if self._here:
            gpu = self._gpus.read(at, {process.pid for process in processes})
        used, total = self._machine.memory()
        busy, all_of_it = self._host_used()
        before, self._proxy_cpu = self._proxy_cpu, time.process_time()
        besides = None if busy is None else busy - (self._proxy_cpu - before)
        sample = self._sample(at, processes, gpu, besides)
        return Reading(
            sample=sample,
            here=self._here,
            status=self._status,
            processes=len(processes) or None,
            host_cpu_percent=_percent(busy, all_of_it),
            host_memory_used=used,
            host_memory_total=total,
            proxy_cpu_seconds=self._proxy_cpu,
            proxy_memory_bytes=self._machine.process(os.getpid()).memory,
            gpu=gpu,
            gpu_status=self._gpus.status,
            ollama_cpu_seconds=sum(one.cpu for one in processes) if processes else None,
            ollama_cpu_percent=_percent(sample.used.cpu_seconds, all_of_it),
        )

    def _sample(
        self, at: float, processes: list[Process], gpu: GpuReading | None, besides: float | None
    ) -> Sample:
        """`besides`: CPU seconds that all programs used but the proxy.

        Without a server nothing can be said of the GPUs either, nor of others: not who they are.
        """
        if not processes:
            self._spent.forget()
            return Sample(at)
        cpu = self._spent.since_last(processes)
        memory = sum(process.memory for process in processes)
        others = None if cpu is None or besides is None else max(0.0, besides - cpu)
        if gpu is None:
            return Sample(at, Used(cpu), Held(memory), others)
        used = Used(cpu, gpu.seconds, gpu.watt_seconds)
        return Sample(at, used, Held(memory, gpu.ollama_bytes), others)

    def _host_used(self) -> tuple[float | None, float]:
        """CPU seconds of all cores since the look before: those in use, and all there were."""
        before, self._host_cpu = self._host_cpu, self._machine.cpu_times()
        if before is None or self._host_cpu[1] <= before[1]:
            return None, 0.0
        busy, all_of_it = (now - was for now, was in zip(self._host_cpu, before, strict=True))
        return max(0.0, busy), all_of_it

    # -- which processes ----------------------------------------------------------------------

    def _processes(self) -> list[Process]:
        """Ollama's server and all that it started; empty where they are not known."""
        if self._server is not None:
            found = self._family(self._server)
            if found:
                return found
            self._server = None
            self._known.clear()
        now = self._clock()
        if now - self._searched < SEARCH_SECONDS:
            return []
        self._searched = now
        self._status = self._search()
        return [] if self._server is None else self._family(self._server)

    def _search(self) -> str:
        self._here = self._machine.is_here(self._host)
        if not self._here:
            return "Ollama is not on this machine"
        try:
            self._server = self._machine.process(self._machine.listener(self._port, SERVER))
        except Unknown as unknown:
            return str(unknown)
        except psutil.Error as error:
            return _refused(error)
        return f"Ollama is process {self._server.pid}"

    def _family(self, server: Process) -> list[Process]:
        """The server and its descendants, parents first; empty if it is gone.

        Parents first: what ends meanwhile is then missed for now, never counted twice. One that
        was known is looked at until it is gone: Linux may leave a child out of its list.
        """
        found: dict[int, Process] = {}
        try:
            self._descend(server.pid, found)
            if server.pid not in found or found[server.pid].key != server.key:
                self._status = f"process {server.pid}, which was Ollama, is gone"
                return []
            self._keep_known(found)
        except psutil.AccessDenied as denied:
            self._status = _refused(denied)
            return []
        self._known = found
        return list(found.values())

    def _descend(self, first: int, found: dict[int, Process]) -> None:
        waiting = [first]
        for pid in waiting:
            process = None if pid in found else self._looked_at(pid)
            if process is not None:
                found[pid] = process
                waiting += self._children(pid)

    def _keep_known(self, found: dict[int, Process]) -> None:
        for pid, known in self._known.items():
            process = None if pid in found else self._looked_at(pid)
            if process is not None and process.key == known.key:
                found[pid] = process

    def _looked_at(self, pid: int) -> Process | None:
        try:
            return self._machine.process(pid)
        except psutil.NoSuchProcess:
            return None

    def _children(self, pid: int) -> list[int]:
        try:
            return self._machine.children(pid)
        except psutil.NoSuchProcess:
            return []


def _percent(used: float | None, all_of_it: float) -> float | None:
    return None if used is None or not all_of_it else min(100.0, 100 * used / all_of_it)


def _refused(error: psutil.Error) -> str:
    if isinstance(error, psutil.AccessDenied):
        return "what Ollama uses may not be read: it runs as another user"
    return "what was found to be Ollama is gone again"
