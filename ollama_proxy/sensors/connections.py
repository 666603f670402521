"""The connections to one port of this machine, as Linux tells them.

Seen from the client's side, which is here too. Elsewhere than on Linux nothing is known. Not here:
whose they are (`callers.py`), what follows (`ollama_proxy/bypass.py`).
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from ollama_proxy.sensors import inet_diag

Ends = tuple[tuple[str, int], tuple[str, int]]
"""The client's end and the server's, each host and port; IPv4 in IPv6 is written as IPv4."""

_MAPPED = b"\0" * 10 + b"\xff\xff"
_ESTABLISHED = "01"


def to_port(
    port: int,
    proc: str = "/proc",
    ask: Callable[[int], list[tuple[inet_diag.Side, inet_diag.Side]]] = inet_diag.established_to,
) -> list[Ends] | None:
    """The open connections to that port; None if that cannot be known here."""
    try:
        found = ask(port)
    except OSError:
        return _listed(port, proc)
    return [((_host(local), own), (_host(remote), port)) for (local, own), (remote, _) in found]


def _listed(port: int, proc: str) -> list[Ends] | None:
    """The same by the kernel's table of all connections: 17 ms with 4,000 of them."""
    found: list[Ends] = []
    readable = False
    # local address, remote address, state; all in hex
    wanted = re.compile(rf"^ *\d+: (\w+):(\w{{4}}) (\w+):{port:04X} {_ESTABLISHED} ", re.MULTILINE)
    for name in ("tcp", "tcp6"):
        try:
            table = Path(proc, "net", name).read_text("ascii")
        except (OSError, UnicodeDecodeError):
            continue
        readable = True
        for local, local_port, remote in wanted.findall(table):
            found.append(((_unhexed(local), int(local_port, 16)), (_unhexed(remote), port)))
    return found if readable else None


def _unhexed(text: str) -> str:
    """As the kernel writes it: words of 32 bits in the machine's own order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    return _host(struct.pack(f"={len(words)}I", *words))


@lru_cache(256)  # nearly all are one and the same
def _host(address: bytes) -> str:
    packed = address.removeprefix(_MAPPED)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
