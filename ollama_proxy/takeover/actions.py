"""What a takeover's steps consist of: data that can be shown, done, and kept in a journal.

Pure. Not here: which step needs which (`plan.py`), doing them (`doing.py`).
"""

from __future__ import annotations

import shlex
from typing import Literal

import msgspec

from ollama_proxy.takeover.facts import VARIABLE


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


class Switch(msgspec.Struct, frozen=True, tag="switch"):
    """The proxy stops or starts: by `command` where nobody keeps it by then, by systemd where that
    does. No command: it ran not at all."""

    word: Literal["stop", "start"]
    command: list[str] = []


def shown(action: Action) -> list[str]:
    """The lines that say what an action does; this program by the name that its users know."""
    match action:
        case Run(command=[_, "-m", "ollama_proxy", *rest]):
            return [shlex.join(["ollama-proxy", *rest])]
        case Run(command=command, input=text):
            inner = [f"    {line}" for line in text.splitlines()]
            return [f"{shlex.join(command)}{' with' if text else ''}", *inner]
        case Write(path=path, text=text):
            return [f"write {path}", *(f"    {line}" for line in text.splitlines())]
        case Remove(path=path):
            return [f"remove {path}"]
        case HasHost(command=command, host=host):
            return [f"see that {VARIABLE}={host} holds: {shlex.join(command)}"]
        case Answers(url=url):
            return [f"wait until Ollama answers at {url}"]
