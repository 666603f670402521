"""`config show`, `check` and `reload`: what is in force, whether it is right, what is new of it.

Not here: what a setting means (`config.py` above this).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

import click
import msgspec

from ollama_proxy.commands.options import given, settings
from ollama_proxy.commands.saying import USAGE_ERROR, refuse
from ollama_proxy.commands.there import as_it_runs, asking, in_force, running_in
from ollama_proxy.config import Effective, effective, load, misspelt
from ollama_proxy.flags import absolute
from ollama_proxy.handover.link import Refusal, Reload, Reloaded, connect
from ollama_proxy.running import found
from ollama_proxy.storage.errors import StoreError

ANSWER_SECONDS = 10.0


@click.group(short_help="Show the settings, check them, or have them read again.")
def config() -> None:
    """The settings: flags, then the environment, then the file, then the defaults."""


@config.command(short_help="Show what is in force, and from where.")
@click.option("--json", "as_json", is_flag=True, help="As a list of JSON objects.")
@settings()
def show(as_json: bool, **flags: Any) -> int:
    """Show each setting's value, and where it came from; keys and tokens are not shown. Of a proxy
    that runs in the data folder what is in force there; with other flags what a restart with them
    would make of it."""
    found = _shown(flags)
    if as_json:
        print(json.dumps([msgspec.structs.asdict(one) for one in found], indent=2))
        return 0
    names = max(len(one.name) for one in found)
    values = min(max(len(one.value) for one in found), 40)
    for one in found:
        print(f"{one.name:{names}}  {one.value or '(empty)':{values}}  {one.source}")
    return 0


def _shown(flags: dict[str, Any]) -> list[Effective]:
    said, folder = given(flags), asking(flags).data_dir
    with contextlib.suppress(StoreError):
        there = found(folder)
        begun = {} if there is None or there.run is None else there.run.flags
        same = absolute(said).items() <= {**begun, "data_dir": str(folder.absolute())}.items()
        if there is not None and same and (told := in_force(folder)) is not None:
            print(f"process {there.pid} runs here: what is in force there", file=sys.stderr)
            return told
    return effective(as_it_runs(said))


@config.command(short_help="Say whether the settings are right.")
@settings()
def check(**flags: Any) -> int:
    """Say whether the proxy would start with these settings: what is wrong is named, with what
    would be right."""
    found = effective(load(given(flags), os.environ))
    for line in misspelt(os.environ):
        print(f"warning: {line}")
    changed = sum(one.source != "default" for one in found)
    print(f"right: {changed} of {len(found)} settings changed from their defaults")
    return 0


@config.command(short_help="Have the proxy that runs read them again.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings(only=("data_dir",))
def reload(as_json: bool, **flags: Any) -> int:
    """Have the proxy that runs read its config file again, beside the flags and the environment
    that it was started with. What cannot change while it runs is named; where something is wrong,
    all stays as it was. SIGHUP does the same to one without a terminal."""
    folder = asking(flags).data_dir
    there = running_in(folder)
    if there is None:
        return refuse(f"no proxy runs in {folder}: ollama-proxy start runs one", 1)
    try:
        link = connect(folder)
    except OSError as error:
        why = f"process {there.pid} cannot be asked ({error.strerror})"
        return refuse(f"{why}: ollama-proxy restart reads the settings, too", 1)
    link.limit(ANSWER_SECONDS)
    try:
        found = link.ask(Reload(), Reloaded)
    except Refusal as refusal:
        return refuse(f"{refusal}: the settings stay as they were", USAGE_ERROR)
    except TimeoutError:
        hangs = f"process {there.pid} does not answer within {ANSWER_SECONDS:.0f} s"
        return refuse(f"{hangs}: ollama-proxy logs may say why", 1)
    except OSError:
        return refuse("the proxy ended meanwhile: ollama-proxy status tells more", 1)
    finally:
        link.close()
    if as_json:
        print(json.dumps({"now": found.now, "needs_restart": found.later}))
        return 0
    lines = [f"{name}: changed" for name in found.now]
    lines += [f"{name}: needs a restart (ollama-proxy restart)" for name in found.later]
    print("\n".join(lines or ["nothing changed"]))
    return 0
