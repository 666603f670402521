"""Whose a TCP connection's end on this machine is: its inode and its user, as the kernel tells.

Asked is the kernel's own table, by netlink (`inet_diag.py`, some 0.01 ms), or where that is refused
`/proc/net/tcp`. Not here: which process holds the inode (`callers.py`).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from ollama_proxy.sensors import inet_diag
from ollama_proxy.sensors.inet_diag import open_netlink

End = tuple[Any, ...]
"""Host and port, and whatever else getpeername gives for IPv6."""

_MAPPED = b"\0" * 10 + b"\xff\xff"


class Owner(NamedTuple):
    """Who holds a socket. `uid` is that of its making."""

    inode: int
    uid: int


class Sockets:
    """Asks the kernel; for one thread at a time."""

    def __init__(
        self, proc: str = "/proc", netlink: Callable[[], socket.socket] = open_netlink
    ) -> None:
        self._proc = proc
        self._open_netlink = netlink
        self._netlink: socket.socket | None = None
        self._sequence = 0
        self._tables: dict[str, bytes] = {}

    def owner(self, end: End, other: End) -> Owner | None:
        """Who holds `end` of the connection to `other`; None if it is closed or elsewhere."""
        ends = address(end[0]), end[1], address(other[0]), other[1]
        try:
            found = self._asked(*ends)
        except OSError:
            self.close()
            found = self._listed(*ends)
        # A socket that nobody holds any more lives on for a while, without an inode.
        return found if found is not None and found.inode else None

    def refresh(self) -> None:
        """Forget what `/proc/net/tcp` said: it is read once for all questions until then."""
        self._tables.clear()

    def close(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
        self._netlink = None

    def _asked(self, local: bytes, port: int, remote: bytes, other_port: int) -> Owner | None:
        """By netlink. Raises OSError if that is refused."""
        if self._netlink is None:
            self._netlink = self._open_netlink()
            inet_diag.check(self._netlink, self._next())
        told = inet_diag.ask(self._netlink, self._next(), (local, port), (remote, other_port))
        # Where no connection is found the kernel tells who listens on its port.
        if told is None or told.state == inet_diag.LISTEN:
            return None
        return Owner(told.inode, told.uid)

    def _next(self) -> int:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        return self._sequence

    def _listed(self, local: bytes, port: int, remote: bytes, other_port: int) -> Owner | None:
        """By `/proc/net/tcp`; a program may use an IPv6 socket for a connection over IPv4."""
        if len(local) == 4:
            found = self._row("tcp", local, port, remote, other_port)
            if found is not None:
                return found
            local, remote = _MAPPED + local, _MAPPED + remote
        return self._row("tcp6", local, port, remote, other_port)

    def _row(
        self, table: str, local: bytes, port: int, remote: bytes, other_port: int
    ) -> Owner | None:
        if table not in self._tables:
            self._tables[table] = _contents(f"{self._proc}/net/{table}")
        ends = f"{_hexed(local)}:{port:04X} {_hexed(remote)}:{other_port:04X}".encode()
        rows = self._tables[table]
        begin = rows.find(b": %s " % ends)
        if begin < 0:
            return None
        _, _, _, _, _, _, _, uid, _, inode, *_ = rows[begin : rows.find(b"\n", begin)].split()
        return Owner(int(inode), int(uid))


def is_here(end: End, other: End) -> bool:
    """Whether the end is this machine's: on loopback, or of the same address as the other."""
    if end[0] == other[0]:
        return True
    try:
        host = address(end[0])
    except OSError:
        return False
    return host[0] == 127 if len(host) == 4 else host == b"\0" * 15 + b"\1"


def address(host: str) -> bytes:
    """In network order, IPv4 in IPv6 as IPv4. Raises OSError for what is no address."""
    host = host.partition("%")[0]
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host)
    return socket.inet_pton(socket.AF_INET6, host).removeprefix(_MAPPED)


def _contents(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _hexed(host: bytes) -> str:
    """As `/proc/net/tcp` writes it: words of 32 bits in the machine's own order."""
    words = struct.unpack(f"={len(host) // 4}I", host)
    return "".join(f"{word:08X}" for word in words)
