"""`status`: does it run, does Ollama answer, what runs now. Not here: its figures (REST)."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from ollama_proxy.commands.options import given, settings
from ollama_proxy.commands.saying import counted, refuse
from ollama_proxy.config import load
from ollama_proxy.rest import Refused, ask
from ollama_proxy.running import Run, found
from ollama_proxy.storage.base import StoreError

RUNNING, STOPPED, OLLAMA_DOWN = 0, 3, 4
"""Exit codes; 3 is that of `systemctl status`, too."""


@click.command(short_help="Tell whether it runs, and what.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings(only=("data_dir",))
def status(as_json: bool, **flags: Any) -> int:
    """Tell whether the proxy of the data folder runs, where, since when, and what it does now.

    Exits with 0 where it runs, 3 where it does not, 4 where it runs but Ollama does not answer."""
    config = load(given(flags), os.environ)
    try:
        there = found(config.data_dir)
    except StoreError as error:
        return refuse(str(error), 1)
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
    except (Refused, OSError, ValueError) as error:
        return refuse(f"process {there.pid} runs at {there.run.url}, but {_why(error)}", 1)
    if as_json:
        print(json.dumps({"running": True, "pid": there.pid, "log": there.run.log} | facts))
    else:
        print("\n".join(_lines(there.run, facts)))
    return OLLAMA_DOWN if facts["upstream_up"] is False else RUNNING


def _why(error: Exception) -> str:
    if isinstance(error, Refused):
        return f"it {error}"
    return "it does not answer: its log says why (ollama-proxy logs)"


def _lines(run: Run, facts: dict[str, Any]) -> list[str]:
    requests = facts["total_requests"]
    lines = [
        f"running   process {run.pid}, version {run.version}, since {run.started_at}",
        f"listens   {run.url}",
        f"pages     {run.admin}/",
        f"Ollama    {_ollama(facts)}",
        f"calls     {counted(facts['active_requests'], 'runs', 'run')} now, {requests} in all"
        + (f", {facts['success_rate']:.1f} % went well" if requests else ""),
    ]
    return [*lines, f"log       {run.log}"] if run.log else lines


def _ollama(facts: dict[str, Any]) -> str:
    if facts["upstream_up"]:
        return f"answers, version {facts['upstream_version'] or 'unknown'}"
    if facts["upstream_up"] is None:
        return "not looked at yet"
    return f"does not answer: {facts['upstream_error']}"
