"""Reads from Linux's `/proc`: small files, links, and what follows from them.

A process is read through a handle to its folder: once it has ended that leads to errors, never to
another process of the same number. What cannot be read is an empty text. Not here: what it is read
for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

MAX_BYTES = 16384  # of one file; a command line may have 2 MiB
GUESSES = 4

_CAP_SYS_PTRACE = 1 << 19
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


@contextmanager
def opened(path: str, above: int | None = None) -> Iterator[int]:
    """A folder's handle. Raises OSError."""
    handle = os.open(path, _DIRECTORY, dir_fd=above)
    try:
        yield handle
    finally:
        os.close(handle)


def read(name: str, above: int | None = None, most: int = MAX_BYTES) -> str:
    """The file's beginning, decoded as paths are."""
    try:
        descriptor = os.open(name, os.O_RDONLY, dir_fd=above)
        try:
            return os.fsdecode(os.read(descriptor, most))
        finally:
            os.close(descriptor)
    except OSError:
        return ""


def link(name: str, above: int) -> str:
    try:
        return os.readlink(name, dir_fd=above)
    except OSError:
        return ""


def newest_first(proc: str) -> Iterator[int]:
    """The numbers of all processes, some of them twice, and of some that are none."""
    latest = int((read(f"{proc}/loadavg").split() or ["0"])[-1])
    # One that has just begun is found without a list of all.
    yield from range(latest, max(0, latest - GUESSES), -1)
    try:
        pids = sorted((int(name) for name in os.listdir(proc) if name.isdecimal()), reverse=True)
    except OSError:
        return
    # Numbers go round: those above the latest are the oldest.
    yield from (pid for pid in pids if pid <= latest)
    yield from (pid for pid in pids if pid > latest)


def boot_time(proc: str) -> int | None:
    """In seconds since 1970. It moves when the clock is set: to be read once."""
    found = _after("\nbtime ", read(f"{proc}/stat", most=1 << 20))
    return int(found) if found else None


def started(stat: str, booted: int | None) -> float | None:
    """In seconds since 1970, from a process's `stat`: its field 22 counts ticks since the boot."""
    # The second field, the name, may hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    if booted is None or len(fields) < 20:
        return None
    return booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def may_trace(proc: str) -> bool:
    """Whether this process may look at those of other users."""
    capabilities = _after("\nCapEff:", read(f"{proc}/self/status"))
    return bool(int(capabilities or "0", 16) & _CAP_SYS_PTRACE)


def _after(mark: str, text: str) -> str:
    return text.partition(mark)[2].partition("\n")[0].strip()
