"""What a process tree has used, read from the kernel. Linux only.

CPU is each process's CPU clock (clock_getcpuclockid(3)), in ns: the run time of all its threads,
those that have ended included, without the 10 ms steps of /proc/PID/stat (which are also wrong by
far where work comes and goes with timers). Memory is Pss. Not here: what runs meanwhile.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            parent = _parent(entry)
            if parent is not None:
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:  # grows while it is walked
        found += sorted(children.get(one, []))
    return found


def cpu_us(pids: Iterable[int]) -> float:
    """Microseconds of CPU that these processes have used since they began, user and system."""
    return sum(time.clock_gettime_ns(_cpu_clock(pid)) for pid in pids) / 1000


def memory_kb(pids: Iterable[int]) -> float:
    """Their Pss: private memory, and of shared memory each one's part."""
    return sum(_field(PROC / str(pid) / "smaps_rollup", "Pss:") for pid in pids)


def reset_peak(pids: Iterable[int]) -> None:
    """Make the highest resident size (VmHWM) start again from the present one (proc(5))."""
    for pid in pids:
        (PROC / str(pid) / "clear_refs").write_text("5")


def peak_kb(pids: Iterable[int]) -> float:
    """The sum of each one's highest resident size since `reset_peak`."""
    return sum(_field(PROC / str(pid) / "status", "VmHWM:") for pid in pids)


def misplaced(pids: Iterable[int], cores: set[int]) -> list[int]:
    """Threads of these processes that may run on other cores than these."""
    wanted = ",".join(str(core) for core in sorted(cores))
    wrong = []
    for pid in pids:
        for thread in (PROC / str(pid) / "task").iterdir():
            for line in (thread / "status").read_text().splitlines():
                if line.startswith("Cpus_allowed_list:") and line.split()[1] != wanted:
                    wrong.append(int(thread.name))
    return wrong


def ended_children_us() -> float:
    """The same of this process's children that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e6


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None  # it has ended meanwhile


def _cpu_clock(pid: int) -> int:
    """What clock_getcpuclockid gives for a process: Python has only the one for its own threads."""
    return (~pid << 3) | 2


def _field(file: Path, name: str) -> float:
    for line in file.read_text().splitlines():
        if line.startswith(name):
            return float(line.split()[1])
    raise ValueError(f"{file} has no {name}")
