"""Looks at callers: never waited for, bounded, at a limited cost; and on real connections."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from ollama_proxy.callers import (
    Callers,
    Look,
    finder_for,
)
from ollama_proxy.sensors.callers import Caller, Connection, Finder, LinuxFinder
from ollama_proxy.sensors.portable import PsutilFinder
from tests.harness import PATIENCE

CLIENT, SERVER = ("127.0.0.1", 40000), ("127.0.0.1", 11435)
BACKTEST = Caller(pid=7, program="python3", script="backtest.py")


class Scripted:
    """Finds whatever it is told to; `held` makes it wait."""

    def __init__(self, answer: Callable[[Connection], Caller | None]) -> None:
        self.answer = answer
        self.go = threading.Event()
        self.go.set()
        self.busy = threading.Event()
        self.rounds: list[int] = []
        self.threads: set[int] = set()
        self.closed = False

    def find(self, connections: Sequence[Connection]) -> list[Caller | None]:
        self.rounds.append(len(connections))
        self.threads.add(threading.get_ident())
        self.busy.set()
        assert self.go.wait(PATIENCE)
        return [self.answer(connection) for connection in connections]

    def close(self) -> None:
        self.closed = True


@contextmanager
def looking(finder: Finder | None, waiting: int = 1000) -> Iterator[Callers]:
    callers = Callers(finder, waiting=waiting)
    callers.start()
    try:
        yield callers
    finally:
        assert callers.stop(PATIENCE)


async def settled(callers: Callers, looks: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while callers.status.looks < looks:
            await asyncio.sleep(0.001)


async def test_what_is_found_appears_in_the_look() -> None:
    finder = Scripted(lambda connection: BACKTEST if connection == (CLIENT, SERVER) else None)
    with looking(finder) as callers:
        found, missed = callers.look(CLIENT, SERVER), callers.look(("127.0.0.1", 1), SERVER)
        await settled(callers, 2)
        assert found is not None and missed is not None
        assert found.caller == BACKTEST
        assert found.caller.name == "backtest.py"
        assert missed.caller is None
        status = callers.status
        assert (status.available, status.found, status.missed, status.hidden) == (True, 1, 1, 0)
    assert finder.closed


async def test_a_caller_without_a_process_counts_as_hidden() -> None:
    with looking(Scripted(lambda _: Caller(user="joe"))) as callers:
        look = callers.look(CLIENT, SERVER)
        await settled(callers, 1)
        assert look is not None and look.caller is not None and look.caller.name is None
        assert (callers.status.hidden, callers.status.found) == (1, 0)


async def test_nobody_waits_for_a_look_and_what_waits_is_taken_together() -> None:
    finder = Scripted(lambda _: BACKTEST)
    finder.go.clear()
    with looking(finder) as callers:
        looks = [callers.look(CLIENT, SERVER)]
        assert await asyncio.to_thread(finder.busy.wait, PATIENCE)
        looks += [callers.look(CLIENT, SERVER) for _ in range(100)]
        assert [look and look.caller for look in looks] == [None] * 101
        finder.go.set()
        await settled(callers, 101)
        assert finder.rounds == [1, 64, 36]
        assert len(finder.threads) == 1
        assert threading.get_ident() not in finder.threads


async def test_more_than_may_wait_are_not_looked_at() -> None:
    finder = Scripted(lambda _: BACKTEST)
    finder.go.clear()
    with looking(finder, waiting=10) as callers:
        callers.look(CLIENT, SERVER)
        assert await asyncio.to_thread(finder.busy.wait, PATIENCE)
        looks = [callers.look(CLIENT, SERVER) for _ in range(100)]
        assert looks.count(None) == callers.status.skipped == 90
        finder.go.set()
        await settled(callers, 11)
        assert callers.look(CLIENT, SERVER) is not None


async def test_a_look_that_fails_is_told_once_and_the_next_one_is_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fails = True

    def answer(connection: Connection) -> Caller | None:
        if fails:
            raise ValueError("s3cret")
        return BACKTEST

    with looking(Scripted(answer)) as callers, caplog.at_level(logging.ERROR):
        for done in (1, 2):
            callers.look(CLIENT, SERVER)
            await settled(callers, done)
        assert (callers.status.looks, callers.status.missed) == (2, 2)
        fails = False
        look = callers.look(CLIENT, SERVER)
        await settled(callers, 3)
        assert look is not None and look.caller == BACKTEST
    (record,) = caplog.records
    assert "ValueError" in record.getMessage() and "s3cret" not in record.getMessage()


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (None, SERVER),
        (CLIENT, None),
        ("", ""),
        (("192.168.1.9", 1), ("192.168.1.5", 2)),
        (("nonsense", 1), SERVER),
    ],
)
def test_who_is_not_of_this_machine_is_not_looked_for(
    client: tuple[str, int] | None, server: tuple[str, int] | None
) -> None:
    finder = Scripted(lambda _: BACKTEST)
    with looking(finder) as callers:
        assert callers.look(client, server) is None
    assert not finder.rounds


def test_without_a_finder_nothing_is_known_and_nothing_runs() -> None:
    before = threading.active_count()
    with looking(None) as callers:
        assert callers.look(CLIENT, SERVER) is None
        assert threading.active_count() == before
        assert not callers.status.available


def test_after_the_stop_nothing_is_looked_at_and_no_thread_is_left() -> None:
    before = threading.active_count()
    finder = Scripted(lambda _: BACKTEST)
    with looking(finder) as callers:
        pass
    assert finder.closed
    assert callers.look(CLIENT, SERVER) is None
    assert threading.active_count() == before


async def test_a_stop_does_not_wait_for_a_rest() -> None:
    spent = iter([0.0, 1000.0])
    callers = Callers(Scripted(lambda _: BACKTEST), cpu=lambda: next(spent))
    callers.start()
    callers.look(CLIENT, SERVER)
    await settled(callers, 1)
    assert await asyncio.to_thread(callers.stop, PATIENCE)
    assert callers.status.seconds == 1000.0


def test_linux_is_asked_itself_and_other_systems_by_psutil() -> None:
    assert isinstance(finder_for("linux"), LinuxFinder)
    assert isinstance(finder_for("darwin"), PsutilFinder)


async def test_a_short_lived_program_is_found_while_it_waits_for_its_answer() -> None:
    """The whole way: a real program, a real connection, a look when it is accepted."""
    with looking(finder_for()) as callers:
        found: asyncio.Future[Look | None] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ends = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
            look = callers.look(*ends)
            await settled(callers, 1)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            found.set_result(look)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        code = f"import urllib.request; urllib.request.urlopen('{url}')"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
        look = await asyncio.wait_for(found, PATIENCE)
        await process.wait()
        server.close()
        assert look is not None and look.caller is not None
        assert look.caller.pid == process.pid
        assert look.caller.script is None
