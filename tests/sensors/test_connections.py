"""Which connections to a port there are: real ones, and tables as the kernel writes them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from ollama_proxy.sensors.connections import Ends, to_port

HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout\n"
)


def refused(port: int) -> NoReturn:
    raise PermissionError(errno.EPERM, "not allowed")


WAYS: dict[str, Callable[[int], list[Ends] | None]] = {
    "netlink": lambda port: to_port(port, "/nowhere"),
    "table": lambda port: to_port(port, ask=refused),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_real_connection_is_listed_from_its_clients_side(
    host: str, way: Callable[[int], list[Ends] | None]
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} on this machine")
    with listener:
        port = listener.getsockname()[1]
        assert way(port) == []
        with socket.create_connection((host, port)) as client:
            assert way(port) == [(client.getsockname()[:2], (host, port))]
        assert way(port) == []


def test_the_kernels_table_is_read_as_it_is_written(tmp_path: Path) -> None:
    net = tmp_path / "net"
    net.mkdir()
    (net / "tcp").write_text(
        HEAD
        + "   0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0 0 1\n"
        + "   1: 0100007F:C350 0100007F:2CAA 01 00000000:00000000 00:00000000 00000000  1000 0 2\n"
        + "   2: 0100007F:2CAA 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0 0 3\n"
        + "   3: 0100007F:C351 0100007F:2CAA 06 00000000:00000000 00:00000000 00000000     0 0 0\n"
        + "   4: 0100007F:C352 0100007F:2CAB 01 00000000:00000000 00:00000000 00000000     0 0 4\n"
    )
    (net / "tcp6").write_text(
        HEAD
        + "   0: 0000000000000000FFFF00000100007F:C353 0000000000000000FFFF00000100007F:2CAA 01 0\n"
    )
    assert to_port(11434, str(tmp_path), refused) == [
        (("127.0.0.1", 50_000), ("127.0.0.1", 11434)),
        (("127.0.0.1", 50_003), ("127.0.0.1", 11434)),
    ]


def test_without_a_table_nothing_is_known(tmp_path: Path) -> None:
    assert to_port(11434, str(tmp_path), refused) is None


def test_all_of_many_connections_are_told_and_no_others() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=400) as asked,
        socket.create_server(("127.0.0.1", 0)) as other,
        ExitStack() as opened,
    ):
        clients = [
            opened.enter_context(socket.create_connection(asked.getsockname())) for _ in range(300)
        ]
        opened.enter_context(socket.create_connection(other.getsockname()))
        expected = sorted((client.getsockname(), client.getpeername()) for client in clients)
        for way in WAYS.values():
            assert sorted(way(asked.getsockname()[1]) or ()) == expected
