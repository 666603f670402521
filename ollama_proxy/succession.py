"""What of the running program goes to the next process, and comes from the one before.

It joins `handover/` to the parts that are concerned. Not here: what the two processes say, and
when; building the parts (`app.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ollama_proxy.config import Effective
from ollama_proxy.exchange import Call, State
from ollama_proxy.handover.giving import Giving
from ollama_proxy.handover.link import Client, Done, Link, Refusal, Refused, Reloaded
from ollama_proxy.handover.taking import Taking
from ollama_proxy.listening import StartError, bind
from ollama_proxy.observers.capturing import Draft
from ollama_proxy.records import Noted
from ollama_proxy.replay import Capture
from ollama_proxy.settings import Address
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.folder import DATABASE, claim_handover, holder, release
from ollama_proxy.works import Works

FLUSH_SECONDS = 5.0
END_SECONDS = 2.0
"""That the kernel may take to give up all that a killed process had, its lock the last."""
PAUSE = 0.02

log = logging.getLogger(__name__)


class Succession:
    """`bind` and `before` while a program starts, `take_over` once it serves, `stop` and `end`.

    `left` is set when another process has taken over: it is time to end. `alone` is set when that
    one has ended before: `outlive`. `listening` are copies of the sockets that are listened on:
    whoever connects waits at them, not refused, while nobody accepts.
    """

    def __init__(
        self,
        folder: Path,
        before: Taking | None,
        reload: Callable[[], Reloaded | Refused],
        in_force: Callable[[], list[Effective]],
    ) -> None:
        self.listening: dict[str, tuple[str, socket.socket]] = {}
        self.left, self.alone = asyncio.Event(), asyncio.Event()
        self.reload, self.in_force = reload, in_force
        self._folder, self._before = folder, before
        self._giving: Giving | None = None
        self._link: Link | None = None
        self._claimed: int | None = None
        self._hands = _hands()
        self._returned: list[tuple[socket.socket, bytes]] = []
        self._elsewhere = False
        self.works: Works  # once they run

    # -- what comes from the process before -------------------------------------------------

    def bind(self, name: str, address: Address, flag: str) -> socket.socket:
        """The listening socket of this setting, perhaps that of the process before. Raises
        StartError."""
        before = self._before
        found = None if before is None else before.listener(name, address)
        try:
            found = found or bind(address, flag)
        except StartError as error:
            raise (before.explained(name, address, error) if before else error) from None
        self.listening[name] = str(address), found.dup()
        return found

    def copy(self, name: str) -> socket.socket | None:
        """Another one of what is listened on for this setting."""
        found = self.listening.get(name)
        return None if found is None else found[1].dup()

    def close(self) -> None:
        """Listen no more: who connects is refused, also where an older process has copies of these
        sockets. A process that has not taken over leaves the others' alone."""
        for _, one in self.listening.values():
            if self._giving is not None and not self.left.is_set():
                with contextlib.suppress(OSError):  # where a system has no such thing
                    one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.listening.clear()

    async def before(self) -> list[str]:
        """The database may be opened; calls of these ids are in the hands of the process before.
        Raises StartError."""
        return [] if self._before is None else [call.id for call in await self._before.give()]

    async def take_over(self) -> None:
        """From now on this process is the one that runs in its folder, until the next one."""
        if self._before is not None:
            await self._before.taken(self)
        self._giving = Giving(self._folder, self)
        self._giving.start()

    def adopt(
        self, calls: Sequence[Call], captures: Sequence[Capture], noted: Sequence[Noted]
    ) -> None:
        works = self.works
        for draft in (Draft(capture, ()) for capture in captures):
            if works.captures.reserve(draft.size):
                works.captures.keep(draft)
        for call in calls:
            if call.state == State.RUNNING:
                works.writer.put(call)
        works.live.adopt([call for call in calls if call.state != State.RUNNING])
        for one in noted:
            works.writer.note(one)

    async def welcome(self, client: socket.socket, waiting: bytes) -> None:
        with contextlib.suppress(OSError):  # it has left meanwhile
            await self.works.forwarder.welcome(client, waiting)

    # -- what goes to the next one ----------------------------------------------------------

    @property
    def unstored(self) -> list[Call]:
        """Calls of this process, and of the one before, that are not stored as ended."""
        live, writer = self.works.live, self.works.writer
        before = [] if self._before is None else self._before.left
        return [*before, *live.active(), *writer.unwritten]

    def unstored_ids(self) -> set[str]:
        """The same by their ids, and in any thread."""
        before = [] if self._before is None else self._before.left
        ended = self.works.writer.unwritten
        return {*self.works.live.ids, *(call.id for call in (*before, *ended))}

    async def give(self) -> list[Call]:
        works = self.works
        await works.gauging.stop()
        await works.marking.stop()
        works.live.settle()
        await asyncio.to_thread(works.writer.flush, FLUSH_SECONDS)
        self._claimed = await asyncio.to_thread(claim_handover, self._folder / DATABASE)
        try:
            await asyncio.to_thread(works.custody.give)
        except StoreError:
            self._release()
            raise
        works.live.settle()
        return self.unstored

    async def take_back(self) -> None:
        await asyncio.to_thread(self.works.custody.take_back)
        self._release()

    def _release(self) -> None:
        if self._claimed is not None:
            release(self._claimed)
            self._claimed = None

    def leave(self, link: Link, taken: Sequence[str]) -> None:
        self._link = link
        self._release()
        self.works.custody.taken(link)
        if "listen" in taken:
            self.works.server.close()
        self.works.forwarder.leave(self._hand_on)
        self.left.set()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._watch, args=[link, loop], daemon=True).start()

    def _watch(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        link.wait_for_end()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self.alone.set)

    def _hand_on(self, client: socket.socket, waiting: bytes) -> None:
        self._hands.submit(self._send, client, waiting)

    def _send(self, client: socket.socket, waiting: bytes) -> None:
        """In a thread, one after the other. With a link that broke it closes the client."""
        assert self._link is not None
        if self.alone.is_set() and not self._elsewhere:
            self._returned.append((client, waiting))
            return
        with client, contextlib.suppress(OSError, Refusal):
            self._link.ask(Client(waiting), Done, [client.fileno()])

    # -- the next one was killed ------------------------------------------------------------

    async def outlive(self) -> bool:
        """Have the database again; False where yet another process has it, which serves then."""
        if not await asyncio.to_thread(self._is_free):
            log.warning("the process that took over has ended, and another one has the folder")
            await self._leave_clients()
            return False
        log.warning("the process that took over has ended: this one goes on")
        try:
            await asyncio.to_thread(self.works.custody.outlive)
        except StoreError as error:
            log.warning("the database cannot be opened again yet: %s", error)
        await asyncio.to_thread(self.works.writer.flush, FLUSH_SECONDS)
        return True

    async def _leave_clients(self) -> None:
        """Nobody will serve those that wait here: the sockets are closed, so that they notice."""
        self.works.server.close()
        self.close()
        self._elsewhere = True
        await asyncio.get_running_loop().run_in_executor(self._hands, self._close_returned)

    def _close_returned(self) -> None:
        for client, _ in self._returned:
            client.close()
        self._returned.clear()

    async def go_on(self) -> None:
        """It serves again: take back what could not be handed on, and let the next one take over.
        `works.forwarder` hands on no more."""
        await asyncio.to_thread(self._hands.shutdown)
        self._hands = _hands()
        for client, waiting in self._returned:
            await self.welcome(client, waiting)
        self._returned.clear()
        self.left.clear()
        self.alone.clear()
        self._link = None
        self._giving = Giving(self._folder, self)
        self._giving.start()

    def _is_free(self) -> bool:
        """Whether nobody else has the folder, once what a killed process had is given up."""
        end = time.monotonic() + END_SECONDS
        while True:
            with contextlib.suppress(StoreError):  # it cannot be told who has it
                if holder(self._folder / DATABASE) in (None, os.getpid()):
                    return True
            if time.monotonic() >= end:
                return False
            time.sleep(PAUSE)

    # -- the end ----------------------------------------------------------------------------

    async def stop(self) -> None:
        """No other process takes over any more; one that is about to does."""
        if self._giving is not None:
            await self._giving.stop()

    async def drained(self, seconds: float) -> bool:
        """Wait until the calls of this process, and of the one before, have ended."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if self._before is not None and self._giving is not None:
            # First: until its end it hands on clients.
            try:
                async with asyncio.timeout_at(until):
                    await self._before.ended.wait()
            except TimeoutError:
                return False
        return await self.works.forwarder.drained(until - loop.time())

    def hurry(self) -> None:
        """Have the calls of the process before end now."""
        if self._before is not None:
            self._before.hurry()

    async def end(self) -> None:
        """All has been written: nothing more is said to the next process."""
        await asyncio.to_thread(self._hands.shutdown)
        if self._link is not None:
            self._link.close()


def _hands() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="handover")
