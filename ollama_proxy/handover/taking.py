"""The new process's side: it takes over, and then takes what the old one still sends.

`Taking.begin`, `listener`, `give`, `taken`, in this order; if it ends before `taken`, the old one
goes on. Not here: what is done with all that (`app.py`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from ollama_proxy.exchange import Call, Reason, State
from ollama_proxy.handover.link import (
    PROTOCOL,
    Client,
    Done,
    Give,
    Given,
    Hello,
    Link,
    Listening,
    Message,
    Records,
    Refusal,
    Taken,
    connect,
)
from ollama_proxy.listening import StartError
from ollama_proxy.logs import where
from ollama_proxy.records import Noted
from ollama_proxy.replay import Capture
from ollama_proxy.settings import Address

TOO_LATE = (
    "the proxy that ran does not hand over: it has ended, or another restart or a stop came "
    "first: ask ollama-proxy status, and try again, which runs one where none is left"
)
HANGS = (
    "the proxy that runs does not answer: ollama-proxy logs may say why; ollama-proxy stop, then "
    "start, runs it anew"
)
HELLO_SECONDS = 25.0
"""Other restarts may come first; less than the command waits that starts this process."""
_FLAGS = {"listen": "--listen", "admin_listen": "--admin-listen"}

log = logging.getLogger(__name__)


class Heir(Protocol):
    """Who takes it, on the event loop."""

    def adopt(
        self, calls: Sequence[Call], captures: Sequence[Capture], noted: Sequence[Noted]
    ) -> None:
        """Records of calls of the old process."""

    async def welcome(self, client: socket.socket, waiting: bytes) -> None:
        """A client's connection, and what was already read from it."""


class Taking:
    """What there is to take from the process `pid`."""

    def __init__(self, link: Link, pid: int, sockets: dict[str, tuple[str, socket.socket]]) -> None:
        self._link, self._pid, self._sockets = link, pid, sockets
        self._used: list[str] = []
        self._left: dict[str, Call] = {}
        self.ended = asyncio.Event()

    @classmethod
    def begin(cls, folder: Path) -> Taking:
        """Raises StartError. Needs a running event loop, and blocks it for a moment."""
        try:
            link = connect(folder)
            link.limit(HELLO_SECONDS)
            hello = Hello(PROTOCOL, os.getpid())
            said, sockets = link.ask_for_sockets(hello, Listening)
            link.limit(None)
        except TimeoutError as error:
            raise StartError(HANGS) from error
        except (OSError, Refusal) as error:
            raise StartError(_told(error)) from error
        named = zip(said.sockets.items(), sockets, strict=False)
        return cls(link, said.pid, {name: (at, one) for (name, at), one in named})

    @property
    def left(self) -> list[Call]:
        """What runs, or waits to be told, in the old process."""
        return list(self._left.values())

    def listener(self, name: str, wanted: Address) -> socket.socket | None:
        """The old one's socket for this setting, if it is at the same address."""
        at, found = self._sockets.get(name, ("", None))
        if found is None or not (at == str(wanted) or _is_at(found, wanted)):
            return None
        self._used.append(name)
        return found

    def explained(self, name: str, wanted: Address, error: StartError) -> StartError:
        """Why a socket cannot be had, where the old one's is in the way."""
        found = self._sockets.get(name, ("", None))[1]
        if found is None or found.getsockname()[1] != wanted.port:
            return error
        return StartError(
            f"{_FLAGS[name]} {wanted}: the proxy that runs listens at that port on another host: "
            "to change the host alone, ollama-proxy stop and start"
        )

    async def give(self) -> list[Call]:
        """Have the database closed by the old process; the calls it has yet to tell of. Raises
        StartError."""
        try:
            given = await asyncio.to_thread(self._link.ask, Give(), Given)
        except (OSError, Refusal) as error:
            raise StartError(_told(error)) from error
        self._left = {call.id: call for call in given.left}
        return self.left

    async def taken(self, heir: Heir) -> None:
        """From now on this process is the one that serves, and takes what the old one sends."""
        for name, (_, one) in self._sockets.items():
            if name not in self._used:
                one.close()
        try:
            await asyncio.to_thread(self._link.ask, Taken(self._used), Done)
        except (OSError, Refusal):
            self._over(heir)  # it was killed just now
            return
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._receive, args=[heir, loop], daemon=True).start()

    def hurry(self) -> None:
        """Have the old one end its calls now."""
        if not self.ended.is_set():
            os.kill(self._pid, signal.SIGTERM)

    def _receive(self, heir: Heir, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while (received := self._link.receive()) is not None:
                took = asyncio.run_coroutine_threadsafe(self._took(heir, *received), loop)
                took.result()
                self._link.send(Done())
        except OSError:
            pass  # it was killed
        except Exception as error:  # noqa: BLE001 - guard: background loop
            log.error("what the process before sent cannot be taken: %s", where(error))
        self._link.close()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._over, heir)

    async def _took(self, heir: Heir, message: Message, sockets: list[socket.socket]) -> None:
        if isinstance(message, Records):
            for call in message.calls:
                if call.state == State.RUNNING:
                    self._left[call.id] = call
                else:
                    self._left.pop(call.id, None)
            heir.adopt(message.calls, message.captures, message.noted)
        elif isinstance(message, Client):
            for one in sockets:
                await heir.welcome(one, message.waiting)

    def _over(self, heir: Heir) -> None:
        """What was running there has ended, if it was not told how, with that process."""
        heir.adopt([_broken_off(call) for call in self._left.values()], (), ())
        self._left.clear()
        self.ended.set()


def _broken_off(call: Call) -> Call:
    if call.state != State.RUNNING:
        return call
    return msgspec.structs.replace(
        call, state=State.INTERRUPTED.value, reason=Reason.CRASH.value, duration=None
    )


def _is_at(found: socket.socket, wanted: Address) -> bool:
    name = found.getsockname()
    if wanted.port != name[1]:
        return False
    try:
        info = socket.getaddrinfo(
            wanted.host, wanted.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return False
    return bool(info[0][4][:2] == name[:2])


def _told(error: Exception) -> str:
    if isinstance(error, Refusal):
        return f"the proxy that runs does not hand over: {error}: ollama-proxy stop, then start"
    return TOO_LATE
