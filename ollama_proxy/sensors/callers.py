"""Which program holds the other end of a connection on this machine: one look, on Linux.

The kernel tells the socket's inode and user; the process is the one that has that inode open. Of
its command line only the names of program and script are kept (`commands.py`). Without root only
the own user's processes can be seen; of others the user is told. Not here: when to look and in
which thread (`ollama_proxy/callers.py`), systems other than Linux (`portable.py`).
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from socket import socket
from typing import Any, NamedTuple, Protocol

import msgspec

from ollama_proxy.sensors import procfs
from ollama_proxy.sensors.cgroups import container_of, service_of
from ollama_proxy.sensors.commands import NAME_CHARACTERS, clean, is_own, program_name, script_name
from ollama_proxy.sensors.inet_diag import open_netlink
from ollama_proxy.sensors.pace import Pace
from ollama_proxy.sensors.sockets import End, Owner, Sockets

FOLDER_CHARACTERS = 160
KNOWN_PROCESSES = 4
KNOWN_SECONDS = 1.0
MAX_USERS = 256


class Caller(msgspec.Struct, kw_only=True, frozen=True):
    """The program at the other end. None is what is not known; without a `pid` it is not visible.

    `script` is what an interpreter runs: `backtest.py`, or a module's name. `folder` is where it
    works, the home as `~`. `started` is in seconds since 1970: with `pid` it names one process.
    `own`: it is this program, be it another process of it.
    """

    pid: int | None = None
    program: str | None = None
    script: str | None = None
    folder: str | None = None
    user: str | None = None
    service: str | None = None
    container: str | None = None
    started: float | None = None
    own: bool = False

    @property
    def name(self) -> str | None:
        """What to call it."""
        return self.script or self.program

    @property
    def facts(self) -> dict[str, Any]:
        """What is known, by name."""
        known = msgspec.structs.asdict(self)
        return {key: value for key, value in known.items() if value and key != "own"}


Connection = tuple[End, End]
"""Its client's end and the other, as getpeername and getsockname of the server tell them."""


class Finder(Protocol):
    """A way to find callers, used by one thread at a time."""

    def find(self, connections: Sequence[Connection]) -> list[Caller | None]:
        """Who holds the first end of each; None where that is closed, or not of this machine."""

    def close(self) -> None: ...


class Users:
    """Names and homes by number, from `/etc/passwd` alone: asking NSS might ask the network."""

    def __init__(self, passwd: str = "/etc/passwd") -> None:
        self._passwd = passwd
        self._known: dict[int, tuple[str, str]] = {}

    def name_and_home(self, uid: int) -> tuple[str, str]:
        if uid not in self._known:
            if len(self._known) >= MAX_USERS:
                self._known.clear()
            self._known[uid] = self._read(str(uid))
        return self._known[uid]

    def _read(self, uid: str) -> tuple[str, str]:
        try:
            with open(self._passwd, encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    fields = line.rstrip("\n").split(":")
                    if len(fields) == 7 and fields[2] == uid:
                        return clean(fields[0], NAME_CHARACTERS) or uid, fields[5].rstrip("/")
        except OSError:
            pass
        return uid, ""


class LinuxFinder:
    """Looks in `/proc`; for one thread at a time."""

    def __init__(
        self,
        proc: str = "/proc",
        passwd: str = "/etc/passwd",
        netlink: Callable[[], socket] = open_netlink,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._proc = proc
        self._clock = clock
        self._pace = Pace(clock, sleep=sleep)
        self._sockets = Sockets(proc, netlink)
        self._users = Users(passwd)
        self._own_uid = os.geteuid()
        self._sees_all = procfs.may_trace(proc)
        self._booted = procfs.boot_time(proc)
        # Those found before, the latest last: most connections come from few processes.
        self._known: OrderedDict[int, _Known] = OrderedDict()

    def find(self, connections: Sequence[Connection]) -> list[Caller | None]:
        self._pace.begin()
        sought = [self._owned(connection) for connection in connections]
        found = self._holders([one for one in sought if one and self._visible(one.owner)])
        self._sockets.refresh()
        callers = [one and (found.get(one.owner.inode) or self._unseen(one)) for one in sought]
        self._sockets.refresh()
        return callers

    def close(self) -> None:
        self._sockets.close()

    def _owned(self, connection: Connection) -> _Sought | None:
        self._pace.if_due()
        owner = self._sockets.owner(*connection)
        return owner and _Sought(connection, owner)

    def _visible(self, owner: Owner) -> bool:
        return self._sees_all or owner.uid == self._own_uid

    def _open(self, sought: _Sought) -> bool:
        return self._sockets.owner(*sought.connection) == sought.owner

    def _unseen(self, sought: _Sought) -> Caller | None:
        """Of whom no process was found: either it has ended meanwhile, or it cannot be seen."""
        user, _ = self._users.name_and_home(sought.owner.uid)
        return Caller(user=user) if self._open(sought) else None

    def _holders(self, sought: list[_Sought]) -> dict[int, Caller]:
        """By inode. Processes are looked through until all are found, or closed meanwhile."""
        missing = {f"socket:[{one.owner.inode}]": one for one in sought}
        found: dict[int, Caller] = {}
        for pid in self._in_order() if missing else ():
            try:
                with procfs.opened(f"{self._proc}/{pid}") as process:
                    for owner in self._held(process, missing):
                        caller = self._named(pid, process, owner.uid)
                        if caller.program:  # else it ended just now
                            found[owner.inode] = caller
            except OSError:  # it has ended, or is not ours to look at
                self._known.pop(pid, None)
            if not missing:
                break
            self._ask_again(missing)
        return found

    def _held(self, process: int, missing: dict[str, _Sought]) -> list[Owner]:
        """Takes out of `missing` what the process has open. Raises OSError if it cannot be seen."""
        found: list[Owner] = []
        with procfs.opened("fd", process) as descriptors:
            # The highest first: in a program with many, it is the latest.
            for name in reversed(os.listdir(descriptors)):
                one = missing.pop(procfs.link(name, descriptors), None)
                if one is not None:
                    found.append(one.owner)
                if not missing:
                    break
                self._pace.if_due()
        return found

    def _ask_again(self, missing: dict[str, _Sought]) -> None:
        """Whether one of them, another each time, is open still: else the rest is for nothing."""
        link, one = next(iter(missing.items()))
        del missing[link]
        if self._open(one):
            missing[link] = one

    def _in_order(self) -> Iterator[int]:
        """Those known, then the newest first: it is the short-lived that must be found soon."""
        known = list(reversed(self._known))
        yield from known
        yield from (pid for pid in procfs.newest_first(self._proc) if pid not in known)

    def _named(self, pid: int, process: int, uid: int) -> Caller:
        """What is known of a process holds for a second; after that it may run another program."""
        now = self._clock()
        started = procfs.started(procfs.read("stat", process), self._booted)
        known = self._known.pop(pid, None)
        if known is None or now > known.until or (uid, started) != (known.uid, known.started):
            caller = self._described(pid, process, uid, started)
            known = _Known(caller, uid, started, now + KNOWN_SECONDS)
        self._known[pid] = known
        if len(self._known) > KNOWN_PROCESSES:
            self._known.popitem(last=False)
        return known.caller

    def _described(self, pid: int, process: int, uid: int, started: float | None) -> Caller:
        user, home = self._users.name_and_home(uid)
        arguments = procfs.read("cmdline", process).removesuffix("\0").split("\0")
        file = procfs.link("exe", process) or procfs.read("comm", process).rstrip("\n")
        program = program_name(file)
        works_in = procfs.link("cwd", process)
        cgroup = procfs.read("cgroup", process)
        return Caller(
            pid=pid,
            program=program,
            script=script_name(program or "", arguments[1:]),
            folder=folder_name(works_in, home),
            user=user,
            service=service_of(cgroup),
            container=container_of(cgroup),
            started=started,
            own=is_own(file, arguments[1:], works_in),
        )


class _Sought(NamedTuple):
    connection: Connection
    owner: Owner


class _Known(NamedTuple):
    caller: Caller
    uid: int
    started: float | None
    until: float


def folder_name(path: str, home: str) -> str | None:
    """Shortened at its beginning: the end tells two projects apart."""
    path = path.removesuffix(" (deleted)")
    if home and (path + "/").startswith(home + "/"):
        path = "~" + path[len(home) :]
    if len(path) > FOLDER_CHARACTERS:
        path = "…" + path[1 - FOLDER_CHARACTERS :]
    return clean(path, FOLDER_CHARACTERS)
