"""`takeover`: moves Ollama to another port and the proxy to the one that programs call, or back.

Not here: what that takes, and how it is done and undone (`takeover/` above this).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from ollama_proxy.commands.options import Port, given, settings
from ollama_proxy.commands.saying import counted, printable, refuse
from ollama_proxy.commands.there import looked, running_in
from ollama_proxy.config import Config, read
from ollama_proxy.flags import absolute
from ollama_proxy.rest import Refused
from ollama_proxy.running import Found
from ollama_proxy.settings import ADDRESS, Address
from ollama_proxy.takeover import journal, look, plan
from ollama_proxy.takeover.actions import shown
from ollama_proxy.takeover.doing import Failed, Stop, cause, do, undo
from ollama_proxy.takeover.facts import Facts, Keeper
from ollama_proxy.takeover.proof import prove

PORT = 11436
"""Not 11435: a program that names the proxy's address of before is to notice, not to go past it."""
OLLAMAS = 11434
ASKS = "it changes the system: say --yes to do it unasked, --dry-run to see what it does"


@click.command(short_help="Listen where programs look for Ollama.")
@click.option("--undo", "back", is_flag=True, help="Put all back as it was before.")
@click.option("--dry-run", is_flag=True, help="Only show each step.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--port", type=Port(), default=PORT, metavar="PORT", help=f"Ollama's new one. Default: {PORT}."
)
@click.option(
    "--listen", metavar="HOST:PORT", help="The proxy's new address. Default: where Ollama is now."
)
@click.option("--call", "model", metavar="MODEL", help="Prove it by one call of one token, too.")
@settings(only=("upstream", "data_dir"))
def takeover(
    back: bool,
    dry_run: bool,
    yes: bool,
    port: int,
    listen: str | None,
    model: str | None,
    **flags: Any,
) -> int:
    """Move Ollama to another port of this machine and have the proxy listen at its old one, so that
    programs with that address written in go through the proxy, and change nothing. Ollama is
    restarted for it. It is proved by calls; where something fails all is put back."""
    said = absolute(given(flags))
    wanted = _address(listen)
    # Undone is also a takeover of which takeover.toml cannot be read any more.
    folder = read(said, os.environ, only=("data_dir",)).data_dir
    try:
        story = journal.read(folder)
    except (journal.Unreadable, OSError) as error:
        return refuse(str(error), 1)
    if back:
        return _undone(folder, story, running_in(folder), dry_run, yes)
    config, there = looked(said)
    if story.plan is not None:
        return _done_already(story, story.plan)
    own = there.run.url if there is not None and there.run is not None else None
    if config.upstream.port != OLLAMAS and own == f"http://127.0.0.1:{OLLAMAS}":
        print(f"nothing to do: the proxy listens at {own}, as it was told; Ollama is elsewhere")
        return 0
    try:
        rest = {name: said[name] for name in ("config",) if name in said}
        facts = look.facts(config, there, rest, wanted, port)
        planned = plan.made(facts)
    except plan.Impossible as why:
        print("\n".join(map(printable, why.lines)), end="\n" if why.lines else "")
        return refuse(f"{why}; nothing was changed", 1)
    except Refused as why:
        return refuse(f"the proxy that runs {why}; nothing was changed", 1)
    _say("\n".join(_told(facts, planned)))
    if dry_run:
        return 0
    if code := _agreed(yes, planned):
        return code
    if not yes and not _is_still(planned, config, said, rest, wanted, port):
        return refuse("what was found has changed since: run it again; nothing was changed", 1)
    return _done(config, facts, planned, model)


def _is_still(
    planned: plan.Plan,
    config: Config,
    said: dict[str, str],
    rest: dict[str, str],
    wanted: Address | None,
    port: int,
) -> bool:
    """Whether the same would be planned now: somebody may have taken long to agree."""
    try:
        return plan.made(look.facts(config, looked(said)[1], rest, wanted, port)) == planned
    except (plan.Impossible, Refused):
        return False


def _address(text: str | None) -> Address | None:
    try:
        return None if text is None else ADDRESS.parse(text)
    except ValueError:
        raise click.UsageError(f"--listen {text}: expected {ADDRESS.right}") from None


def _done_already(story: journal.Story, planned: plan.Plan) -> int:
    if not story.complete:
        again = "ollama-proxy takeover --undo puts all back, then try again"
        return refuse(f"a takeover is under way, or was broken off: {again}", 1)
    if look.answer(planned.address) is None:
        remedy = "ollama-proxy status tells more, ollama-proxy takeover --undo puts all back"
        return refuse(f"it is done, but no Ollama answers at {planned.address}: {remedy}", 1)
    print(f"done already: the proxy listens at {planned.address}, Ollama at {planned.ollama}")
    return 0


def _told(facts: Facts, planned: plan.Plan) -> list[str]:
    found = facts.answer or facts.answer_there
    version = found.version if found else "?"
    lines = [f"Ollama {version} is at {facts.at if facts.answer else facts.to}"]
    if facts.proxy is None:
        lines.append("No proxy runs")
    else:
        how = "a service" if facts.keeper is Keeper.SERVICE else "no service"
        calls = counted(facts.proxy.calls, "call runs", "calls run")
        lines.append(f"The proxy is at {facts.proxy.url}, {how}; {calls} through it")
    for number, step in enumerate(planned.steps, 1):
        lines += ["", f"{number}. {step.says}"]
        lines += [f"     {line}" for action in step.actions for line in shown(action)]
    lines += ["", f"{len(planned.steps) + 1}. prove it by calls to {planned.address}"]
    return [*lines, "Where something fails all is put back.", ""]


def _agreed(yes: bool, planned: plan.Plan) -> int:
    """0, or the code to exit with."""
    if not yes:
        if not sys.stdin.isatty():
            return refuse(ASKS, 1)
        if not click.confirm("Do it?"):
            return refuse("nothing was changed", 1)
    if planned.sudo:
        asking = [] if sys.stdin.isatty() else ["-n"]
        if subprocess.run(["sudo", *asking, "-v"], check=False).returncode:
            return refuse("sudo refused: sudo -v tells why, then again; nothing was changed", 1)
    return 0


def _done(config: Config, facts: Facts, planned: plan.Plan, model: str | None) -> int:
    before = facts.answer or facts.answer_there
    assert before is not None
    try:
        with journal.held(config.data_dir) as held, Stop().watched() as stop:
            if held.story.plan is not None:
                raise journal.Busy
            held.begin(planned)
            failures, why = [], "it broke off"
            try:
                do(planned, held, stop, _say)
                says = prove(planned.address, before, config, model)
                stop.check()
                held.complete()
            except (Failed, OSError) as error:
                why = cause(error)
            finally:
                if not held.story.complete:
                    failures = undo(held, facts.keeper, _say)
            if held.story.plan is not None and not failures:
                _say(says)
                _say("\n".join(_afterwards(facts, planned)))
                return 0
    except journal.Busy:
        return refuse("another takeover is under way: wait until it has ended", 1)
    except OSError as error:
        return refuse(f"{cause(error)}: nothing was changed", 1)
    if failures:
        return refuse(f"{why}; {_left(failures)}", 1)
    return refuse(f"{why}: all is as it was before", 1)


def _left(failures: list[str]) -> str:
    again = "ollama-proxy takeover --undo tries again"
    return f"not put back: {'; '.join(failures)}: {again}"


def _afterwards(facts: Facts, planned: plan.Plan) -> list[str]:
    lines = [
        f"done: what calls {planned.address} goes through the proxy, the ollama command too;",
        f"Ollama is at {planned.ollama}; ollama-proxy takeover --undo puts all back",
    ]
    if planned.before is not None:
        lines.append(f"What names {planned.before}, where the proxy was, is to name this address")
    if facts.keeper is Keeper.NOBODY:
        lines += [
            "After a restart of the machine no proxy runs until ollama-proxy start; for it to",
            "start by itself: ollama-proxy stop; ollama-proxy service install",
        ]
    return lines


def _undone(
    folder: Path, story: journal.Story, there: Found | None, dry_run: bool, yes: bool
) -> int:
    if story.plan is None:
        print(f"nothing to undo: no takeover was made with {folder}")
        return 0
    planned, keeper = story.plan, look.keeper(there, story.plan.keeper)
    try:
        actions = plan.undoing(planned, story.begun, keeper)
    except plan.Impossible as why:
        return refuse(f"{why}; nothing was changed", 1)
    for action in actions:
        _say("\n".join(shown(action)))
    if dry_run:
        return 0
    if code := _agreed(yes, planned):
        return code
    try:
        with journal.held(folder) as held, Stop().watched():
            failures = undo(held, keeper, _say)
    except journal.Busy:
        return refuse("a takeover is under way: wait until it has ended", 1)
    except OSError as error:
        return refuse(cause(error), 1)
    if failures:
        return refuse(_left(failures), 1)
    print("undone: all is as it was before the takeover")
    if not planned.moves:
        print(f"Ollama stays at {planned.ollama}, where it was by then")
    return 0


def _say(text: str) -> None:
    """Who reads it may leave: that is no reason to stop midway."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
