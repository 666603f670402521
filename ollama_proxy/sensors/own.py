"""What this process has open to the network, as the system lists it. Not here: what for."""

from __future__ import annotations

from typing import NamedTuple

import psutil

from ollama_proxy.settings import Address


class Open(NamedTuple):
    """A socket: what it listens on, or both ends of its connection."""

    local: Address
    remote: Address | None


def own_connections() -> list[Open]:
    """The TCP and UDP sockets of this process, over IP. Slow: to be called in a thread."""
    return [
        Open(Address(*one.laddr), Address(*one.raddr) if one.raddr else None)
        for one in psutil.Process().net_connections(kind="inet")
        if one.laddr and one.status in (psutil.CONN_LISTEN, psutil.CONN_ESTABLISHED)
    ]
