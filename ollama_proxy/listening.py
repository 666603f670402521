"""The sockets that are listened on: bound with clear words when that fails, told loopback or not.

Not here: who serves them (`app.py`).
"""

from __future__ import annotations

import errno
import ipaddress
import os
import resource
import socket

from ollama_proxy.settings import Address

BACKLOG = 4096
PROBE_SECONDS = 15
"""Of silence, until a client's machine is asked whether it is still there; Go's server does so."""


class StartError(Exception):
    """The program cannot start; the text is one line with the cause and the remedy."""


def bind(address: Address, flag: str) -> socket.socket:
    """A listening socket: who connects waits until it is served. Raises StartError."""
    try:
        family, kind, protocol, _, name = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        why = f"the host is not known ({error.strerror})"
        raise StartError(f"{flag} {address}: {why}: name an address of this machine") from None
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted sockets inherit it: a client whose machine is gone is noticed, too.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
                if hasattr(socket, option):
                    listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), PROBE_SECONDS)
        listener.bind(name)
        # Taken only while something listens there: with SO_REUSEADDR a bind alone may succeed.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(_bind_failure(address, flag, error)) from None
    return listener


def _bind_failure(address: Address, flag: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {address.port} on {address.host} is in use: stop what listens there "
            f"(ss -ltnp 'sport = :{address.port}' names it) or choose another with {flag}"
        )
    if error.errno == errno.EACCES:
        return f"port {address.port} needs root: choose one above 1023 with {flag}"
    why = f"cannot listen there ({error.strerror})"
    return f"{flag} {address}: {why}: name an address of this machine"


def is_loopback(host: str) -> bool:
    """Whether an address or name to listen on, or to connect to, is this machine's loopback."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one: each stream takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
