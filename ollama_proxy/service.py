"""The proxy as a service of the user: what systemd and launchd read, and what installs that.

Pure. Not here: running that (`commands/service.py`), telling systemd how it is (`notify.py`).
"""

from __future__ import annotations

import plistlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

NAME = "ollama-proxy"
UNIT = f"{NAME}.service"
WATCHDOG_SECONDS = 30
STORE_SECONDS = 30
"""That a stop takes at the most beside what running calls get."""

Command = list[str]

_UNIT = """\
# Made by `ollama-proxy service install`, which overwrites it; change it by drop-ins.
[Unit]
Description=ollama-proxy: passes calls on to Ollama, and records them

[Service]
Type=notify
ExecStart={program}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
# Wrong settings: trying again is no help.
RestartPreventExitStatus=2
WatchdogSec={watchdog}
# The statistics of a large database are read first.
TimeoutStartSec=300
# Running calls may end first.
TimeoutStopSec={stop}
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
# Nothing that needs a user namespace, such as ProtectSystem or PrivateTmp: from inside of one the
# programs behind connections cannot be seen.

[Install]
WantedBy=default.target
"""


class Service(msgspec.Struct, frozen=True):
    """A file and its text, the commands that install it once it is written, those that end it
    before it is removed, and those after that. `log`: the command that shows its log; `more`: what
    is to be known of it."""

    file: Path
    text: str
    install: list[Command]
    uninstall: list[Command]
    removed: list[Command]
    log: str
    more: str


def for_systemd(program: Sequence[str], drain: float, folder: Path) -> Service:
    """A unit of the user's manager. `folder`: where its units are; `drain` in seconds."""
    control = ["systemctl", "--user"]
    text = _UNIT.format(
        program=" ".join(map(quoted, program)),
        watchdog=WATCHDOG_SECONDS,
        stop=round(drain) + STORE_SECONDS,
    )
    reload = [*control, "daemon-reload"]
    return Service(
        file=folder / UNIT,
        text=text,
        install=[reload, [*control, "enable", UNIT], [*control, "restart", UNIT]],
        uninstall=[[*control, "disable", "--now", UNIT]],
        removed=[reload],
        log=f"journalctl --user -u {NAME}",
        more="It starts when you log in; to have it run without that: loginctl enable-linger",
    )


def for_launchd(program: Sequence[str], user: int, folder: Path, out: Path) -> Service:
    """An agent of the user's. `folder`: where the agents are; `out`: a file for what it prints."""
    file = folder / f"{NAME}.plist"
    agent = {
        "Label": NAME,
        "ProgramArguments": list(program),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "StandardOutPath": str(out),
        "StandardErrorPath": str(out),
        "Umask": 0o077,
    }
    domain = f"gui/{user}"
    return Service(
        file=file,
        text=plistlib.dumps(agent).decode(),
        install=[["launchctl", "bootstrap", domain, str(file)]],
        uninstall=[["launchctl", "bootout", f"{domain}/{NAME}"]],
        removed=[],
        log="ollama-proxy logs",
        more="It starts when you log in.",
    )


def quoted(word: str) -> str:
    """A word of a unit's command line (systemd.service(5), "Command lines"): neither specifiers nor
    variables are meant."""
    for character, instead in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(character, instead)
    word = word.replace("\n", "\\n").replace("\t", "\\t")
    return f'"{word}"'
