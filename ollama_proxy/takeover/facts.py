"""What is so before a takeover: Ollama, who runs it, the proxy; and what systemd's words mean.

Pure. Not here: finding it out (`look.py`), what follows from it (`plan.py`).
"""

from __future__ import annotations

import enum
import re
import shlex
from collections.abc import Mapping, Sequence

import msgspec

from ollama_proxy.listening import is_loopback
from ollama_proxy.settings import UPSTREAM, Address, Upstream

OLLAMA = "ollama.service"
PROPERTIES = "LoadState,ActiveState,MainPID,FragmentPath,Environment,EnvironmentFiles"
"""What `Unit` is made from."""
VARIABLE = "OLLAMA_HOST"


class Unit(msgspec.Struct, frozen=True):
    """Ollama as a unit of systemd's: of the system's manager, or the `user`'s. `host`: OLLAMA_HOST,
    if its unit or a drop-in sets it. `files`: its EnvironmentFiles, each with the OLLAMA_HOST that
    it sets, if it can be read and does."""

    user: bool
    active: bool
    pid: int
    fragment: str
    host: str | None
    files: Mapping[str, str | None] = {}

    @property
    def control(self) -> list[str]:
        return ["systemctl", "--user"] if self.user else ["systemctl"]

    @property
    def port(self) -> int | None:
        """Where its OLLAMA_HOST has it listen; None if that is no address. The last file that sets
        it wins (systemd.exec(5))."""
        hosts = [self.host, *self.files.values()]
        host = next((one for one in reversed(hosts) if one is not None), None)
        try:
            return int(UPSTREAM.parse(host or "127.0.0.1:11434").port)
        except ValueError:
            return None


class Listener(msgspec.Struct, frozen=True):
    """Who listens at a port. `service`: its systemd unit, `container`: its id's beginning."""

    pid: int
    command: tuple[str, ...]
    service: str | None = None
    container: str | None = None

    @property
    def name(self) -> str:
        return self.command[0].rpartition("/")[2] if self.command else "a process"


class Keeper(enum.Enum):
    """Who runs the proxy; where none runs, who is to."""

    NOBODY = "nobody"
    """It is in the background, or in a terminal."""
    SERVICE = "service"
    """Its unit of the user's systemd."""
    ANOTHER = "another"
    """Another unit of systemd's."""


class Proxy(msgspec.Struct, frozen=True):
    """The proxy that runs. `calls` run through it now. Flags that this version does not know are
    left out."""

    pid: int
    url: str
    flags: dict[str, str]
    calls: int = 0


class Answer(msgspec.Struct, frozen=True):
    """What Ollama says of itself: its version, and each model's name and digest, sorted."""

    version: str
    models: tuple[tuple[str, str], ...]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """`at`: where programs find Ollama, `to`: where it is to go, `listen`: where the proxy is to
    listen, None if nobody said so. `answer` comes from `at`, `answer_there` from `to`; None where
    nobody does. `addresses`: of this machine, at which Ollama's port is listened at. `unit`: the
    one of systemd's that runs that Ollama. `drop_in_exists`, `folder_exists`: of the drop-in that
    is to be written. `explicit`: listen or upstream, and where it is set, if that would win over a
    takeover. `foreign`: the data folder is another user's. `flags`: of a proxy that is yet to
    start; `program` runs this program."""

    at: Upstream
    to: Address
    listen: Address | None
    answer: Answer | None
    answer_there: Answer | None
    at_taken: bool
    to_taken: bool
    listener: Listener | None
    addresses: tuple[str, ...] = ()
    unit: Unit | None
    drop_in_exists: bool = False
    folder_exists: bool = False
    proxy: Proxy | None
    keeper: Keeper = Keeper.NOBODY
    explicit: Mapping[str, str] = {}
    data_dir: str
    foreign: bool = False
    flags: dict[str, str] = {}
    program: tuple[str, ...]
    root: bool
    sudo: bool
    macos: bool = False

    @property
    def open_at(self) -> str | None:
        """Where other machines find Ollama, if they do."""
        return next((one for one in self.addresses if not is_loopback(one)), None)


def running(units: Sequence[Unit], port: int, listener: Listener | None) -> Unit | None:
    """The unit that runs the Ollama at this port: whose process listens, where that is seen."""
    for unit in units:
        known = listener.pid if listener is not None and unit.pid else None
        if unit.active and (unit.port == port if known is None else unit.pid == known):
            return unit
    return None


def unit_from(shown: str, user: bool) -> Unit | None:
    """What `systemctl show` said of PROPERTIES; None where there is no such unit."""
    values: dict[str, str] = {}
    files = []
    for line in shown.splitlines():
        key, _, value = line.partition("=")
        if key == "EnvironmentFiles":
            files.append(re.sub(r" \(ignore_errors=\w+\)$", "", value))
        else:
            values[key] = value
    if values.get("LoadState") != "loaded":
        return None
    return Unit(
        user=user,
        active=values.get("ActiveState") == "active",
        pid=int(values.get("MainPID") or 0),
        fragment=values.get("FragmentPath", ""),
        host=host_in(_words(values.get("Environment", ""))),
        files={file: None for file in files if file},
    )


def host_in(assignments: Sequence[str]) -> str | None:
    """The value that holds of OLLAMA_HOST: the last one's."""
    found = [one.partition("=")[2] for one in assignments if one.startswith(f"{VARIABLE}=")]
    return found[-1] if found else None


def host_in_file(text: str) -> str | None:
    """The same of an EnvironmentFile (systemd.exec(5))."""
    lines = (line.strip() for line in text.splitlines())
    return host_in([word for line in lines if line[:1] not in "#;" for word in _words(line)[:1]])


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
