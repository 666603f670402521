"""Which program holds the other end of a connection, on systems other than Linux: by psutil.

Not here: Linux, which is asked far more cheaply (`callers.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil

from ollama_proxy.sensors.callers import Caller, Connection, folder_name
from ollama_proxy.sensors.commands import NAME_CHARACTERS, clean, is_own, program_name, script_name
from ollama_proxy.sensors.sockets import End, address

Ends = tuple[bytes, int, bytes, int]


class PsutilFinder:
    """Goes through all connections of all processes that may be looked at.

    `source` is psutil, or what answers as it does.
    """

    def __init__(self, source: Any = psutil) -> None:
        self._source = source
        self._home = os.path.expanduser("~")

    def find(self, connections: Sequence[Connection]) -> list[Caller | None]:
        wanted = {_ends(*connection): connection for connection in connections}
        found: dict[Connection, Caller] = {}
        for ends, pid in self._all():
            connection = wanted.pop(ends, None)
            if connection is not None:
                found[connection] = self._described(pid)
            if not wanted:
                break
        return [found.get(connection) for connection in connections]

    def close(self) -> None:
        pass

    def _all(self) -> Iterator[tuple[Ends, int]]:
        try:
            for one in self._source.net_connections(kind="tcp"):
                if one.raddr and one.pid:
                    yield _ends(one.laddr, one.raddr), one.pid
        except psutil.AccessDenied:  # macOS tells all only to root
            yield from self._by_process()

    def _by_process(self) -> Iterator[tuple[Ends, int]]:
        for process in self._source.process_iter():
            try:
                for one in process.net_connections(kind="tcp"):
                    if one.raddr:
                        yield _ends(one.laddr, one.raddr), process.pid
            except psutil.Error:
                continue

    def _described(self, pid: int) -> Caller:
        try:
            process = self._source.Process(pid)
        except psutil.Error:
            return Caller(pid=pid)
        file, works_in = self._told(process.exe) or "", self._told(process.cwd) or ""
        program = program_name(file or self._told(process.name) or "")
        arguments = (self._told(process.cmdline) or [])[1:]
        return Caller(
            pid=pid,
            program=program,
            script=script_name(program or "", arguments),
            folder=folder_name(works_in, self._home),
            user=clean(self._told(process.username) or "", NAME_CHARACTERS),
            started=self._told(process.create_time),
            own=is_own(file, arguments, works_in),
        )

    def _told(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except (psutil.Error, OSError):
            return None


def _ends(end: End, other: End) -> Ends:
    return address(end[0]), end[1], address(other[0]), other[1]
