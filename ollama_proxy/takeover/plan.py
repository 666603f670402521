"""What a takeover does, step by step, and what undoes it; or why none can be.

Pure: facts in, steps out. Not here: what a step's actions are (`actions.py`), doing it
(`doing.py`), what a user does where no step can be (`by_hand.py`).
"""

from __future__ import annotations

import os.path
import shlex
from collections.abc import Iterator, Sequence

import msgspec

from ollama_proxy.config import TAKEN_OVER, TAKEOVER_SETS, same_listener
from ollama_proxy.flags import as_flags
from ollama_proxy.listening import is_loopback
from ollama_proxy.service import UNIT as PROXY_UNIT
from ollama_proxy.settings import Address
from ollama_proxy.takeover import by_hand
from ollama_proxy.takeover.actions import Action, Answers, HasHost, Remove, Run, Switch, Write
from ollama_proxy.takeover.facts import OLLAMA, VARIABLE, Facts, Keeper, Unit

DROP_IN = "zz-ollama-proxy.conf"
"""Drop-ins hold in the order of their names; `systemctl edit` writes override.conf."""
PROXY = ("ollama-proxy", "ollama_proxy")
"""This program in a command line."""
ANOTHERS = "the proxy is run by another unit of systemd's than the user's ollama-proxy.service"
PRINTED = "the lines on standard output"
_USERS = ("systemctl", "--user")


class Impossible(Exception):
    """No takeover can be, or no undoing: one line with cause and remedy. `lines`: what to run by
    hand."""

    def __init__(self, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


class Step(msgspec.Struct, frozen=True):
    """`name` in a journal, `says` to a user; `undo` names what of the plan's undoing it needs."""

    name: str
    says: str
    actions: list[Action]


class Undo(msgspec.Struct, frozen=True):
    """Needed if the step `of` had begun."""

    of: str
    action: Action | Switch


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`undo` in the order in which it is done. `address` is where programs call, `ollama` where it
    is then, `before` where the proxy was, `keeper` whose it was. `sudo`: some commands need it."""

    steps: list[Step]
    undo: list[Undo]
    address: str
    ollama: str
    before: str | None
    keeper: Keeper = Keeper.NOBODY
    sudo: bool
    moves: bool


def made(facts: Facts) -> Plan:
    """Raises Impossible."""
    _proxy_allows(facts)
    listen = facts.listen or Address(_numeric(facts.at.host), facts.at.port)
    if listen.port != facts.at.port:
        raise Impossible(f"--listen {listen}: expected port {facts.at.port}, which programs call")
    unit = _unit(facts)
    steps: list[Step] = []
    undo: list[Undo] = []
    if unit is not None:
        steps, undo = _ollama(facts, unit)
    steps += _proxy(facts, listen)
    return Plan(
        steps=steps,
        undo=[*_proxy_back(facts), *undo, _proxy_again(facts)],
        address=f"http://{listen.reachable}",
        ollama=f"http://{facts.to}",
        before=facts.proxy.url if facts.proxy else None,
        keeper=facts.keeper,
        sudo=any(_is_sudo(action) for step in steps for action in step.actions),
        moves=unit is not None,
    )


def undoing(plan: Plan, begun: Sequence[str], keeper: Keeper) -> list[Action]:
    """What puts back the steps that had begun, in this order; `keeper`: the proxy's by now. Raises
    Impossible."""
    found: list[Action] = []
    for one in plan.undo:
        if one.of not in begun:
            continue
        if not isinstance(one.action, Switch):
            found.append(one.action)
        elif keeper is Keeper.ANOTHER:
            raise Impossible(f"{ANOTHERS}: end it by that unit, then again")
        elif keeper is Keeper.SERVICE:
            found.append(Run([*_USERS, one.action.word, PROXY_UNIT]))
        elif one.action.command:
            found.append(Run(one.action.command))
    return found


def _proxy_allows(facts: Facts) -> None:
    """It can be restarted, and nothing wins over the takeover's own file of settings."""
    if facts.foreign:
        raise Impossible(
            f"the proxy in {facts.data_dir} is another user's: run takeover as that user, without "
            "sudo, which it asks by itself"
        )
    for name, source in facts.explicit.items():
        kind, _, where = source.partition(" ")
        remedy = f"unset {where}" if kind == "environment" else f"take it out of {where}"
        raise Impossible(f"{name} is set by {source}, and a takeover is to set it: {remedy}")
    proxy = facts.proxy
    if proxy is not None and facts.keeper is Keeper.ANOTHER:
        remedy = "end it by that unit and run it by ollama-proxy service install, then again"
        raise Impossible(f"{ANOTHERS} (systemctl status {proxy.pid} names it): {remedy}")
    if facts.keeper is not Keeper.SERVICE:
        return
    if proxy is None:
        start = shlex.join([*_USERS, "start", PROXY_UNIT])
        raise Impossible(f"the proxy is a service, and does not run: {start}, then again")
    if own := [name for name in TAKEOVER_SETS if name in proxy.flags]:
        rest = {name: value for name, value in proxy.flags.items() if name not in own}
        anew = shlex.join(["ollama-proxy", "service", "install", *as_flags(rest)])
        raise Impossible(f"the service sets {' and '.join(own)}: install it without: {anew}")


def _unit(facts: Facts) -> Unit | None:
    """Ollama's unit, which is to be changed; None where Ollama is where it is to go already."""
    at, to = facts.at, facts.to
    if at.scheme != "http" or at.path or not is_loopback(at.host):
        raise Impossible(f"{at} is not an Ollama of this machine: run takeover on that one")
    if same_listener(Address(at.host, at.port), to):
        raise Impossible(f"Ollama is at port {to.port} already: name another one with --port")
    who = facts.listener
    if who is not None and any(word.rpartition("/")[2] in PROXY for word in who.command):
        raise Impossible(
            f"a proxy listens at {at} already (process {who.pid}): end that by ollama-proxy "
            "takeover --undo, or stop, with its --data-dir"
        )
    if facts.answer is None:
        if facts.at_taken:
            named = f"process {who.pid}, {who.name}" if who else f"ss -ltnp 'sport = :{at.port}'"
            told = f"what listens at {at} is not Ollama ({named})"
            raise Impossible(f"{told}: end it, or name Ollama's address by --upstream")
        if facts.answer_there is not None:
            return None
        raise Impossible(f"nobody answers at {at}: start Ollama, or name its address by --upstream")
    if facts.to_taken:
        raise Impossible(f"port {to.port} is in use: name another one for Ollama with --port")
    if facts.open_at is not None and facts.listen is None:
        found = Address(facts.open_at, at.port)
        raise Impossible(
            f"Ollama serves other machines, too, at {found}: --listen 0.0.0.0:{at.port} has the "
            f"proxy do so, --listen 127.0.0.1:{at.port} ends it"
        )
    if facts.unit is None:
        why = f"Ollama is not run here as systemd's {OLLAMA}: {PRINTED} move it"
        raise Impossible(why, by_hand.lines(facts))
    _unit_allows(facts.unit, facts)
    return facts.unit


def _unit_allows(unit: Unit, facts: Facts) -> None:
    for path, host in unit.files.items():
        if host is not None:
            restart = shlex.join([*unit.control, "restart", OLLAMA])
            raise Impossible(
                f"{path} sets {VARIABLE}={host}, which wins over a drop-in: take it out, then "
                f"{restart}, then again"
            )
    if facts.drop_in_exists:
        raise Impossible(f"{drop_in(unit)} exists, from an earlier takeover: remove it, then again")
    if _needs_root(unit, facts) and not facts.sudo:
        lines = [*by_hand.as_root(drop_in(unit), facts.to), *by_hand.again(facts)]
        why = f"{OLLAMA} is root's, and there is no sudo: {PRINTED} move it, as root"
        raise Impossible(why, lines)


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
    elif facts.keeper is Keeper.SERVICE:
        command = [*_USERS, "restart", PROXY_UNIT]
    else:
        values = {"listen": str(listen), "upstream": f"http://{facts.to}"}
        command = _command(facts, "restart", {n: v for n, v in values.items() if n in proxy.flags})
    return [
        Step("settings", "tell the proxy of it", [Write(_settings_file(facts), text)]),
        Step("proxy", f"have the proxy listen at {listen}", [Run(command)]),
    ]


def _proxy_back(facts: Facts) -> Iterator[Undo]:
    yield Undo("proxy", Switch("stop", _command(facts, "stop", {})))
    yield Undo("settings", Remove(_settings_file(facts)))


def _proxy_again(facts: Facts) -> Undo:
    proxy = facts.proxy
    return Undo("proxy", Switch("start", _command(facts, "start", proxy.flags) if proxy else []))


def _command(facts: Facts, name: str, flags: dict[str, str]) -> list[str]:
    return [*facts.program, name, *as_flags({"data_dir": facts.data_dir, **flags})]


def _settings_file(facts: Facts) -> str:
    return os.path.join(facts.data_dir, TAKEN_OVER)


def _is_sudo(action: Action) -> bool:
    return isinstance(action, Run) and action.command[0] == "sudo"


def _numeric(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host
