"""What a control group's path tells of a process: its systemd unit, its container.

Not here: where `/proc/PID/cgroup` is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ollama_proxy.sensors.commands import NAME_CHARACTERS, clean

CONTAINER_CHARACTERS = 12
"""As many of a container's id as `docker ps` shows."""

_CONTAINER = re.compile(r"(?:[a-z]+-)*([0-9a-f]{64})(?:\.scope)?")
_RANDOM = re.compile(r"\d+|[0-9a-f]{16,}")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


def container_of(cgroup: str) -> str | None:
    """The beginning of the id that Docker, Podman or containerd gave; None outside of one."""
    for _, path in _groups(cgroup):
        for part in reversed(path.split("/")):
            if match := _CONTAINER.fullmatch(part):
                return match[1][:CONTAINER_CHARACTERS]
    return None


def service_of(cgroup: str) -> str | None:
    """The systemd unit, or the name of the desktop's app; None in a mere login session."""
    for controllers, path in _groups(cgroup):
        if controllers in ("", "name=systemd"):
            for part in reversed(path.split("/")):
                if name := _unit(part):
                    return clean(_ESCAPED.sub(_unescaped, name), NAME_CHARACTERS)
    return None


def _groups(cgroup: str) -> Iterator[tuple[str, str]]:
    """Each line's controllers and path: `0::/a` of version 2, `9:name=systemd:/a` of version 1."""
    for line in cgroup.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        yield controllers, path


def _unit(part: str) -> str | None:
    name, _, kind = part.rpartition(".")
    if kind == "service" and not name.startswith(("user@", "app-")):
        return part
    if kind in ("service", "scope") and name.startswith("app-"):
        return _app(name)
    return None


def _app(name: str) -> str:
    """`app-gnome-org.gnome.Evince-2313` is `org.gnome.Evince` (systemd.io/DESKTOP_ENVIRONMENTS)."""
    parts = name.partition("@")[0].split("-")[1:]
    if len(parts) > 1 and _RANDOM.fullmatch(parts[-1]):
        parts.pop()
    return parts[-1]


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))
