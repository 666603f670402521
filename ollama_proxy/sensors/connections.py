"""The connections to one port of this machine, as Linux's `/proc/net/tcp` lists them.

Seen from the client's side, which is here too. Elsewhere than on Linux nothing is known. Not here:
whose they are (`callers.py`), what follows (`ollama_proxy/bypass.py`).
"""

from __future__ import annotations

import re
import socket
import struct
from pathlib import Path

Ends = tuple[tuple[str, int], tuple[str, int]]
"""The client's end and the server's, each host and port; IPv4 in IPv6 is written as IPv4."""

_MAPPED = b"\0" * 10 + b"\xff\xff"
_ESTABLISHED = "01"


def to_port(port: int, proc: str = "/proc") -> list[Ends] | None:
    """The open connections to that port; None if that cannot be known here."""
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
            found.append(((_host(local), int(local_port, 16)), (_host(remote), port)))
    return found if readable else None


def _host(text: str) -> str:
    """As the kernel writes it: words of 32 bits in the machine's own order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words).removeprefix(_MAPPED)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
