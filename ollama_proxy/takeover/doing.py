"""Does a plan's steps, each written into the journal first, and undoes what was begun.

Not here: what the steps are (`plan.py`), whether it worked in the end (`proof.py`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ollama_proxy.takeover.actions import Action, Answers, HasHost, Remove, Run, Write, shown
from ollama_proxy.takeover.facts import VARIABLE, Keeper, unit_from
from ollama_proxy.takeover.journal import Journal
from ollama_proxy.takeover.look import answer, shows
from ollama_proxy.takeover.plan import Plan, undoing

ANSWER_SECONDS = 90.0
"""Within which Ollama answers after its start: looking for GPUs takes some of it."""
PAUSE = 0.1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Say = Callable[[str], None]


class Failed(Exception):
    """An action did not do what it should: one line that says why."""


class Stop:
    """Whether somebody wants it to end: asked between two actions, and while one waits."""

    def __init__(self) -> None:
        self.asked = False

    def check(self) -> None:
        if self.asked:
            raise Failed("it was interrupted")

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    @contextmanager
    def watched(self) -> Iterator[Stop]:
        """A signal ends nothing by itself meanwhile."""
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def do(plan: Plan, journal: Journal, stop: Stop, say: Say) -> None:
    """All steps. Raises Failed, OSError."""
    for step in plan.steps:
        stop.check()
        say(f"{step.says} …")
        journal.step(step.name)
        for action in step.actions:
            _do(action, stop)
            stop.check()


def undo(journal: Journal, keeper: Keeper, say: Say) -> list[str]:
    """Put back what was begun; returns what could not be. All of it can be done again. `keeper`:
    the proxy's by now. Raises Impossible."""
    failures = []
    plan, begun = journal.story.plan, journal.story.begun
    for action in undoing(plan, begun, keeper) if plan else ():
        try:
            say(f"back: {shown(action)[0]}")
            _do(action, Stop())
        except (Failed, OSError) as error:
            failures.append(cause(error))
    if not failures:
        try:
            journal.end()
        except OSError as error:
            failures.append(cause(error))
    return failures


def cause(error: Failed | OSError) -> str:
    """Why, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'} cannot be written: {error.strerror}"
    return str(error)


def _do(action: Action, stop: Stop) -> None:
    match action:
        case Run():
            _run(action)
        case Write(path=path, text=text):
            _write(Path(path), text)
        case Remove(path=path):
            Path(path).unlink(missing_ok=True)
        case HasHost(command=command, host=host):
            _has_host(command, host)
        case Answers():
            _wait(action, stop)


def _run(action: Run) -> None:
    # Ctrl-C goes to all of the terminal's; sudo needs the terminal to ask for a password.
    apart = action.command[0] != "sudo"
    try:
        done = subprocess.run(
            action.command,
            input=action.input,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            start_new_session=apart,
        )
    except OSError as error:
        raise Failed(f"{action.command[0]}: {error.strerror}") from error
    if done.returncode and not action.may_fail:
        why = done.stderr.split("\n\n")[0].removeprefix("ollama-proxy: ")
        why = " ".join(why.split()) or f"exit code {done.returncode}"
        raise Failed(f"{shown(action)[0].removesuffix(' with')}: {why}")


def _write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    new.replace(path)


def _has_host(command: list[str], host: str) -> None:
    unit = unit_from(f"LoadState=loaded\n{shows(command)}", user=False)
    if unit is None or unit.host != host:
        found = f"{VARIABLE}={unit.host}" if unit and unit.host else f"no {VARIABLE}"
        raise Failed(f"another drop-in of Ollama's unit wins: {found} holds (systemctl cat ollama)")


def _wait(action: Answers, stop: Stop) -> None:
    until = time.monotonic() + ANSWER_SECONDS
    while answer(action.url) is None:
        stop.check()
        if action.instead is not None and answer(action.instead) is not None:
            raise Failed(f"Ollama answers at {action.instead} still, not at {action.url}")
        if action.active:
            state = _state(action.active)
            if state in ("failed", "inactive"):
                raise Failed(f"Ollama's unit is {state} after its start: journalctl -u ollama")
        if time.monotonic() >= until:
            raise Failed(f"Ollama does not answer at {action.url}: journalctl -u ollama says why")
        time.sleep(PAUSE)


def _state(command: list[str]) -> str:
    """`systemctl is-active` exits with another code than 0 for each state but active."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()
