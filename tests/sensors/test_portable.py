"""Callers by psutil, where there is no Linux: on the real psutil, and on one that refuses."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NoReturn

import psutil

from ollama_proxy.sensors.callers import Caller, Connection
from ollama_proxy.sensors.portable import PsutilFinder

SERVER = ("::ffff:127.0.0.1", 11435)


@contextmanager
def own_connection() -> Iterator[Connection]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        accepted, peer = listener.accept()
        with accepted:
            yield peer, accepted.getsockname()


def test_a_real_connection_is_found() -> None:
    with own_connection() as connection:
        caller, nobody = PsutilFinder().find([connection, (("127.0.0.1", 1), connection[1])])
    me = psutil.Process()
    assert nobody is None and caller is not None
    assert caller.pid == os.getpid()
    assert caller.program == os.path.basename(me.exe())
    assert caller.user == me.username()
    assert caller.started == me.create_time()
    assert caller.folder is not None
    assert os.getcwd().endswith(caller.folder.lstrip("~…"))


class Process:
    """One that psutil may look at, or not."""

    def __init__(self, pid: int, *ports: int, hidden: bool = False) -> None:
        self.pid = pid
        self._ports, self._hidden = ports, hidden

    def net_connections(self, kind: str) -> list[Any]:
        if self._hidden:
            refuse()
        ends = [("127.0.0.1", port) for port in self._ports]
        return [SimpleNamespace(laddr=end, raddr=SERVER) for end in ends]

    def exe(self) -> str:
        refuse()

    def name(self) -> str:
        return "Python"

    def cmdline(self) -> list[str]:
        return ["Python", "/srv/job.py", "--key", "s3cret"]

    def cwd(self) -> str:
        raise OSError

    def username(self) -> str:
        return "DESK\\joe"

    def create_time(self) -> float:
        return 5.0


def refuse(**_: object) -> NoReturn:
    raise psutil.AccessDenied


def test_where_all_is_not_told_each_process_is_asked() -> None:
    processes = {7: Process(7, 1, hidden=True), 8: Process(8, 40000), 9: Process(9, 1)}
    source = SimpleNamespace(
        net_connections=refuse, process_iter=lambda: processes.values(), Process=processes.get
    )
    ends = [(("127.0.0.1", port), ("127.0.0.1", SERVER[1])) for port in (40000, 40001)]
    assert PsutilFinder(source).find(ends) == [
        Caller(pid=8, program="Python", script="job.py", user="DESK\\joe", started=5.0),
        None,
    ]


def test_of_a_process_that_has_ended_its_number_is_told() -> None:
    def ended(pid: int) -> NoReturn:
        raise psutil.NoSuchProcess(pid)

    source = SimpleNamespace(
        net_connections=lambda kind: [
            SimpleNamespace(laddr=(), raddr=(), pid=3),
            SimpleNamespace(laddr=("127.0.0.1", 40000), raddr=("127.0.0.1", 1), pid=4),
        ],
        Process=ended,
    )
    finder = PsutilFinder(source)
    assert finder.find([(("127.0.0.1", 40000), ("127.0.0.1", 1))]) == [Caller(pid=4)]
    finder.close()
