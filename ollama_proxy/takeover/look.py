"""Finds out what is so: asks Ollama, systemd, the kernel, the proxy. Changes nothing.

Not here: what follows from it (`plan.py`).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ollama_proxy.config import TAKEOVER_SETS, Config
from ollama_proxy.flags import parted
from ollama_proxy.rest import Refused, ask
from ollama_proxy.running import Found
from ollama_proxy.sensors.listener import addresses, listener
from ollama_proxy.service import UNIT as PROXY_UNIT
from ollama_proxy.settings import Address
from ollama_proxy.takeover.facts import (
    OLLAMA,
    PROPERTIES,
    Answer,
    Facts,
    Keeper,
    Listener,
    Proxy,
    Unit,
    host_in_file,
    running,
    unit_from,
)
from ollama_proxy.takeover.plan import Impossible, drop_in


def facts(
    config: Config, there: Found | None, said: dict[str, str], listen: Address | None, port: int
) -> Facts:
    """`said`: the settings of the command line, without listen and upstream. Raises Refused or
    Impossible where the proxy that runs does not say how it is."""
    at, to = config.upstream, Address("127.0.0.1", port)
    found, now = listener(at.port), answer(str(at))
    who = None if found is None else Listener(*found)
    units = [one for one in (_unit(user=False), _unit(user=True)) if one is not None]
    unit = running(units, at.port, who)
    path = drop_in(unit) if unit else ""
    return Facts(
        at=at,
        to=to,
        listen=listen,
        answer=now,
        answer_there=answer(f"http://{to}") if now is None else None,
        at_taken=_is_taken(Address(at.host, at.port)),
        to_taken=_is_taken(to),
        listener=who,
        addresses=addresses(at.port),
        unit=unit,
        drop_in_exists=os.path.lexists(path),
        folder_exists=os.path.isdir(os.path.dirname(path)),
        proxy=_proxy(config, there),
        keeper=keeper(there),
        explicit=_explicit(config.sources),
        data_dir=str(config.data_dir.absolute()),
        foreign=_is_foreign(config.data_dir),
        flags=said,
        program=(sys.executable, "-m", "ollama_proxy"),
        root=os.geteuid() == 0,
        sudo=shutil.which("sudo") is not None,
        macos=sys.platform == "darwin",
    )


def answer(url: str) -> Answer | None:
    """What Ollama says of itself there; None where nobody does."""
    try:
        version = ask(url, "version")["version"]
        models = ask(url, "tags")["models"] or ()
        named = sorted((str(one["name"]), str(one.get("digest"))) for one in models)
        return Answer(str(version), tuple(named))
    except (OSError, Refused, ValueError, KeyError, TypeError, AttributeError):
        return None


def shows(command: list[str]) -> str:
    """What a command prints; empty if it cannot be run."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def _unit(user: bool) -> Unit | None:
    control = ["systemctl", "--user"] if user else ["systemctl"]
    unit = unit_from(shows([*control, "show", OLLAMA, f"--property={PROPERTIES}"]), user)
    if unit is None:
        return None
    return msgspec.structs.replace(unit, files={path: _file_host(path) for path in unit.files})


def _file_host(path: str) -> str | None:
    try:
        return host_in_file(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _explicit(sources: Mapping[str, str]) -> dict[str, str]:
    """A flag of the proxy that runs is not: it is restarted with others."""
    strong = ("file ", "environment ")
    return {name: sources[name] for name in TAKEOVER_SETS if sources[name].startswith(strong)}


def _proxy(config: Config, there: Found | None) -> Proxy | None:
    if there is None:
        return None
    if there.run is None:
        raise Impossible(f"the proxy, process {there.pid}, is just starting or stopping: try again")
    try:
        calls = int(ask(there.run.admin, "status", config.admin.token)["active_requests"])
    except (OSError, ValueError, KeyError, TypeError):
        why = "the proxy that runs does not answer: its log says why (ollama-proxy logs)"
        raise Impossible(why) from None
    return Proxy(there.pid, there.run.url, parted(there.run.flags)[0], calls)


def keeper(there: Found | None, before: Keeper = Keeper.NOBODY) -> Keeper:
    """Of the proxy that runs; where none does, of the one that is to: a service that starts by
    itself, or did run it `before` and is there still."""
    names = ("LoadState", "UnitFileState", "MainPID")
    command = ["systemctl", "--user", "show", PROXY_UNIT, f"--property={','.join(names)}"]
    unit = dict(line.partition("=")[::2] for line in shows(command).splitlines())
    if there is None:
        starts = unit.get("UnitFileState") == "enabled"
        is_there = before is Keeper.SERVICE and unit.get("LoadState") == "loaded"
        return Keeper.SERVICE if starts or is_there else Keeper.NOBODY
    if unit.get("MainPID") == str(there.pid):
        return Keeper.SERVICE
    return Keeper.ANOTHER if there.run is not None and there.run.service else Keeper.NOBODY


def _is_foreign(folder: Path) -> bool:
    try:
        return folder.stat().st_uid != os.geteuid()
    except OSError:  # it is not there yet: by sudo, it would become root's
        return os.geteuid() == 0 and os.environ.get("SUDO_USER", "root") != "root"


def _is_taken(address: Address) -> bool:
    """Whether something listens there."""
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((address.host, address.port))
            trial.listen()
    except OSError:
        return True
    return False
