"""What a takeover does, step by step, and what undoes it; or why none can be.

Pure: facts in, steps out, each as data that can be shown, done, and kept in a journal. Not here:
doing it (`doing.py`), what a user does where no step can be (`by_hand.py`).
"""

from __future__ import annotations

import os.path
import shlex
from collections.abc import Iterator, Sequence

import msgspec

from ollama_proxy.config import TAKEN_OVER, same_listener
from ollama_proxy.listening import is_loopback
from ollama_proxy.service import UNIT as PROXY_UNIT
from ollama_proxy.settings import SETTINGS, Address
from ollama_proxy.takeover import by_hand
from ollama_proxy.takeover.facts import OLLAMA, VARIABLE, Facts, Proxy, Unit, is_open

DROP_IN = "zz-ollama-proxy.conf"
"""Drop-ins hold in the order of their names; `systemctl edit` writes override.conf."""
PROXY = ("ollama-proxy", "ollama_proxy")
"""This program in a command line."""
SETS = ("listen", "upstream")


class Refusal(Exception):
    """No takeover can be: one line with cause and remedy. `lines`: what to run by hand."""

    def __init__(self, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


class Run(msgspec.Struct, frozen=True, tag="run"):
    """A command. `input`: what it reads. `may_fail`: what it does may be done, or not needed."""

    command: list[str]
    input: str = ""
    may_fail: bool = False


class Write(msgspec.Struct, frozen=True, tag="write"):
    """A file of this user's."""

    path: str
    text: str


class Remove(msgspec.Struct, frozen=True, tag="remove"):
    """The same file; it may be gone."""

    path: str


class HasHost(msgspec.Struct, frozen=True, tag="has_host"):
    """OLLAMA_HOST holds for the unit that is shown by `command`."""

    command: list[str]
    host: str


class Answers(msgspec.Struct, frozen=True, tag="answers"):
    """Ollama answers at a URL; not at `instead`. `active`: a command that says whether its unit is,
    or empty."""

    url: str
    instead: str | None = None
    active: list[str] = []


Action = Run | Write | Remove | HasHost | Answers


class Step(msgspec.Struct, frozen=True):
    """`name` in a journal, `says` to a user; `undo` names what of the plan's undoing it needs."""

    name: str
    says: str
    actions: list[Action]


class Undo(msgspec.Struct, frozen=True):
    """Needed if the step `of` had begun."""

    of: str
    action: Action


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`undo` in the order in which it is done. `address` is where programs call, `ollama` where it
    is then, `before` where the proxy was. `sudo`: some commands need it."""

    steps: list[Step]
    undo: list[Undo]
    address: str
    ollama: str
    before: str | None
    sudo: bool
    moves: bool


def made(facts: Facts) -> Plan:
    """Raises Refusal."""
    _settings_allow(facts)
    listen = facts.listen or Address(_numeric(facts.at.host), facts.at.port)
    if listen.port != facts.at.port:
        raise Refusal(f"--listen {listen}: expected port {facts.at.port}, which programs call")
    unit = _unit(facts)
    steps: list[Step] = []
    undo: list[Undo] = []
    if unit is not None:
        steps, undo = _ollama(facts, unit)
    steps += _proxy(facts, listen)
    return Plan(
        steps=steps,
        undo=[*_proxy_back(facts), *undo, *_proxy_again(facts)],
        address=f"http://{listen.reachable}",
        ollama=f"http://{facts.to}",
        before=facts.proxy.url if facts.proxy else None,
        sudo=any(_is_sudo(action) for step in steps for action in step.actions),
        moves=unit is not None,
    )


def shown(action: Action) -> list[str]:
    """The lines that say exactly what an action does."""
    match action:
        case Run(command=command, input=text):
            to_file = command[-1] if text else ""
            inner = [f"    {line}" for line in text.splitlines()]
            return [f"{shlex.join(command)}{' with' if to_file else ''}", *inner]
        case Write(path=path, text=text):
            return [f"write {path}", *(f"    {line}" for line in text.splitlines())]
        case Remove(path=path):
            return [f"remove {path}"]
        case HasHost(command=command, host=host):
            return [f"see that {VARIABLE}={host} holds: {shlex.join(command)}"]
        case Answers(url=url):
            return [f"wait until Ollama answers at {url}"]


def _settings_allow(facts: Facts) -> None:
    """What is set more strongly than by the takeover's own file would win over it."""
    if facts.foreign:
        raise Refusal(
            f"the proxy in {facts.data_dir} is another user's: run takeover as that user, without "
            "sudo, which it asks by itself"
        )
    for name, source in facts.explicit.items():
        kind, _, where = source.partition(" ")
        remedy = f"unset {where}" if kind == "environment" else f"take it out of {where}"
        raise Refusal(f"{name} is set by {source}, and a takeover is to set it: {remedy}")
    proxy = facts.proxy
    if proxy is not None and proxy.service and (own := [n for n in SETS if n in proxy.flags]):
        flags = [part for name, value in _rest(proxy).items() for part in (_flag(name), value)]
        anew = shlex.join(["ollama-proxy", "service", "install", *flags])
        raise Refusal(f"the service sets {' and '.join(own)}: install it without: {anew}")
    if proxy is None and facts.service_installed:
        start = f"systemctl --user start {PROXY_UNIT}"
        raise Refusal(f"the proxy is a service, and does not run: {start}, then again")


def _unit(facts: Facts) -> Unit | None:
    """Ollama's unit, which is to be changed; None where Ollama is where it is to go already."""
    at, to = facts.at, facts.to
    if at.scheme != "http" or at.path or not is_loopback(at.host):
        raise Refusal(f"{at} is not an Ollama of this machine: run takeover on that one")
    if same_listener(Address(at.host, at.port), to):
        raise Refusal(f"Ollama is at port {to.port} already: name another one with --port")
    who = facts.listener
    if who is not None and any(word.rpartition("/")[2] in PROXY for word in who.command):
        raise Refusal(
            f"a proxy listens at {at} already (process {who.pid}): end that by ollama-proxy "
            "takeover --undo, or stop, with its --data-dir"
        )
    if facts.answer is None:
        if facts.at_taken:
            named = f"process {who.pid}, {who.name}" if who else f"ss -ltnp 'sport = :{at.port}'"
            told = f"what listens at {at} is not Ollama ({named})"
            raise Refusal(f"{told}: end it, or name Ollama's address by --upstream")
        if facts.answer_there is not None:
            return None
        raise Refusal(f"nobody answers at {at}: start Ollama, or name its address by --upstream")
    if facts.to_taken:
        raise Refusal(f"port {to.port} is in use: name another one for Ollama with --port")
    for unit in facts.units:
        if unit.active and unit.port == at.port and _runs(unit, facts):
            _unit_allows(unit, facts)
            return unit
    lines = by_hand.lines(facts)
    raise Refusal(f"Ollama is not run here as systemd's {OLLAMA}: move it by those lines", lines)


def _runs(unit: Unit, facts: Facts) -> bool:
    return facts.listener is None or unit.pid in (0, facts.listener.pid)


def _unit_allows(unit: Unit, facts: Facts) -> None:
    if is_open(unit.host) and facts.listen is None:
        port = facts.at.port
        raise Refusal(
            f"Ollama serves other machines, too ({VARIABLE}={unit.host}): --listen 0.0.0.0:{port} "
            f"has the proxy do so, --listen 127.0.0.1:{port} ends it"
        )
    for path, host in facts.file_hosts.items():
        raise Refusal(
            f"{path} sets {VARIABLE}={host}, which wins over a drop-in: take it out, then "
            "systemctl restart ollama, then again"
        )
    if facts.drop_in_exists:
        raise Refusal(f"{drop_in(unit)} exists, from an earlier takeover: remove it, then again")
    if _needs_root(unit, facts) and not facts.sudo:
        lines = [*by_hand.as_root(drop_in(unit), facts.to), *by_hand.again(facts)]
        raise Refusal(f"{OLLAMA} is root's, and there is no sudo: run those lines as root", lines)


def drop_in(unit: Unit) -> str:
    """Its path: of the administrator's, also where a package brought the unit."""
    folder, name = os.path.split(unit.fragment)
    if not unit.user and not folder.endswith("/etc/systemd/system"):
        folder = "/etc/systemd/system"
    return os.path.join(folder, f"{name or OLLAMA}.d", DROP_IN)


def _needs_root(unit: Unit, facts: Facts) -> bool:
    return not unit.user and not facts.root


def _ollama(facts: Facts, unit: Unit) -> tuple[list[Step], list[Undo]]:
    path, host = drop_in(unit), str(facts.to)
    folder = os.path.dirname(path)
    root = ["sudo"] if _needs_root(unit, facts) else []
    reload = Run([*root, *unit.control, "daemon-reload"])
    restart = Run([*root, *unit.control, "restart", OLLAMA])
    active = [*unit.control, "is-active", OLLAMA]
    text = "# Made by `ollama-proxy takeover`; `ollama-proxy takeover --undo` removes it.\n"
    text += f'[Service]\nEnvironment="{VARIABLE}={host}"\n'
    steps = [
        Step(
            "drop-in",
            f"tell Ollama's unit to listen at {host}",
            [
                Run([*root, "mkdir", "-p", folder]),
                Run([*root, "tee", path], input=text),
                reload,
                HasHost([*unit.control, "show", OLLAMA, "--property=Environment"], host),
            ],
        ),
        Step(
            "ollama",
            "restart Ollama: calls that run break off, loaded models are unloaded",
            [restart, Answers(f"http://{host}", str(facts.at), active)],
        ),
    ]
    undo = [Undo("drop-in", Run([*root, "rm", "-f", path]))]
    if not facts.folder_exists:
        undo.append(Undo("drop-in", Run([*root, "rmdir", folder], may_fail=True)))
    undo += [
        Undo("drop-in", reload),
        Undo("ollama", restart),
        Undo("ollama", Answers(str(facts.at), None, active)),
    ]
    return steps, undo


def _proxy(facts: Facts, listen: Address) -> list[Step]:
    text = "# Made by `ollama-proxy takeover`; `ollama-proxy takeover --undo` removes it.\n"
    text += f'listen = "{listen}"\nupstream = "http://{facts.to}"\n'
    proxy = facts.proxy
    if proxy is None:
        command = _command(facts, "start", facts.flags)
    elif proxy.service:
        command = ["systemctl", "--user", "restart", PROXY_UNIT]
    else:
        values = {"listen": str(listen), "upstream": f"http://{facts.to}"}
        command = _command(facts, "restart", {n: v for n, v in values.items() if n in proxy.flags})
    return [
        Step("settings", "tell the proxy of it", [Write(_settings_file(facts), text)]),
        Step("proxy", f"have the proxy listen at {listen}", [Run(command)]),
    ]


def _proxy_back(facts: Facts) -> Iterator[Undo]:
    service = facts.proxy is not None and facts.proxy.service
    stop = ["systemctl", "--user", "stop", PROXY_UNIT] if service else _command(facts, "stop", {})
    yield Undo("proxy", Run(stop))
    yield Undo("settings", Remove(_settings_file(facts)))


def _proxy_again(facts: Facts) -> Iterator[Undo]:
    if facts.proxy is None:
        return
    if facts.proxy.service:
        yield Undo("proxy", Run(["systemctl", "--user", "start", PROXY_UNIT]))
    else:
        yield Undo("proxy", Run(_command(facts, "start", facts.proxy.flags)))


def _command(facts: Facts, name: str, flags: dict[str, str]) -> list[str]:
    said = {"data_dir": facts.data_dir, **flags}
    parts = [part for key, value in said.items() for part in (_flag(key), value)]
    return [*facts.program, name, *parts]


def _settings_file(facts: Facts) -> str:
    return os.path.join(facts.data_dir, TAKEN_OVER)


def _flag(name: str) -> str:
    return next((one.flag for one in SETTINGS if one.name == name), f"--{name}")


def _rest(proxy: Proxy) -> dict[str, str]:
    return {name: value for name, value in proxy.flags.items() if name not in SETS}


def _is_sudo(action: Action) -> bool:
    return isinstance(action, Run) and action.command[0] == "sudo"


def _numeric(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host
