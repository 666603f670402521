"""The lines that move Ollama by hand, where it is none of systemd's or may not be changed.

Each for what was found, none guessed. Pure. Not here: what is found (`look.py`).
"""

from __future__ import annotations

import os.path
import shlex
from collections.abc import Iterator

from ollama_proxy.flags import as_flags
from ollama_proxy.settings import Address
from ollama_proxy.takeover.facts import OLLAMA, VARIABLE, Facts, Listener


def lines(facts: Facts) -> list[str]:
    """For whatever runs Ollama."""
    return [*_moving(facts), *again(facts)]


def again(facts: Facts) -> list[str]:
    """With Ollama at its new port, the proxy's half is done by the same command."""
    return ["Then, for the proxy to listen at the old one:", f"  {_takeover(facts)}"]


def as_root(path: str, to: Address) -> Iterator[str]:
    """For a unit of the system's; `path` is the drop-in's."""
    text = f'[Service]\\nEnvironment="{VARIABLE}={to}"\\n'
    yield "Move Ollama, as root:"
    yield f"  mkdir -p {shlex.quote(os.path.dirname(path))}"
    yield f"  printf '{text}' > {shlex.quote(path)}"
    yield "  systemctl daemon-reload"
    yield f"  systemctl restart {OLLAMA}"


def _moving(facts: Facts) -> Iterator[str]:
    who, to, port = facts.listener, facts.to, facts.at.port
    if facts.macos:
        yield "Move Ollama's app, then quit it (menu bar) and open it again:"
        yield f"  launchctl setenv {VARIABLE} {to}"
    elif who is not None and (who.container or who.name == "docker-proxy"):
        yield f"Ollama runs in a container{_id(who)}; docker ps --filter publish={port} names it."
        yield f"Publish its port as {to}: in a compose file, then docker compose up -d,"
        yield f'  ports: ["{to}:{port}"]'
        yield "or remove the container and run it as before (its volumes stay), but with"
        yield f"  -p {to}:{port}"
    elif who is not None and who.service and who.service.startswith("snap."):
        yield f"Ollama is a snap ({who.service}): set its address to {to} by its own settings,"
        name = shlex.quote(who.service.split(".")[1])
        yield f"  snap get {name}"
        yield "shows them; then restart it:"
        yield f"  sudo snap restart {name}"
    elif who is not None and who.service:
        yield f"Ollama is run by systemd's unit {who.service} (a user's: with --user, no sudo):"
        yield f"  sudo systemctl edit {shlex.quote(who.service)}"
        yield "with these two lines:"
        yield "  [Service]"
        yield f'  Environment="{VARIABLE}={to}"'
        yield f"  sudo systemctl restart {shlex.quote(who.service)}"
    elif who is not None:
        yield f"Ollama is process {who.pid}; end it and start it at the new port:"
        yield f"  kill {who.pid}"
        yield f"  {VARIABLE}={to} {shlex.join(who.command) or 'ollama serve'}"
        yield "Whatever starts it at boot is to set the same variable."
    else:
        yield f"Whose process Ollama is cannot be seen (sudo ss -ltnp 'sport = :{port}' names it)."
        yield f"Have whatever starts it set {VARIABLE}={to}, and start it anew."


def _id(who: Listener) -> str:
    return f" ({who.container})" if who.container else ""


def _takeover(facts: Facts) -> str:
    said = {"data_dir": facts.data_dir, **facts.flags}
    if facts.at.port != 11434:
        said["upstream"] = str(facts.at)
    flags = [*as_flags(said), "--port", str(facts.to.port)]
    if facts.listen is not None:
        flags += ["--listen", str(facts.listen)]
    return shlex.join(["ollama-proxy", "takeover", *flags])
