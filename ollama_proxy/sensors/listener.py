"""Which process listens at a port of this machine, as far as this user may see, and at which of the
machine's addresses. One look, slow.

Not here: what follows from it (`takeover/`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import psutil

from ollama_proxy.listening import is_loopback
from ollama_proxy.sensors.cgroups import container_of, service_of
from ollama_proxy.sensors.machine import ThisMachine, Unknown
from ollama_proxy.sensors.procfs import read

NAMES = ("ollama", "docker-proxy")
"""Of another user's process, which may not be asked what it listens at: whose user is seen to."""


class Found(NamedTuple):
    """`service`: its systemd unit; `container`: the beginning of its id; None where in none."""

    pid: int
    command: tuple[str, ...]
    service: str | None
    container: str | None


def listener(port: int) -> Found | None:
    """None where nobody is seen, or who it is is not."""
    pid = _seen(port) or _named(port)
    if pid is None:
        return None
    try:
        command = tuple(psutil.Process(pid).cmdline())
    except psutil.Error:
        command = ()
    cgroup = read(f"/proc/{pid}/cgroup")
    return Found(pid, command, service_of(cgroup), container_of(cgroup))


def addresses(port: int) -> tuple[str, ...]:
    """Those at which somebody listens, whoever that is; none where that is not told."""
    return tuple(sorted({str(one.laddr.ip) for one in _listening(port)}))


def _seen(port: int) -> int | None:
    """At a port of several the most exact address is the one that answers: loopback, if any."""
    found = sorted(_listening(port), key=lambda one: not is_loopback(one.laddr.ip))
    return int(found[0].pid) if found and found[0].pid else None


def _listening(port: int) -> list[Any]:
    try:
        found = psutil.net_connections("tcp")
    except psutil.Error:  # macOS tells all only to root
        return []
    return [one for one in found if one.status == psutil.CONN_LISTEN and one.laddr.port == port]


def _named(port: int) -> int | None:
    for name in NAMES:
        try:
            return ThisMachine().listener(port, name)
        except (Unknown, psutil.Error):
            continue
    return None
