"""`status`: does it run, does Ollama answer, what runs now. Not here: its figures (REST)."""

from __future__ import annotations

import json
from typing import Any

import click

from ollama_proxy.commands.options import settings
from ollama_proxy.commands.saying import counted, printable, refuse
from ollama_proxy.commands.there import asking, running_in
from ollama_proxy.rest import Refused, ask
from ollama_proxy.running import Run

RUNNING, STOPPED, OLLAMA_DOWN = 0, 3, 4
"""Exit codes; 3 is that of `systemctl status`, too."""


@click.command(short_help="Tell whether it runs, and what.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings(only=("data_dir",))
def status(as_json: bool, **flags: Any) -> int:
    """Tell whether the proxy of the data folder runs, where, since when, and what it does now.

    Exits with 0 where it runs, 3 where it does not, 4 where it runs but Ollama does not answer, or
    something else does."""
    config = asking(flags)
    there = running_in(config.data_dir)
    if there is None or there.run is None:
        if as_json:
            print(json.dumps({"running": there is not None, "pid": there and there.pid}))
        elif there is None:
            print(f"stopped: no proxy uses {config.data_dir}\n\nollama-proxy start  runs one")
        else:
            print(f"process {there.pid} is just starting or stopping")
        return STOPPED
    try:
        facts = ask(there.run.admin, "status", config.admin.token)
        told = _lines(there.run, facts)
    except (Refused, OSError, ValueError, KeyError, TypeError) as error:
        url = printable(there.run.url)
        return refuse(f"process {there.pid} runs at {url}, but {_why(error)}", 1)
    if as_json:
        print(json.dumps({"running": True, "pid": there.pid, "log": there.run.log} | facts))
    else:
        print("\n".join(printable(line) for line in told))
    return OLLAMA_DOWN if facts["upstream_up"] is False or _is_other(facts) else RUNNING


def _why(error: Exception) -> str:
    if isinstance(error, Refused):
        return printable(f"it {error}")
    if not isinstance(error, OSError):
        return "what answers there is no proxy: ollama-proxy restart runs it anew"
    return "it does not answer: its log says why (ollama-proxy logs)"


def _lines(run: Run, facts: dict[str, Any]) -> list[str]:
    requests, rate = facts["total_requests"], facts["success_rate"]
    lines = [
        f"{_state(facts):9} process {run.pid}, version {run.version}, since {run.started_at}",
        f"listens   {run.url}",
        f"pages     {run.admin}/",
        f"Ollama    {_ollama(facts)}",
        f"calls     {counted(facts['active_requests'], 'runs', 'run')} now, {requests} in all"
        + (f", {rate:.1f} % went well" if rate is not None else ""),
    ]
    if facts["storage_error"]:
        lines.append(f"store     calls are kept in memory for now: {facts['storage_error']}")
    return [*lines, f"log       {run.log}"] if run.log else lines


def _state(facts: dict[str, Any]) -> str:
    """In a word, as the page says it."""
    word = "waiting" if facts["status"] == "working" and facts["waiting"] else facts["status"]
    return str({"working": "running", "down": "running"}.get(word, word))


def _is_other(facts: dict[str, Any]) -> bool:
    """Whether something answers that is not Ollama."""
    return bool(facts["upstream_up"] and facts["upstream_version"] is None)


def _ollama(facts: dict[str, Any]) -> str:
    if _is_other(facts):
        return f"answers, but not as Ollama: {facts['upstream_error']}: check upstream"
    if facts["upstream_up"]:
        return f"answers, version {facts['upstream_version'] or 'unknown'}"
    if facts["upstream_up"] is None:
        return "not looked at yet"
    return f"does not answer: {facts['upstream_error']}"
