"""Whose a connection's end is: by netlink, by /proc/net/tcp, and the same by both."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from ollama_proxy.sensors.sockets import End, Owner, Sockets, is_here

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's own tables")


def refused() -> socket.socket:
    raise PermissionError(errno.EPERM, "not allowed")


class Netlink:
    """Answers each question with an error, or `late`: with what another question asked for."""

    def __init__(self, error: int = errno.ENOENT, late: bool = False) -> None:
        self.error, self.late = error, late
        self.asked = self.closed = 0
        self._sequence = 0

    def __call__(self) -> socket.socket:
        return cast(socket.socket, self)

    def send(self, question: bytes) -> None:
        self.asked += 1
        self._sequence = struct.unpack_from("=IHHII", question)[3]

    def recv(self, most: int) -> bytes:
        if self.late:
            body = struct.pack("=BBBB48xIIIII", 2, 1, 0, 0, 0, 0, 0, 12, 4711)
            return struct.pack("=IHHII", 88, 20, 0, self._sequence - 1, 0) + body
        return struct.pack("=IHHIIi", 20, 2, 0, self._sequence, 0, -self.error)

    def close(self) -> None:
        self.closed += 1


WAYS: dict[str, Callable[[], Sockets]] = {
    "netlink": Sockets,
    "refused": lambda: Sockets(netlink=refused),
    "no inet_diag": lambda: Sockets(netlink=Netlink()),
    "not permitted": lambda: Sockets(netlink=Netlink(errno.EPERM)),
    "late": lambda: Sockets(netlink=Netlink(late=True)),
}


@pytest.fixture(params=WAYS)
def sockets(request: pytest.FixtureRequest) -> Iterator[Sockets]:
    made = WAYS[request.param]()
    yield made
    made.close()


@contextmanager
def connected(server: str, client: str, family: int) -> Iterator[tuple[socket.socket, End, End]]:
    """A connection; gives its client, and both ends as the server sees them."""
    listener = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET)
    if ":" in server:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    with listener, socket.socket(family) as opened:
        try:
            listener.bind((server, 0))
        except OSError:
            pytest.skip(f"{server} cannot be listened on here")
        listener.listen()
        opened.connect((client, listener.getsockname()[1]))
        accepted, peer = listener.accept()
        with accepted:
            yield opened, peer, accepted.getsockname()


@pytest.mark.parametrize(
    ("server", "client", "family"),
    [
        ("127.0.0.1", "127.0.0.1", socket.AF_INET),
        ("127.0.0.3", "127.0.0.3", socket.AF_INET),
        ("::1", "::1", socket.AF_INET6),
        ("::", "127.0.0.1", socket.AF_INET),
        ("127.0.0.1", "::ffff:127.0.0.1", socket.AF_INET6),
        ("::", "::ffff:127.0.0.1", socket.AF_INET6),
    ],
)
def test_both_ends_are_told_apart(sockets: Sockets, server: str, client: str, family: int) -> None:
    with connected(server, client, family) as (opened, peer, own):
        assert is_here(peer, own)
        inode = os.fstat(opened.fileno()).st_ino
        assert sockets.owner(peer, own) == Owner(inode, os.geteuid())
        other = sockets.owner(own, peer)
        assert other is not None and other.inode != inode


def test_a_closed_end_is_nobodys(sockets: Sockets) -> None:
    with connected("127.0.0.1", "127.0.0.1", socket.AF_INET) as (opened, peer, own):
        assert sockets.owner(peer, own)
        opened.close()
        sockets.refresh()
        assert sockets.owner(peer, own) is None


def test_who_listens_on_the_port_is_not_who_called(sockets: Sockets) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert sockets.owner(listener.getsockname(), ("127.0.0.1", 1)) is None


def test_a_connection_of_another_machine_is_nobodys_here(sockets: Sockets) -> None:
    assert sockets.owner(("192.0.2.7", 50000), ("192.0.2.8", 80)) is None
    assert sockets.owner(("2001:db8::1", 50000), ("2001:db8::2", 80)) is None
    assert sockets.owner(("fe80::1%eth0", 50000, 0, 2), ("fe80::2%eth0", 80, 0, 2)) is None


def test_a_netlink_that_fails_is_opened_anew_each_time(tmp_path: Path) -> None:
    netlink = Netlink(errno.EPERM)
    sockets = Sockets(str(tmp_path), netlink)
    for times in (1, 2):
        assert sockets.owner(("127.0.0.1", 1), ("127.0.0.1", 2)) is None
        assert netlink.asked == netlink.closed == times


def test_the_table_is_read_once_until_it_is_refreshed(tmp_path: Path) -> None:
    row = ": 0100007F:0001 0100007F:0002 01 0:0 0:0 0 1000 0 {} 1\n"
    (tmp_path / "net").mkdir()
    sockets = Sockets(str(tmp_path), refused)
    for inode in (7, 8):
        (tmp_path / "net/tcp").write_text(row.format(inode))
        found = [sockets.owner(("127.0.0.1", 1), ("127.0.0.1", 2))]
        (tmp_path / "net/tcp").write_text("")
        found += [sockets.owner(("127.0.0.1", 1), ("127.0.0.1", 2))]
        assert found == [Owner(inode, 1000)] * 2
        sockets.refresh()


@pytest.mark.parametrize(
    ("client", "server", "here"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.9.9.9", True),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("192.168.1.5", "192.168.1.5", True),
        ("192.168.1.6", "192.168.1.5", False),
        ("fe80::1%eth0", "fe80::2%eth0", False),
        ("fe80::2%eth0", "fe80::2%eth0", True),
        ("no address", "127.0.0.1", False),
    ],
)
def test_only_what_comes_from_this_machine_is_worth_a_look(
    client: str, server: str, here: bool
) -> None:
    assert is_here((client, 1), (server, 2)) is here
