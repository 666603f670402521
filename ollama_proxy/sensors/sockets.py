"""Whose a TCP connection's end on this machine is: its inode and its user, as the kernel tells.

Asked is the kernel's own table, by netlink (inet_diag, some 0.01 ms), or where that is refused
`/proc/net/tcp`. Not here: which process holds the inode (`callers.py`).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

End = tuple[Any, ...]
"""Host and port, and whatever else getpeername gives for IPv6."""

NETLINK_SOCK_DIAG = 4
ANSWER_SECONDS = 1.0  # the kernel answers before send returns; this is for one that does not

_SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR = 20, 2
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_LISTEN = 10
_ALL_STATES, _NO_STATE = 0xFFFFFFFF, 0
_NO_COOKIE = (0xFFFFFFFF, 0xFFFFFFFF)
# linux/netlink.h nlmsghdr; linux/inet_diag.h inet_diag_req_v2, inet_diag_sockid, inet_diag_msg
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI")
_PORTS = struct.Struct("!HH")
_REST_OF_ID = struct.Struct("=16s16sIII")
_MESSAGE = struct.Struct("=BBBB 48x IIIII")
_ERROR = struct.Struct("=i")

_ANY = (bytes(4), 0)
_MAPPED = b"\0" * 10 + b"\xff\xff"


class Owner(NamedTuple):
    """Who holds a socket. `uid` is that of its making."""

    inode: int
    uid: int


def open_netlink() -> socket.socket:
    """Raises OSError where there is none, or none is allowed."""
    if sys.platform != "linux":
        raise OSError(errno.EPROTONOSUPPORT, "netlink is Linux's")
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG)
    opened.settimeout(ANSWER_SECONDS)
    return opened


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
            # A kernel without inet_diag says "not found" to all that follows, but to this too.
            if self._told(_ANY, _ANY, _NO_STATE, _NLM_F_REQUEST | _NLM_F_DUMP) is None:
                raise OSError(errno.EPROTONOSUPPORT, "no inet_diag")
        answer = self._told((local, port), (remote, other_port), _ALL_STATES, _NLM_F_REQUEST)
        if answer is None:
            return None
        _, state, _, _, _, _, _, uid, inode = _MESSAGE.unpack_from(answer)
        # Where no connection is found the kernel tells who listens on its port.
        return None if state == _LISTEN else Owner(inode, uid)

    def _told(
        self, local: tuple[bytes, int], remote: tuple[bytes, int], states: int, flags: int
    ) -> bytes | None:
        """The answer's body, None if it is "not found". Raises OSError if it is another error."""
        assert self._netlink is not None
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        family = socket.AF_INET if len(local[0]) == 4 else socket.AF_INET6
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, states)
        body += _PORTS.pack(local[1], remote[1])
        body += _REST_OF_ID.pack(local[0], remote[0], 0, *_NO_COOKIE)
        size = _HEADER.size + len(body)
        header = _HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, flags, self._sequence, 0)
        self._netlink.send(header + body)
        return _body(self._netlink.recv(8192), self._sequence)

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


def _body(answer: bytes, sequence: int) -> bytes | None:
    _, kind, _, answered, _ = _HEADER.unpack_from(answer)
    if answered != sequence:
        raise OSError(errno.EPROTO, "not the answer to this question")
    body = answer[_HEADER.size :]
    if kind == _NLMSG_ERROR:
        code = -_ERROR.unpack_from(body)[0]
        if code == errno.ENOENT:
            return None
        raise OSError(code, os.strerror(code))
    return body


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
