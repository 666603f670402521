"""This machine's processes, ports and memory, as psutil and Linux's /proc tell them.

Another user's processes can mostly be read, but not which sockets they hold; what may not be seen
raises psutil's own errors. Not here: what is made of it (`resources.py`).
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil

from ollama_proxy.sensors.procfs import read

_LISTENING = b"0A"  # Linux, include/net/tcp_states.h


class Process(NamedTuple):
    """One process now. Equal keys are the same process, whatever its number was before.

    `cpu` is its own user and system time, `reaped` that of children that have ended and been
    waited for (0 where the system does not tell). `memory` is what is resident (RSS).
    """

    key: Hashable
    pid: int
    cpu: float
    reaped: float
    memory: int


class Unknown(Exception):
    """A process was not found. The text is one sentence that says why."""


class Machine(Protocol):
    """What is asked of the machine. Slow: to be called in a thread."""

    def is_here(self, host: str) -> bool: ...

    def listener(self, port: int, name: str) -> int:
        """The process of this name that listens on a port. Raises Unknown."""
        ...

    def process(self, pid: int) -> Process:
        """Raises psutil.NoSuchProcess, psutil.AccessDenied."""
        ...

    def children(self, pid: int) -> list[int]:
        """Its direct children, or all descendants. Raises as `process` does."""
        ...

    def cpu_times(self) -> tuple[float, float]:
        """Seconds of all cores since the machine started: (busy, all)."""
        ...

    def memory(self) -> tuple[int, int]:
        """(used: what no program could get; total)."""
        ...


class ThisMachine:
    """The real one. `proc` is Linux's /proc; where it is missing only psutil is asked."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = Path(proc)
        own = self._proc / "self" / "task" / str(os.getpid()) / "children"
        self._lists_children = own.exists()

    def is_here(self, host: str) -> bool:
        try:
            found = {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(host, None)}
        except (OSError, UnicodeError):
            return False
        own = {
            address.address.partition("%")[0]
            for addresses in psutil.net_if_addrs().values()
            for address in addresses
        }
        return any(one in own or ipaddress.ip_address(one).is_loopback for one in found)

    def listener(self, port: int, name: str) -> int:
        unseen: list[psutil.Process] = []
        for pid in self._named(name):
            try:
                process = psutil.Process(pid)
                if _listens(process, port):
                    return pid
            except psutil.NoSuchProcess:
                continue
            except psutil.AccessDenied:
                unseen.append(process)
        if not unseen:
            raise Unknown(f"nothing that is called {name} is seen to listen on port {port}")
        return self._only_one(unseen, port)

    def _named(self, name: str) -> Iterator[int]:
        """The processes of this name. On Linux by a small file each: psutil takes ten times as
        long, and this is done again and again where Ollama is called something else."""
        for pid in map(int, psutil.pids()):
            comm = read(f"{self._proc}/{pid}/comm")
            try:
                if (comm.rstrip("\n") or psutil.Process(pid).name()) == name:
                    yield pid
            except psutil.Error:
                continue

    def _only_one(self, unseen: list[psutil.Process], port: int) -> int:
        """Another user's sockets are not seen, but whose they are: which process can it be?"""
        users = self._listening_users(port)
        if not users:
            raise Unknown(f"nothing is seen to listen on port {port} of this machine")
        parents = dict(_parents(unseen, users))
        # Runners may be named as their server is.
        first = [pid for pid, parent in parents.items() if parent not in parents]
        if len(first) == 1:
            return first[0]
        if first:
            raise Unknown(f"which of {len(first)} processes listens on port {port} is not seen")
        raise Unknown(f"what listens on port {port} of this machine is not seen to be Ollama")

    def _listening_users(self, port: int) -> set[int]:
        """Users that listen on a TCP port, by Linux's tables, which everyone may read."""
        found: set[int] = set()
        for name in ("tcp", "tcp6"):
            try:
                table = (self._proc / "net" / name).read_bytes()
            except OSError:
                continue
            mark = b":%04X" % port
            for line in table.splitlines():
                # sl local_address rem_address st queues timer retransmits uid: proc_net_tcp(5)
                fields = line.split(None, 8)
                if len(fields) > 8 and fields[1].endswith(mark) and fields[3] == _LISTENING:
                    found.add(int(fields[7]))
        return found

    def process(self, pid: int) -> Process:
        process = psutil.Process(pid)
        with process.oneshot():
            times, memory = process.cpu_times(), process.memory_info()
        return Process(
            key=process,
            pid=pid,
            cpu=times.user + times.system,
            reaped=times.children_user + times.children_system,
            memory=memory.rss,
        )

    def children(self, pid: int) -> list[int]:
        """On Linux a list a thread: psutil would read every process of the machine."""
        if not self._lists_children:
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        found: list[int] = []
        try:
            threads = os.listdir(self._proc / str(pid) / "task")
        except FileNotFoundError:
            raise psutil.NoSuchProcess(pid) from None
        for thread in threads:
            try:
                with open(f"{self._proc}/{pid}/task/{thread}/children", "rb") as children:
                    found += [int(child) for child in children.read().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def cpu_times(self) -> tuple[float, float]:
        times = psutil.cpu_times()
        # Linux counts guests' time in user and nice already.
        everything = sum(times) - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0)
        # What a hypervisor gave to others is nobody's here.
        unused = times.idle + getattr(times, "iowait", 0) + getattr(times, "steal", 0)
        return everything - unused, everything

    def memory(self) -> tuple[int, int]:
        memory = psutil.virtual_memory()
        return memory.total - memory.available, memory.total


def _listens(process: psutil.Process, port: int) -> bool:
    return any(
        one.status == psutil.CONN_LISTEN and one.laddr.port == port
        for one in process.net_connections("tcp")
    )


def _parents(processes: list[psutil.Process], users: set[int]) -> Iterator[tuple[int, int]]:
    """(process, its parent) of those that belong to one of these users."""
    for process in processes:
        try:
            if process.uids().effective in users:
                yield process.pid, process.ppid()
        except psutil.Error:
            continue
