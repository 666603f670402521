"""What two proxies of one data folder say to each other, over a Unix socket in it.

A message is its length and msgpack; sockets may come with it (SCM_RIGHTS). Unknown fields are left
out, missing ones have their defaults, so that two versions may differ by those. All calls block.
Not here: who says what when (`giving.py`, `taking.py`).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from ollama_proxy.config import Effective
from ollama_proxy.exchange import Call
from ollama_proxy.records import Noted
from ollama_proxy.replay import Capture

FILE = "control.sock"
PROTOCOL = 1
"""Rises when an older or newer process would misunderstand."""
MOST_BYTES = 1 << 30
MOST_SOCKETS = 8
_LENGTH = struct.Struct(">Q")
_PEER = struct.Struct("3i")


class Hello(msgspec.Struct, tag=True, frozen=True):
    """The new process `pid` wants to take over."""

    protocol: int
    pid: int


class Listening(msgspec.Struct, tag=True, frozen=True):
    """From process `pid`: the settings whose sockets come with this, each with its value."""

    pid: int
    sockets: dict[str, str]


class Give(msgspec.Struct, tag=True, frozen=True):
    """The new process is ready for the database."""


class Given(msgspec.Struct, tag=True, frozen=True):
    """It is closed and unlocked. `left`: calls that run on, or ended and are not stored yet."""

    left: list[Call]


class Taken(msgspec.Struct, tag=True, frozen=True):
    """The new process serves, at these of the sockets."""

    sockets: list[str]


class Records(msgspec.Struct, tag=True, frozen=True):
    """What a writer stores: calls that ended or run, what was captured and found out of some."""

    calls: list[Call]
    captures: list[Capture]
    noted: list[Noted]


class Client(msgspec.Struct, tag=True, frozen=True):
    """A client's connection comes with this; `waiting`: what was read from it and not used."""

    waiting: bytes


class Reload(msgspec.Struct, tag=True, frozen=True):
    """Read the settings again."""


class Reloaded(msgspec.Struct, tag=True, frozen=True):
    """Settings that are otherwise now; those that are in the file, but need a restart."""

    now: list[str]
    later: list[str]


class Show(msgspec.Struct, tag=True, frozen=True):
    """Tell the settings."""


class Shown(msgspec.Struct, tag=True, frozen=True):
    """Those in force, without what is secret."""

    settings: list[Effective]


class Done(msgspec.Struct, tag=True, frozen=True):
    """That has been done."""


class Refused(msgspec.Struct, tag=True, frozen=True):
    """It will not be done; `why` is one line."""

    why: str


Handover = Hello | Listening | Give | Given | Taken | Records | Client
Message = Handover | Reload | Reloaded | Show | Shown | Done | Refused
M = TypeVar("M", bound=Message)
_decode = msgspec.msgpack.Decoder(Message).decode


class Refusal(Exception):
    """The other one said no; the text says why."""


class Link:
    """One end. Whatever does not work raises OSError; then no more can be said."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._asking = threading.Lock()

    def peer(self) -> int | None:
        """The process at the other end, as the system says; None where it does not (macOS), or
        where that process is not to be seen from here."""
        if not hasattr(socket, "SO_PEERCRED"):
            return None
        told = self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        return int(_PEER.unpack(told)[0]) or None

    def limit(self, seconds: float | None) -> None:
        """How long the other one may take for each step; None: as long as it likes."""
        self._connection.settimeout(seconds)

    def send(self, message: Message, sockets: Sequence[int] = ()) -> None:
        data = msgspec.msgpack.encode(message)
        length = _LENGTH.pack(len(data))
        if sockets:
            socket.send_fds(self._connection, [length], list(sockets))
        else:
            self._connection.sendall(length)
        self._connection.sendall(data)

    def receive(self) -> tuple[Message, list[socket.socket]] | None:
        """None: the other one has ended."""
        head, descriptors, _, _ = socket.recv_fds(
            self._connection, _LENGTH.size, MOST_SOCKETS, socket.MSG_WAITALL
        )
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if not head:
            return None
        try:
            length = _LENGTH.unpack(head + self._read(_LENGTH.size - len(head)))[0]
            if length > MOST_BYTES:
                raise ConnectionError("a message too long to be one")
            return _decode(self._read(length)), sockets
        except msgspec.MsgspecError as error:
            _close(sockets)
            raise ConnectionError(f"a message that is none ({error})") from error
        except BaseException:
            _close(sockets)
            raise

    def ask(self, message: Message, expected: type[M], sockets: Sequence[int] = ()) -> M:
        """The answer to this. Raises Refusal, too."""
        answer, with_it = self.ask_for_sockets(message, expected, sockets)
        _close(with_it)
        return answer

    def ask_for_sockets(
        self, message: Message, expected: type[M], sockets: Sequence[int] = ()
    ) -> tuple[M, list[socket.socket]]:
        """The answer, and what sockets came with it. One asks at a time."""
        with self._asking:
            self.send(message, sockets)
            received = self.receive()
        if received is None:
            raise ConnectionError("the other process has ended")
        answer, with_it = received
        if isinstance(answer, expected):
            return answer, with_it
        _close(with_it)
        if isinstance(answer, Refused):
            raise Refusal(answer.why)
        raise ConnectionError("an answer to something else")

    def wait_for_end(self) -> None:
        """Until the other one has ended, or this end is closed; whatever is said meanwhile."""
        watched = select.poll()
        with contextlib.suppress(OSError, ValueError):  # closed already
            watched.register(self._connection, select.POLLHUP)
            watched.poll()

    def close(self) -> None:
        """Whoever waits for a message here or there is told that none will come."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._connection.recv(min(size - len(data), 1 << 20))
            if not piece:
                raise ConnectionError("the other process has ended")
            data += piece
        return bytes(data)


def connect(folder: Path) -> Link:
    """To the proxy that runs in this data folder. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(folder) as here:
            connection.connect(str(here / FILE))
    except OSError:
        connection.close()
        raise
    return Link(connection)


def listen(folder: Path) -> socket.socket:
    """Where `connect` leads to from now on; for this user alone. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(folder) as here:
            new = here / f"{FILE}.new"
            new.unlink(missing_ok=True)
            listener.bind(str(new))
            new.chmod(0o600)
            listener.listen()
            new.replace(here / FILE)
    except OSError:
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[Path]:
    """The folder by a name that fits into a socket's address, which has room for 107 bytes."""
    if sys.platform != "linux":
        yield folder
        return
    opened = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{opened}")
    finally:
        os.close(opened)


def _close(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        one.close()
