"""The running process's side: it waits at the folder's socket for the one that comes after.

One conversation at a time. Until the other one says that it took over, everything can go back. Not
here: what is given (`succession.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ollama_proxy.config import Effective
from ollama_proxy.exchange import Call
from ollama_proxy.handover.link import (
    FILE,
    PROTOCOL,
    Done,
    Give,
    Given,
    Hello,
    Link,
    Listening,
    Refused,
    Reload,
    Reloaded,
    Show,
    Shown,
    Taken,
    listen,
)
from ollama_proxy.logs import where
from ollama_proxy.storage.errors import StoreError

ASK_SECONDS = 10.0
"""For the first words of whoever has connected."""
TAKE_SECONDS = 60.0
"""For each step of a start: reading the statistics of a large database takes some of it."""
REPLY_SECONDS = 30.0
PAUSE_SECONDS = 5.0
OTHER = "it runs another version of the handover"
NOT_ITSELF = "who asks names another process than itself"

log = logging.getLogger(__name__)


class House(Protocol):
    """What is given. All of it is called on the event loop."""

    @property
    def listening(self) -> Mapping[str, tuple[str, socket.socket]]:
        """By the setting's name: its value, and the socket."""

    async def give(self) -> list[Call]:
        """Close the database; the calls that are not stored as ended. Raises StoreError."""

    async def take_back(self) -> None:
        """Open it again."""

    def leave(self, link: Link, taken: list[str]) -> None:
        """The other one serves, at these sockets: accept no more, and end."""

    def reload(self) -> Reloaded | Refused:
        """Read the settings again."""

    def in_force(self) -> list[Effective]:
        """The settings."""


class Giving:
    """`start`, later `stop`, on the event loop."""

    def __init__(self, folder: Path, house: House) -> None:
        self._folder, self._house = folder, house
        self._speaking = asyncio.Lock()
        self._waiting: asyncio.Task[None] | None = None
        self._given = False

    def start(self) -> None:
        """Without its socket a proxy runs as well: it is restarted by a stop and a start."""
        try:
            listener = listen(self._folder)
        except OSError as error:
            log.warning("%s cannot be made (%s): a restart will refuse calls", FILE, error)
            return
        self._waiting = asyncio.create_task(self._wait(listener), name="handover")

    async def stop(self) -> None:
        """Wait for the end of what is being said, and take no more."""
        async with self._speaking:
            if self._waiting is None:
                return
            self._waiting.cancel()
            self._waiting = None
            if not self._given:
                with contextlib.suppress(OSError):
                    (self._folder / FILE).unlink()

    async def _wait(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        with listener:
            while not self._given:
                try:
                    connection, _ = await asyncio.get_running_loop().sock_accept(listener)
                except OSError as error:  # too many open files, as a rule
                    log.warning("nobody can take over now: %s", error.strerror)
                    await asyncio.sleep(PAUSE_SECONDS)
                    continue
                async with self._speaking:
                    await self._speak(connection)

    async def _speak(self, connection: socket.socket) -> None:
        link = Link(connection)
        try:
            link.limit(ASK_SECONDS)
            await self._answer(link)
        except Exception as error:  # noqa: BLE001 - guard: background loop
            log.warning("a handover or a reload failed: %s", where(error))
        finally:
            if not self._given:
                link.close()

    async def _answer(self, link: Link) -> None:
        received = await asyncio.to_thread(link.receive)
        if received is None:
            return
        if isinstance(received[0], Reload):
            await asyncio.to_thread(link.send, self._house.reload())
        elif isinstance(received[0], Show):
            await asyncio.to_thread(link.send, Shown(self._house.in_force()))
        elif isinstance(received[0], Hello):
            await self._hand_over(link, received[0])

    async def _hand_over(self, link: Link, hello: Hello) -> None:
        if hello.protocol != PROTOCOL:
            await asyncio.to_thread(link.send, Refused(OTHER))
            return
        if hello.pid != (link.peer() or hello.pid):
            await asyncio.to_thread(link.send, Refused(NOT_ITSELF))
            return
        listening = self._house.listening
        said = Listening(os.getpid(), {name: at for name, (at, _) in listening.items()})
        sockets = [one.fileno() for _, one in listening.values()]
        link.limit(TAKE_SECONDS)
        await asyncio.to_thread(link.send, said, sockets)
        received = await asyncio.to_thread(link.receive)
        if received is None or not isinstance(received[0], Give):
            return  # it has ended, and nothing was given
        taken = await self._taken(link)
        if taken is None:
            log.warning("process %d did not take over: this one goes on", hello.pid)
            await self._house.take_back()
            return
        self._given = True
        link.limit(REPLY_SECONDS)
        with contextlib.suppress(OSError):  # killed just now: that is for `Custody` to find out
            await asyncio.to_thread(link.send, Done())
        self._house.leave(link, taken.sockets)

    async def _taken(self, link: Link) -> Taken | None:
        """Give it all; None if it must be taken back."""
        try:
            left = await self._house.give()
        except StoreError as error:
            await asyncio.to_thread(link.send, Refused(str(error)))
            return None
        try:
            await asyncio.to_thread(link.send, Given(left))
            received = await asyncio.to_thread(link.receive)
        except TimeoutError:
            # It hangs. If it came back, it would believe that all this is its own.
            if (peer := link.peer()) is not None:  # never a number that was only said
                with contextlib.suppress(OSError):
                    os.kill(peer, signal.SIGKILL)
            return None
        except OSError:
            return None
        return received[0] if received and isinstance(received[0], Taken) else None
