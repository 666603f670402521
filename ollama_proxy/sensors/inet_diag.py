"""Asks Linux about TCP connections by netlink: one, or all to a port.

The format: `linux/netlink.h` and `linux/inet_diag.h`. To list 1,000 of them takes the kernel 1 ms;
`/proc/net/tcp`, which holds everybody's, some 17. Not here: what it is asked for, and what else
there is where it is refused (`sockets.py`, `connections.py`).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

SOCK_DIAG = 4
ANSWER_SECONDS = 1.0  # the kernel answers before send returns; this is for one that does not
MAX_ANSWER = 64 * 1024  # the kernel fills 32 KiB at most

_BY_FAMILY, _ERROR_ANSWER, _DONE = 20, 2, 3
_REQUEST, _DUMP = 0x1, 0x300
ESTABLISHED, LISTEN = 1, 10
ALL_STATES, NO_STATE = 0xFFFFFFFF, 0
_NO_COOKIE = (0xFFFFFFFF, 0xFFFFFFFF)
# nlmsghdr; inet_diag_req_v2, inet_diag_sockid, inet_diag_msg
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBBI")
_PORTS = struct.Struct("!HH")
_REST_OF_ID = struct.Struct("=16s16sIII")
_MESSAGE = struct.Struct("=BBBB 4s 16s16s 12x IIIII")
_CODE = struct.Struct("=i")

Side = tuple[bytes, int]
"""An address in network order, 4 or 16 bytes, and a port."""

ANY: Side = (bytes(4), 0)


class Told(NamedTuple):
    """What the kernel says of a connection: of its local end, the inode and the user's number."""

    state: int
    local: Side
    remote: Side
    uid: int
    inode: int


def open_netlink() -> socket.socket:
    """Raises OSError where there is none, or none is allowed."""
    if sys.platform != "linux":
        raise OSError(errno.EPROTONOSUPPORT, "netlink is Linux's")
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, SOCK_DIAG)
    opened.settimeout(ANSWER_SECONDS)
    return opened


def ask(netlink: socket.socket, sequence: int, local: Side, remote: Side) -> Told | None:
    """The connection with these ends; where there is none, who listens on its local port, or None.

    Raises OSError if the question is refused.
    """
    netlink.send(_question(sequence, local, remote, ALL_STATES, 0))
    for kind, body in _messages(netlink.recv(MAX_ANSWER), sequence):
        return None if kind == _DONE else _read(body)
    return None


def check(netlink: socket.socket, sequence: int) -> None:
    """Raises OSError if the kernel has no inet_diag: it says "not found" to all questions then."""
    netlink.send(_question(sequence, ANY, ANY, NO_STATE, _DUMP))
    for kind, _ in _messages(netlink.recv(MAX_ANSWER), sequence):
        if kind == _DONE:
            return
    raise OSError(errno.EPROTONOSUPPORT, "no inet_diag")


def established_to(port: int) -> list[tuple[Side, Side]]:
    """Both ends of all open connections to that port. Raises OSError where that is refused."""
    with closing(open_netlink()) as netlink:
        check(netlink, 1)
        return [
            (told.local, told.remote)
            for sequence, host in enumerate((bytes(4), bytes(16)), 2)
            for told in _all(netlink, sequence, (host, 0), (host, port))
        ]


def _all(netlink: socket.socket, sequence: int, local: Side, remote: Side) -> Iterator[Told]:
    netlink.send(_question(sequence, local, remote, 1 << ESTABLISHED, _DUMP))
    while True:
        for kind, body in _messages(netlink.recv(MAX_ANSWER), sequence):
            if kind == _DONE:
                return
            told = _read(body)
            if told.remote[1] == remote[1]:  # else an older kernel, which does not choose by port
                yield told


def _question(sequence: int, local: Side, remote: Side, states: int, flags: int) -> bytes:
    family = socket.AF_INET if len(local[0]) == 4 else socket.AF_INET6
    body = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0, states)
    body += _PORTS.pack(local[1], remote[1])
    body += _REST_OF_ID.pack(local[0], remote[0], 0, *_NO_COOKIE)
    size = _HEADER.size + len(body)
    return _HEADER.pack(size, _BY_FAMILY, _REQUEST | flags, sequence, 0) + body


def _messages(answer: bytes, sequence: int) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each; none where something was not found. Raises OSError."""
    at = 0
    while at < len(answer):
        size, kind, _, answered, _ = _HEADER.unpack_from(answer, at)
        if answered != sequence or size < _HEADER.size:
            raise OSError(errno.EPROTO, "not the answer to this question")
        body = answer[at + _HEADER.size : at + size]
        if kind == _ERROR_ANSWER:
            code = -_CODE.unpack_from(body)[0]
            if code == errno.ENOENT:
                return
            raise OSError(code, os.strerror(code))
        yield kind, body
        at += (size + 3) & ~3  # the next one begins at a whole word


def _read(body: bytes) -> Told:
    family, state, _, _, ports, local, remote, _, _, _, uid, inode = _MESSAGE.unpack_from(body)
    size = 4 if family == socket.AF_INET else 16
    local_port, remote_port = _PORTS.unpack(ports)
    return Told(state, (local[:size], local_port), (remote[:size], remote_port), uid, inode)
